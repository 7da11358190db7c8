//! What the process takes of its machine, in the names that
//! [every client library](https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics) uses. Told
//! where there is a `/proc`, left out elsewhere.

use std::fmt;
use std::fs;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Described, stem};

pub(super) const MEMORY: Described = Described {
    name: "process_resident_memory_bytes",
    kind: "gauge",
    labels: &[],
    help: "Resident memory of the process.",
};
pub(super) const CPU: Described = Described {
    name: "process_cpu_seconds_total",
    kind: "counter",
    labels: &[],
    help: "Processor time that the process took.",
};
pub(super) const START: Described = Described {
    name: "process_start_time_seconds",
    kind: "gauge",
    labels: &[],
    help: "When the process began.",
};
pub(super) const THREADS: Described = Described {
    name: "process_threads",
    kind: "gauge",
    labels: &[],
    help: "Threads of the process.",
};
pub(super) const DESCRIPTORS: Described = Described {
    name: "process_open_fds",
    kind: "gauge",
    labels: &[],
    help: "Files and connections that the process holds open.",
};

/// Ticks a second in `/proc` ([proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)):
/// `USER_HZ`, which is 100 on every architecture that is built for.
const TICKS: f64 = 100.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) start: Timestamp,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |described: Described, value: f64| {
            let gauge = ConstGauge::new(value);
            let kind = prometheus_client::metrics::MetricType::Gauge;
            let metric = encoder.encode_descriptor(stem(described), described.help, None, kind)?;
            gauge.encode(metric)
        };
        gauge(START, self.start.as_second() as f64)?;
        if let Some(kibibytes) = status("VmRSS:") {
            gauge(MEMORY, kibibytes * 1024.0)?;
        }
        if let Some(threads) = status("Threads:") {
            gauge(THREADS, threads)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            gauge(DESCRIPTORS, open.count() as f64)?;
        }
        if let Some(seconds) = cpu() {
            let counter = ConstCounter::new(seconds);
            let kind = prometheus_client::metrics::MetricType::Counter;
            let metric = encoder.encode_descriptor(stem(CPU), CPU.help, None, kind)?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// A number of `/proc/self/status`.
fn status(name: &str) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time: fields 14 and 15 of `/proc/self/stat`, counted behind the name, which may hold
/// anything.
fn cpu() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}
