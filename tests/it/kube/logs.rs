//! What a failed Job wrote, read as a verdict tells it.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use towpath::cluster::kubernetes::connect::{Access, Connection, Target};
use towpath::cluster::kubernetes::logs::JobLog;

use super::audit::{asked, verbs};
use super::bed::{Bed, apply, wait};
use super::plane::{Plane, User};
use super::pods::Fate;

pub(super) const LAST_LINES: &str =
    "applying migration 41 | applying migration 42 | migration 42 failed: relation exists";

fn job(namespace: &str, name: &str, restart: &str, image: &str) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "namespace": namespace, "name": name, "annotations": { "towpath.dev/run": "before" } },
        "spec": { "backoffLimit": 0, "template": { "spec": {
            "restartPolicy": restart,
            "containers": [{ "name": "wait", "image": "succeeds" }, { "name": "run", "image": image }],
        } } },
    })
}

/// Applies the Job and waits until the container that breaks did. Gives its log and its pod's name.
async fn breaks(client: &Client, job: &Value) -> (JobLog, String) {
    let applied = apply(client, job).await.unwrap();
    let namespace = applied.namespace().unwrap();
    let log = JobLog::of(&serde_json::to_value(&applied).unwrap()).unwrap();
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let jobs = Api::<Job>::namespaced(client.clone(), &namespace);
    let name = applied.name_any();
    wait(jobs, &name, |job: Option<&Job>| {
        let status = job.and_then(|job| job.status.as_ref());
        status.is_some_and(|it| it.active == Some(1) || it.failed == Some(1))
    })
    .await;
    let own = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
    let pod = pods.list(&own).await.unwrap().items[0].name_any();
    wait(pods, &pod, |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        let containers = status.and_then(|it| it.container_statuses.as_ref());
        containers.is_some_and(|all| all.iter().any(has_broken))
    })
    .await;
    (log, pod)
}

fn has_broken(container: &k8s_openapi::api::core::v1::ContainerStatus) -> bool {
    let states = [&container.state, &container.last_state];
    let mut ended = states
        .map(|it| it.as_ref()?.terminated.as_ref())
        .into_iter();
    ended.any(|it| it.is_some_and(|it| it.exit_code != 0))
}

/// The file must outlive the client.
fn client(bed: &Bed, user: &User) -> (Client, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bed.plane.kubeconfig("plane", user).unwrap()).unwrap();
    let connection = Connection::new(Access {
        target: Target::Context {
            context: "plane".to_owned(),
            kubeconfig: Some(file.path().to_owned()),
        },
        timeout: Duration::from_secs(10),
        proxy: None,
    });
    (connection.client(), file)
}

#[tokio::test]
async fn the_last_lines_of_a_failed_job_are_read_with_the_rights_that_are_documented() {
    let Some(bed) = super::shared() else { return };
    let admin = bed.admin().await;
    let namespace = bed.namespace(&admin, "lines").await;
    bed.fate(&namespace, "fails", Fate::Failed);
    bed.fate(&namespace, "crashes", Fate::CrashLoopBackOff);
    let (failed, _) = breaks(&admin, &job(&namespace, "migrate", "Never", "fails")).await;
    let (crashed, _) = breaks(&admin, &job(&namespace, "seed", "OnFailure", "crashes")).await;

    let user = bed.plane.new_user();
    let (client, _file) = client(bed, &user);
    let rights = |verb: &str, resource: &str| json!({ "apiGroups": [""], "resources": [resource], "verbs": [verb] });
    let mut rules = vec![rights("list", "pods")];
    bed.allow(&admin, &user, Some(&namespace), json!(rules))
        .await;
    assert_eq!(failed.last_lines(&client).await, None);
    rules.push(rights("get", "pods/log"));
    bed.allow(&admin, &user, Some(&namespace), json!(rules))
        .await;
    for (log, expected) in [(&failed, LAST_LINES), (&crashed, LAST_LINES)] {
        assert_eq!(log.last_lines(&client).await.as_deref(), Some(expected));
    }
    // A list and a log for each question: no more.
    let asked = asked(&bed.plane, &user);
    let counts: Vec<_> = verbs(&asked).into_iter().collect();
    assert_eq!(counts, [("get", 3), ("list", 3)]);
}

#[tokio::test]
async fn whatever_a_job_wrote_it_is_told_in_one_line() {
    let Some(bed) = super::shared() else { return };
    let admin = bed.admin().await;
    let namespace = bed.namespace(&admin, "wrote").await;
    bed.fate(&namespace, "fails", Fate::Failed);
    let (log, pod) = breaks(&admin, &job(&namespace, "migrate", "Never", "fails")).await;
    let (client, _file) = client(bed, &Plane::admin());
    let file = bed.plane.node().logs.join(&namespace).join(pod).join("run");
    let many: String = (0..100).map(|number| format!("step {number}\n")).collect();
    let long = format!("{}\nthe end\n", "x".repeat(1 << 20));
    for (wrote, expected) in [
        (
            many.as_bytes(),
            Some("step 95 | step 96 | step 97 | step 98 | step 99"),
        ),
        (
            b"1 %\r99 %\r\n\n\x1b[31mno \xff\x1b[0m",
            Some("99 % | no \u{fffd}"),
        ),
        (b"", None),
    ] {
        std::fs::write(&file, wrote).unwrap();
        assert_eq!(log.last_lines(&client).await.as_deref(), expected);
    }
    // A line that is longer than what is read hides what follows it, and is cut.
    std::fs::write(&file, &long).unwrap();
    let told = log.last_lines(&client).await.unwrap();
    assert!(
        told.starts_with("xxx") && told.ends_with('…') && told.len() < 500,
        "{told}"
    );
    // As where the node has removed it.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(log.last_lines(&client).await, None);
}

#[tokio::test]
async fn a_log_that_does_not_come_delays_nothing_for_long() {
    // Connections to it are made, and nobody ever answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap();
    let mut object = job("shop", "migrate", "Never", "fails");
    object["metadata"]["uid"] = json!("7");
    let log = JobLog::of(&object).unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), log.last_lines(&client));
    assert_eq!(told.await, Ok(None));
}
