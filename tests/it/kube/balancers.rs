//! `towpath show` tells at which addresses a cluster has its load balancers, where the cluster answers; it is asked as the
//! user whom `towpath rbac` lets in.

use std::process::Output;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::bed::apply;
use crate::cli::towpath;
use crate::looks::Site;

const ASKED: [&str; 3] = ["show", "shop", "v1.0.0"];

fn shown(site: &Site, arguments: &[&str]) -> Output {
    let mut program = towpath(site.folder.path());
    let shown = program.current_dir(&site.folder).args(arguments).output();
    let shown = shown.unwrap();
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    shown
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[allow(
    clippy::disallowed_methods,
    reason = "programs run here one after the other, and nothing waits beside them"
)]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_gave_to_a_load_balancer_is_shown() {
    let Some(bed) = super::shared() else { return };
    let admin = bed.admin().await;
    let namespace = bed.namespace(&admin, "balanced").await;
    let user = bed.plane.new_user();
    let site = Site::start("balanced", &[("production", &namespace)]).await;
    site.commit("first");
    let kubeconfig = site.path("production.kubeconfig");
    std::fs::write(&kubeconfig, bed.plane.kubeconfig("plane", &user).unwrap()).unwrap();
    let rights = ["rbac", "production", "--user", &user.name, "--namespaced"];
    for document in site.run(&rights, 0).split("---\n") {
        let object: Value = serde_yaml::from_str(document).unwrap();
        apply(&admin, &object).await.unwrap();
    }
    // Nobody gave it an address yet, so that it is not healthy.
    site.run(&["run", "--once", "--wait", "3s"], 4);
    let before = shown(&site, &ASKED);
    assert!(!text(&before.stdout).contains("  at "), "{before:?}");
    assert_eq!(text(&before.stderr), "");

    let status = json!({ "status": { "loadBalancer": { "ingress": [
        { "ip": "192.0.2.7" }, { "hostname": "web.lb.example.com" }, { "ip": "2001:db8::7" },
    ] } } });
    let services = Api::<Service>::namespaced(admin.clone(), &namespace);
    let (how, patch) = (PatchParams::default(), Patch::Merge(&status));
    services.patch_status("web", &how, &patch).await.unwrap();
    site.run(&["run", "--once", "--wait", "60s"], 0);
    let after = shown(&site, &ASKED);
    let at: Vec<_> = text(&after.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("  at      ").map(str::to_owned))
        .collect();
    let expected = [
        "http://192.0.2.7/",
        "http://[2001:db8::7]/",
        "http://web.lb.example.com/",
        "https://192.0.2.7/",
        "https://[2001:db8::7]/",
        "https://web.lb.example.com/",
        "tcp://192.0.2.7:5432",
        "tcp://[2001:db8::7]:5432",
        "tcp://web.lb.example.com:5432",
    ];
    assert_eq!(at, expected, "{}", text(&after.stdout));
    assert_eq!(text(&after.stderr), "");

    // Where the cluster is not reached all else is told.
    let text_now = std::fs::read_to_string(&kubeconfig).unwrap();
    let mut elsewhere: Value = serde_yaml::from_str(&text_now).unwrap();
    elsewhere["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    std::fs::write(&kubeconfig, elsewhere.to_string()).unwrap();
    let without = shown(&site, &ASKED);
    assert!(
        text(&without.stdout).contains("production: "),
        "{without:?}"
    );
    let said = text(&without.stderr);
    let note =
        "note: at which addresses the cluster of production has its load balancers is not told: ";
    assert!(said.starts_with(note), "{said}");
    let without = shown(&site, &[&ASKED[..], &["-o", "json"]].concat());
    let without: Value = serde_json::from_slice(&without.stdout).unwrap();
    let unread = without["unread"][0].as_str().unwrap();
    assert!(unread.starts_with("at which addresses"), "{unread}");
}
