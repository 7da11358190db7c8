//! What an object's annotations ask of Towpath.
//!
//! Owns their names and what they may say. An annotation that Towpath does not know, or that means
//! nothing on its object, is an error: it was written to have an effect.

use serde_json::{Map, Value};

use crate::model::ObjectRef;

/// What all of Towpath's annotations and labels begin with.
pub(super) const PREFIX: &str = "towpath.dev/";

/// On a Job: it runs before the rest of its release is applied, or after it.
pub const RUN: &str = "towpath.dev/run";

/// On such a Job: nothing that it wrote is told when it fails.
pub const LOGS: &str = "towpath.dev/logs";

/// On a workload: its pods are replaced when a ConfigMap or Secret that they use changes.
pub const RESTART_ON_CONFIG: &str = "towpath.dev/restart-on-config";

/// On any object: it may be deleted and made anew where it cannot be changed.
pub const RECREATE: &str = "towpath.dev/recreate";

/// On any object: it is left alone when it is no longer asked for.
pub const PRUNE: &str = "towpath.dev/prune";

/// What people write on objects.
const KNOWN: [&str; 5] = [RUN, LOGS, RESTART_ON_CONFIG, RECREATE, PRUNE];

/// What Towpath itself writes on live objects; no part of what is desired.
pub(super) const OWN: [&str; 4] = [
    "towpath.dev/application",
    "towpath.dev/environment",
    "towpath.dev/hash",
    "towpath.dev/commit",
];

/// When a Job of a release runs, where it is not like any other object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// It must complete before anything else of the release is applied.
    Before,
    /// It must complete after the rest is healthy and before the verdict.
    After,
}

/// What an object asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) run: Option<Hook>,
    pub(super) restart_on_config: bool,
}

/// An annotation that cannot be followed.
pub(super) struct Refused {
    /// Which.
    pub(super) key: String,
    /// Why, and what to do.
    pub(super) why: String,
}

/// Reads an object's annotations.
pub(super) fn read(reference: &ObjectRef, object: &Value) -> Result<Asked, Refused> {
    let annotations = object.pointer("/metadata/annotations");
    let Some(annotations) = annotations.and_then(Value::as_object) else {
        return Ok(Asked::default());
    };
    let mut asked = Asked::default();
    for (key, value) in annotations {
        if !key.starts_with(PREFIX) {
            continue;
        }
        let refused = |why: String| Refused {
            key: key.clone(),
            why,
        };
        if !KNOWN.contains(&key.as_str()) {
            let known = KNOWN.map(|key| format!("`{key}`")).join(", ");
            return Err(refused(format!(
                "`{key}` is not known — write one of {known}"
            )));
        }
        let Some(text) = value.as_str() else {
            return Err(refused(format!("`{key}` is not text — quote it")));
        };
        one(reference, object, key, text, &mut asked).map_err(refused)?;
    }
    Ok(asked)
}

fn one(
    reference: &ObjectRef,
    object: &Value,
    key: &str,
    text: &str,
    asked: &mut Asked,
) -> Result<(), String> {
    match (key, text) {
        (RUN, "before" | "after") => {
            if (reference.kind.as_str(), reference.group.as_str()) != ("Job", "batch") {
                return Err(format!(
                    "`{RUN}` stands on {}, and only a Job can complete — make it a Job, or remove the annotation",
                    reference.group_kind()
                ));
            }
            asked.run = Some(match text {
                "before" => Hook::Before,
                _ => Hook::After,
            });
            Ok(())
        }
        (RUN, other) => Err(format!(
            "`{RUN}: {other}` is not known — write `before` or `after`"
        )),
        (LOGS, "off") => match object.pointer("/metadata/annotations") {
            Some(annotations) if annotations.get(RUN).is_some() => Ok(()),
            _ => Err(format!(
                "`{LOGS}` stands on {} without `{RUN}`, of which no log is told — remove it",
                reference.group_kind()
            )),
        },
        (LOGS, other) => Err(format!(
            "`{LOGS}: {other}` is not known — write `\"off\"`, or remove the annotation"
        )),
        (RESTART_ON_CONFIG, "true") => {
            if !replaces_pods(reference, object) {
                return Err(format!(
                    "`{RESTART_ON_CONFIG}` stands on {}, which does not replace its pods when their template changes — put it on a Deployment, StatefulSet or DaemonSet",
                    reference.group_kind()
                ));
            }
            asked.restart_on_config = true;
            Ok(())
        }
        (RESTART_ON_CONFIG, "false") => Ok(()),
        (RESTART_ON_CONFIG, other) => Err(format!(
            "`{RESTART_ON_CONFIG}: {other}` is not known — write `\"true\"` or `\"false\"`"
        )),
        (PRUNE, "disabled") => Ok(()),
        (PRUNE, other) => Err(format!(
            "`{PRUNE}: {other}` is not known — write `disabled`, or remove the annotation"
        )),
        (_, "true" | "false") => Ok(()),
        (_, kind) if kind == reference.kind => Ok(()),
        (_, other) => Err(format!(
            "`{RECREATE}: {other}` is not known — write `\"true\"`, or `{}` where the kind must be named",
            reference.kind
        )),
    }
}

/// Whether a changed pod template makes new pods: the workloads of `apps`, and custom resources that
/// have a pod template where those have it. A Job's template cannot change.
fn replaces_pods(reference: &ObjectRef, object: &Value) -> bool {
    match reference.group.as_str() {
        "apps" => matches!(
            reference.kind.as_str(),
            "Deployment" | "StatefulSet" | "DaemonSet"
        ),
        group => {
            let containers = object.pointer("/spec/template/spec/containers");
            group.contains('.') && containers.is_some_and(Value::is_array)
        }
    }
}

/// Takes out what Towpath itself, and tools that keep their books on live objects, wrote there.
pub(super) fn drop_books(metadata: &mut Map<String, Value>) {
    const ANNOTATIONS: [&str; 2] = [
        // A whole copy of the object, the values of Secrets included.
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
    ];
    const LABELS: [&str; 1] = ["applyset.kubernetes.io/part-of"];
    for (section, keys) in [("annotations", &ANNOTATIONS[..]), ("labels", &LABELS[..])] {
        let Some(Value::Object(entries)) = metadata.get_mut(section) else {
            continue;
        };
        let before = entries.len();
        for key in keys.iter().chain(&OWN) {
            entries.swap_remove(*key);
        }
        // What is empty now was not written by a person.
        if entries.is_empty() && before > 0 {
            metadata.swap_remove(section);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;
    use serde_json::json;

    fn read_on(kind: &str, group: &str, annotations: Value) -> Result<Asked, String> {
        let reference = ObjectRef::from(Identity {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: "x".to_owned(),
        });
        let object = json!({
            "metadata": { "annotations": annotations },
            "spec": { "template": { "spec": { "containers": [] } } },
        });
        read(&reference, &object).map_err(|refused| {
            assert!(refused.key.starts_with(PREFIX));
            refused.why
        })
    }

    #[test]
    fn annotations_are_followed_or_refused() {
        let restart = Asked {
            restart_on_config: true,
            ..Asked::default()
        };
        let run = |hook| Asked {
            run: Some(hook),
            ..Asked::default()
        };
        for (kind, group, annotations, expected) in [
            ("Job", "batch", json!({}), Ok(Asked::default())),
            (
                "Job",
                "batch",
                json!({ "example.com/x": 1 }),
                Ok(Asked::default()),
            ),
            (
                "Job",
                "batch",
                json!({ RUN: "before" }),
                Ok(run(Hook::Before)),
            ),
            (
                "Job",
                "batch",
                json!({ RUN: "after" }),
                Ok(run(Hook::After)),
            ),
            (
                "Job",
                "batch",
                json!({ RUN: "during" }),
                Err("`towpath.dev/run: during` is not known"),
            ),
            (
                "Job",
                "batch",
                json!({ RUN: true }),
                Err("`towpath.dev/run` is not text"),
            ),
            (
                "Job",
                "batch",
                json!({ LOGS: "off", RUN: "after" }),
                Ok(run(Hook::After)),
            ),
            (
                "Job",
                "batch",
                json!({ LOGS: "no", RUN: "after" }),
                Err("write `\"off\"`"),
            ),
            (
                "Job",
                "batch",
                json!({ LOGS: "off" }),
                Err("stands on Job.batch without `towpath.dev/run`"),
            ),
            (
                "Job",
                "example.com",
                json!({ RUN: "after" }),
                Err("only a Job can complete"),
            ),
            (
                "Pod",
                "",
                json!({ RUN: "after" }),
                Err("`towpath.dev/run` stands on Pod,"),
            ),
            (
                "Deployment",
                "apps",
                json!({ RESTART_ON_CONFIG: "true" }),
                Ok(restart),
            ),
            (
                "Rollout",
                "argoproj.io",
                json!({ RESTART_ON_CONFIG: "true" }),
                Ok(restart),
            ),
            (
                "Deployment",
                "apps",
                json!({ RESTART_ON_CONFIG: "false" }),
                Ok(Asked::default()),
            ),
            (
                "Deployment",
                "apps",
                json!({ RESTART_ON_CONFIG: "on" }),
                Err("write `\"true\"` or"),
            ),
            (
                "Job",
                "batch",
                json!({ RESTART_ON_CONFIG: "true" }),
                Err("stands on Job.batch,"),
            ),
            ("Pod", "", json!({ RECREATE: "true" }), Ok(Asked::default())),
            ("Pod", "", json!({ RECREATE: "Pod" }), Ok(Asked::default())),
            ("Pod", "", json!({ RECREATE: "Job" }), Err("or `Pod` where")),
            (
                "Pod",
                "",
                json!({ PRUNE: "disabled" }),
                Ok(Asked::default()),
            ),
            ("Pod", "", json!({ PRUNE: "no" }), Err("write `disabled`")),
            (
                "Pod",
                "",
                json!({ "towpath.dev/restart": "true" }),
                Err("write one of `towpath.dev/run`,"),
            ),
        ] {
            let found = read_on(kind, group, annotations.clone());
            match (&found, &expected) {
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                _ => assert_eq!(
                    found,
                    expected.map_err(str::to_owned),
                    "{kind} {annotations}"
                ),
            }
        }
    }

    #[test]
    fn books_are_dropped_and_nothing_else() {
        let mut metadata = json!({
            "annotations": { "towpath.dev/hash": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
            "labels": { "towpath.dev/application": "web", "app": "web" },
            "name": "x",
        });
        let map = metadata.as_object_mut().unwrap();
        drop_books(map);
        assert_eq!(metadata, json!({ "labels": { "app": "web" }, "name": "x" }));
    }
}
