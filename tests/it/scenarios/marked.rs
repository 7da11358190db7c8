//! What was deployed is marked in its source: found before it is made, never forced, and nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use towpath::git::memory::{Call, MemoryRemote, Strike};
use towpath::git::{Reach, Repository};
use towpath::marks::{Marker, NOTES};
use towpath::model::{Author, CommitId};

use super::commands::Teller;
use super::story;

const STORY: &str = "
applications
    applications:
      - name: shop
        source: https://git.example.com/shop
        images: [ { repository: registry.example.com/acme/shop, release-tag: '{tag}' } ]
        environments: [qa, production]
config production
    follow: { environment: qa, soak: 5s }
    gate: none
    mark-source: true
source one on master
source two on master
begin
push shop v1.1.0 of $one
wait 1m
";

async fn tell(teller: &mut Teller, text: &str) {
    for line in story::read(text) {
        if let story::Line::Command(command) = line {
            teller.run(&command).await;
        }
    }
}

fn marker(teller: &Teller) -> Marker {
    let site = &teller.site;
    let author = Author {
        name: "Towpath".to_owned(),
        email: "towpath@example.com".to_owned(),
    };
    let reconciler = &site.towpaths[0].reconciler;
    Marker::new(reconciler, &site.pipelines, &author).unwrap()
}

/// The tags of deployments, and the commits they mark.
fn tags(source: &MemoryRemote) -> Vec<(String, CommitId)> {
    let refs = source.refs().into_iter();
    let tags = refs.filter_map(|(name, shown)| {
        let name = name.strip_prefix("refs/tags/")?.to_owned();
        assert!(shown.peeled.is_some(), "{name} is annotated");
        Some((name, shown.commit()))
    });
    tags.collect()
}

/// The note of a commit, as git itself would read it.
async fn note(source: &MemoryRemote, commit: CommitId) -> String {
    let repository = Repository::in_memory(Arc::new(source.clone()));
    let head = source.refs()[NOTES].id;
    repository.fetch(&[head], Reach::Tip).await.unwrap();
    let tree = repository.commit(CommitId(head)).unwrap().tree;
    let hex = commit.to_string();
    let path = format!("{}/{}", &hex[..2], &hex[2..]);
    let found = repository.lookup(tree, &path).unwrap().unwrap();
    String::from_utf8(repository.blob(found.id).unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deployed_is_marked_in_its_source_once() {
    let mut teller = Teller::new();
    tell(&mut teller, STORY).await;
    let source = teller.source().clone();
    let person = source.person("Ann");
    let two = person.head("master").unwrap();
    let first = marker(&teller);
    let pushes = |source: &MemoryRemote| source.calls(Call::Push);
    let none = pushes(&source);
    // It may not write: that is told, and tried again in a while.
    source.set_hook(Some(Arc::new(|_| Err("not you".to_owned()))));
    let now = teller.site.now;
    let again = first.turn(now).await;
    assert_eq!(again, Some(now + Duration::from_secs(60)));
    assert_eq!(first.turn(now).await, again, "and not before");
    assert_eq!((tags(&source), pushes(&source)), (Vec::new(), none + 1));
    source.set_hook(None);
    teller.site.pass(Duration::from_secs(60));
    // The answer is lost: what landed is found.
    source.fail_next(Call::Push, Strike::After, source.cut());
    assert_eq!(first.turn(teller.site.now).await, None);
    let [(name, one)] = &tags(&source)[..] else {
        panic!("one deployment is known by its commit: {:?}", tags(&source));
    };
    assert_eq!(name, "deployment-0002");
    assert_ne!(*one, two);
    let told = note(&source, *one).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "state: deployed",
            "environment: production",
            "deployment: deployment-0002",
            "release: v1.1.0"
        ]
    );
    assert!(
        lines[4]
            .strip_prefix("at: ")
            .unwrap()
            .parse::<Timestamp>()
            .is_ok()
    );
    // It is there, for this process and for any other.
    let made = pushes(&source);
    assert_eq!(first.turn(teller.site.now).await, None);
    teller.site.restart();
    tell(&mut teller, "rounds\n").await;
    let second = marker(&teller);
    assert_eq!(second.turn(teller.site.now).await, None);
    assert_eq!(pushes(&source), made);
    // The same commit again, under another release: one note tells of both.
    tell(
        &mut teller,
        "push shop v1.2.0 of $one\nwait 1m\npush shop v1.3.0 of $two\nwait 1m\n",
    )
    .await;
    assert_eq!(second.turn(teller.site.now).await, None);
    assert_eq!(pushes(&source), made + 1, "both in one push");
    let names: Vec<String> = tags(&source).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["deployment-0002", "deployment-0003", "deployment-0004"]
    );
    let both = note(&source, *one).await;
    assert!(
        both.starts_with(&format!("{told}\nstate: deployed\n")),
        "{both}"
    );
    assert!(both.contains("deployment: deployment-0003\n"), "{both}");
    assert!(note(&source, two).await.contains("release: v1.3.0\n"));
}
