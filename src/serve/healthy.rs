//! Whether the process is well, for whoever would start it anew or send it work, and what it counted.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::time::Instant;

use super::Serving;

/// The text format of [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/#overall-structure).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Loops and applications that are named in an answer.
const NAMED_MAX: usize = 10;

/// Whether every loop turns. Sources that cannot be read are no reason to start anew.
pub(super) async fn healthz(State(serving): State<Arc<Serving>>) -> Response {
    let stalled = serving.reconciler().map(|reconciler| {
        let stalled = reconciler.pulse().stalled(Instant::now());
        let lines = stalled.iter().map(|it| {
            let late = it.late.as_secs();
            format!("{} should have gone on {late} s ago", it.whose)
        });
        lines.collect::<Vec<_>>()
    });
    told("stalled", stalled.unwrap_or_default())
}

/// Whether every source was tried once, so that what is known is worth asking for.
pub(super) async fn readyz(State(serving): State<Arc<Serving>>) -> Response {
    if serving.now().ready {
        return told("", Vec::new());
    }
    let Some(reconciler) = serving.reconciler() else {
        return told("not ready", vec!["it is starting".to_owned()]);
    };
    let untried = reconciler.untried();
    let lines = untried.iter().map(|name| {
        let waits = "a source of it was not tried yet";
        format!("{name}: {waits}")
    });
    let lines: Vec<_> = lines.collect();
    serving.now().ready |= lines.is_empty();
    told("not ready", lines)
}

fn told(what: &str, lines: Vec<String>) -> Response {
    if lines.is_empty() {
        return "ok\n".into_response();
    }
    let named = lines.iter().take(NAMED_MAX);
    let mut text: String = named.map(|line| format!("{what}: {line}\n")).collect();
    if lines.len() > NAMED_MAX {
        text.push_str(&format!("and {} more\n", lines.len() - NAMED_MAX));
    }
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// What was counted.
pub(super) async fn metrics(State(serving): State<Arc<Serving>>) -> Response {
    match serving.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
