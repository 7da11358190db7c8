//! Which log is read, and what of it is shown.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn a_job_that_runs_for_every_release_is_told_unless_it_says_otherwise() {
    for (version, kind, annotations, expected) in [
        (
            "batch/v1",
            "Job",
            json!({ "towpath.dev/run": "before" }),
            true,
        ),
        ("batch/v1", "Job", json!({}), false),
        (
            "batch/v1",
            "CronJob",
            json!({ "towpath.dev/run": "before" }),
            false,
        ),
        (
            "example.com/v1",
            "Job",
            json!({ "towpath.dev/run": "before" }),
            false,
        ),
        (
            "batch/v1",
            "Job",
            json!({ "towpath.dev/run": "after", "towpath.dev/logs": "off" }),
            false,
        ),
        (
            "batch/v1",
            "Job",
            json!({ "towpath.dev/run": "after", "towpath.dev/logs": "false" }),
            false,
        ),
    ] {
        let object = json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": { "namespace": "shop", "name": "migrate", "uid": "7", "annotations": annotations },
        });
        assert_eq!(JobLog::of(&object).is_some(), expected, "{object}");
    }
    for object in [
        json!(null),
        json!([]),
        json!({ "kind": "Job", "apiVersion": "batch/v1" }),
    ] {
        assert_eq!(JobLog::of(&object), None);
    }
}

#[test]
fn what_is_shown_is_the_end_of_the_log_without_what_steers_a_terminal() {
    for (log, expected) in [
        ("", None),
        ("\n \r\n\t\n", None),
        ("one", Some("one")),
        ("1\n2\n\n3\r\n4\n5\n6\n", Some("2 | 3 | 4 | 5 | 6")),
        (
            "\u{1b}[1;31mfailed\u{1b}[0m: \u{1b}]8;;http://x\u{1b}\\here\u{1b}]8;;\u{7}!",
            Some("failed: here!"),
        ),
        // What was not ended ends with its line.
        ("\u{1b}]0;title\nboom", Some("boom")),
        ("10 %\r50 %\r100 %\r\ndone", Some("100 % | done")),
        ("a\u{0}b\u{8}c\u{9b}31md", Some("abc\\u{9b}31md")),
        ("größe: 2 µs", Some("größe: 2 µs")),
    ] {
        assert_eq!(shown(log.as_bytes()).as_deref(), expected, "{log:?}");
    }
    assert_eq!(
        shown(b"caf\xe9 \xff").as_deref(),
        Some("caf\u{fffd} \u{fffd}")
    );
}

proptest! {
    #[test]
    fn whatever_was_written_is_one_short_line(log in prop::collection::vec(
        prop_oneof![
            any::<u8>(),
            prop::sample::select(&b"\x1b[]P\\\x07;mAB\xc3\xa9\xc2\x9b\xf0\x9f\r\n 0"[..]),
        ],
        0..400,
    )) {
        if let Some(shown) = shown(&log) {
            prop_assert!(!shown.is_empty() && shown.len() <= 2048, "{}", shown.len());
            prop_assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }
}

#[test]
fn five_long_lines_fit() {
    let lines = format!("{}\n", "é😀".repeat(1000)).repeat(9);
    let all = shown(lines.as_bytes()).unwrap();
    assert_eq!(all.matches('…').count(), LINES);
    assert!((1900..=2048).contains(&all.len()), "{}", all.len());
}

/// A pod from `NAME SECOND CONTAINER…`: made in that second, of the Job `7`. A container is `NAME:STATE`,
/// where STATE is `run`, `wait`, `exit=CODE@SECOND`, each with `<CODE@SECOND` for how it ended before, and
/// with a `+` in front of its name where it is an init container. `leaving` in front: it is being deleted.
fn pod(text: &str) -> Pod {
    let mut words: Vec<&str> = text.split(' ').collect();
    let is_leaving = words[0] == "leaving";
    if is_leaving {
        words.remove(0);
    }
    let at = |second: &str| format!("2026-01-01T00:00:{second:0>2}Z");
    let ended = |text: &str| {
        let (code, second) = text.split_once('@').unwrap();
        json!({ "terminated": { "exitCode": code.parse::<i32>().unwrap(), "finishedAt": at(second) } })
    };
    let (mut init, mut regular) = (Vec::new(), Vec::new());
    for word in &words[2..] {
        let (name, state) = word.split_once(':').unwrap();
        let (state, last) = state.split_once('<').unwrap_or((state, ""));
        let state = match state.strip_prefix("exit=") {
            Some(text) => ended(text),
            None if state == "run" => json!({ "running": {} }),
            None => json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
        };
        let last = if last.is_empty() {
            json!({})
        } else {
            ended(last)
        };
        let (list, name) = match name.strip_prefix('+') {
            Some(name) => (&mut init, name),
            None => (&mut regular, name),
        };
        list.push(json!({
            "name": name, "image": "shop", "imageID": "shop", "ready": false, "restartCount": 0,
            "state": state, "lastState": last,
        }));
    }
    let deleted = is_leaving.then(|| at("59"));
    let owner = match words[0].starts_with("other") {
        true => "8",
        false => "7",
    };
    serde_json::from_value(json!({
        "metadata": {
            "name": words[0],
            "creationTimestamp": at(words[1]),
            "deletionTimestamp": deleted,
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": "migrate", "uid": owner }],
        },
        "status": { "initContainerStatuses": init, "containerStatuses": regular },
    }))
    .unwrap()
}

#[test]
fn the_log_is_that_of_the_container_which_failed_in_the_newest_failed_pod() {
    for (pods, expected) in [
        (vec![], None),
        (vec!["a 1 run:exit=1@9"], Some(("a", "run", false))),
        (vec!["a 1 run:run"], None),
        (vec!["a 1 run:exit=0@9"], None),
        // The newest, of those that failed, of this Job.
        (
            vec!["b 5 run:exit=1@9", "c 3 run:exit=1@8"],
            Some(("b", "run", false)),
        ),
        (
            vec!["b 3 run:exit=1@9", "c 3 run:exit=1@8"],
            Some(("c", "run", false)),
        ),
        (
            vec!["b 3 run:exit=1@9", "c 5 run:run"],
            Some(("b", "run", false)),
        ),
        (vec!["b 3 run:exit=1@9", "c 5"], Some(("b", "run", false))),
        (
            vec!["b 3 run:exit=1@9", "other 5 run:exit=1@9"],
            Some(("b", "run", false)),
        ),
        // One that runs again, or will.
        (vec!["a 1 run:wait<1@8"], Some(("a", "run", true))),
        (vec!["a 1 run:run<1@8"], Some(("a", "run", true))),
        (vec!["a 1 run:exit=2@9<1@8"], Some(("a", "run", false))),
        (vec!["a 1 run:exit=0@9<1@8"], None),
        // Several containers.
        (
            vec!["a 1 proxy:exit=143@9 run:exit=1@8"],
            Some(("a", "run", false)),
        ),
        (
            vec!["a 1 +first:exit=3@4 run:wait"],
            Some(("a", "first", false)),
        ),
        (
            vec!["a 1 +proxy:exit=137@8 run:exit=1@8"],
            Some(("a", "run", false)),
        ),
        (
            vec!["a 1 +proxy:run<2@3 run:exit=1@8"],
            Some(("a", "run", false)),
        ),
        // One that took too long.
        (vec!["leaving a 1 run:run"], Some(("a", "run", false))),
        (vec!["leaving a 1 run:wait"], None),
        (
            vec!["leaving a 1 proxy:run run:run<1@8"],
            Some(("a", "run", true)),
        ),
    ] {
        let read: Vec<Pod> = pods.iter().map(|text| pod(text)).collect();
        let found = culprit(&read, "7");
        let found = found
            .as_ref()
            .map(|it| (it.pod.as_str(), it.container, it.was_restarted));
        assert_eq!(found, expected, "{pods:?}");
    }
}
