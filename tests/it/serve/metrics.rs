//! What is counted: the documented metrics, no others, with the documented labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;
use towpath::event::EventKind;
use towpath::serve::metrics::METRICS;

use super::site::{SECRET, Site, signed};

/// The labels of each series of a metric, as they are sent.
fn series(text: &str) -> BTreeMap<String, BTreeSet<Vec<String>>> {
    let mut found: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        let (name, rest) = line.split_at(end);
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let labels = rest
            .strip_prefix('{')
            .and_then(|rest| rest.split_once("} "));
        let labels = labels.map_or("", |(labels, _)| labels).split("\",");
        let labels = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        let labels = labels.filter(|label| label != "le").collect();
        found.entry(name.to_owned()).or_default().insert(labels);
    }
    found
}

fn value(text: &str, series: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series));
    let Some(found) = found else {
        panic!("no {series} in\n{text}");
    };
    let value = found.trim().parse();
    value.unwrap_or_else(|error| panic!("{series}{found}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_counted_under_documented_names() {
    let mut site = Site::start().await;
    site.push("v1.1.0").await;
    let body = json!({ "images": [format!("{}:v1.1.0", site.image())] }).to_string();
    for (secret, times) in [(SECRET, 1), ("guess", 3)] {
        for _ in 0..times {
            let send = site
                .client
                .post(site.url("/hooks/generic"))
                .body(body.clone());
            let signature = signed(secret, body.as_bytes());
            let sent = send.header("x-towpath-signature", signature).send().await;
            drop(sent.unwrap());
        }
    }
    site.until(EventKind::Proposed).await;
    // What is told last is counted last.
    let text = loop {
        let (status, text) = site.get("/metrics").await;
        assert_eq!(status, 200);
        let gate = "towpath_waiting_seconds{environment=\"production\"";
        if text.contains("stage=\"proposed\"") && text.contains(gate) {
            break text;
        }
    };
    assert!(text.ends_with("# EOF\n"));
    let found = series(&text);
    for (name, labels) in &found {
        let described = METRICS.iter().find(|it| it.name == name);
        let described = described.unwrap_or_else(|| panic!("{name} is not described"));
        for labels in labels {
            assert_eq!(labels, described.labels, "{name}");
        }
        let stem = name.trim_end_matches("_total");
        let kind = format!("# TYPE {stem} {}", described.kind);
        assert!(text.contains(&kind), "{kind}");
        let help = format!("# HELP {stem} {}\n", described.help);
        assert!(text.contains(&help), "{help}");
    }
    let untold: Vec<_> = METRICS
        .iter()
        .filter(|it| !found.contains_key(it.name))
        .collect();
    let untold: Vec<_> = untold.iter().map(|it| it.name).collect();
    // No host of the demo has a limit, and nobody is told of news there.
    assert_eq!(
        untold,
        [
            "towpath_api_budget_remaining",
            "towpath_api_budget_reset_timestamp_seconds",
            "towpath_notifications_total",
            "towpath_notification_failing_seconds"
        ]
    );
    let deliveries = |outcome: &str, event: &str| {
        let name = "towpath_webhook_deliveries_total";
        value(
            &text,
            &format!("{name}{{sender=\"generic\",event=\"{event}\",outcome=\"{outcome}\"}}"),
        )
    };
    assert_eq!(deliveries("woke", "push"), 1.0);
    assert_eq!(deliveries("wrong-signature", "other"), 3.0);
    assert_eq!(
        value(
            &text,
            "towpath_releases_seen_total{application=\"pipeline-application\"}"
        ),
        1.0
    );
    assert_eq!(value(&text, "towpath_ready"), 1.0);
    assert_eq!(value(&text, "towpath_stalled_loops"), 0.0);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    for (environment, stage) in [
        ("qa", "committed"),
        ("qa", "applied"),
        ("qa", "healthy"),
        ("production", "proposed"),
    ] {
        let labels = format!("environment=\"{environment}\",stage=\"{stage}\"");
        assert_eq!(
            value(&text, &format!("towpath_stage_seconds_count{{{labels}}}")),
            1.0,
            "{labels}"
        );
    }
    let units = text
        .lines()
        .filter(|line| line.starts_with("towpath_waiting_seconds{"));
    assert!(units.count() <= 3);
    site.end().await;
}

#[test]
fn every_metric_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- metrics, from the code -->\n", "<!-- end -->");
    let (before, rest) = page.split_once(begin).expect("the page has the table");
    let (_, after) = rest.split_once(end).expect("the table has an end");
    let rows = METRICS.iter().map(|it| {
        let labels: Vec<_> = it.labels.iter().map(|label| format!("`{label}`")).collect();
        format!(
            "| `{}` | {} | {} | {} |\n",
            it.name,
            it.kind,
            labels.join(", "),
            it.help
        )
    });
    let table = "| metric | kind | labels | |\n|---|---|---|---|\n".to_owned();
    let table = rows.fold(table, |table, row| table + &row);
    let now = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    assert!(
        page == now || std::env::var_os("TOWPATH_UPDATE").is_some(),
        "TOWPATH_UPDATE=1 writes docs/metrics.md anew"
    );
}
