//! Labels, of objects and of applications, and selectors of them as `kubectl --selector` takes them
//! ([labels and selectors](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)).

use std::str::FromStr;

use thiserror::Error;

/// The longest name of a label, the longest value, and the longest part of a DNS name.
const LONGEST: usize = 63;

/// The longest DNS name.
const LONGEST_NAME: usize = 253;

/// Whether a label may have this key: a name, with a DNS name and `/` before it or not.
pub fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_dns_name)
}

/// Whether a label may have this value, which may be empty.
pub fn is_label_value(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.is_empty() || text.len() <= LONGEST && text.bytes().all(known) && is_bounded(text)
}

/// Whether this is a label as DNS has them, as
/// [namespaces are named](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names).
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= LONGEST && is_dns_part(text)
}

/// Whether this is a name as DNS has them, as
/// [most objects are named](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names).
/// As there, a part of it may be as long as it may be itself.
pub fn is_dns_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && text.split('.').all(is_dns_part)
}

fn is_dns_part(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.bytes().all(known) && is_bounded(text)
}

/// Whether it begins and ends with a letter or digit.
fn is_bounded(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    let is_inner = |byte: Option<u8>| byte.is_some_and(|it| it.is_ascii_alphanumeric());
    ends.into_iter().all(is_inner)
}

/// Requirements on labels, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

/// It is no selector of labels.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a label selector — write it as for `kubectl --selector`: `app=web,tier!=back`"
)]
pub struct InvalidSelector(String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// Also true where the label is absent.
    NotIn(Vec<String>),
}

impl FromStr for LabelSelector {
    type Err = InvalidSelector;

    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        let requirements: Option<_> = split(text).map(requirement).collect();
        requirements
            .map(Self)
            .ok_or_else(|| InvalidSelector(text.to_owned()))
    }
}

impl LabelSelector {
    /// Whether labels match, of which each key's value is looked up.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            let listed = |values: &[String]| {
                value.is_some_and(|value| values.iter().any(|listed| listed == value))
            };
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => listed(values),
                Test::NotIn(values) => !listed(values),
            }
        })
    }
}

/// Splits at the commas outside of parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut open = false;
    text.split(move |c| {
        open = c == '(' || open && c != ')';
        c == ',' && !open
    })
}

fn requirement(text: &str) -> Option<Requirement> {
    let text = text.trim();
    let (key, test) = if let Some(key) = text.strip_prefix('!') {
        (key, Test::Absent)
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Test::NotIn(vec![word(value, true)?]))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Test::In(vec![word(value, true)?]))
    } else if let Some((head, list)) = text.split_once('(') {
        let values = list
            .strip_suffix(')')?
            .split(',')
            .map(|value| word(value, true));
        let values = values.collect::<Option<_>>()?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        match operator {
            "in" => (key, Test::In(values)),
            "notin" => (key, Test::NotIn(values)),
            _ => return None,
        }
    } else {
        (text, Test::Exists)
    };
    Some(Requirement {
        key: word(key, false)?,
        test,
    })
}

fn word(text: &str, may_be_empty: bool) -> Option<String> {
    let text = text.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let empty_ok = may_be_empty || !text.is_empty();
    (empty_ok && text.bytes().all(allowed)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_as_kubectl_does() {
        let labels = [("app", "web"), ("tier", "front"), ("x/y", "")];
        let label = |key: &str| labels.iter().find(|it| it.0 == key).map(|it| it.1);
        for (selector, expected) in [
            ("app=web", true),
            ("app == web, tier!=back", true),
            ("app=api", false),
            ("none!=x", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("none notin (a)", true),
            ("x/y", true),
            ("x/y=", true),
            ("!app", false),
            ("!none,tier", true),
        ] {
            let selector: LabelSelector = selector.parse().unwrap();
            assert_eq!(selector.matches(label), expected, "{selector:?}");
        }
        let selector: LabelSelector = "app".parse().unwrap();
        assert!(!selector.matches(|_| None));
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for text in [
            "",
            "a,",
            "a in b",
            "a in (b",
            "a)",
            "a is (b)",
            "a=b=c",
            "!",
            "in (a)",
            "a b",
            "a in ((b))",
            "a in (b(c)",
            "a in (b)c",
            "(a),b",
            "a,,b",
        ] {
            let refused = text.parse::<LabelSelector>().unwrap_err().to_string();
            assert!(refused.contains(&format!("`{text}` is not a label selector")));
        }
    }

    #[test]
    fn names_are_those_of_dns() {
        let of = |length| "a".repeat(length);
        for (name, is_label, is_name) in [
            ("a", true, true),
            ("a-1", true, true),
            ("a.b", false, true),
            (&of(63), true, true),
            // Only the whole of a name is bounded, as Kubernetes has it.
            (&of(64), false, true),
            (&of(253), false, true),
            (&of(254), false, false),
            ("", false, false),
            ("-a", false, false),
            ("a.", false, false),
            ("a..b", false, false),
            ("A", false, false),
            ("a_b", false, false),
        ] {
            assert_eq!(is_dns_label(name), is_label, "{name}");
            assert_eq!(is_dns_name(name), is_name, "{name}");
        }
    }

    #[test]
    fn labels_are_written_as_in_kubernetes() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        for key in ["team", "example.com/Team_1", "a", &long, "x-1.io/a.b-c_d"] {
            assert!(is_label_key(key), "{key}");
        }
        for key in [
            "", "/a", "a/", "a/b/c", "-a", "a-", "A.com/a", "a_b/c", "a..b/c", "ä", "a b", &longer,
        ] {
            assert!(!is_label_key(key), "{key}");
        }
        assert!(!is_label_key(&format!("{}/a", ["a"; 128].join("."))));
        for value in ["", "web", "a.b_C-1", &long] {
            assert!(is_label_value(value), "{value}");
        }
        for value in ["a/b", "-a", "a.", "a b", &longer] {
            assert!(!is_label_value(value), "{value}");
        }
    }
}
