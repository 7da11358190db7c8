//! Many open requests in one repository: what it takes to open them, and what follows when their base
//! moves: only what the commit touches is rebuilt.

use std::fmt::Write as _;

use towpath::git::memory::Call;
use towpath::model::CommitId;

use super::commands::{Teller, manifest};
use super::site::Site;
use super::story;

const REGISTRY: &str = "registry.example.com/acme";

/// How many applications have an open request.
const COUNT: usize = 300;

/// What GitHub lets anybody ask in an hour, and for how many applications that must do.
const HOURLY: usize = 5_000;
const ALL: usize = 1_000;

async fn tell(teller: &mut Teller, text: &str) {
    for line in story::read(text) {
        if let story::Line::Command(command) = line {
            teller.run(&command).await;
        }
    }
}

fn configuration() -> String {
    let mut text = String::from("applications\n    applications:\n");
    for index in 0..COUNT {
        writeln!(
            text,
            "      - {{ name: a{index}, images: [{{ repository: {REGISTRY}/a{index}, release-tag: '{{tag}}' }}], environments: [qa, production] }}"
        )
        .unwrap();
    }
    for (environment, more) in [
        ("qa", ""),
        (
            "production",
            "    gate: pull-request\n    follow: { environment: qa, soak: 0s }\n",
        ),
    ] {
        write!(
            text,
            "config {environment}\n    manifests: ['kubernetes/{{application}}']\n    tags: {{ keep: none }}\n    cluster: {{ simulated: {{ ready-after: 0s }} }}\n{more}    \
             repository: {{ url: 'https://github.com/acme/infra-{environment}', branch: master }}\n"
        )
        .unwrap();
    }
    for version in ["v1.0.0", "v1.1.0"] {
        (0..COUNT).for_each(|index| writeln!(text, "push a{index} {version}").unwrap());
    }
    text
}

/// QA runs the newer release, and production the older one, of every application.
fn baselines(site: &Site) {
    for (environment, version) in [("qa", "v1.1.0"), ("production", "v1.0.0")] {
        let files: Vec<(String, String)> = (0..COUNT)
            .map(|index| {
                let (name, image) = (
                    format!("a{index}"),
                    format!("{REGISTRY}/a{index}:{version}"),
                );
                let text = manifest(&name, &[image]);
                (format!("kubernetes/{name}/{name}.yaml"), text)
            })
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.as_str(), Some(text.as_str())))
            .collect();
        let person = site.person(environment);
        person
            .commit("master", &files, "first manifests", site.now)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_that_moves_rebuilds_only_what_it_touches() {
    let mut teller = Teller::new();
    tell(&mut teller, &configuration()).await;
    baselines(&teller.site);
    tell(&mut teller, "rounds\n").await;
    // Each costs one request on GitHub (`tests/it/forge/github.rs`); a look that finds nothing new costs none.
    let forge = teller.site.forge("production");
    let asked = forge.reads() + forge.writes();
    assert!(
        asked * ALL / COUNT <= HOURLY,
        "{asked} requests for {COUNT} applications"
    );
    let open = |teller: &Teller| {
        let of = |index| format!("towpath/production/a{index}");
        let forge = teller.site.forge("production");
        let seen = (0..COUNT).map(|index| forge.see(&of(index)));
        let seen: Vec<_> = seen
            .map(|seen| (seen.len(), seen[0].state, seen[0].commit))
            .collect();
        seen
    };
    let before = open(&teller);
    assert!(
        before
            .iter()
            .all(|(count, state, _)| (*count, *state) == (1, "open"))
    );
    let written = |teller: &Teller| {
        let pushes = teller.site.remote("production").calls(Call::Push);
        (pushes, teller.site.forge("production").writes())
    };
    let (pushes, writes) = written(&teller);
    tell(
        &mut teller,
        "edit production kubernetes/a7/a7.yaml \"replicas: 1\" \"replicas: 2\"\nrounds\n",
    )
    .await;
    let after = open(&teller);
    let moved: Vec<usize> = (0..COUNT)
        .filter(|index| before[*index] != after[*index])
        .collect();
    assert_eq!(moved, [7]);
    let (pushes_after, writes_after) = written(&teller);
    // The hand-made deployment and its verdict, its tag, and the proposal.
    assert!(
        pushes_after - pushes <= 4,
        "{} pushes",
        pushes_after - pushes
    );
    // What that request says of the branch that moved, and of its new commit, and the check there; the
    // deployment's status, twice.
    assert!(
        writes_after - writes <= 6,
        "{} writes",
        writes_after - writes
    );
    follows_what_is_merged_next(&mut teller).await;
}

/// Protection demands that requests are up to date: only what is merged next is rebuilt, one in each look.
async fn follows_what_is_merged_next(teller: &mut Teller) {
    teller.site.forge("production").set_strict(true);
    let heads = |teller: &Teller| {
        let forge = teller.site.forge("production");
        let of = |index| forge.see(&format!("towpath/production/a{index}"))[0].commit;
        (0..COUNT).map(of).collect::<Vec<_>>()
    };
    let moved = |one: &[CommitId], other: &[CommitId]| {
        let differs = |index: &usize| one[*index] != other[*index];
        (0..COUNT).filter(differs).collect::<Vec<_>>()
    };
    let before = heads(teller);
    tell(teller, "file production README.md\n    About\nrounds\n").await;
    assert_eq!(heads(teller), before, "nobody approved any");
    let approved = [3, 11];
    for index in approved {
        let head = format!("towpath/production/a{index}");
        teller.site.forge("production").approve(&head, "ann");
    }
    tell(teller, "round\n").await;
    let first = heads(teller);
    assert_eq!(moved(&before, &first).len(), 1, "one at a time");
    tell(teller, "rounds\n").await;
    assert_eq!(moved(&before, &heads(teller)), approved);
}
