//! The sentences for people: what a unit waits for, and what would unblock it.
//!
//! `plan`, `status`, `explain`, logs and pages all say these very sentences.

use std::fmt;

use jiff::Timestamp;

use super::{Reason, Scope, evidence};
use crate::model::record::{BRAKE, LABEL};
use crate::model::{ApplicationName, EnvironmentName, Release};

impl Reason {
    /// What would unblock it, in one sentence; `None` where nothing is blocked.
    pub fn unblock(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Option<String> {
        let approve = |number: &u64| {
            format!("`towpath approve {application} {environment} --prune {number}`")
        };
        let text = match self {
            Self::NotOurs => "the Towpath that runs with `--only` for it acts".to_owned(),
            Self::Unreadable(unreadable) => {
                format!("make {} readable; it is asked again by itself", unreadable.source)
            }
            Self::Retrying { failed, prevented: false } => {
                format!("{}, once it takes it; it is tried again by itself", failed.source)
            }
            Self::Retrying { failed, prevented: true } => {
                format!("whoever may change that in {}; it is tried again by itself", failed.source)
            }
            Self::UnreadableRecords(_) => "use the Towpath that wrote them, restore the records ref, or accept what stands there".to_owned(),
            Self::BrokenManifests(_) => "commit a fix to the infra repository".to_owned(),
            Self::Behind { .. } => "a fresh look at the branch".to_owned(),
            Self::WentBack => "a second look 30 s after the first".to_owned(),
            Self::Held { by, .. } if by == BRAKE => {
                "the annotation `towpath.dev/hold` taken away from the environment's ApplySet parent".to_owned()
            }
            Self::Held { by, .. } if by == LABEL => {
                "the label `towpath/hold` taken away from the request".to_owned()
            }
            Self::Held { place: Some(place), .. } => format!("`hold` taken out of {place}"),
            Self::Held { scope: Scope::Environment, .. } => {
                format!("`towpath resume --environment {environment}`")
            }
            Self::Held { .. } => format!("`towpath resume {application} {environment}`"),
            Self::Adopting { .. } => {
                format!("`towpath adopt {application} {environment}`, or `adopt: auto` in the environment; objects of an engine by its name there, as in `adopt: [helm]`")
            }
            Self::Pinned { .. } => {
                format!("`towpath unpin {application} {environment}`; or commit a newer release yourself, or merge its proposal")
            }
            Self::Failed { .. } => {
                format!("a newer release, a changed manifest, or `towpath retry {application} {environment}`")
            }
            Self::Refused { .. } => "a manifest that the cluster takes; a start of Towpath tries once more".to_owned(),
            Self::LineStopped { .. } => "the failed unit's recovery".to_owned(),
            Self::Unwritable { .. } => "commit a fix to the infra repository".to_owned(),
            Self::Frozen { frozen, .. } => {
                let opens = frozen.until.map_or_else(String::new, |until| {
                    format!("time: it opens at {}; or ", clock(until))
                });
                let thaw = match frozen.by_person {
                    true => format!("`towpath thaw {environment}`, or "),
                    false => String::new(),
                };
                format!("{opens}{thaw}`towpath promote {application} {environment} --during-freeze --reason …`")
            }
            Self::Declined { .. } => {
                format!("a newer release, or `towpath retry {application} {environment}`")
            }
            Self::SecondWord { release, .. } => {
                format!("another person: `towpath promote {application} {environment} {} --unproven --reason …`; or its proof", release.name)
            }
            Self::Incomplete { .. } => "push the missing images".to_owned(),
            Self::Evidence { release, lacks } => {
                evidence::unblock(application, environment, release, lacks)
            }
            Self::Soaking { until, .. } => format!("time: it is proven at {}", clock(*until)),
            Self::Young { until, .. } => {
                format!("time: it is old enough at {}; or `towpath promote {application} {environment}`", clock(*until))
            }
            Self::Rate { until, .. } => {
                format!("time: the next may come at {}; or `towpath promote {application} {environment}`", clock(*until))
            }
            Self::Scheduled { until, .. } => {
                format!("time: it comes at {}; or `towpath promote {application} {environment}` again", clock(*until))
            }
            Self::Upstream { environment, .. } => format!("`towpath explain {application} {environment}`"),
            Self::Paced { .. } => "the running release's proof or failure".to_owned(),
            Self::Gate { request, is_branch: true, .. } => {
                format!("`towpath approve {application} {environment}`, or merge {request}; delete it to decline")
            }
            Self::Gate { request, .. } => format!("merge {request}, or close it to decline"),
            Self::Converging { deadline, .. } => {
                format!("the rollout's end; it has failed at {}", clock(*deadline))
            }
            Self::Outpaced { .. } => "set `pace: proven` in the environment".to_owned(),
            Self::PruneLimit { number, .. } => {
                format!("{}, a higher `prune: {{ limit }}`, or the manifests put back", approve(number))
            }
            Self::Confirm { number, .. } => format!("{}, or the manifests put back", approve(number)),
            Self::Contested { .. } => "whoever keeps changing it; or leave the field out of the manifest".to_owned(),
            Self::Drifted { .. } => "set `drift: correct`, or undo the change in the cluster".to_owned(),
            Self::Removed { .. } => {
                "`prune: { removed: true }` in the environment, or the application put back into the configuration".to_owned()
            }
            Self::NothingReleased => "push an image whose tag the environment follows".to_owned(),
            Self::UpToDate { .. } => return None,
        };
        Some(text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |release: &Option<Release>| {
            release
                .as_ref()
                .map_or_else(|| "an unknown image".to_owned(), ToString::to_string)
        };
        match self {
            Self::NotOurs => f.write_str("another Towpath acts for this environment"),
            // Most sources name themselves in what they say.
            Self::Unreadable(it) | Self::Retrying { failed: it, .. }
                if it.why.contains(&it.source) =>
            {
                f.write_str(&it.why)
            }
            Self::Unreadable(it) => write!(f, "{} cannot be read: {}", it.source, it.why),
            Self::Retrying { failed, .. } => write!(f, "{}: {}", failed.source, failed.why),
            Self::UnreadableRecords(why) => write!(f, "the records cannot be read: {why}"),
            Self::BrokenManifests(why) => f.write_str(why),
            Self::Behind { commit, seen } => {
                let commit = commit.short();
                write!(f, "{seen} {commit}, which the branch does not show yet")
            }
            Self::WentBack => {
                f.write_str("the branch went back behind the newest recorded deployment")
            }
            Self::Held {
                reason,
                place: Some(place),
                ..
            } => write!(f, "held in {place}: {reason}"),
            Self::Held { reason, by, .. } => write!(f, "held by {by}: {reason}"),
            Self::Adopting { objects } => {
                write!(
                    f,
                    "live objects that are not ours would be changed: {}",
                    objects.join(", ")
                )
            }
            Self::Pinned { release, reason } => write!(f, "pinned to {}: {reason}", shown(release)),
            Self::Failed { release, reason } => write!(f, "{} failed: {reason}", shown(release)),
            Self::Refused { reason } => f.write_str(reason),
            Self::LineStopped { reason } => write!(f, "the line is stopped: {reason}"),
            Self::Unwritable { release, why } => write!(f, "{release} cannot be written: {why}"),
            Self::Frozen { release, frozen } => {
                match frozen.until {
                    Some(until) => write!(f, "frozen until {}", clock(until))?,
                    None => f.write_str("frozen")?,
                }
                let by = if frozen.by_person { "by" } else { "in" };
                write!(f, " {by} {}: {}", frozen.by, frozen.reason)?;
                match release {
                    Some(release) => write!(f, "; {release} waits"),
                    None => Ok(()),
                }
            }
            Self::Declined { release } => write!(f, "{release} was declined"),
            Self::Incomplete { name, missing } => {
                let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
                match missing.is_empty() {
                    true => write!(f, "{name} lacks an image"),
                    false => write!(f, "{name} lacks its image in {}", missing.join(", ")),
                }
            }
            Self::Evidence { release, lacks } => f.write_str(&evidence::sentence(release, lacks)),
            Self::Soaking {
                release,
                environment,
                until,
            } => {
                write!(
                    f,
                    "{release} soaks in {environment} until {}",
                    clock(*until)
                )
            }
            Self::Upstream {
                environment,
                release,
                why,
            } => match release {
                Some(release) => write!(f, "{release} is not proven in {environment}: {why}"),
                None => write!(f, "nothing newer is proven in {environment}: {why}"),
            },
            Self::Young { release, until } => {
                let until = clock(*until);
                write!(f, "{release} is not old enough until {until}")
            }
            Self::Rate { release, rate, .. } => write!(
                f,
                "{release} waits: {} in the last {}, and no more may come by themselves",
                match rate.at_most {
                    1 => "1 deployment came".to_owned(),
                    count => format!("{count} deployments came"),
                },
                in_words(rate.per)
            ),
            Self::SecondWord { release, by } => write!(
                f,
                "{release} is not proven, and takes the word of two people, one with a key that may `override`: {by} asked for it"
            ),
            Self::Scheduled { release, by, until } => {
                write!(f, "{release} waits until {}, as {by} said", clock(*until))
            }
            Self::Paced { release } => write!(f, "{release} waits for the running release's proof"),
            Self::Gate {
                release,
                request,
                armed,
                follows,
                ..
            } => {
                write!(f, "{release} waits for a person to merge {request}")?;
                if let Some(armed) = armed {
                    write!(f, ", {armed}")?;
                }
                match follows {
                    Some(newer) => write!(f, "; {newer} follows"),
                    None => Ok(()),
                }
            }
            Self::Converging {
                release, progress, ..
            } => {
                write!(f, "{} rolls out: {progress}", shown(release))
            }
            Self::Outpaced { count } => {
                write!(
                    f,
                    "{count} releases in a row were superseded before they were proven"
                )
            }
            Self::PruneLimit {
                count,
                limit,
                number,
            } => write!(
                f,
                "{} would be deleted with deployment {number}, {limit} may be",
                match count {
                    1 => "1 object".to_owned(),
                    count => format!("{count} objects"),
                }
            ),
            Self::Confirm { objects, number } => write!(
                f,
                "deployment {number} no longer asks for what is only deleted with a yes: {}",
                objects.join(", ")
            ),
            Self::Contested { objects } => {
                write!(f, "set back again and again: {}", objects.join(", "))
            }
            Self::Drifted { objects } => write!(f, "drifted: {}", objects.join(", ")),
            Self::Removed { objects } => write!(
                f,
                "the configuration no longer takes it here, and it is left running: {}",
                objects.join(", ")
            ),
            Self::NothingReleased => f.write_str("no release yet"),
            Self::UpToDate { release } => match release {
                Some(release) => write!(f, "{release} runs, nothing newer is released"),
                None => f.write_str("nothing newer is released"),
            },
        }
    }
}

/// A length of time for people: `1h 30m`.
pub(super) fn in_words(time: std::time::Duration) -> String {
    let time = jiff::SignedDuration::try_from(time).unwrap_or(jiff::SignedDuration::MAX);
    format!("{time:#}")
}

/// A moment for people: seconds are enough.
fn clock(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}
