//! Mirrors on disk: shared, damaged, large, long-lived.

use std::path::Path;
use std::time::Duration;

use towpath::demo::git_server::Endpoint;
use towpath::git::{CommitDraft, Push, Pushed, Reach, Repository};
use towpath::model::CommitId;

use super::site::{MASTER, Site, commit, commit_on, git, signature};

fn packs(mirror: &Path) -> usize {
    let slot = mirror.join("0.git/objects/pack");
    let is_pack =
        |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|end| end == "pack");
    std::fs::read_dir(slot)
        .unwrap()
        .filter(|entry| is_pack(entry.as_ref().unwrap()))
        .count()
}

#[tokio::test]
async fn two_mirrors_share_a_directory() {
    let site = Site::http().await.unwrap();
    let (a, b) = (site.repository("shared"), site.repository("shared"));
    for second in 0..6 {
        let repository = [&a, &b][second as usize % 2];
        let (_, pushed) = commit(repository, "web", &second.to_string(), second)
            .await
            .unwrap();
        assert_eq!(pushed, Pushed::Landed);
    }
    drop((a, b));
    // The next process finds the first slot as it was left, and needs no pack for what is there.
    let again = site.repository("shared");
    let head = again.look(&[MASTER.to_owned()]).await.unwrap()[MASTER].commit();
    again.fetch(&[head.0], Reach::Tip).await.unwrap();
    let before = site.server().count("infra", Endpoint::Upload);
    again.fetch(&[head.0], Reach::Tip).await.unwrap();
    assert_eq!(site.server().count("infra", Endpoint::Upload), before);
    drop(again);
    let later = site.repository("shared");
    later.fetch(&[head.0], Reach::Tip).await.unwrap();
    assert_eq!(site.server().count("infra", Endpoint::Upload), before);
    git(
        &site.directory.path().join("shared/0.git"),
        &["cat-file", "-p", &format!("{head}^{{tree}}")],
    );
    site.check();
}

#[tokio::test]
async fn what_little_news_bring_is_on_disk_once_it_is_settled() {
    let site = Site::http().await.unwrap();
    let (writer, reader) = (site.repository("writer"), site.repository("reader"));
    let mirror = site.directory.path().join("reader");
    let look = async |reader: &Repository, head: CommitId| {
        reader.look(&[MASTER.to_owned()]).await.unwrap();
        reader.fetch(&[head.0], Reach::Tip).await.unwrap();
        assert_eq!(reader.commit(head).unwrap().id, head);
    };
    let (first, _) = commit(&writer, "web", "one", 1).await.unwrap();
    look(&reader, first).await;
    let before = packs(&mirror);
    reader.hold_news();
    let (second, _) = commit(&writer, "web", "two", 2).await.unwrap();
    look(&reader, second).await;
    assert_eq!(packs(&mirror), before);
    reader.settle().await;
    assert_eq!(packs(&mirror), before + 1);
    drop(reader);
    let next = site.repository("reader");
    let asked = site.server().count("infra", Endpoint::Upload);
    next.fetch(&[second.0], Reach::Tip).await.unwrap();
    assert_eq!(site.server().count("infra", Endpoint::Upload), asked);
    let tree = next.commit(second).unwrap().tree;
    let found = next.lookup(tree, "web").unwrap().unwrap();
    assert_eq!(next.blob(found.id).unwrap(), "two");
    site.check();
}

#[tokio::test]
async fn a_damaged_mirror_is_made_anew() {
    let site = Site::http().await.unwrap();
    let writer = site.repository("writer");
    let content = "content ".repeat(2000);
    let (mut head, _) = commit(&writer, "d/web", &content, 1).await.unwrap();
    let mirror = site.directory.path().join("mirror");
    let slot = mirror.join("0.git");
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 5] = [
        ("deleted", delete),
        ("packs deleted", |slot| {
            delete(&slot.join("objects/pack"));
        }),
        ("packs overwritten", |slot| overwrite(slot, "pack")),
        ("indices overwritten", |slot| overwrite(slot, "idx")),
        ("packs truncated", truncate),
    ];
    for (second, (name, damage)) in damages.into_iter().enumerate() {
        for is_open in [true, false] {
            let mut reader = Repository::on_disk(site.remote(), &mirror).unwrap();
            read_soon(&reader, head, &content, name).await;
            if !is_open {
                drop(reader);
                damage(&slot);
                reader = Repository::on_disk(site.remote(), &mirror).unwrap();
            } else {
                damage(&slot);
            }
            let next = second as i64 * 2 + i64::from(is_open) + 2;
            head = commit_on(&writer, Some(head), "new", &next.to_string(), next)
                .await
                .unwrap()
                .0;
            read_soon(&reader, head, &content, name).await;
        }
    }
}

/// As `rm -rf` does it: whoever writes there at the same time may take files away under our hands.
fn delete(path: &Path) {
    for _ in 0..100 {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.exists() => return,
            Err(_) => {}
        }
    }
    panic!("{} cannot be deleted", path.display());
}

/// Reads; one round may fail where damage shows only then, but it says that the next will do.
async fn read_soon(reader: &Repository, head: CommitId, content: &str, name: &str) {
    let mut outcome = read(reader, head, content).await;
    if let Err(error) = &outcome {
        assert!(error.is_transient(), "{name}: {error}");
        outcome = read(reader, head, content).await;
    }
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

async fn read(
    reader: &Repository,
    head: CommitId,
    content: &str,
) -> Result<(), towpath::git::GitError> {
    reader.look(&[MASTER.to_owned()]).await?;
    reader.fetch(&[head.0], Reach::Tip).await?;
    let found = reader.lookup(reader.commit(head)?.tree, "d/web")?.unwrap();
    assert_eq!(reader.blob(found.id)?, content);
    Ok(())
}

fn each(slot: &Path, end: &str, damage: impl Fn(&Path)) {
    for entry in std::fs::read_dir(slot.join("objects/pack")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == end) {
            damage(&path);
        }
    }
}

/// Replaces files, as a restored backup would: what is mapped stays as it was.
fn overwrite(slot: &Path, end: &str) {
    each(slot, end, |path| {
        let length = std::fs::metadata(path).unwrap().len() as usize;
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, vec![0x5a; length]).unwrap();
    });
}

fn truncate(slot: &Path) {
    each(slot, "pack", |path| {
        let content = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, &content[..content.len() / 2]).unwrap();
    });
}

#[tokio::test]
async fn a_mirror_stays_bounded() {
    let site = Site::file().await.unwrap();
    let writer = Repository::in_memory(site.remote());
    let reader = site.repository("reader");
    let mut head = commit(&writer, "web", "0", 0).await.unwrap().0;
    for second in 1..=120 {
        head = commit_on(&writer, Some(head), "web", &second.to_string(), second)
            .await
            .unwrap()
            .0;
        reader.look(&[MASTER.to_owned()]).await.unwrap();
        reader.fetch(&[head.0], Reach::Tip).await.unwrap();
    }
    // They are put together behind whoever fetches.
    let is_bounded = async || {
        while packs(&site.directory.path().join("reader")) > 60 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let bounded = tokio::time::timeout(Duration::from_secs(60), is_bounded()).await;
    bounded.expect("packs are put together");
    let walk = reader.first_parents(head, &|_| false, 1000).await.unwrap();
    assert_eq!(walk.commits.len(), 121);
    let mirror = site.directory.path().join("reader/0.git");
    git(&mirror, &["fsck", "--no-dangling", "--connectivity-only"]);
}

#[tokio::test]
async fn what_a_repository_lets_go_of_at_rest_is_read_from_its_mirror() {
    let site = Site::http().await.unwrap();
    let repository = site.repository("rests");
    let mirror = site.directory.path().join("rests");
    let head = large(&repository, 5_000).await;
    assert_eq!(packs(&mirror), 0, "a push writes no file");
    let tree = repository.commit(head).unwrap().tree;
    let before = repository.changed(None, Some(tree)).unwrap();
    for _ in 0..2 {
        repository.rest().await;
        assert_eq!(packs(&mirror), 1, "what is on disk is not written again");
        assert_eq!(repository.changed(None, Some(tree)).unwrap(), before);
        for change in &before {
            repository.blob(change.new.unwrap().1).unwrap();
        }
    }
    let (next, pushed) = commit(&repository, "web", "1", 1).await.unwrap();
    assert_eq!(pushed, Pushed::Landed);
    repository.rest().await;
    assert_eq!(packs(&mirror), 1, "little is kept in memory");
    assert_eq!(repository.commit(next).unwrap().parents, [head]);
}

/// Fills one directory.
async fn large(repository: &Repository, count: usize) -> CommitId {
    let mut draft = repository.draft();
    let files = (0..count).map(|n| {
        (
            format!("d/application-{n:05}.yaml"),
            Some("image: a:1".into()),
        )
    });
    let tree = draft.edit(None, files).unwrap();
    let head = draft.commit(&CommitDraft {
        tree,
        parents: vec![],
        author: signature(0),
        committer: signature(0),
        message: "fill".to_owned(),
    });
    let push = Push::new()
        .update(MASTER, None, head.0)
        .with(&draft)
        .unwrap();
    assert_eq!(repository.push(push).await.unwrap(), Pushed::Landed);
    head
}

#[tokio::test]
async fn editing_a_large_directory_sends_little() {
    // Small pushes are unpacked, large ones indexed with their bases added: both must take thin packs.
    for limit in ["1", "100"] {
        let site = Site::http().await.unwrap();
        site.configure("receive.unpackLimit", limit);
        site.configure("receive.fsckObjects", "true");
        let log = site.directory.path().join("log");
        let repository = site.repository("a");
        let mut head = large(&repository, 20_000).await;
        site.hook(
            "pre-receive",
            &format!(
                "du -sb \"$GIT_QUARANTINE_PATH\" | cut -f1 >> '{}'",
                log.display()
            ),
        );
        for second in 1..4 {
            let path = format!("d/application-{:05}.yaml", second * 777);
            let (next, pushed) = commit_on(&repository, Some(head), &path, "image: a:2", second)
                .await
                .unwrap();
            assert_eq!(pushed, Pushed::Landed);
            head = next;
        }
        let again = repository.changed(
            Some(
                repository
                    .commit(repository.commit(head).unwrap().parents[0])
                    .unwrap()
                    .tree,
            ),
            Some(repository.commit(head).unwrap().tree),
        );
        assert_eq!(again.unwrap().len(), 1);
        // A reader that has the directory gets the change alone, as a thin pack.
        let reader = site.repository("reader");
        reader.look(&[MASTER.to_owned()]).await.unwrap();
        reader.fetch(&[head.0], Reach::Tip).await.unwrap();
        let (next, _) = commit_on(
            &repository,
            Some(head),
            "d/application-00001.yaml",
            "image: a:3",
            9,
        )
        .await
        .unwrap();
        reader.look(&[MASTER.to_owned()]).await.unwrap();
        reader.fetch(&[next.0], Reach::Tip).await.unwrap();
        let found = reader
            .lookup(
                reader.commit(next).unwrap().tree,
                "d/application-00001.yaml",
            )
            .unwrap();
        assert_eq!(reader.blob(found.unwrap().id).unwrap(), "image: a:3");
        site.check();
    }
}

#[tokio::test]
async fn a_server_that_lost_a_base_gets_objects_whole() {
    let site = Site::http().await.unwrap();
    let repository = site.repository("a");
    let (head, _) = commit(&repository, "web", &"line\n".repeat(3000), 1)
        .await
        .unwrap();
    // The branch goes, and the server forgets what it held.
    let bare = site.bare().unwrap();
    git(&bare, &["update-ref", "-d", MASTER]);
    git(&bare, &["gc", "--quiet", "--prune=now"]);
    let mut draft = repository.draft();
    let old = repository.commit(head).unwrap().tree;
    let tree = draft
        .put(Some(old), "web", format!("{}end\n", "line\n".repeat(3000)))
        .unwrap();
    let new = draft.commit(&CommitDraft {
        tree,
        parents: vec![],
        author: signature(2),
        committer: signature(2),
        message: "again".to_owned(),
    });
    let push = Push::new()
        .update(MASTER, None, new.0)
        .with(&draft)
        .unwrap();
    assert_eq!(repository.push(push).await.unwrap(), Pushed::Landed);
    site.check();
}

#[tokio::test]
async fn objects_of_every_kind_survive_the_way_there_and_back() {
    let site = Site::file().await.unwrap();
    let writer = Repository::in_memory(site.remote());
    let mut draft = writer.draft();
    let files = [
        ("a.b", "1"),
        ("a/b", "2"),
        ("a-b", "3"),
        ("a0", "4"),
        ("é/ü", "5"),
        ("x/y/z", "6"),
    ];
    let edits = files.map(|(path, content)| (path.to_owned(), Some(content.into())));
    let tree = draft.edit(None, edits).unwrap();
    // A file becomes a directory, a directory a file, a directory empties away.
    let tree = draft
        .edit(
            Some(tree),
            [
                ("a0/in".to_owned(), Some("7".into())),
                ("x/y/z".to_owned(), None),
            ],
        )
        .unwrap();
    let tree = draft
        .edit(Some(tree), [("é".to_owned(), Some("8".into()))])
        .unwrap();
    for path in ["", "a//b", "../a", "a/.git/config", ".GIT"] {
        assert!(draft.put(Some(tree), path, "x").is_err(), "{path}");
    }
    let head = draft.commit(&CommitDraft {
        tree,
        parents: vec![],
        author: signature(1),
        committer: signature(1),
        message: "every kind".to_owned(),
    });
    let push = Push::new()
        .update(MASTER, None, head.0)
        .with(&draft)
        .unwrap();
    assert_eq!(writer.push(push).await.unwrap(), Pushed::Landed);
    let listed = git(
        &site.bare().unwrap(),
        &["ls-tree", "-r", "-z", "--name-only", "master"],
    );
    assert_eq!(listed, "a-b\0a.b\0a/b\0a0/in\0é\0");
    site.check();
}
