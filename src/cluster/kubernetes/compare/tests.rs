//! What is found touched, by ownership as a real server wrote it.

use serde_json::{Value, json};

use super::*;

/// A Deployment as it is stated.
fn desired() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "default", "labels": { "a": "b", "towpath.dev/application": "x" } },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "web" } },
            "template": { "spec": {
                "containers": [{
                    "name": "web", "image": "x:1", "args": ["a", "b"],
                    "env": [{ "name": "A", "value": "1" }],
                    "ports": [{ "containerPort": 80 }],
                    "resources": { "requests": { "cpu": "1000m" } },
                }],
                "volumes": [{ "name": "e", "emptyDir": {} }],
            } },
        },
    })
}

/// What an apply of it owns on a server of 1.36.
fn owned() -> Value {
    json!({
        "f:metadata": { "f:labels": { "f:a": {}, "f:towpath.dev/application": {} } },
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": { "f:spec": {
                "f:containers": { "k:{\"name\":\"web\"}": {
                    ".": {}, "f:args": {},
                    "f:env": { "k:{\"name\":\"A\"}": { ".": {}, "f:name": {}, "f:value": {} } },
                    "f:image": {}, "f:name": {},
                    "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
                    "f:resources": { "f:requests": { "f:cpu": {} } },
                } },
                "f:volumes": { "k:{\"name\":\"e\"}": { ".": {}, "f:emptyDir": {}, "f:name": {} } },
            } },
        },
    })
}

/// What is found where the ownership lacks what stands at a pointer, and the live object holds `live`
/// there.
fn without(pointer: &str, live: Option<Value>) -> Vec<String> {
    let mut owned = owned();
    let mut pointer = pointer;
    // Where nothing is left in a field, the server leaves the field out too.
    while let Some((parent, key)) = pointer.rsplit_once('/') {
        let fields = owned.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        assert!(fields.shift_remove(key).is_some(), "{pointer}");
        if !fields.is_empty() {
            break;
        }
        pointer = parent;
    }
    let object = live.map(|live| {
        let mut object = desired();
        json_patch::merge(&mut object, &live);
        object
    });
    let found = touched(&desired(), &owned, object.as_ref());
    found.into_iter().map(|touched| touched.path).collect()
}

#[test]
fn what_is_stated_and_no_longer_ours_was_touched() {
    assert_eq!(touched(&desired(), &owned(), None), []);
    assert_eq!(touched(&desired(), &owned(), Some(&desired())), []);
    for (pointer, expected) in [
        ("/f:spec/f:replicas", ".spec.replicas"),
        ("/f:metadata/f:labels/f:a", ".metadata.labels.a"),
        ("/f:metadata/f:labels", ".metadata.labels"),
        ("/f:metadata", ".metadata.labels"),
        (
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}/f:args",
            ".spec.template.spec.containers[name=\"web\"].args",
        ),
        (
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}/f:env/k:{\"name\":\"A\"}/f:value",
            ".spec.template.spec.containers[name=\"web\"].env[name=\"A\"].value",
        ),
        (
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}/f:ports/k:{\"containerPort\":80,\"protocol\":\"TCP\"}",
            ".spec.template.spec.containers[name=\"web\"].ports",
        ),
        (
            "/f:spec/f:template/f:spec/f:volumes/k:{\"name\":\"e\"}/f:emptyDir",
            ".spec.template.spec.volumes[name=\"e\"].emptyDir",
        ),
    ] {
        assert_eq!(without(pointer, None), [expected], "{pointer}");
    }
}

#[test]
fn what_holds_all_the_same_is_no_suspicion() {
    let replicas = |count: Value| Some(json!({ "spec": { "replicas": count } }));
    assert_eq!(without("/f:spec/f:replicas", replicas(json!(2))), [""; 0]);
    assert_eq!(without("/f:spec/f:replicas", replicas(json!(2.0))), [""; 0]);
    assert_eq!(
        without("/f:spec/f:replicas", replicas(json!(5))),
        [".spec.replicas"]
    );
    let pointer = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}/f:image";
    assert_eq!(without(pointer, Some(json!({}))), [""; 0]);
    let removed = Some(json!({ "metadata": { "labels": { "a": null } } }));
    assert_eq!(
        without("/f:metadata/f:labels/f:a", removed),
        [".metadata.labels.a"]
    );
}

#[test]
fn the_fingerprint_changes_with_what_stands_there() {
    let of = |count: u32| {
        let mut owned = owned();
        owned["f:spec"]
            .as_object_mut()
            .unwrap()
            .shift_remove("f:replicas");
        let mut live = desired();
        live["spec"]["replicas"] = json!(count);
        fingerprint(&touched(&desired(), &owned, Some(&live)))
    };
    assert_eq!(of(5), of(5));
    assert_ne!(of(5), of(6));
}

#[test]
fn differences_are_told_as_paths() {
    let mut after = desired();
    after["metadata"]["labels"]["towpath.dev/application"] = json!("y");
    after["metadata"]["resourceVersion"] = json!("7");
    after["spec"]["replicas"] = json!(5);
    after["status"] = json!({ "replicas": 5 });
    let container = &mut after["spec"]["template"]["spec"]["containers"][0];
    container["image"] = json!("x:2");
    container["args"] = json!(["a"]);
    container["env"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "B" }));
    assert_eq!(
        differences(&desired(), &after),
        [
            ".metadata.labels.towpath.dev/application",
            ".spec.replicas",
            ".spec.template.spec.containers[name=\"web\"].image",
            ".spec.template.spec.containers[name=\"web\"].args",
            ".spec.template.spec.containers[name=\"web\"].env[name=\"B\"]",
        ]
    );
    assert_eq!(differences(&after, &after), [""; 0]);
}

#[test]
fn who_holds_a_field_is_told_by_the_server() {
    let entry = |manager: &str, time: &str, fields: Value| json!({ "manager": manager, "operation": "Update", "time": time, "fieldsV1": fields });
    let managed = json!([
        { "manager": "towpath", "operation": "Apply", "time": "2026-01-09T00:00:00Z", "fieldsV1": owned() },
        entry("autoscaler", "2026-01-01T00:00:00Z", json!({ "f:spec": { "f:replicas": {} } })),
        entry("kubectl-scale", "2026-01-02T00:00:00Z", json!({ "f:spec": { "f:replicas": {} } })),
        entry("labeller", "2026-01-03T00:00:00Z", json!({ "f:metadata": { "f:labels": { "f:towpath.dev/application": {} } } })),
        entry("setter", "2026-01-01T00:00:00Z", json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": { "f:image": {} } } } } } })),
    ]);
    for (path, expected) in [
        (".spec.replicas", Some("kubectl-scale")),
        (".metadata.labels.towpath.dev/application", Some("labeller")),
        (
            ".spec.template.spec.containers[name=\"web\"].image",
            Some("setter"),
        ),
        (".spec.template.spec.containers[name=\"web\"].args", None),
        (".spec.paused", None),
    ] {
        let found = holder(&[path.to_owned()], &managed);
        assert_eq!(found.as_deref(), expected, "{path}");
    }
}
