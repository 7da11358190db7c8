//! Hooks: Jobs that run before the rest is applied, or after the rest is current.
//!
//! Each is made anew for every desired state: its mark holds a hash of its own manifest, that state
//! and, where a person asked for the deployment again, when. So which of them have run is read off
//! the cluster; there is no state in between, and nothing waits inside an effect.

use std::sync::Arc;

use super::{Change, Learned, Live, Observed, Ready, UnitView};
use crate::manifest::{Hook, Object};
use crate::model::record::Deployment;
use crate::model::{Digest, Health};

/// How far the hooks of one moment are.
pub(super) enum Hooks {
    /// These must be run.
    Due(Vec<Change>),
    /// They run.
    Running(String),
    /// One of them failed.
    Failed(String),
    /// All have completed.
    Done,
}

/// Whether the object is a hook.
pub(super) fn is_hook(object: &Object) -> bool {
    object.run.is_some()
}

/// The hooks of that moment, as the cluster tells.
pub(super) fn hooks(
    ready: &Ready<'_>,
    deployment: &Deployment,
    live: &Live,
    moment: Hook,
) -> Hooks {
    let (mut due, mut running) = (Vec::new(), None);
    for object in of(ready, moment) {
        let hash = hash(ready, deployment, object);
        if ready.unit.view.learned.completed.contains(&hash) {
            continue;
        }
        let found = live.objects.get(&object.reference);
        let ours = found.filter(|found| {
            let mark = found.mark.as_ref();
            mark.is_some_and(|mark| mark.hash == hash)
        });
        match ours.map(|found| &found.health) {
            Some(Health::Failed(why)) => return Hooks::Failed(why.clone()),
            // A suspended job is not exercised: it does not complete by itself.
            Some(Health::InProgress(progress) | Health::NotExercised(progress)) => {
                running.get_or_insert_with(|| progress.clone());
            }
            Some(Health::Current) => {}
            None => due.push(Change {
                reference: object.reference.clone(),
                version: found.map(|found| found.version.clone()),
                hash,
                anew: true,
            }),
        }
    }
    match (due.is_empty(), running) {
        (false, _) => Hooks::Due(due),
        (true, Some(progress)) => Hooks::Running(progress),
        (true, None) => Hooks::Done,
    }
}

impl Learned {
    /// Remembers which hooks are seen to have completed, until the deployment is judged: some of them
    /// are deleted soon after.
    pub fn see(&mut self, view: &UnitView) {
        let (Ok(infra), Some(Ok(live))) =
            (view.infra.read(), view.live.as_ref().map(Observed::read))
        else {
            return;
        };
        let records = infra.records.as_ref().ok();
        let newest = records.and_then(|records| records.deployment.as_ref());
        if newest.is_none_or(|newest| newest.verdict.is_some()) {
            self.completed.clear();
            return;
        }
        let desired = infra.desired.iter().flat_map(|it| &it.rendered.objects);
        let hooks = desired.filter(|object| is_hook(object));
        let found = hooks.filter_map(|object| live.objects.get(&object.reference));
        let completed = found.filter(|found| found.health == Health::Current);
        self.completed
            .extend(completed.filter_map(|found| Some(found.mark.as_ref()?.hash)));
    }
}

fn of<'a>(ready: &Ready<'a>, moment: Hook) -> impl Iterator<Item = &'a Arc<Object>> {
    let objects = ready.desired.rendered.objects.iter();
    objects.filter(move |object| object.run == Some(moment))
}

/// What a hook's mark says once it was made for this deployment.
fn hash(ready: &Ready<'_>, deployment: &Deployment, object: &Object) -> Digest {
    let mut text = format!("{}\n{}", object.hash(), ready.desired.rendered.state);
    if let Some(retried) = deployment.retried {
        text.push_str(&format!("\n{retried}"));
    }
    Digest::of(text.as_bytes())
}
