//! Which namespaces' pods, revisions and events are followed: those where a workload is not settled,
//! a few at a time, and only for as long.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::around::Part;
use super::follow::{self, Surroundings};
use super::wire::Collection;
use crate::cluster::kubernetes::answer::Asked;

/// As many namespaces are followed at once.
const NAMESPACES_MAX: usize = 16;

/// How long one is followed while others wait.
const TURN: Duration = Duration::from_secs(60);

/// How long one is followed after its last workload has settled: the next one may begin at once.
const LINGER: Duration = Duration::from_secs(10);

/// News that come within this time are looked at together.
const GATHER: Duration = Duration::from_millis(20);

/// How often it is looked at whether one can be left.
const LOOK: Duration = Duration::from_secs(1);

/// The server ends these streams so often: events have no bookmarks that would show it alive.
const LASTS: u32 = 60;

struct Open {
    since: Instant,
    /// Since when nothing there needs an explanation.
    idle: Option<Instant>,
    stop: CancellationToken,
}

/// Opens and closes them, until stopped.
pub(super) async fn explain(shared: Arc<Shared>, stop: CancellationToken) {
    let mut open: BTreeMap<Arc<str>, Open> = BTreeMap::new();
    loop {
        let unsettled = shared.unsettled.notified();
        tokio::pin!(unsettled);
        unsettled.as_mut().enable();
        look(&shared, &mut open, &stop);
        let look = match open.is_empty() {
            true => Duration::MAX,
            false => LOOK,
        };
        tokio::select! {
            () = unsettled => {}
            () = tokio::time::sleep(look) => {}
            () = stop.cancelled() => return,
        }
        // Many workloads begin at once.
        tokio::time::sleep(GATHER).await;
    }
}

fn look(shared: &Arc<Shared>, open: &mut BTreeMap<Arc<str>, Open>, stop: &CancellationToken) {
    let now = Instant::now();
    let wanted = shared.store().unexplained();
    for (namespace, open) in open.iter_mut() {
        match wanted.contains(namespace) {
            true => open.idle = None,
            false => drop(open.idle.get_or_insert(now)),
        }
    }
    let waiting: Vec<&Arc<str>> = wanted.iter().filter(|it| !open.contains_key(*it)).collect();
    let others_wait = open.len() + waiting.len() > NAMESPACES_MAX;
    let is_done = |open: &Open| match open.idle {
        Some(idle) => now - idle >= LINGER || others_wait,
        None => others_wait && now - open.since >= TURN,
    };
    open.retain(|namespace, it| {
        let done = is_done(it);
        if done {
            it.stop.cancel();
            // What was seen of those that are still not settled stays true until their next turn.
            if it.idle.is_some() {
                shared.store().around.remove(namespace);
            }
        }
        !done
    });
    let room = NAMESPACES_MAX.saturating_sub(open.len());
    for namespace in waiting.into_iter().take(room) {
        let stop = stop.child_token();
        follow_all(shared, namespace, &stop);
        let new = Open {
            since: now,
            idle: None,
            stop,
        };
        open.insert(namespace.clone(), new);
    }
}

fn follow_all(shared: &Arc<Shared>, namespace: &Arc<str>, stop: &CancellationToken) {
    shared.store().around.remove(namespace);
    for part in Part::ALL {
        let collection = Collection {
            path: part.path(namespace),
            labels: None,
            fields: (part == Part::Events).then(|| "type=Warning".to_owned()),
            lasts: LASTS,
        };
        let asked = Asked {
            verb: "watch",
            resource: part.resource().to_owned(),
            namespace: Some(namespace.to_string()),
        };
        let sink = Surroundings {
            shared: shared.clone(),
            namespace: namespace.clone(),
            part,
            missing: HashSet::new(),
            known: HashSet::new(),
        };
        let following = follow::follow(shared.clone(), collection, asked, sink, stop.clone());
        drop(shared.tasks.spawn(following));
    }
}
