//! What holds on every kind of server: the same cases against memory, file, http and ssh.

use std::collections::BTreeMap;

use towpath::git::{CommitDraft, End, GitError, Push, Pushed, Reach, Refs, TagDraft};
use towpath::model::CommitId;

use super::site::{MASTER, Site, commit, commit_on, history, signature};

/// Runs every case against every kind of server.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        contract!(@on memory: $($case),*);
        contract!(@on file: $($case),*);
        contract!(@on http: $($case),*);
        contract!(@on http_version_0: $($case),*);
        contract!(@on ssh: $($case),*);
    };
    (@on $site:ident: $($case:ident),*) => {
        mod $site {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(site) = super::Site::$site().await {
                        super::$case(&site).await;
                        site.check();
                    }
                }
            )*
        }
    };
}

contract!(
    refs_are_created_advanced_verified_and_deleted,
    branch_records_and_tag_land_as_one,
    a_stale_head_is_lost_and_moves_nothing,
    a_refusal_keeps_the_servers_words,
    racing_writers_lose_no_commit,
    walks_cross_the_shallow_boundary,
    commits_alone_answer_for_ancestry,
    an_empty_repository_is_no_error,
    a_rewritten_branch_is_followed,
    what_is_here_is_not_asked_for,
);

fn ids(refs: &Refs) -> BTreeMap<&str, String> {
    refs.iter()
        .map(|(name, shown)| (name.as_str(), shown.id.to_string()))
        .collect()
}

async fn everything(site: &Site) -> Refs {
    site.repository("looker")
        .look(&["refs/".to_owned()])
        .await
        .unwrap()
}

async fn refs_are_created_advanced_verified_and_deleted(site: &Site) {
    let repository = site.repository("a");
    let (first, pushed) = commit(&repository, "k/web.yaml", "1", 1).await.unwrap();
    assert_eq!(pushed, Pushed::Landed);
    let (second, pushed) = commit(&repository, "k/web.yaml", "2", 2).await.unwrap();
    assert_eq!(pushed, Pushed::Landed);
    let pushed = repository
        .push(
            Push::new()
                .update("refs/heads/other", None, first.0)
                .verify(MASTER, second.0),
        )
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Landed);
    let refs = everything(site).await;
    let expected = [
        ("refs/heads/master", second.to_string()),
        ("refs/heads/other", first.to_string()),
    ];
    assert_eq!(ids(&refs), expected.into());
    let pushed = repository
        .push(Push::new().delete("refs/heads/other", first.0))
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Landed);
    assert_eq!(ids(&everything(site).await).len(), 1);
    assert_eq!(repository.seen(), everything(site).await);
}

async fn branch_records_and_tag_land_as_one(site: &Site) {
    let repository = site.repository("a");
    let (head, _) = commit(&repository, "k/web.yaml", "1", 1).await.unwrap();
    let mut draft = repository.draft();
    let tree = draft.put(None, "records/1", "deployed").unwrap();
    let sign = signature(3);
    let note = draft.commit(&CommitDraft {
        tree,
        parents: vec![],
        author: sign.clone(),
        committer: sign.clone(),
        message: "records".to_owned(),
    });
    let tag = draft
        .tag(&TagDraft {
            name: "deployment-0001".to_owned(),
            target: head,
            tagger: sign,
            message: "Successfully Deployed".to_owned(),
        })
        .unwrap();
    let names = ["refs/notes/towpath/qa", "refs/tags/deployment-0001"];
    let all = |verified: CommitId| {
        Push::new()
            .verify(MASTER, verified.0)
            .update(names[0], None, note.0)
            .update(names[1], None, tag)
            .with(&draft)
            .unwrap()
    };
    // One expectation does not hold: none of the others moves.
    let stale: CommitId = note;
    let pushed = repository.push(all(stale)).await.unwrap();
    assert!(
        matches!(&pushed, Pushed::Lost { landed, .. } if landed.is_empty()),
        "{pushed:?}"
    );
    assert_eq!(everything(site).await.len(), 1);
    assert_eq!(repository.push(all(head)).await.unwrap(), Pushed::Landed);
    let refs = everything(site).await;
    assert_eq!(refs[names[0]].id, note.0);
    assert_eq!((refs[names[1]].id, refs[names[1]].commit()), (tag, head));
    // Another mirror reads what was pushed.
    let other = site.repository("b");
    other.fetch(&[tag, note.0], Reach::Tip).await.unwrap();
    assert_eq!(other.tag(tag).unwrap().message, "Successfully Deployed\n");
    let found = other
        .lookup(other.commit(note).unwrap().tree, "records/1")
        .unwrap()
        .unwrap();
    assert_eq!(other.blob(found.id).unwrap(), "deployed");
}

async fn a_stale_head_is_lost_and_moves_nothing(site: &Site) {
    let (a, b) = (site.repository("a"), site.repository("b"));
    let (first, _) = commit(&a, "web", "1", 1).await.unwrap();
    let (second, _) = commit(&b, "web", "2", 2).await.unwrap();
    let (_, pushed) = commit_on(&a, Some(first), "web", "3", 3).await.unwrap();
    let Pushed::Lost { refs, landed } = pushed else {
        panic!("{pushed:?}");
    };
    assert_eq!((refs[MASTER].id, landed.is_empty()), (second.0, true));
    let (_, pushed) = commit_on(&a, None, "web", "4", 4).await.unwrap();
    assert!(
        matches!(pushed, Pushed::Lost { .. }),
        "the branch exists: {pushed:?}"
    );
    assert_eq!(everything(site).await[MASTER].id, second.0);
    let (third, pushed) = commit(&a, "web", "3", 5).await.unwrap();
    assert_eq!(pushed, Pushed::Landed);
    assert_eq!(everything(site).await[MASTER].id, third.0);
}

async fn a_refusal_keeps_the_servers_words(site: &Site) {
    let repository = site.repository("a");
    let (first, _) = commit(&repository, "web", "1", 1).await.unwrap();
    site.refuse("policy: the branch is \x1b[31mfrozen\x1b[0m");
    let (_, pushed) = commit(&repository, "web", "2", 2).await.unwrap();
    let Pushed::Refused {
        reasons,
        messages,
        landed,
    } = pushed
    else {
        panic!("{pushed:?}");
    };
    assert!(messages.contains("policy: the branch is"), "{messages}");
    assert!(!messages.contains('\x1b'), "{messages:?}");
    assert!(
        reasons.contains_key(MASTER) && landed.is_empty(),
        "{reasons:?}"
    );
    assert_eq!(everything(site).await[MASTER].id, first.0);
}

async fn racing_writers_lose_no_commit(site: &Site) {
    let (writer_count, rounds) = site.race();
    commit(&site.repository("start"), "start", "", 0)
        .await
        .unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..writer_count {
        let repository = site.repository(&format!("w{writer}"));
        writers.spawn(async move {
            let (mut won, mut second) = (Vec::new(), writer * 1000);
            while won.len() < rounds {
                second += 1;
                let path = format!("w/{writer}");
                let (id, pushed) = commit(&repository, &path, &second.to_string(), second)
                    .await
                    .unwrap();
                match pushed {
                    Pushed::Landed => won.push(id),
                    Pushed::Lost { landed, .. } => assert!(landed.is_empty()),
                    // A server may refuse while another holds the lock on the ref.
                    Pushed::Refused { .. } => {}
                }
            }
            won
        });
    }
    let mut won: Vec<CommitId> = writers.join_all().await.into_iter().flatten().collect();
    let reader = site.repository("reader");
    let head = reader.look(&[MASTER.to_owned()]).await.unwrap()[MASTER].commit();
    reader.fetch(&[head.0], Reach::Tip).await.unwrap();
    let walk = reader.first_parents(head, &|_| false, 1000).await.unwrap();
    assert_eq!(
        (walk.end, walk.commits.len()),
        (End::Root, writer_count as usize * rounds + 1)
    );
    let mut landed: Vec<CommitId> = walk
        .commits
        .iter()
        .rev()
        .skip(1)
        .map(|commit| commit.id)
        .collect();
    landed.sort();
    won.sort();
    assert_eq!(landed, won);
}

async fn walks_cross_the_shallow_boundary(site: &Site) {
    let head = history(&site.repository("writer"), 150).await;
    let reader = site.repository("reader");
    reader.look(&[MASTER.to_owned()]).await.unwrap();
    reader.fetch(&[head.0], Reach::Tip).await.unwrap();
    let tree = reader.commit(head).unwrap().tree;
    assert!(reader.lookup(tree, "d/f9").unwrap().is_some());
    let walk = reader.first_parents(head, &|_| false, 10).await.unwrap();
    assert_eq!((walk.commits.len(), walk.end), (10, End::Limit));
    let walk = reader
        .first_parents(head, &|commit| commit.subject() == "commit 20", 1000)
        .await
        .unwrap();
    assert_eq!((walk.commits.len(), walk.end), (130, End::Stop));
    let old = walk.commits.last().unwrap().tree;
    assert_eq!(reader.changed(Some(old), Some(tree)).unwrap().len(), 10);
    let walk = reader.first_parents(head, &|_| false, 1000).await.unwrap();
    assert_eq!((walk.commits.len(), walk.end), (150, End::Root));
    // Depth is also had at once, and the boundary is not an ancestor's end.
    let other = site.repository("other");
    other.fetch(&[head.0], Reach::Depth(5)).await.unwrap();
    let root = walk.commits.last().unwrap().id;
    assert!(other.is_ancestor(root, head).await.unwrap());
    assert!(!other.is_ancestor(head, root).await.unwrap());
}

async fn commits_alone_answer_for_ancestry(site: &Site) {
    let writer = site.repository("writer");
    let head = history(&writer, 60).await;
    let (next, _) = commit_on(&writer, Some(head), "web", "1", 100)
        .await
        .unwrap();
    let push = Push::new().update("refs/heads/side", None, head.0);
    assert_eq!(writer.push(push).await.unwrap(), Pushed::Landed);
    // A server that cannot filter sends more than was asked for, and answers the same.
    for (name, filter) in [("full", false), ("commits", true)] {
        site.set_filter(filter);
        let reader = site.repository(name);
        let refs = reader.look(&["refs/heads/".to_owned()]).await.unwrap();
        let tips: Vec<_> = refs.values().map(|shown| shown.id).collect();
        reader.fetch(&tips, Reach::Commits).await.unwrap();
        assert!(reader.is_ancestor(head, next).await.unwrap());
        assert!(!reader.is_ancestor(next, head).await.unwrap());
        let tree = reader.commit(next).unwrap().tree;
        let stayed = matches!(reader.tree(tree), Err(GitError::Missing { .. }));
        assert_eq!(stayed, filter, "trees are left out where the server can");
    }
}

async fn an_empty_repository_is_no_error(site: &Site) {
    let repository = site.repository("a");
    assert!(
        repository
            .look(&["refs/".to_owned()])
            .await
            .unwrap()
            .is_empty()
    );
    repository.fetch(&[], Reach::Tip).await.unwrap();
    let (_, pushed) = commit(&repository, "first", "1", 1).await.unwrap();
    assert_eq!(pushed, Pushed::Landed);
}

async fn a_rewritten_branch_is_followed(site: &Site) {
    site.configure("receive.denyDeleteCurrent", "ignore");
    let writer = site.repository("writer");
    let head = history(&writer, 30).await;
    let reader = site.repository("reader");
    reader.look(&[MASTER.to_owned()]).await.unwrap();
    reader.fetch(&[head.0], Reach::Tip).await.unwrap();
    // Someone replaces the branch: delete and create, as a forced push does.
    let mut draft = writer.draft();
    let tree = draft.put(None, "other", "1").unwrap();
    let new = draft.commit(&CommitDraft {
        tree,
        parents: vec![],
        author: signature(1),
        committer: signature(1),
        message: "rewritten".to_owned(),
    });
    writer
        .push(Push::new().delete(MASTER, head.0))
        .await
        .unwrap();
    let push = Push::new()
        .update(MASTER, None, new.0)
        .with(&draft)
        .unwrap();
    assert_eq!(writer.push(push).await.unwrap(), Pushed::Landed);
    let shown = reader.look(&[MASTER.to_owned()]).await.unwrap()[MASTER].commit();
    assert_eq!(shown, new);
    reader.fetch(&[shown.0], Reach::Tip).await.unwrap();
    let walk = reader.first_parents(shown, &|_| false, 10).await.unwrap();
    assert_eq!((walk.commits.len(), walk.end), (1, End::Root));
}

async fn what_is_here_is_not_asked_for(site: &Site) {
    let repository = site.repository("a");
    let (mut head, _) = commit(&repository, "web", "0", 0).await.unwrap();
    for second in 1..5 {
        let (next, pushed) = commit_on(&repository, Some(head), "web", &second.to_string(), second)
            .await
            .unwrap();
        assert_eq!(pushed, Pushed::Landed);
        // Our own commit needs no fetch: also true when the server cannot be asked.
        repository.fetch(&[next.0], Reach::Tip).await.unwrap();
        head = next;
    }
    let tree = repository.commit(head).unwrap().tree;
    let found = repository.lookup(tree, "web").unwrap().unwrap();
    assert_eq!(repository.blob(found.id).unwrap(), "4");
}
