//! Tag templates: how a pipeline's CI names the images it builds, as `{branch}-{commit:7}`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::braces::{Part, parts};
use super::image::is_tag;
use crate::shown::given;

/// The form of an image tag: literal text and the fields `{branch}`, `{tag}`, `{commit}` and
/// `{commit:N}`, each at most once and with text between them.
///
/// - `{branch}` is a branch as CI writes it in a tag, see [`sanitise_branch`]; it takes as much as it
///   can, because branches hold dashes.
/// - `{tag}` is a git tag.
/// - `{commit:N}` is exactly N (7 to 40) lower-case hex digits of the commit; `{commit}` is all 40.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TagTemplate(Arc<[Piece]>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    Literal(String),
    Branch,
    Tag,
    Commit(usize),
}

/// What a tag says of the ref and the commit its image was built from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parts {
    /// The branch, as CI writes it in a tag.
    pub branch: Option<String>,
    /// The git tag.
    pub tag: Option<String>,
    /// The first hex digits of the commit, 7 to 40 of them.
    pub commit: Option<String>,
}

/// A text that is not a tag template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// No field with this name.
    #[error("`{{{0}}}` is not a field: write {{branch}}, {{tag}}, {{commit}} or {{commit:7}}")]
    Unknown(String),
    /// A length that no commit has, or on another field.
    #[error(
        "`{{{0}}}` has no usable length: only commit takes one, from {{commit:7}} to {{commit:40}}"
    )]
    Length(String),
    /// `{` without `}`, or the reverse.
    #[error("`{0}` has a brace without its partner")]
    Brace(String),
    /// Two fields touch, so that nobody could tell where one ends.
    #[error("`{0}` has two fields without text between them: write a separator such as `-`")]
    Adjacent(String),
    /// One field twice.
    #[error("`{0}` has one field twice")]
    Twice(String),
    /// No field: one fixed tag names no release.
    #[error(
        "`{0}` has no field: one of {{branch}}, {{tag}} and {{commit}} must tell releases apart"
    )]
    NoField(String),
    /// Text that cannot stand in a tag.
    #[error(
        "`{0}` cannot be a tag: use letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`, at most 128"
    )]
    Character(String),
}

/// Why parts do not make a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A field of the template has no value.
    #[error("the template `{template}` needs a {field}")]
    Missing {
        /// The template.
        template: String,
        /// The field without a value.
        field: &'static str,
    },
    /// The commit has fewer digits than the template asks for, or others than lower-case hex.
    #[error("`{0}` is not a commit that the template `{1}` can take")]
    Commit(String, String),
    /// The result is too long or has characters no tag has.
    #[error("`{0}` cannot be an image tag")]
    NotATag(String),
}

impl TagTemplate {
    /// What the tag says, or `None` where it is not of this form.
    pub fn matches(&self, tag: &str) -> Option<Parts> {
        // A tag is ASCII and at most 128 bytes, which bounds the search below.
        if !is_tag(tag) {
            return None;
        }
        let mut parts = Parts::default();
        take(&self.0, tag, &mut parts).then_some(parts)
    }

    /// The tag CI would write. The branch is [sanitised](sanitise_branch), the commit is cut to the
    /// template's length.
    ///
    /// # Errors
    /// A part is missing, or the result is no tag.
    pub fn render(&self, parts: &Parts) -> Result<String, RenderError> {
        let mut tag = String::new();
        for piece in &*self.0 {
            match piece {
                Piece::Literal(text) => tag.push_str(text),
                Piece::Branch => {
                    tag.push_str(&sanitise_branch(self.part(&parts.branch, "branch")?));
                }

                Piece::Tag => tag.push_str(self.part(&parts.tag, "tag")?),
                Piece::Commit(digits) => {
                    let commit = self.part(&parts.commit, "commit")?;
                    let prefix = commit.get(..*digits).filter(|prefix| is_hex(prefix));
                    tag.push_str(
                        prefix.ok_or_else(|| {
                            RenderError::Commit(commit.to_owned(), self.to_string())
                        })?,
                    );
                }
            }
        }
        match is_tag(&tag) {
            true => Ok(tag),
            false => Err(RenderError::NotATag(tag)),
        }
    }

    /// Whether a tag of this form names the branch it was built from.
    pub fn names_branch(&self) -> bool {
        self.0.contains(&Piece::Branch)
    }

    /// Whether a tag of this form names the git tag it was built from.
    pub fn names_tag(&self) -> bool {
        self.0.contains(&Piece::Tag)
    }

    fn part<'a>(
        &self,
        value: &'a Option<String>,
        field: &'static str,
    ) -> Result<&'a str, RenderError> {
        value.as_deref().ok_or_else(|| RenderError::Missing {
            template: self.to_string(),
            field,
        })
    }
}

/// A branch as CI writes it in an image tag: every character that no tag may hold stands as `-`, so
/// `feature/login` is `feature-login`. Two branches may therefore share one name in tags.
pub fn sanitise_branch(branch: &str) -> String {
    branch
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-' => c,
            _ => '-',
        })
        .collect()
}

/// Matches the pieces from the left, each open field as long as possible. At most two fields have an
/// open length, so this looks at no more than 128² splits.
fn take(pieces: &[Piece], rest: &str, parts: &mut Parts) -> bool {
    let Some((piece, pieces)) = pieces.split_first() else {
        return rest.is_empty();
    };
    match piece {
        Piece::Literal(text) => rest
            .strip_prefix(text.as_str())
            .is_some_and(|rest| take(pieces, rest, parts)),
        Piece::Commit(digits) => match rest.split_at_checked(*digits) {
            Some((commit, rest)) if is_hex(commit) => {
                parts.commit = Some(commit.to_owned());
                take(pieces, rest, parts)
            }
            _ => false,
        },
        Piece::Branch | Piece::Tag => (1..=rest.len()).rev().any(|length| {
            let (value, rest) = rest.split_at(length);
            if !take(pieces, rest, parts) {
                return false;
            }
            match piece {
                Piece::Branch => parts.branch = Some(value.to_owned()),
                _ => parts.tag = Some(value.to_owned()),
            }
            true
        }),
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for TagTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pieces = pieces(text)?;
        let field = |piece: &Piece| !matches!(piece, Piece::Literal(_));
        let fields: Vec<_> = pieces.iter().filter(|piece| field(piece)).collect();
        if fields.is_empty() {
            return Err(InvalidTemplate::NoField(given(text)));
        }
        if pieces.windows(2).any(|two| two.iter().all(field)) {
            return Err(InvalidTemplate::Adjacent(given(text)));
        }
        let kinds: std::collections::HashSet<_> = fields
            .iter()
            .map(|piece| std::mem::discriminant(*piece))
            .collect();
        if kinds.len() < fields.len() {
            return Err(InvalidTemplate::Twice(given(text)));
        }
        // The shortest tag of this form must be one: this checks every literal and the length.
        let shortest: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.clone(),
                Piece::Branch | Piece::Tag => "0".to_owned(),
                Piece::Commit(digits) => "0".repeat(*digits),
            })
            .collect();
        match is_tag(&shortest) {
            true => Ok(Self(pieces.into())),
            false => Err(InvalidTemplate::Character(given(text))),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, InvalidTemplate> {
    let parts = parts(text).ok_or_else(|| InvalidTemplate::Brace(given(text)))?;
    let piece = |part| match part {
        Part::Literal(text) => Ok(Piece::Literal(text.to_owned())),
        Part::Field(name) => field(name),
    };
    parts.into_iter().map(piece).collect()
}

fn field(name: &str) -> Result<Piece, InvalidTemplate> {
    let length = || InvalidTemplate::Length(given(name));
    match name.split_once(':') {
        None => match name {
            "branch" => Ok(Piece::Branch),
            "tag" => Ok(Piece::Tag),
            "commit" => Ok(Piece::Commit(40)),
            _ => Err(InvalidTemplate::Unknown(given(name))),
        },
        Some(("commit", digits)) => match digits.parse() {
            Ok(digits @ 7..=40) => Ok(Piece::Commit(digits)),
            _ => Err(length()),
        },
        Some(("branch" | "tag", _)) => Err(length()),
        Some(_) => Err(InvalidTemplate::Unknown(given(name))),
    }
}

impl fmt::Display for TagTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => f.write_str(text),
            Piece::Branch => f.write_str("{branch}"),
            Piece::Tag => f.write_str("{tag}"),
            Piece::Commit(40) => f.write_str("{commit}"),
            Piece::Commit(digits) => write!(f, "{{commit:{digits}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn said(branch: &str, tag: &str, commit: &str) -> Parts {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Parts {
            branch: part(branch),
            tag: part(tag),
            commit: part(commit),
        }
    }

    #[test]
    fn tags_are_read_and_written() {
        let dashed = format!("a-b-{SHA}");
        for (template, tag, branch, git_tag, commit) in [
            ("{branch}-{commit:7}", "main-0123456", "main", "", "0123456"),
            (
                "{branch}-{commit:7}",
                "a-0123456-0123456",
                "a-0123456",
                "",
                "0123456",
            ),
            ("{branch}-{commit:7}", "--0123456", "", "", ""),
            ("{branch}-{commit:7}", "main-012345", "", "", ""),
            ("{branch}-{commit:7}", "main-01234567", "", "", ""),
            ("{branch}-{commit:7}", "main-012345G", "", "", ""),
            ("{branch}-{commit:7}", "main-ABCDEF0", "", "", ""),
            ("{branch}-{commit:7}", "-0123456", "", "", ""),
            ("{branch}-{commit}", &dashed, "a-b", "", SHA),
            ("{commit}", SHA, "", "", SHA),
            ("{commit}", "0123456", "", "", ""),
            ("{commit:7}", "0123456", "", "", "0123456"),
            ("{tag}", "v1.4.0", "", "v1.4.0", ""),
            ("v{tag}", "v1.4.0", "", "1.4.0", ""),
            ("v{tag}", "v", "", "", ""),
            ("v{tag}", "1.4.0", "", "", ""),
            (
                "release-{tag}-{commit:8}",
                "release-1-0-01234567",
                "",
                "1-0",
                "01234567",
            ),
            ("{commit:7}.{tag}", "0123456.1", "", "1", "0123456"),
            ("{branch}_{tag}", "a_b_c", "a_b", "c", ""),
            ("{branch}-{tag}.x", "a-b-c.x", "a-b", "c", ""),
            ("{tag}", "", "", "", ""),
            ("{tag}", "-a", "", "", ""),
            ("{tag}", "a b", "", "", ""),
            ("{tag}", "é", "", "", ""),
            ("{branch}-{commit:7}", "é-0123456", "", "", ""),
        ] {
            let parsed: TagTemplate = template.parse().unwrap();
            assert_eq!(parsed.to_string(), template);
            let expected = said(branch, git_tag, commit);
            let found = parsed.matches(tag);
            assert_eq!(
                found.clone().unwrap_or_default(),
                expected,
                "{template} {tag}"
            );
            if let Some(found) = found {
                assert_eq!(parsed.render(&found).unwrap(), tag);
            }
        }
    }

    #[test]
    fn a_template_says_what_it_names() {
        for (template, branch, tag) in [
            ("{branch}-{commit:7}", true, false),
            ("v{tag}", false, true),
            ("{commit}", false, false),
        ] {
            let template: TagTemplate = template.parse().unwrap();
            assert_eq!(
                (template.names_branch(), template.names_tag()),
                (branch, tag)
            );
        }
    }

    #[test]
    fn the_longest_tag_is_matched_in_bounded_time() {
        let template: TagTemplate = "{branch}-{tag}-{commit:7}".parse().unwrap();
        let tag = "-".repeat(127);
        assert_eq!(template.matches(&format!("a{tag}")), None);
        assert_eq!(template.matches(&"a".repeat(1 << 20)), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        use InvalidTemplate as E;
        let name = |text: &str| text.to_owned();
        for (text, error) in [
            ("", E::NoField(name(""))),
            ("latest", E::NoField(name("latest"))),
            ("{sha}", E::Unknown(name("sha"))),
            ("{sha:7}", E::Unknown(name("sha:7"))),
            ("{}", E::Unknown(name(""))),
            ("{Branch}", E::Unknown(name("Branch"))),
            ("{commit:6}", E::Length(name("commit:6"))),
            ("{commit:41}", E::Length(name("commit:41"))),
            ("{commit:}", E::Length(name("commit:"))),
            ("{commit:-7}", E::Length(name("commit:-7"))),
            (
                "{commit:99999999999999999999}",
                E::Length(name("commit:99999999999999999999")),
            ),
            ("{branch:7}", E::Length(name("branch:7"))),
            ("{branch", E::Brace(name("{branch"))),
            ("branch}", E::Brace(name("branch}"))),
            ("{{branch}}", E::Brace(name("{{branch}}"))),
            (
                "{branch}{commit:7}",
                E::Adjacent(name("{branch}{commit:7}")),
            ),
            ("{tag}-{tag}", E::Twice(name("{tag}-{tag}"))),
            ("{commit:7}-{commit}", E::Twice(name("{commit:7}-{commit}"))),
            ("-{tag}", E::Character(name("-{tag}"))),
            (".{tag}", E::Character(name(".{tag}"))),
            ("{tag}/x", E::Character(name("{tag}/x"))),
            ("{tag} ", E::Character(name("{tag} "))),
            ("{tag}é", E::Character(name("{tag}é"))),
        ] {
            assert_eq!(text.parse::<TagTemplate>(), Err(error), "{text}");
        }
        let long = format!("{}{{tag}}", "a".repeat(128));
        assert_eq!(long.parse::<TagTemplate>(), Err(E::Character(long.clone())));
    }

    #[test]
    fn what_makes_no_tag_is_not_rendered() {
        let long = "b".repeat(128);
        for (template, parts) in [
            ("{branch}-{commit:7}", said("main", "", "")),
            ("{branch}-{commit:7}", said("", "", SHA)),
            ("{tag}", said("main", "", SHA)),
            ("{commit:8}", said("", "", "0123456")),
            ("{commit:7}", said("", "", "ABCDEF0")),
            ("{commit:7}", said("", "", "éééé")),
            ("{branch}-{commit:7}", said(&long, "", SHA)),
            ("{tag}", said("", "a b", "")),
            ("{branch}", said("/main", "", "")),
        ] {
            let template: TagTemplate = template.parse().unwrap();
            assert!(template.render(&parts).is_err(), "{template} {parts:?}");
        }
        let template: TagTemplate = "{branch}-{commit:7}".parse().unwrap();
        let tag = template.render(&said("feature/é#1", "", SHA)).unwrap();
        assert_eq!(tag, "feature---1-0123456");
    }
}
