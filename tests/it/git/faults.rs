//! Networks that break and servers that say no: what is told, and that nothing is done twice.

use std::time::Duration;

use towpath::demo::git_server::{Endpoint, Fault, GitServer, commit_first};
use towpath::git::memory::{Call, MemoryRemote, Strike};
use towpath::git::{Access, Credential, GitError, Push, Pushed, Reach, Repository};

use super::site::{MASTER, Site, access, commit, commit_on, git, signature};

fn over(site: &Site, access: &Access) -> Repository {
    Repository::in_memory(site.remote_with(access))
}

async fn look(repository: &Repository) -> Result<(), GitError> {
    repository.look(&["refs/".to_owned()]).await.map(drop)
}

#[tokio::test]
async fn a_warm_edit_is_one_request() {
    for version in [Site::http().await, Site::http_version_0().await] {
        let site = version.unwrap();
        let server = site.server();
        let repository = site.repository("a");
        let (mut head, _) = commit(&repository, "k/web.yaml", "0", 0).await.unwrap();
        let count = |endpoint| server.count("infra", endpoint);
        let requests =
            || count(Endpoint::Discover) + count(Endpoint::Upload) + count(Endpoint::Receive);
        for second in 1..4 {
            let before = requests();
            let (next, pushed) = commit_on(
                &repository,
                Some(head),
                "k/web.yaml",
                &second.to_string(),
                second,
            )
            .await
            .unwrap();
            repository.fetch(&[next.0], Reach::Tip).await.unwrap();
            assert_eq!((pushed, requests() - before), (Pushed::Landed, 1));
            head = next;
        }
        assert_eq!(server.connections(), 1, "one connection stays open");
    }
    // A look at a server of version 2 is one request, too.
    let site = Site::http().await.unwrap();
    let repository = site.repository("a");
    look(&repository).await.unwrap();
    look(&repository).await.unwrap();
    assert_eq!(site.server().count("infra", Endpoint::Discover), 1);
    assert_eq!(site.server().count("infra", Endpoint::Upload), 2);
}

#[tokio::test]
async fn a_connection_cut_before_the_effect_changes_nothing() {
    let site = Site::http().await.unwrap();
    let repository = site.repository("a");
    let (head, _) = commit(&repository, "web", "1", 1).await.unwrap();
    site.server()
        .fail_next(Endpoint::Receive, Fault::CutRequest(10));
    let error = commit_on(&repository, Some(head), "web", "2", 2)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    let (_, pushed) = commit_on(&repository, Some(head), "web", "2", 2)
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Landed);
}

#[tokio::test]
async fn a_connection_cut_after_the_effect_has_landed() {
    let site = Site::http().await.unwrap();
    let repository = site.repository("a");
    let (mut head, _) = commit(&repository, "web", "1", 1).await.unwrap();
    for (second, bytes) in [(2, 0), (3, 7), (4, 30)] {
        site.server()
            .fail_next(Endpoint::Receive, Fault::CutResponse(bytes));
        let (next, pushed) = commit_on(&repository, Some(head), "web", &second.to_string(), second)
            .await
            .unwrap();
        assert_eq!(pushed, Pushed::Landed, "cut after {bytes} bytes");
        head = next;
    }
    // The look after the cut fails too: the outcome is unknown, and the error says to try again.
    site.server()
        .fail_next(Endpoint::Receive, Fault::CutResponse(0));
    site.server()
        .fail_next(Endpoint::Upload, Fault::Status(503, vec![], "busy"));
    let error = commit_on(&repository, Some(head), "web", "5", 5)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    let (_, pushed) = commit_on(&repository, Some(head), "web", "6", 6)
        .await
        .unwrap();
    assert!(matches!(pushed, Pushed::Lost { .. }), "{pushed:?}");
}

#[tokio::test]
async fn a_cut_fetch_is_tried_again_without_harm() {
    let site = Site::http().await.unwrap();
    let (head, _) = commit(&site.repository("a"), "web", &"x".repeat(5000), 1)
        .await
        .unwrap();
    let reader = site.repository("reader");
    look(&reader).await.unwrap();
    for bytes in [0, 20, 60, 200] {
        site.server()
            .fail_next(Endpoint::Upload, Fault::CutResponse(bytes));
        let error = reader.fetch(&[head.0], Reach::Tip).await.unwrap_err();
        assert!(error.is_transient(), "after {bytes} bytes: {error}");
    }
    reader.fetch(&[head.0], Reach::Tip).await.unwrap();
    assert!(reader.commit(head).is_ok());
}

#[tokio::test]
async fn statuses_say_what_to_do() {
    let site = Site::http().await.unwrap();
    let server = site.server();
    let fail = |status, headers, text| {
        server.fail_next(Endpoint::Discover, Fault::Status(status, headers, text));
    };
    let repository = over(&site, &access());
    fail(429, vec![("retry-after", "7".to_owned())], "slow down");
    let error = look(&repository).await.unwrap_err();
    assert_eq!(
        (error.is_transient(), error.retry_after()),
        (true, Some(Duration::from_secs(7)))
    );
    let dates = vec![
        ("date", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
        ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT".to_owned()),
    ];
    fail(503, dates, "maintenance \x1b]0;title\x07");
    let error = look(&repository).await.unwrap_err();
    assert_eq!(
        (error.is_transient(), error.retry_after()),
        (true, Some(Duration::from_secs(30)))
    );
    assert!(error.to_string().contains("maintenance \\u{1b}"), "{error}");
    fail(403, vec![], "read only");
    let error = look(&repository).await.unwrap_err();
    assert!(
        matches!(&error, GitError::Forbidden { message, .. } if message == "read only"),
        "{error}"
    );
    fail(
        200,
        vec![("content-type", "text/html".to_owned())],
        "<html>",
    );
    let error = look(&repository).await.unwrap_err();
    assert!(matches!(error, GitError::NotSmart { .. }) && !error.is_transient());
    fail(
        302,
        vec![(
            "location",
            "http://other.example/infra.git/info/refs?service=git-upload-pack".to_owned(),
        )],
        "",
    );
    let error = look(&repository).await.unwrap_err();
    assert!(
        matches!(&error, GitError::Redirected { to, .. } if to.contains("other.example")),
        "{error}"
    );
    let here = format!("{}/info/refs?service=git-upload-pack", server.url("infra"));
    fail(302, vec![("location", here)], "");
    look(&repository).await.unwrap();
    let missing = server.url("missing").parse().unwrap();
    let missing = Repository::in_memory(towpath::git::remote(&missing, &access()).unwrap());
    assert!(matches!(
        look(&missing).await,
        Err(GitError::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let site = Site::http().await.unwrap();
    let access = Access {
        idle_timeout: Duration::from_millis(100),
        ..access()
    };
    let repository = over(&site, &access);
    site.server().fail_next(Endpoint::Discover, Fault::Stall);
    let error = look(&repository).await.unwrap_err();
    assert!(
        matches!(error, GitError::Stalled { .. }) && error.is_transient(),
        "{error}"
    );
}

#[tokio::test]
async fn credentials_are_named_and_never_shown() {
    let site = Site::http().await.unwrap();
    let server = site.server();
    server.require(Some(("bot", "s3cret")));
    let file = site.directory.path().join("token");
    std::fs::write(&file, "wrong\n").unwrap();
    let named = Access {
        credential: Credential::File(file.clone()),
        user: Some("bot".to_owned()),
        ..access()
    };
    let refused = look(&over(&site, &access())).await.unwrap_err();
    assert!(
        refused.to_string().contains("without a credential"),
        "{refused}"
    );
    let repository = over(&site, &named);
    let refused = look(&repository).await.unwrap_err().to_string();
    assert!(
        refused.contains("token") && !refused.contains("wrong"),
        "{refused}"
    );
    // The file is read again when its content is refused.
    std::fs::write(&file, "s3cret\n").unwrap();
    let (head, pushed) = commit(&repository, "web", "1", 1).await.unwrap();
    assert_eq!(pushed, Pushed::Landed);
    // A credential that is known goes with the first request: no 401 in between.
    let before = server.count("infra", Endpoint::Receive);
    commit_on(&repository, Some(head), "web", "2", 2)
        .await
        .unwrap();
    assert_eq!(server.count("infra", Endpoint::Receive) - before, 1);
    // Rotated while we run.
    server.require(Some(("bot", "n3w")));
    std::fs::write(&file, "n3w").unwrap();
    look(&repository).await.unwrap();
    let gone = Access {
        credential: Credential::Environment("TOWPATH_TEST_UNSET".to_owned()),
        ..access()
    };
    let error = look(&over(&site, &gone)).await.unwrap_err().to_string();
    assert!(error.contains("TOWPATH_TEST_UNSET"), "{error}");
    assert!(!format!("{named:?}").contains("n3w"));
}

#[tokio::test]
async fn a_file_repository_that_is_missing_is_told() {
    let url = "/nonexistent/infra.git".parse().unwrap();
    let missing = Repository::in_memory(towpath::git::remote(&url, &access()).unwrap());
    assert!(matches!(
        look(&missing).await,
        Err(GitError::NotFound { .. })
    ));
    let directory = tempfile::TempDir::new().unwrap();
    let url = directory.path().to_str().unwrap().parse().unwrap();
    let other = Repository::in_memory(towpath::git::remote(&url, &access()).unwrap());
    let error = look(&other).await.unwrap_err();
    assert!(matches!(&error, GitError::Program { .. }), "{error}");
}

/// Three refs in one push; returns the names that moved, in the order in which the server saw them.
async fn three(
    repository: &Repository,
    head: towpath::model::CommitId,
) -> Result<Pushed, GitError> {
    let push = Push::new()
        .update("refs/tags/t", None, head.0)
        .update("refs/heads/other", None, head.0)
        .update("refs/notes/towpath/qa", None, head.0)
        .verify(MASTER, head.0);
    repository.push(push).await
}

#[tokio::test]
async fn without_atomic_push_records_come_first() {
    for site in [Site::file().await.unwrap(), Site::http().await.unwrap()] {
        site.configure("receive.advertiseAtomic", "false");
        let log = site.directory.path().join("log");
        site.hook(
            "post-receive",
            &format!("cut -d' ' -f3 >> '{}'", log.display()),
        );
        let repository = site.repository("a");
        let (head, _) = commit(&repository, "web", "1", 1).await.unwrap();
        std::fs::write(&log, "").unwrap();
        assert_eq!(three(&repository, head).await.unwrap(), Pushed::Landed);
        let seen = std::fs::read_to_string(&log).unwrap();
        assert_eq!(
            seen,
            "refs/notes/towpath/qa\nrefs/heads/other\nrefs/tags/t\n"
        );
        site.check();
    }
}

#[tokio::test]
async fn an_interrupted_sequence_says_what_landed() {
    let site = Site::http().await.unwrap();
    site.configure("receive.advertiseAtomic", "false");
    let repository = site.repository("a");
    let (head, _) = commit(&repository, "web", "1", 1).await.unwrap();
    site.hook(
        "update",
        "case $1 in refs/heads/*) echo 'branch is protected'; exit 1;; esac",
    );
    let Pushed::Refused {
        reasons,
        messages,
        landed,
    } = three(&repository, head).await.unwrap()
    else {
        panic!("the branch is refused");
    };
    assert_eq!(landed, ["refs/notes/towpath/qa"]);
    assert_eq!(
        reasons.into_keys().collect::<Vec<_>>(),
        ["refs/heads/other"]
    );
    assert!(messages.contains("branch is protected"), "{messages}");
    // A verified ref that moved in between stops the sequence before it begins.
    let push = Push::new()
        .update("refs/heads/x", None, head.0)
        .verify("refs/heads/none", head.0);
    assert!(
        matches!(repository.push(push).await.unwrap(), Pushed::Lost { landed, .. } if landed.is_empty())
    );
    let refs = git(
        &site.bare().unwrap(),
        &["for-each-ref", "--format=%(refname)"],
    );
    assert_eq!(refs, "refs/heads/master\nrefs/notes/towpath/qa\n");
}

#[tokio::test]
async fn the_memory_server_fails_as_it_is_told() {
    let remote = MemoryRemote::new("memory:infra");
    let repository = Repository::in_memory(std::sync::Arc::new(remote.clone()));
    let (first, _) = commit(&repository, "web", "1", 1).await.unwrap();
    remote.fail_next(Call::Push, Strike::Before, remote.cut());
    assert!(
        commit_on(&repository, Some(first), "web", "2", 2)
            .await
            .unwrap_err()
            .is_transient()
    );
    remote.fail_next(Call::Push, Strike::After, remote.cut());
    let (second, pushed) = commit_on(&repository, Some(first), "web", "3", 3)
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Landed);
    remote.set_atomic(false);
    let before = remote.calls(Call::Push);
    assert_eq!(three(&repository, second).await.unwrap(), Pushed::Landed);
    // One that is refused for not being atomic, then one for each ref that moves.
    assert_eq!(remote.calls(Call::Push) - before, 4);
}

#[tokio::test]
async fn the_loopback_server_tells_of_pushes_and_stops() {
    let directory = tempfile::TempDir::new().unwrap();
    let server = GitServer::start(directory.path()).await.unwrap();
    let bare = server.create("acme/infra").await.unwrap();
    let files = vec![("k/web.yaml".to_owned(), b"image: a:1\n".to_vec())];
    let by = signature(0);
    let first = commit_first(&bare, files.clone(), "first", &by)
        .await
        .unwrap();
    assert!(commit_first(&bare, files, "again", &by).await.is_err());
    let mut pushes = server.pushes();
    let url = server.url("acme/infra").parse().unwrap();
    let repository = Repository::in_memory(towpath::git::remote(&url, &access()).unwrap());
    repository.fetch(&[first.0], Reach::Tip).await.unwrap();
    let (_, pushed) = commit_on(&repository, Some(first), "k/web.yaml", "2", 2)
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Landed);
    assert_eq!(pushes.recv().await.unwrap(), "acme/infra");
    assert_eq!(git(&bare, &["show", "master:k/web.yaml"]), "2");
    server.stop().await;
    let error = look(&repository).await.unwrap_err();
    assert!(matches!(error, GitError::Network { .. }), "{error}");
}
