//! The release that a person means, by its name or the beginning of a digest; or what to say where none, or
//! more than one, is meant.

use crate::model::Release;

/// So many are listed: the nearest.
const LISTED: usize = 8;

/// Why no release was found. Each is named with its digest.
#[derive(Debug)]
pub(super) enum Unfound {
    /// There is none at all.
    Nothing,
    /// None has that name; these come nearest.
    Unknown {
        /// The nearest first.
        near: Vec<String>,
        /// How many others there are.
        more: usize,
    },
    /// More than one is meant.
    Several(Vec<String>),
}

impl Unfound {
    /// In one sentence: `nothing` where there is none, `unknown` before those that there are.
    pub(super) fn say(self, nothing: &str, unknown: &str) -> String {
        match self {
            Self::Nothing => nothing.to_owned(),
            Self::Unknown { near, more: 0 } => format!("{unknown}: {}", near.join(", ")),
            Self::Unknown { near, more } => {
                format!("{unknown}: {} and {more} more", near.join(", "))
            }
            Self::Several(all) => format!("more than one release is meant: {}", all.join(", ")),
        }
    }
}

/// The one release that is meant.
///
/// # Errors
/// Those that there are, where none or more than one is meant.
pub(super) fn find<'a>(
    releases: impl Iterator<Item = &'a Release>,
    named: &str,
) -> Result<&'a Release, Unfound> {
    let mut all: Vec<&Release> = Vec::new();
    for release in releases {
        let is_it = |it: &&&Release| it.is(&release.digests()) && it.name == release.name;
        if all.iter().find(is_it).is_none() {
            all.push(release);
        }
    }
    let fitting: Vec<&Release> = all
        .iter()
        .filter(|it| it.is_named(named))
        .copied()
        .collect();
    match fitting.as_slice() {
        [one, others @ ..] if others.iter().all(|it| it.is(&one.digests())) => Ok(one),
        [] if all.is_empty() => Err(Unfound::Nothing),
        [] => {
            // By name where it is nearly one, the newest first else.
            all.sort_by(|a, b| b.compare(a));
            all.sort_by_key(|it| std::cmp::Reverse(nearness(&it.name, named)));
            let near = all.iter().take(LISTED).copied().map(shown).collect();
            let more = all.len().saturating_sub(LISTED);
            Err(Unfound::Unknown { near, more })
        }
        several => Err(Unfound::Several(
            several.iter().copied().map(shown).collect(),
        )),
    }
}

/// How many characters both begin with, a leading `v` apart.
fn nearness(name: &str, named: &str) -> usize {
    let (name, named) = (
        name.strip_prefix('v').unwrap_or(name),
        named.strip_prefix('v').unwrap_or(named),
    );
    let both = name.chars().zip(named.chars());
    both.take_while(|(a, b)| a == b).count()
}

fn shown(release: &Release) -> String {
    format!("{release} ({})", release.short_digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Contents;
    use crate::plan::check::tests::release;

    /// The release `minor` under another name.
    fn named(minor: u8, name: &str) -> Release {
        let release = release(minor);
        Release::from(Contents {
            name: name.to_owned(),
            images: release.images.clone(),
            rank: release.rank.clone(),
            commit: None,
        })
    }

    fn found(releases: &[Release], named: &str) -> Result<String, String> {
        let found = find(releases.iter(), named).map(|it| it.name.clone());
        found.map_err(|unfound| unfound.say("nothing", "none"))
    }

    #[test]
    fn one_is_found_by_its_name_or_digest_or_the_nearest_are_told() {
        let all = [0, 1, 2, 20].map(release);
        let told = |of: &[&Release]| of.iter().copied().map(shown).collect::<Vec<_>>().join(", ");
        assert_eq!(found(&all, "v1.1.0"), Ok("v1.1.0".to_owned()));
        assert_eq!(found(&all, &all[2].short_digest()), Ok("v1.2.0".to_owned()));
        assert_eq!(found(&[], "v1.1.0"), Err("nothing".to_owned()));
        // What begins the same comes first, then the newest.
        let near = told(&[&all[2], &all[3], &all[1], &all[0]]);
        assert_eq!(found(&all, "1.2.9"), Err(format!("none: {near}")));
        let newest = told(&[&all[3], &all[2], &all[1], &all[0]]);
        assert_eq!(found(&all, "latest"), Err(format!("none: {newest}")));
    }

    #[test]
    fn the_same_digests_are_one_release_and_a_moved_tag_is_two() {
        let (one, again, moved) = (release(1), named(1, "a-0000001"), named(2, "v1.1.0"));
        let both = [one.clone(), again];
        assert_eq!(found(&both, &one.short_digest()), Ok("v1.1.0".to_owned()));
        let told = format!(
            "more than one release is meant: {}, {}",
            shown(&one),
            shown(&moved)
        );
        assert_eq!(found(&[one, moved], "v1.1.0"), Err(told));
    }
}
