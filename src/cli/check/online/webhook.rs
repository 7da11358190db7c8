//! Whether webhooks can be checked, and whether repositories send them to us.
//!
//! A webhook is known by the end of its address: where it is received from outside is not ours to know.

use super::{Infra, Level, Question, Said};
use crate::cli::setup::Setup;
use crate::forge::{ForgeError, Hook, SharedReadForge};
use crate::model::{ForgeKind, Gate, Sender};
use crate::serve::Keys;

/// The secrets, and senders that do not tell whom they tell.
pub(super) fn secrets(setup: &Setup) -> Vec<Question<'_>> {
    let webhooks = &setup.config.settings.webhooks;
    let ask = |sender: Sender| {
        Question::new("webhook", sender.name(), async move {
            let of_sender = webhooks.iter().filter(|(it, _)| **it == sender);
            let keys = Keys::new(&of_sender.map(|(it, how)| (*it, how.clone())).collect());
            if let Err(error) = keys.read().await {
                return vec![Said::new(Level::Error, error.to_string())];
            }
            match sender {
                Sender::GitHub | Sender::Gitea => vec![Said::new(Level::Ok, "can be checked")],
                _ => vec![Said::new(
                    Level::Unknown,
                    "can be checked; whether any are sent is not known, for the sender does not tell",
                )],
            }
        })
    };
    webhooks.keys().copied().map(ask).collect()
}

/// Whether the forge of a repository tells us of its news, where that is configured.
pub(super) fn of_forge<'a>(
    setup: &Setup,
    (kind, forge): &'a (ForgeKind, SharedReadForge),
    infra: &'a Infra<'_>,
) -> Option<Question<'a>> {
    let sender = match kind {
        ForgeKind::GitHub => Sender::GitHub,
        ForgeKind::Gitea => Sender::Gitea,
    };
    setup.config.settings.webhooks.get(&sender)?;
    let mut environments = infra.environments.iter();
    let gated = environments.any(|(it, _)| it.gate == Gate::PullRequest);
    Some(Question::new("webhook", forge.name(), async move {
        match forge.hooks().await {
            Ok(hooks) => vec![told(&hooks, sender.name(), gated)],
            Err(ForgeError::Denied { .. }) => vec![Said::new(
                Level::Unknown,
                "whether it tells us of news is told to administrators alone",
            )],
            Err(error) => vec![Said::new(Level::Error, error.to_string())],
        }
    }))
}

fn told(hooks: &[Hook], sender: &str, gated: bool) -> Said {
    let path = format!("/hooks/{sender}");
    let ours = |hook: &&Hook| hook.active && hook.url.trim_end_matches('/').ends_with(&path);
    let Some(hook) = hooks.iter().find(ours) else {
        let what =
            format!("no active webhook of it goes to `{path}`: news are seen by polling alone");
        return Said::new(Level::Warning, what)
            .or("add one (docs/webhooks.md), unless an App or the organisation has it");
    };
    let needed = ["push", "pull_request"]
        .into_iter()
        .take(1 + usize::from(gated));
    let missing: Vec<&str> = needed.filter(|event| !hook.hears(event)).collect();
    match (missing.is_empty(), hook.answered) {
        (false, _) => {
            let what = format!("its webhook is not told of {}", missing.join(" and "));
            Said::new(Level::Warning, what).or("add these events to it")
        }
        (true, Some(status)) if status == 0 || status >= 300 => {
            let what = match status {
                0 => "nobody answered its last webhook".to_owned(),
                status => format!("its last webhook was answered {status}"),
            };
            Said::new(Level::Warning, what).or("see what the forge shows of its deliveries")
        }
        (true, _) => Said::new(Level::Ok, "tells us of news"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(url: &str, active: bool, events: &[&str], answered: Option<u16>) -> Hook {
        Hook {
            url: url.to_owned(),
            active,
            events: events.iter().map(|&it| it.to_owned()).collect(),
            answered,
        }
    }

    #[test]
    fn a_webhook_is_ours_by_its_path_and_must_hear_what_is_needed() {
        let ours = "https://t.example.com/hooks/github";
        for (hooks, gated, level) in [
            (vec![], false, Level::Warning),
            (
                vec![hook(ours, true, &["push"], Some(202))],
                false,
                Level::Ok,
            ),
            (
                vec![hook(ours, true, &["push"], Some(202))],
                true,
                Level::Warning,
            ),
            (vec![hook(ours, true, &["*"], None)], true, Level::Ok),
            (vec![hook(ours, false, &["*"], None)], true, Level::Warning),
            (
                vec![hook(ours, true, &["*"], Some(401))],
                true,
                Level::Warning,
            ),
            (
                vec![hook(ours, true, &["*"], Some(0))],
                true,
                Level::Warning,
            ),
            (
                vec![hook(
                    "https://ci.example.com/hooks/gitea",
                    true,
                    &["*"],
                    None,
                )],
                false,
                Level::Warning,
            ),
        ] {
            assert_eq!(told(&hooks, "github", gated).level, level, "{hooks:?}");
        }
    }
}
