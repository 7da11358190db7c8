//! `towpath demo --context` on a real control plane: played to its end, interrupted, and refused; in
//! each case nothing of it is left, and nothing else was touched.

#![allow(
    clippy::disallowed_methods,
    reason = "the program runs here beside nothing that waits"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use towpath::demo::image::{ImageSpec, Target};
use towpath::demo::lent;
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::http::{HttpSettings, client};

use super::Bed;
use super::audit::asked;
use super::bed::apply;
use super::plane::User;
use super::pods::Fate;

const NAMESPACES: [&str; 3] = [
    "towpath-demo-staging",
    "towpath-demo-qa",
    "towpath-demo-production",
];

/// The rights that `docs/kubernetes.md` names.
fn rights() -> Value {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let write = ["get", "list", "watch", "create", "patch", "delete"];
    json!([
        rule("", &["namespaces"], &["get", "create", "delete"]),
        rule("", &["serviceaccounts"], &["get"]),
        rule("", &["configmaps", "services"], &write),
        rule("apps", &["deployments"], &write),
        rule("", &["events", "pods"], &["get", "list", "watch"]),
        rule(
            "apps",
            &["controllerrevisions", "replicasets"],
            &["get", "list", "watch"]
        ),
    ])
}

/// A registry that the cluster's nodes could pull `pause` from.
async fn public() -> DemoRegistry {
    let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
    let http = client(&HttpSettings::default()).unwrap();
    for (year, tag) in lent::TAGS.into_iter().enumerate() {
        let image = ImageSpec {
            content: tag.to_owned(),
            created: Some(format!("202{year}-01-01T00:00:00Z").parse().unwrap()),
            platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
            ..ImageSpec::default()
        };
        let target = Target {
            registry: &registry.url(),
            repository: "mirror/pause",
            tag,
            authorization: None,
        };
        image.build().push(&http, &target).await.unwrap();
    }
    registry
}

fn demo(kubeconfig: &Path, registry: &DemoRegistry, temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
    command
        .args(["demo", "--context", "the plane", "--kubeconfig"])
        .arg(kubeconfig)
        .args(["--images", &format!("{}/mirror/pause", registry.address())])
        .env("TERM", "dumb")
        .env("TMPDIR", temporary)
        .env_remove("TOWPATH_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn finished(mut command: Command) -> Output {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    run.await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The demo's namespaces that are there.
async fn there(admin: &Client) -> Vec<String> {
    let all = Api::<Namespace>::all(admin.clone())
        .list(&Default::default())
        .await;
    let names = all.unwrap().into_iter().map(|it| it.name_any());
    names
        .filter(|name| NAMESPACES.contains(&name.as_str()))
        .collect()
}

/// Everything that was changed, and not as a dry run, is one of the namespaces or stands in one.
fn only_touched_its_own(bed: &Bed, user: &User) {
    let mut changes = 0;
    for one in asked(&bed.plane, user) {
        let reads = ["get", "list", "watch"].contains(&one.verb.as_str());
        if reads || one.object.contains("selfsubjectaccessreviews") {
            continue;
        }
        let place = one.object.split('/').next().unwrap();
        let own = NAMESPACES.contains(&place) || one.object == "/namespaces/";
        assert!(own, "{one:?}");
        changes += 1;
    }
    assert!(changes > 0, "nothing was asked");
}

/// One after the other: the namespaces have fixed names.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_it_plays_and_leaves_nothing() {
    let Some(bed) = super::shared() else { return };
    let admin = bed.admin().await;
    let folder = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let registry = public().await;
    let user = bed.plane.new_user();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        bed.plane.kubeconfig("the plane", &user).unwrap(),
    )
    .unwrap();
    let demo = || demo(&kubeconfig, &registry, temporary.path());

    // Without rights it says which, and changes nothing.
    let output = finished(demo()).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for missing in [
        "create namespaces\n",
        "patch deployments.apps in namespace towpath-demo-qa\n",
        "create configmaps in namespace towpath-demo-production\n",
    ] {
        assert!(said.contains(missing), "{missing}: {said}");
    }
    bed.allow(&admin, &user, None, rights()).await;

    // What no demo made is left alone.
    let foreign =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACES[1] } });
    apply(&admin, &foreign).await.unwrap();
    let output = finished(demo()).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no demo made it"), "{said}");
    assert_eq!(there(&admin).await, [NAMESPACES[1]]);
    // A person makes it the demo's, and it goes.
    let left = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACES[1], "labels": { "towpath.dev/demo": "kept" } } });
    apply(&admin, &left).await.unwrap();

    plays(bed, demo).await;
    assert_eq!(there(&admin).await, [""; 0]);
    interrupted(demo).await;
    assert_eq!(there(&admin).await, [""; 0]);
    only_touched_its_own(bed, &user);
    let kept: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().collect();
    assert!(kept.is_empty(), "{kept:?}");
}

async fn plays(bed: &Bed, demo: impl Fn() -> Command) {
    bed.fate(NAMESPACES[1], ":v1.5.0@", Fate::ImagePullBackOff);
    let mut command = demo();
    command.args(["--output", "json"]);
    let output = finished(command).await;
    let (told, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}{said}");
    for sentence in [
        "plays on https://127.0.0.1:",
        "an earlier demo left these, which are deleted first: towpath-demo-qa\n",
        "deletes the namespaces towpath-demo-staging, towpath-demo-qa, towpath-demo-production",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    assert!(said.ends_with("\ndeleted\n"), "{said}");
    let summary: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(summary["ok"], true, "{summary:#}");
    let runs = summary["cluster"]["runs"].as_array().unwrap();
    let available = runs.iter().map(|it| it["available"].as_i64().unwrap());
    assert_eq!(available.collect::<Vec<_>>(), [1, 1, 3], "{summary:#}");
    let failed = told
        .lines()
        .find(|line| line.contains("\"failed\""))
        .unwrap();
    assert!(failed.contains("ImagePullBackOff"), "{failed}");
}

async fn interrupted(demo: impl Fn() -> Command) {
    let mut child = demo().spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(output).lines();
        let applied = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("applied")));
        assert!(applied.is_some(), "nothing was applied");
        let told = Command::new("sh")
            .args(["-c", "kill -INT $0", &child.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        // Whoever reads no more must not keep it from ending, nor change what it answers.
        drop(lines);
        child.wait_with_output().unwrap()
    });
    let output = ended.await.unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.ends_with("\ndeleted\n"), "{said}");
}
