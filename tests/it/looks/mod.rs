//! Commands that look at a cluster, at a site where something runs and the branch asks for more.
//!
//! `fixtures/looks/site`: what the branch asked for at `first`, which was towed; what it asks for
//! since (`second`), and the configuration, from which the application of `old.yaml` was taken out in
//! between. `fixtures/looks/*.txt` are transcripts as in `fixtures/cli`. What differs from machine to
//! machine is replaced: the registry's address, commits, and the hashes of manifests that hold the
//! address.

mod site;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cli::{compare, towpath, transcript_of};
pub(crate) use site::Site;
use site::fixtures;

/// What differs from machine to machine, and what stands for it.
fn replaced(site: &Site) -> Vec<(String, String)> {
    let mut replaced = vec![
        (
            site.registry.address().to_string(),
            "registry.example.com".to_owned(),
        ),
        (site.folder.path().display().to_string(), "SITE".to_owned()),
    ];
    let inventory: Value =
        serde_json::from_str(&site.run(&["inventory", "-o", "json"], 0)).unwrap();
    let mut stand_in = |value: &str, name: String| {
        if replaced.iter().all(|(known, _)| known != value) {
            replaced.push((value[..name.len()].to_owned(), name.clone()));
            // The whole is replaced before its beginning.
            replaced.insert(0, (value.to_owned(), name));
        }
    };
    for (index, member) in inventory.as_array().unwrap().iter().enumerate() {
        let hash = member["hash"].as_str().unwrap();
        stand_in(
            hash.trim_start_matches("sha256:"),
            format!("manifest-{index:03}"),
        );
        stand_in(member["commit"].as_str().unwrap(), "commit0".to_owned());
    }
    replaced
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commands_show_of_a_cluster_is_as_recorded() {
    let site = Site::start("site", &[]).await;
    site.commit("first");
    let file = site.path("environments/applications/old.yaml");
    site.copy("old.yaml");
    fs::rename(site.path("old.yaml"), &file).unwrap();
    let events = site.run(
        &[
            "run", "--once", "--wait", "20s", "--only", "qa", "-o", "yaml",
        ],
        0,
    );
    every_event_is_a_document(&events);
    site.run(&["run", "--once", "--only", "slow"], 4);
    a_rollout_tells_its_progress(&site);
    fs::remove_file(file).unwrap();
    site.commit("second");
    site.push("shop", "v1.1.0").await;
    let replaced = replaced(&site);
    let mut wrong = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "txt") {
            wrong.extend(compare(&path, &now(&path, site.folder.path(), &replaced)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nTOWPATH_UPDATE=1 records what is now",
        wrong.join("\n")
    );
}

fn now(path: &Path, site: &Path, replaced: &[(String, String)]) -> String {
    let text = fs::read_to_string(path).unwrap();
    let (title, _) = text.split_once("\n\n").unwrap();
    let mut now = format!("{title}\n");
    for command in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut program = towpath(site);
        program.current_dir(site);
        now.push('\n');
        now.push_str(&transcript_of(program, command));
    }
    for (value, name) in replaced {
        now = now.replace(value, name);
    }
    now
}

fn every_event_is_a_document(events: &str) {
    let (before, documents) = events.split_once("---\n").unwrap();
    assert_eq!(before, "");
    let events = documents.split("---\n").map(|document| {
        let event: Value = serde_yaml::from_str(document).unwrap();
        format!(
            "{} {}",
            event["event"].as_str().unwrap(),
            event["application"].as_str().unwrap()
        )
    });
    let events: Vec<_> = events.collect();
    for event in ["applied shop", "applied old", "healthy platform"] {
        assert!(events.iter().any(|it| it == event), "{event}: {events:?}");
    }
}

fn a_rollout_tells_its_progress(site: &Site) {
    let units: Value =
        serde_json::from_str(&site.run(&["status", "shop", "-o", "json"], 0)).unwrap();
    let slow = units
        .as_array()
        .unwrap()
        .iter()
        .find(|unit| unit["environment"] == "slow");
    let slow = slow.unwrap();
    assert_eq!(slow["state"], "converging", "{slow}");
    assert_eq!(
        slow["progress"],
        "Deployment.apps default/web: 0 of 1 ready"
    );
    assert!(
        slow["deadline"].as_str().unwrap() > slow["since"].as_str().unwrap(),
        "{slow}"
    );
    let table = site.run(&["status", "shop"], 0);
    let row = table.lines().find(|line| line.contains(" slow ")).unwrap();
    assert!(
        row.contains("Deployment.apps default/web: 0 of 1 ready; 23h left"),
        "{row}"
    );
}
