//! One edit, one commit, one push over smart HTTP: Towpath's own git, the same requests made bare,
//! and the git command.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use towpath::clock;
use towpath::git::{self, CommitDraft, Push, Pushed, Reach, Repository, Signature};

use crate::fixture::{Fixture, deployment, directory, run, run_with};
use crate::table::{self, Samples};

const TIMES: usize = 40;
const PATH: &str = "kubernetes/shop/deployment.yaml";
const MASTER: &str = "refs/heads/master";

pub(crate) async fn measure() -> Result<()> {
    let fixture = Fixture::start().await?;
    let mut files = directory("kubernetes/shop", "shop", "registry.example.com/shop:1");
    for index in 1..25 {
        let name = format!("other-{index:02}");
        files.extend(directory(
            &format!("kubernetes/{name}"),
            &name,
            "example.com/other:1",
        ));
    }
    fixture.repository("own", files).await?;
    fixture.copy("own", "bare").await?;
    fixture.copy("own", "cli").await?;
    let clone = fixture.folder.path().join("clone.git");
    let url = fixture.recorder.url("cli");
    run(
        fixture.folder.path(),
        "git",
        &["clone", "-q", "--bare", &url, "clone.git"],
    )
    .await?;

    let url = fixture.recorder.url("own").parse()?;
    let remote = git::remote(&url, &git::Access::new(fixture.client.clone()))?;
    let repository = Repository::on_disk(remote, &fixture.folder.path().join("mirror"))?;
    let refs = repository.look(&[MASTER.to_owned()]).await?;
    let head = refs.get(MASTER).context("no master")?;
    repository.fetch(&[head.id], Reach::Tip).await?;

    let (mut own, mut bare, mut cli) = (Samples::default(), Samples::default(), Samples::default());
    // The first ones warm the servers and connections up.
    for number in 0..TIMES + 3 {
        let image = format!("registry.example.com/shop:{number}");
        let content = deployment("shop", &image);
        fixture.recorder.take();
        let took = own_push(&repository, content.clone()).await?;
        let recorded = fixture.recorder.take();
        ensure!(
            recorded.len() == 1,
            "a warm push is {} requests",
            recorded.len()
        );
        let mut replayed = Duration::ZERO;
        for body in recorded {
            replayed = fixture.recorder.replay("bare", body).await?;
        }
        let by_git = git_push(&clone, &content).await?;
        if number >= 3 {
            own.add(took);
            bare.add(replayed);
            cli.add(by_git);
        }
    }
    let row =
        |name: &str, samples: &Samples| vec![name.to_owned(), samples.show(), samples.ratio(&bare)];
    table::print(
        &format!(
            "Edit, commit and push of one image, warm, smart HTTP (n = {})",
            own.len()
        ),
        &["", "ms: median (min–max)", "against bare"],
        vec![
            row("the same request made bare", &bare),
            row("Towpath", &own),
            row("git plumbing and git push", &cli),
        ],
    );
    Ok(())
}

async fn own_push(repository: &Repository, content: Vec<u8>) -> Result<Duration> {
    let start = Instant::now();
    let seen = repository.seen();
    let head = seen.get(MASTER).context("no master")?.commit();
    let mut draft = repository.draft();
    let tree = draft.read_commit(head)?.tree;
    let tree = draft.put(Some(tree), PATH, content)?;
    let by = Signature {
        name: "towpath".to_owned(),
        email: "towpath@example.com".to_owned(),
        time: clock::now(),
    };
    let commit = draft.commit(&CommitDraft {
        tree,
        parents: vec![head],
        author: by.clone(),
        committer: by,
        message: "staging: deploy shop\n".to_owned(),
    });
    let push = Push::new()
        .update(MASTER, Some(head.0), commit.0)
        .with(&draft)?;
    let pushed = repository.push(push).await?;
    ensure!(pushed == Pushed::Landed, "not landed: {pushed:?}");
    Ok(start.elapsed())
}

/// As a script would, without a work tree.
async fn git_push(clone: &Path, content: &[u8]) -> Result<Duration> {
    let script = format!(
        "set -e
blob=$(git hash-object -w --stdin)
export GIT_INDEX_FILE=index
git read-tree master
git update-index --cacheinfo 100644,$blob,{PATH}
tree=$(git write-tree)
commit=$(git commit-tree $tree -p master -m 'staging: deploy shop')
git push -q origin $commit:{MASTER}
git update-ref {MASTER} $commit"
    );
    let start = Instant::now();
    run_with(clone, "sh", &["-c", &script], content).await?;
    Ok(start.elapsed())
}
