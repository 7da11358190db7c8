//! What servers say, and what it means: the words are those of Kubernetes 1.36.

use serde_json::{Value, json};

use super::*;

const ABOUT: About<'_> = About {
    verb: "patch",
    plural: "deployments",
    resource: "deployments.apps",
    namespace: Some("shop"),
    name: "web",
    secret: false,
};

fn status(reason: &str, message: &str, details: &Value) -> Status {
    let value =
        json!({"status": "Failure", "reason": reason, "message": message, "details": details});
    serde_json::from_value(value).unwrap()
}

/// The refusal in one line: its kind, and what it says.
fn told(refusal: Refusal) -> String {
    match refusal {
        Refusal::Stale => "stale".to_owned(),
        Refusal::Replaced => "replaced".to_owned(),
        Refusal::Missing => "missing".to_owned(),
        Refusal::Held(held) => {
            let held = held
                .iter()
                .map(|held| format!("{} {}", held.manager, held.field));
            format!("held: {}", held.collect::<Vec<_>>().join(", "))
        }
        Refusal::Immutable(said) => format!("immutable: {said}"),
        Refusal::Invalid(said) => format!("invalid: {said}"),
        Refusal::Refused(said) => format!("refused: {said}"),
        Refusal::Prevented(said) => format!("prevented: {said}"),
        Refusal::Unavailable {
            detail,
            retry_after,
        } => format!("unavailable {retry_after:?}: {detail}"),
    }
}

fn check(code: u16, reason: &str, message: &str, details: &Value, expected: &str) {
    let found = told(judge(code, &status(reason, message, details), ABOUT));
    assert!(!found.contains("p4ss"), "{found}");
    assert!(
        found.starts_with(expected),
        "{code} {message}:\n{found}\n{expected}"
    );
}

#[test]
fn refusals_are_told_apart() {
    let own = json!({"name": "web", "group": "apps", "kind": "deployments"});
    let none = json!({});
    for (code, reason, message, details, expected) in [
        (
            400,
            "BadRequest",
            "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.replica\"",
            &none,
            "refused: Deployment in version",
        ),
        (
            500,
            "InternalError",
            "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema",
            &none,
            "refused: failed to create",
        ),
        (
            500,
            "InternalError",
            "etcdserver: request is too large",
            &none,
            "refused: it is too large",
        ),
        (
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
            &none,
            "refused: it is too large",
        ),
        (
            500,
            "InternalError",
            "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook: Post \"https://w.shop.svc:443/?timeout=10s\": dial tcp: connection refused",
            &none,
            "unavailable None: Internal error",
        ),
        (
            503,
            "ServiceUnavailable",
            "apiserver is shutting down",
            &json!({"retryAfterSeconds": 3}),
            "unavailable Some(3s): apiserver is shutting down (503)",
        ),
        (
            504,
            "Timeout",
            "request did not complete within requested timeout",
            &none,
            "unavailable None",
        ),
        (
            409,
            "Conflict",
            "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again",
            &own,
            "stale",
        ),
        (
            409,
            "AlreadyExists",
            "deployments.apps \"web\" already exists",
            &own,
            "stale",
        ),
        (
            409,
            "Conflict",
            "Operation cannot be fulfilled on deployments.apps \"web\": uid mismatch: the provided object specified uid a, and the existing object has uid b",
            &own,
            "replaced",
        ),
        (
            409,
            "Conflict",
            "Operation cannot be fulfilled on deployments.apps \"web\": Precondition failed: UID in precondition: a, UID in object meta: b",
            &own,
            "replaced",
        ),
        (
            409,
            "Conflict",
            "Operation cannot be fulfilled on Deployment \"web\": the UID in the precondition (a) does not match the UID in record (b). The object might have been deleted and then recreated",
            &json!({"name": "web", "kind": "Deployment"}),
            "replaced",
        ),
        (
            409,
            "Conflict",
            "Operation cannot be fulfilled on Deployment \"web\": the ResourceVersion in the precondition (5) does not match the ResourceVersion in record (218). The object might have been modified",
            &json!({"name": "web", "kind": "Deployment"}),
            "stale",
        ),
        (
            409,
            "Conflict",
            "Operation cannot be fulfilled on resourcequotas \"small\": the object has been modified",
            &json!({"name": "small", "kind": "resourcequotas"}),
            "unavailable None",
        ),
        (
            404,
            "NotFound",
            "deployments.apps \"web\" not found",
            &own,
            "missing",
        ),
        (
            404,
            "NotFound",
            "namespaces \"shop\" not found",
            &json!({"name": "shop", "kind": "namespaces"}),
            "prevented: the namespace `shop` does not exist",
        ),
        (
            404,
            "NotFound",
            "the server could not find the requested resource",
            &none,
            "prevented: the cluster does not serve `deployments.apps`",
        ),
        (
            404,
            "NotFound",
            "clusterroles.rbac.authorization.k8s.io \"x\" not found",
            &json!({"name": "x", "kind": "clusterroles"}),
            "prevented: clusterroles",
        ),
        (
            405,
            "MethodNotAllowed",
            "create not allowed while custom resource definition is terminating",
            &none,
            "prevented: create not allowed",
        ),
        (
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format",
            &none,
            "refused: the cluster does not take server-side applies of `deployments.apps`",
        ),
        (
            401,
            "Unauthorized",
            "Unauthorized",
            &none,
            "unavailable None",
        ),
    ] {
        check(code, reason, message, details, expected);
    }
}

#[test]
fn a_403_says_who_can_help() {
    let terminating = json!({"name": "web", "causes": [{"reason": "NamespaceTerminating", "message": "namespace shop is being terminated", "field": "metadata.namespace"}]});
    let none = json!({});
    for (message, details, expected) in [
        (
            "deployments.apps \"web\" is forbidden: User \"system:serviceaccount:shop:bot\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\"",
            &none,
            "prevented: `system:serviceaccount:shop:bot` lacks a right: grant the verb `patch` on `deployments.apps` in namespace `shop`",
        ),
        (
            "namespaces is forbidden: User \"bot\" cannot create resource \"namespaces\" in API group \"\" at the cluster scope",
            &none,
            "prevented: `bot` lacks a right: grant the verb `create` on `namespaces` in a ClusterRole",
        ),
        (
            "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"bot\" (groups=[\"a\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"]}",
            &none,
            "prevented: whoever grants rights must hold them",
        ),
        (
            "pods \"web\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1",
            &none,
            "prevented: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1: raise",
        ),
        (
            "pods \"web\" is forbidden: failed quota: small: must specify limits.cpu",
            &none,
            "refused: pods",
        ),
        (
            "configmaps \"web\" is forbidden: status unknown for quota: small, resources: configmaps",
            &none,
            "unavailable None",
        ),
        (
            "deployments.apps \"web\" is forbidden: unable to create new content in namespace shop because it is being terminated",
            &terminating,
            "prevented: the namespace `shop` is being deleted",
        ),
        (
            "pods \"web\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
            &none,
            "refused: pods",
        ),
        (
            "admission webhook \"w.example.com\" denied the request: no",
            &none,
            "refused: admission webhook",
        ),
        (
            "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            &none,
            "refused: deployments.apps",
        ),
    ] {
        check(403, "Forbidden", message, details, expected);
    }
    // A webhook chooses its own code.
    check(
        409,
        "Conflict",
        "admission webhook \"w\" denied the request: taken",
        &none,
        "refused",
    );
    check(
        422,
        "Invalid",
        "admission webhook \"w\" denied the request: spec is immutable",
        &none,
        "refused",
    );
}

fn causes_of(causes: &[(&str, &str, &str)]) -> Value {
    let causes = causes.iter().map(
        |(reason, field, message)| json!({"reason": reason, "field": field, "message": message}),
    );
    json!({"name": "web", "kind": "deployments", "causes": causes.collect::<Vec<_>>()})
}

#[test]
fn fields_of_other_managers_are_named() {
    let conflict = "FieldManagerConflict";
    let details = causes_of(&[
        (
            conflict,
            ".spec.replicas",
            "conflict with \"kube-controller-manager\" with subresource \"scale\" using apps/v1",
        ),
        (
            conflict,
            ".spec.paused",
            "conflict with \"kubectl-edit\" using apps/v1 at 2026-11-20T10:00:00Z",
        ),
        (conflict, ".spec.selector", "conflict with \"helm\""),
    ]);
    let expected = "held: kube-controller-manager .spec.replicas, kubectl-edit .spec.paused, helm .spec.selector";
    check(
        409,
        "Conflict",
        "Apply failed with 3 conflicts",
        &details,
        expected,
    );
}

#[test]
fn what_cannot_change_is_told_from_what_is_wrong() {
    let (invalid, forbidden) = ("FieldValueInvalid", "FieldValueForbidden");
    let template = format!(
        "Invalid value: {{\"env\":[{{\"value\":\"{}\"}}]}}: field is immutable",
        "p4ssword".repeat(20)
    );
    for (causes, expected) in [
        (
            vec![(
                invalid,
                "spec.selector",
                "Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable",
            )],
            "immutable: spec.selector: Invalid value",
        ),
        (
            vec![(invalid, "spec.template", template.as_str())],
            "immutable: spec.template: field is immutable",
        ),
        (
            vec![(
                forbidden,
                "spec",
                "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
            )],
            "immutable: spec",
        ),
        (
            vec![(
                forbidden,
                "parameters",
                "Forbidden: updates to parameters are forbidden.",
            )],
            "immutable",
        ),
        (
            vec![(
                invalid,
                "spec.clusterIPs[0]",
                "Invalid value: [\"10.0.0.9\"]: may not change once set",
            )],
            "immutable",
        ),
        (
            vec![(
                forbidden,
                "spec",
                "Forbidden: spec is immutable after creation except resources.requests",
            )],
            "immutable",
        ),
        (
            vec![(
                invalid,
                "roleRef",
                "Invalid value: {}: cannot change roleRef",
            )],
            "immutable",
        ),
        (
            vec![(
                forbidden,
                "spec",
                "Forbidden: pod updates may not change fields other than `spec.containers[*].image`\n@@ -1 +1 @@\n- p4ss\n+ p4ss2\n",
            )],
            "immutable",
        ),
        (
            vec![(
                invalid,
                "metadata.uid",
                "Invalid value: \"x\": field is immutable",
            )],
            "replaced",
        ),
        (
            vec![(
                forbidden,
                "data",
                "Forbidden: field is immutable when `immutable` is set",
            )],
            "immutable",
        ),
        (
            vec![(
                invalid,
                "spec.ports[0].port",
                "Invalid value: 0: must be between 1 and 65535, inclusive",
            )],
            "invalid: spec.ports[0].port",
        ),
        (
            vec![("FieldValueRequired", "spec.selector", "Required value")],
            "invalid",
        ),
        // One that is immutable beside one that is wrong: made anew it would be lost.
        (
            vec![
                (
                    invalid,
                    "spec.selector",
                    "Invalid value: {}: field is immutable",
                ),
                ("FieldValueRequired", "spec.template", "Required value"),
            ],
            "invalid",
        ),
        (
            vec![("FieldValueRequired", "metadata.name", "is immutable")],
            "invalid",
        ),
        (
            vec![
                (invalid, "a", "x"),
                (invalid, "b", "x"),
                (invalid, "c", "x"),
                (invalid, "d", "x"),
                (invalid, "e", "x"),
            ],
            "invalid: a: x; b: x; c: x; d: x; and 1 more",
        ),
        (vec![], "invalid: it is wrong"),
    ] {
        check(422, "Invalid", "it is wrong", &causes_of(&causes), expected);
    }
}

#[test]
fn values_of_secrets_are_not_shown() {
    let about = About {
        secret: true,
        ..ABOUT
    };
    for message in [
        "Invalid value: \"p4ss\": must be base64",
        "Invalid value: p4ss",
    ] {
        let details = causes_of(&[("FieldValueInvalid", "data[key]", message)]);
        let said = told(judge(
            422,
            &status("Invalid", "Secret is invalid", &details),
            about,
        ));
        assert!(
            said.contains("data[key]") && !said.contains("p4ss"),
            "{said}"
        );
    }
    let message = "admission webhook \"w.example.com\" denied the request: p4ss is weak";
    let said = told(judge(403, &status("Forbidden", message, &json!({})), about));
    assert_eq!(
        said,
        "refused: admission webhook \"w.example.com\" denied the request (why is not shown: it may quote a secret)"
    );
}
