//! What stands as it is when it is asked for: the board, budgets, whether all is well.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{
    API_BUDGET, API_BUDGET_RESETS, API_CALLS, BUILD, Described, NOTIFICATION_FAILING,
    NOTIFICATIONS, RACES, READY, SOURCES, STALLED, UNITS, WAITING, stem,
};
use crate::clock;
use crate::http::Meter;
use crate::notifications::Standings;
use crate::plan::Decision;
use crate::reconcile::{Counts, Reconciler};

/// See the module.
pub(super) struct Now {
    meter: Meter,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    reconciler: Weak<Reconciler>,
    /// Of the reconcilers before this one.
    before: Counts,
    told: Standings,
}

impl Now {
    pub(super) fn new(meter: Meter) -> Self {
        Self {
            meter,
            shown: Mutex::default(),
        }
    }

    /// Shows this reconciler from now on.
    pub(super) fn show(&self, reconciler: &Arc<Reconciler>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = shown.reconciler.upgrade() {
            shown.before = shown.before.and(before.pulse().counts());
        }
        shown.reconciler = Arc::downgrade(reconciler);
    }
}

impl Now {
    /// Shows how it goes with those who are told of news.
    pub(super) fn show_told(&self, standings: Standings) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.told = standings;
    }

    fn told(&self, encoder: &mut DescriptorEncoder<'_>, now: Timestamp) -> fmt::Result {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let told = shown.told.counts();
        drop(shown);
        let outcomes = told.iter().flat_map(|(name, it)| {
            let outcomes = [
                ("sent", it.sent),
                ("failed", it.failed),
                ("refused", it.refused),
            ];
            outcomes.map(|(outcome, count)| {
                (
                    [("notification", name.as_str()), ("outcome", outcome)],
                    count,
                )
            })
        });
        counters(encoder, NOTIFICATIONS, outcomes)?;
        let failing = told.iter().map(|(name, it)| {
            let since = it.failing.as_ref().map(|(since, _)| *since);
            let seconds = since.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
            ([("notification", name.as_str())], seconds.max(0.0))
        });
        gauges(encoder, NOTIFICATION_FAILING, failing)
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

/// Writes one metric with its series.
fn gauges<S: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    described: Described,
    series: impl IntoIterator<Item = (S, f64)>,
) -> fmt::Result {
    let mut metric =
        encoder.encode_descriptor(stem(described), described.help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The same of a metric that only grows.
fn counters<S: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    described: Described,
    series: impl IntoIterator<Item = (S, u64)>,
) -> fmt::Result {
    let mut metric =
        encoder.encode_descriptor(stem(described), described.help, None, MetricType::Counter)?;
    for (labels, value) in series {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The same of a metric with one value and no labels.
fn gauge(encoder: &mut DescriptorEncoder<'_>, described: Described, value: f64) -> fmt::Result {
    let kind = MetricType::Gauge;
    let metric = encoder.encode_descriptor(stem(described), described.help, None, kind)?;
    ConstGauge::new(value).encode(metric)
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        gauges(encoder, BUILD, [(version, 1.0)])?;
        self.outside(encoder)?;
        self.told(encoder, clock::now())?;
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let (reconciler, mut counts) = (shown.reconciler.upgrade(), shown.before);
        drop(shown);
        if let Some(reconciler) = &reconciler {
            counts = counts.and(reconciler.pulse().counts());
            board(encoder, reconciler, clock::now())?;
        }
        let races =
            encoder.encode_descriptor(stem(RACES), RACES.help, None, MetricType::Counter)?;
        ConstCounter::new(counts.races_lost).encode(races)?;
        let reads = [("heard", counts.heard), ("poll", counts.polled)];
        let reads = reads.map(|(cause, reads)| ([("cause", cause)], reads));
        counters(encoder, SOURCES, reads)
    }
}

impl Now {
    fn outside(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let hosts = self.meter.hosts();
        let calls = hosts.iter().flat_map(|(host, it)| {
            let outcomes = it.calls.iter();
            outcomes.map(move |(outcome, calls)| {
                let labels = [("host", host.as_str()), ("outcome", outcome.name())];
                (labels, *calls)
            })
        });
        counters(encoder, API_CALLS, calls)?;
        let budgets = || {
            hosts.iter().filter_map(|(host, it)| {
                let budget = it.budget.as_ref()?;
                Some(([("host", host.as_str())], budget))
            })
        };
        let left = budgets().map(|(labels, it)| (labels, it.remaining as f64));
        gauges(encoder, API_BUDGET, left)?;
        let resets = budgets().filter_map(|(labels, it)| {
            let resets = it.resets?.as_second();
            Some((labels, resets as f64))
        });
        gauges(encoder, API_BUDGET_RESETS, resets)
    }
}

fn board(
    encoder: &mut DescriptorEncoder<'_>,
    reconciler: &Reconciler,
    now: Timestamp,
) -> fmt::Result {
    let board = reconciler.board().all();
    let mut units: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    let mut waiting = Vec::new();
    for (posted, unit) in board
        .iter()
        .flat_map(|it| it.plan.units.iter().map(move |unit| (it, unit)))
    {
        let environment = unit.environment.as_str();
        let state = match &unit.decision {
            Decision::Step(_) => "acting",
            Decision::Waiting(it) => {
                if let Some(since) = it.since {
                    let labels = [
                        ("environment", environment),
                        ("application", posted.plan.application.as_str()),
                        ("reason", it.reason.name()),
                    ];
                    let seconds = now.duration_since(since).as_secs_f64();
                    waiting.push((labels, seconds.max(0.0)));
                }
                it.reason.name()
            }
        };
        *units.entry((environment, state)).or_default() += 1;
    }
    gauges(encoder, WAITING, waiting)?;
    let units = units.into_iter().map(|((environment, state), count)| {
        let labels = [("environment", environment), ("state", state)];
        (labels, count as f64)
    });
    gauges(encoder, UNITS, units)?;
    let ready = f64::from(u8::from(reconciler.untried().is_empty()));
    gauge(encoder, READY, ready)?;
    let stalled = reconciler.pulse().stalled(tokio::time::Instant::now());
    gauge(encoder, STALLED, stalled.len() as f64)
}
