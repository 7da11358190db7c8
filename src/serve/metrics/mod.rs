//! What is counted and measured, for [Prometheus](https://prometheus.io/docs/instrumenting/exposition_formats/).
//!
//! Fed by events, by the board and by the receiver of webhooks; nothing that decides knows of it. Labels
//! are names of the configuration and words of a fixed few, never what somebody sent: the number of series
//! is bounded by what is configured.

mod now;
mod process;
mod stages;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::event::{Event, EventKind};
use crate::http::Meter;
use crate::model::Sender;
use crate::notifications::Standings;
use crate::reconcile::Reconciler;

use now::Now;
use stages::Stages;

/// One metric, as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// The name that is asked for.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The labels of its series.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// Every metric.
pub const METRICS: [Described; 23] = [
    RELEASES,
    STAGES,
    VERDICTS,
    WAITING,
    UNITS,
    READY,
    STALLED,
    API_CALLS,
    API_BUDGET,
    API_BUDGET_RESETS,
    RACES,
    DELIVERIES,
    DELIVERY_AGE,
    CONNECTIONS,
    SOURCES,
    NOTIFICATIONS,
    NOTIFICATION_FAILING,
    BUILD,
    process::MEMORY,
    process::CPU,
    process::START,
    process::THREADS,
    process::DESCRIPTORS,
];

const RELEASES: Described = Described {
    name: "towpath_releases_seen_total",
    kind: "counter",
    labels: &["application"],
    help: "Releases that were seen for the first time.",
};
const STAGES: Described = Described {
    name: "towpath_stage_seconds",
    kind: "histogram",
    labels: &["environment", "stage"],
    help: "How long each stage of a release took: `committed` from when it was seen, `applied` from its commit or merge, `healthy` from its apply, `proposed` from when it was healthy upstream, `merged` from its proposal.",
};
const VERDICTS: Described = Described {
    name: "towpath_verdicts_total",
    kind: "counter",
    labels: &["environment", "verdict"],
    help: "Verdicts that were recorded: `healthy` or `failed`.",
};
const WAITING: Described = Described {
    name: "towpath_waiting_seconds",
    kind: "gauge",
    labels: &["environment", "application", "reason"],
    help: "How long a unit has been waiting for the one reason that `explain` names; one series per unit, none where no beginning is known.",
};
const UNITS: Described = Described {
    name: "towpath_units",
    kind: "gauge",
    labels: &["environment", "state"],
    help: "Units by what they do: the reason they wait for, or `acting`.",
};
const READY: Described = Described {
    name: "towpath_ready",
    kind: "gauge",
    labels: &[],
    help: "Whether every source was tried once, as `/readyz` tells it.",
};
const STALLED: Described = Described {
    name: "towpath_stalled_loops",
    kind: "gauge",
    labels: &[],
    help: "Loops that do not turn, as `/healthz` names them.",
};
const API_CALLS: Described = Described {
    name: "towpath_api_calls_total",
    kind: "counter",
    labels: &["host", "outcome"],
    help: "Requests to git servers, registries and forges: `answered`, `unchanged` (304), `limited` (429, and 403 with a limit), `refused` (other 4xx), `failed` (5xx, or no answer).",
};
const API_BUDGET: Described = Described {
    name: "towpath_api_budget_remaining",
    kind: "gauge",
    labels: &["host"],
    help: "Requests left until the limit, where the host says so.",
};
const API_BUDGET_RESETS: Described = Described {
    name: "towpath_api_budget_reset_timestamp_seconds",
    kind: "gauge",
    labels: &["host"],
    help: "When that limit begins anew, where the host says so.",
};
const RACES: Described = Described {
    name: "towpath_push_races_lost_total",
    kind: "counter",
    labels: &[],
    help: "Pushes that changed nothing because somebody else was faster; each is planned again.",
};
const DELIVERIES: Described = Described {
    name: "towpath_webhook_deliveries_total",
    kind: "counter",
    labels: &["sender", "event", "outcome"],
    help: "Webhooks by sender, kind of event and what came of them.",
};
const DELIVERY_AGE: Described = Described {
    name: "towpath_webhook_last_delivery_timestamp_seconds",
    kind: "gauge",
    labels: &["sender"],
    help: "When the last believable webhook of a sender came.",
};
const CONNECTIONS: Described = Described {
    name: "towpath_connections_evicted_total",
    kind: "counter",
    labels: &[],
    help: "Connections to the listener that were closed to make room for newer ones.",
};
const SOURCES: Described = Described {
    name: "towpath_source_reads_total",
    kind: "counter",
    labels: &["cause"],
    help: "How often sources were read: because something was `heard`, or by `poll`.",
};
const NOTIFICATIONS: Described = Described {
    name: "towpath_notifications_total",
    kind: "counter",
    labels: &["notification", "outcome"],
    help: "Messages that receivers took (`sent`) or did not want (`refused`), and attempts that came to nothing (`failed`).",
};
const NOTIFICATION_FAILING: Described = Described {
    name: "towpath_notification_failing_seconds",
    kind: "gauge",
    labels: &["notification"],
    help: "How long a receiver has not been told what it should be; 0 where it is.",
};
const BUILD: Described = Described {
    name: "towpath_build_info",
    kind: "gauge",
    labels: &["version"],
    help: "Always 1; what was built.",
};

/// From a hundredth of a second to half a day, each four times the one before.
const BUCKETS: [f64; 12] = [
    0.01, 0.04, 0.16, 0.64, 2.56, 10.24, 40.96, 163.84, 655.36, 2_621.44, 10_485.76, 41_943.04,
];

type Labels<const N: usize> = [(&'static str, String); N];

/// See the module.
pub struct Metrics {
    registry: Registry,
    releases: Family<Labels<1>, Counter>,
    stages: Family<Labels<2>, Histogram, fn() -> Histogram>,
    verdicts: Family<Labels<2>, Counter>,
    deliveries: Family<Labels<3>, Counter>,
    last: Family<Labels<1>, prometheus_client::metrics::gauge::Gauge>,
    pub(super) evicted: Counter,
    now: Arc<Now>,
    known: Mutex<Stages>,
}

impl Metrics {
    /// Counts from now on; `meter` counts what is asked of the outside.
    pub fn new(meter: Meter, start: Timestamp) -> Self {
        let mut registry = Registry::default();
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let now = Arc::new(Now::new(meter));
        let this = Self {
            releases: Family::default(),
            stages: Family::new_with_constructor(histogram),
            verdicts: Family::default(),
            deliveries: Family::default(),
            last: Family::default(),
            evicted: Counter::default(),
            now: now.clone(),
            known: Mutex::default(),
            registry: Registry::default(),
        };
        register(&mut registry, RELEASES, this.releases.clone());
        register(&mut registry, STAGES, this.stages.clone());
        register(&mut registry, VERDICTS, this.verdicts.clone());
        register(&mut registry, DELIVERIES, this.deliveries.clone());
        register(&mut registry, DELIVERY_AGE, this.last.clone());
        register(&mut registry, CONNECTIONS, this.evicted.clone());
        registry.register_collector(Box::new(now));
        registry.register_collector(Box::new(process::Process { start }));
        Self { registry, ..this }
    }

    /// Shows this reconciler's board from now on, and counts its events.
    pub(super) fn show(self: &Arc<Self>, reconciler: &Arc<Reconciler>) {
        self.now.show(reconciler);
        let mut events = reconciler.events();
        let this = Arc::downgrade(self);
        // Ends with the reconciler, which holds the other end.
        tokio::spawn(async move {
            use tokio::sync::broadcast::error::RecvError;
            loop {
                let event = match events.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                };
                let Some(this) = this.upgrade() else { return };
                this.count(&event);
            }
        });
    }

    /// Shows how it goes with those who are told of news.
    pub(super) fn show_told(&self, standings: Standings) {
        self.now.show_told(standings);
    }

    /// Counts an event.
    pub fn count(&self, event: &Event) {
        let environment = event.environment.as_ref().map(ToString::to_string);
        match (event.kind, &environment) {
            (EventKind::ReleaseSeen, _) => {
                let labels = [("application", event.application.to_string())];
                self.releases.get_or_create(&labels).inc();
            }
            (EventKind::Healthy | EventKind::Failed, Some(environment)) => {
                let verdict = event.kind.name().to_owned();
                let labels = [("environment", environment.clone()), ("verdict", verdict)];
                self.verdicts.get_or_create(&labels).inc();
            }
            _ => {}
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let took = known.take(event);
        drop(known);
        if let (Some((stage, took)), Some(environment)) = (took, environment) {
            let labels = [("environment", environment), ("stage", stage.to_owned())];
            self.stages.get_or_create(&labels).observe(took);
        }
    }

    /// Counts a webhook.
    pub(super) fn delivered(
        &self,
        sender: Option<Sender>,
        event: &'static str,
        outcome: &'static str,
        believed_at: Option<Timestamp>,
    ) {
        let sender = sender.map_or("unknown", Sender::name).to_owned();
        if let Some(at) = believed_at {
            let labels = [("sender", sender.clone())];
            self.last.get_or_create(&labels).set(at.as_second());
        }
        let labels = [
            ("sender", sender),
            ("event", event.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        self.deliveries.get_or_create(&labels).inc();
    }

    /// Everything, as text.
    ///
    /// # Errors
    /// None that is known of: writing text does not fail.
    pub(super) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The name without the ending that the format adds to counters.
fn stem(described: Described) -> &'static str {
    let name = described.name;
    name.strip_suffix("_total").unwrap_or(name)
}

fn register(registry: &mut Registry, described: Described, metric: impl Metric) {
    // A full stop is added.
    let help = described.help.trim_end_matches('.');
    registry.register(stem(described), help, metric);
}
