//! How long each stage of a release took, put together from events.
//!
//! Known since this process began and no further: a stage whose beginning was not seen is not measured.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::event::{Event, EventKind};
use crate::model::{ApplicationName, EnvironmentName};

/// Releases whose moments are remembered. Older ones are not measured any more.
const RELEASES: usize = 4096;

/// See the module.
#[derive(Default)]
pub(super) struct Stages {
    seen: Moments,
    healthy: Moments,
    units: BTreeMap<(EnvironmentName, ApplicationName), Unit>,
}

/// Until when the last stage lasted that a unit's next one begins with. Each is measured once.
#[derive(Default)]
struct Unit {
    committed: Option<Timestamp>,
    applied: Option<Timestamp>,
    proposed: Option<Timestamp>,
}

/// When something happened to a release, of the last so many.
#[derive(Default)]
struct Moments {
    at: BTreeMap<(ApplicationName, String), Timestamp>,
    order: VecDeque<(ApplicationName, String)>,
}

impl Moments {
    fn note(&mut self, release: (ApplicationName, String), at: Timestamp) {
        if self.at.insert(release.clone(), at).is_some() {
            return;
        }
        self.order.push_back(release);
        if self.order.len() > RELEASES
            && let Some(oldest) = self.order.pop_front()
        {
            self.at.remove(&oldest);
        }
    }
}

impl Stages {
    /// Takes note of an event. Gives the stage that it ends, and how many seconds that took.
    pub(super) fn take(&mut self, event: &Event) -> Option<(&'static str, f64)> {
        let name = event.release.as_ref().map(|release| release.name.clone());
        let release = name.map(|name| (event.application.clone(), name));
        if event.kind == EventKind::ReleaseSeen {
            self.seen.note(release?, event.at);
            return None;
        }
        let key = (event.environment.clone()?, event.application.clone());
        let unit = self.units.entry(key).or_default();
        let (stage, since) = match event.kind {
            EventKind::Committed => {
                unit.committed = Some(event.at);
                ("committed", self.seen.at.get(&release?).copied())
            }
            EventKind::Proposed => {
                unit.proposed = Some(event.at);
                ("proposed", self.healthy.at.get(&release?).copied())
            }
            EventKind::Merged => {
                unit.committed = Some(event.at);
                ("merged", unit.proposed.take())
            }
            EventKind::Applied => {
                let since = unit.committed.take();
                // What is applied again without a commit, against drift, begins nothing.
                if since.is_some() {
                    unit.applied = Some(event.at);
                }
                ("applied", since)
            }
            EventKind::Healthy => {
                let since = unit.applied.take();
                if let Some(release) = release {
                    self.healthy.note(release, event.at);
                }
                ("healthy", since)
            }
            EventKind::Failed => {
                unit.applied = None;
                return None;
            }
            _ => return None,
        };
        let took = event.at.duration_since(since?).as_secs_f64();
        Some((stage, took.max(0.0)))
    }
}
