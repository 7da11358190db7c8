//! The built program with Jobs that run for each desired state, on a real cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::commands::writes;
use super::logs::LAST_LINES;
use super::pods::Fate;
use crate::looks::Site;

/// The Jobs: which each is, what its mark says, and whether it is done.
async fn seen(jobs: &Api<Job>) -> BTreeMap<String, (String, String, bool)> {
    let listed = jobs.list(&ListParams::default()).await.unwrap();
    let described = listed.items.into_iter().map(|job| {
        let hash = job.annotations()["towpath.dev/hash"].clone();
        let succeeded = job.status.as_ref().and_then(|it| it.succeeded);
        let uid = job.uid().unwrap();
        (job.name_any(), (uid, hash, succeeded == Some(1)))
    });
    described.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_once_for_each_desired_state() {
    let Some(bed) = super::shared() else { return };
    let admin = bed.admin().await;
    let namespace = bed.namespace(&admin, "runs").await;
    let users = [bed.plane.new_user()];
    let all = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    bed.allow(&admin, &users[0], None, all).await;
    bed.fate(&namespace, "tool:fails", Fate::Failed);
    let site = Site::start("hooks", &[("qa", &namespace)]).await;
    let kubeconfig = bed.plane.kubeconfig("plane", &users[0]).unwrap();
    std::fs::write(site.path("qa.kubeconfig"), kubeconfig).unwrap();
    let tow = |code| site.run(&["run", "--once", "--wait", "60s"], code);
    let jobs = Api::<Job>::namespaced(admin.clone(), &namespace);

    site.commit("first");
    tow(0);
    let first = seen(&jobs).await;
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(names, ["migrate", "verify"]);
    assert!(first.values().all(|(_, _, done)| *done), "{first:?}");
    // Another process finds them done.
    let before = writes(bed, &users);
    tow(0);
    assert_eq!(writes(bed, &users), before);
    assert_eq!(seen(&jobs).await, first);

    // Their manifests are the same, what they ran for is not.
    site.commit("second");
    tow(0);
    let second = seen(&jobs).await;
    for (name, (uid, hash, done)) in &second {
        let (uid_before, hash_before, _) = &first[name];
        assert!(uid != uid_before && hash != hash_before && *done, "{name}");
    }

    // One that fails before the rest keeps the rest from being applied, and says what it wrote.
    site.commit("bad");
    tow(3);
    let third = seen(&jobs).await;
    assert_eq!(third["verify"], second["verify"]);
    let web = Api::<Deployment>::namespaced(admin, &namespace)
        .get("web")
        .await
        .unwrap();
    let web = serde_json::to_value(&web).unwrap();
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["env"][0]["value"], "debug");
    let told = site.run(&["explain", "shop", "qa", "-o", "json"], 0);
    assert!(told.contains("what runs before the rest failed"), "{told}");
    assert!(told.contains(&format!("it wrote: {LAST_LINES}")), "{told}");
    let before = writes(bed, &users);
    tow(3);
    assert_eq!(writes(bed, &users), before);
}
