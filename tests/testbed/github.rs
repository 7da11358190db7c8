//! A GitHub for shell scripts: people with tokens and empty private repositories, where `root` administrates
//! and the others write. All else is asked of its API and pushed with git. Runs until standard input ends.
//!
//! Prints its address, and then each person with a token, a line each.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use towpath::clock;
use towpath::demo::github::{GitHub, Role};

const PEOPLE: [(&str, Role); 3] = [
    ("root", Role::Admin),
    ("towpath", Role::Write),
    ("ann", Role::Write),
];

pub(super) async fn run(repositories: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let repositories: Vec<String> = repositories.collect();
    ensure!(
        !repositories.is_empty(),
        "usage: github OWNER/REPOSITORY..."
    );
    let directory = tempfile::tempdir()?;
    let github = GitHub::start(directory.path(), Arc::new(clock::now)).await?;
    let mut told = github.url().to_string();
    for (login, _) in PEOPLE {
        github.add_user(login).await;
        let token = github.token(login).await;
        told.push_str(&format!("\n{login} {}", token.expose()));
    }
    for name in &repositories {
        let (owner, _) = name.split_once('/').context("a repository is OWNER/NAME")?;
        github.add_organization(owner).await;
        github.add_repository(name, "private").await?;
        for (login, role) in PEOPLE {
            github.set_role(name, login, Some(role)).await;
        }
    }
    told.push('\n');
    std::io::stdout().write_all(told.as_bytes())?;
    let ended = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(ended).await??;
    Ok(())
}
