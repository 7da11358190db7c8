//! Whether repositories can be read, have their branches, and let us push.

use std::collections::BTreeSet;

use super::{Infra, Level, Question, Said};
use crate::model::RepositoryUrl;
use crate::observe::Outside;

/// A source repository is only read, unless what is deployed is marked there.
pub(super) fn source<'a>(
    outside: &'a Outside,
    url: &'a RepositoryUrl,
    is_marked: bool,
) -> Question<'a> {
    Question::new("repository", url.as_str(), async move {
        let Some(repository) = outside.repositories.get(url) else {
            return Vec::new();
        };
        if let Err(error) = repository.look(&["refs/heads/".to_owned()]).await {
            return vec![Said::new(Level::Error, error.to_string())];
        }
        vec![match is_marked {
            false => Said::new(Level::Ok, "readable"),
            true => match repository.receives().await {
                Ok(()) => Said::new(Level::Ok, "readable, writable"),
                Err(error) => {
                    let what = format!("it may not be written: {error}");
                    Said::new(Level::Error, what)
                        .or("let Towpath write tags and notes there, or leave `mark-source` out")
                }
            },
        }]
    })
}

/// An infra repository is written: its branches by gates, its records always.
pub(super) fn infra<'a>(outside: &'a Outside, infra: &'a Infra<'_>) -> Question<'a> {
    Question::new("repository", infra.url.as_str(), async move {
        let Some(repository) = outside.repositories.get(infra.url) else {
            return Vec::new();
        };
        let branches: BTreeSet<&str> = infra
            .environments
            .iter()
            .map(|(it, _)| it.branch.as_str())
            .collect();
        let names: Vec<String> = branches
            .iter()
            .map(|it| format!("refs/heads/{it}"))
            .collect();
        let (shown, receives) = tokio::join!(repository.look(&names), repository.receives());
        let mut said = Vec::new();
        let mut works = Vec::new();
        match shown {
            Ok(refs) => {
                works.push("readable");
                let missing = branches
                    .iter()
                    .filter(|it| !refs.contains_key(&format!("refs/heads/{it}")));
                said.extend(missing.map(|branch| {
                    let what = format!("there is no branch `{branch}`");
                    Said::new(Level::Error, what).or("push a first commit to it")
                }));
            }
            Err(error) => said.push(Said::new(Level::Error, error.to_string())),
        }
        match receives {
            Ok(()) => works.push("writable"),
            // It was said already.
            Err(_) if works.is_empty() => {}
            Err(error) => {
                let what = format!("it may not be written: {error}");
                said.push(Said::new(Level::Error, what));
            }
        }
        if !works.is_empty() {
            said.insert(0, Said::new(Level::Ok, works.join(", ")));
        }
        said
    })
}
