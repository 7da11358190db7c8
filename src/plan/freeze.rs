//! Freezes: what keeps an environment from taking what comes by itself, when it began and when it opens.

use jiff::Timestamp;

use super::{Ready, Reason, Waiting};
use crate::model::freeze;
use crate::model::record::Standing;
use crate::model::{Environment, Release};

/// A freeze that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// Why.
    pub reason: String,
    /// Who said it, or where it is written.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// When it opens; `None`: once a person thaws it.
    pub until: Option<Timestamp>,
    /// Whether it is a person's, not a window of the environment's file.
    pub by_person: bool,
}

/// The freeze of an environment at this moment: of a person's and a window the one that ends last.
pub fn frozen(environment: &Environment, standing: &Standing, now: Timestamp) -> Option<Frozen> {
    let said = standing.freeze.as_ref().filter(|it| it.holds(now));
    let said = said.map(|freeze| Frozen {
        reason: freeze.reason.clone(),
        by: freeze.by.clone(),
        since: freeze.at,
        until: freeze.until,
        by_person: true,
    });
    let written = freeze::frozen(&environment.freeze, now).map(|(window, interval)| Frozen {
        reason: window.reason.clone(),
        by: window.place.clone(),
        since: interval.from,
        until: Some(interval.to),
        by_person: false,
    });
    let ends = |frozen: &Frozen| frozen.until.unwrap_or(Timestamp::MAX);
    match (said, written) {
        (Some(said), Some(written)) if ends(&written) > ends(&said) => Some(written),
        (said, written) => said.or(written),
    }
}

impl Frozen {
    /// One sentence for people.
    pub fn notice(&self) -> String {
        let reason = Reason::Frozen {
            release: None,
            frozen: self.clone(),
        };
        reason.to_string()
    }
}

/// The freeze that this unit's environment is in.
pub(super) fn of(ready: &Ready<'_>) -> Option<Frozen> {
    let unit = ready.unit;
    frozen(unit.environment, &ready.infra.standing, unit.now)
}

/// Waits for the environment to open.
pub(super) fn waiting(frozen: Frozen, release: Option<Release>) -> Waiting {
    let (since, until) = (frozen.since, frozen.until);
    let waiting = Waiting::on(Reason::Frozen { release, frozen }).since(since);
    match until {
        Some(until) => waiting.until(until),
        None => waiting,
    }
}

/// What is on its way waits for the freeze first; what has nothing to come is as it is.
pub(super) fn before(ready: &Ready<'_>, waiting: Waiting) -> Waiting {
    let release = match &waiting.reason {
        Reason::Declined { release }
        | Reason::Evidence { release, .. }
        | Reason::Soaking { release, .. } => Some(release.clone()),
        Reason::Young { release, .. } => Some(release.clone()),
        Reason::Upstream { release, .. } => release.clone(),
        Reason::Incomplete { .. } => None,
        _ => return waiting,
    };
    match of(ready) {
        Some(frozen) => waiting.or(self::waiting(frozen, release)),
        None => waiting,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Config;
    use crate::model::record::Hold;

    /// Whose freeze is told where production's file has this window, and a person froze it until then.
    fn told(window: Option<&str>, said: Option<Option<&str>>) -> Option<(bool, Option<String>)> {
        let windows = window.map_or_else(String::new, |to| {
            format!("freeze: [{{ from: 2026-01-01T00:00, to: {to}, reason: the fair }}]\n")
        });
        let file = format!(
            "repository: {{ url: https://git.example.com/production }}\nmanifests: [k]\ncluster: {{ simulated: {{}} }}\nfollow: {{ tags: '*' }}\n{windows}"
        );
        let shop = "applications:\n  - name: shop\n    images: [ { repository: registry.example.com/acme/shop, release-tag: '{tag}' } ]\n    environments: [production]\n";
        let files = [
            ("applications/shop.yaml", shop.to_owned()),
            ("production/environment.yaml", file),
        ];
        let files = files.map(|(path, text)| (PathBuf::from(path), text.into_bytes()));
        let config = Config::parse(&files).unwrap();
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let freeze = said.map(|until| Hold {
            reason: "the auditors are here".to_owned(),
            by: "ann@example.com".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            until: until.map(|it| it.parse().unwrap()),
        });
        let standing = Standing {
            freeze,
            ..Standing::default()
        };
        let frozen = frozen(&config.pipelines[0].environments[0], &standing, now)?;
        assert!(frozen.notice().contains(&frozen.reason));
        Some((frozen.by_person, frozen.until.map(|it| it.to_string())))
    }

    /// Of a person's and a window the one that ends last is told; the person's, where both end at once.
    #[test]
    fn the_freeze_that_ends_last_is_told() {
        let (third, fourth) = ("2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z");
        let ends = |by_person, at: &str| Some((by_person, Some(at.to_owned())));
        let (to_third, to_fourth) = (Some("2026-01-03T00:00"), Some("2026-01-04T00:00"));
        assert_eq!(told(None, None), None);
        assert_eq!(told(to_third, None), ends(false, third));
        assert_eq!(told(None, Some(Some(third))), ends(true, third));
        assert_eq!(told(to_third, Some(Some(fourth))), ends(true, fourth));
        assert_eq!(told(to_fourth, Some(Some(third))), ends(false, fourth));
        assert_eq!(told(to_third, Some(Some(third))), ends(true, third));
        assert_eq!(told(to_third, Some(None)), Some((true, None)));
        // One that ended says nothing.
        assert_eq!(
            told(Some("2026-01-02T00:00"), Some(Some("2026-01-02T00:00:00Z"))),
            None
        );
    }
}
