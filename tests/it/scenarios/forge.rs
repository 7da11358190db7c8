//! What the commands of a scenario do on forges.

use towpath::forge::Visibility;
use towpath::forge::simulated::Mood;
use towpath::git::memory::{Merge, Strike};
use towpath::model::{CheckEnd, CommitCheck, proposal_branch};

use super::show;
use super::site::Site;

/// Whether it was such a command.
pub(super) fn run(site: &Site, words: &[&str]) -> bool {
    match words {
        ["forge", environment, "is", "public"] => {
            site.forge(environment).show_to(Visibility::Public);
        }
        ["forge", environment, "is", "internal"] => {
            site.forge(environment).show_to(Visibility::Internal);
        }
        ["forge", environment, "is", "private"] => {
            site.forge(environment).show_to(Visibility::Private);
        }
        ["forge", environment, "strict"] => site.forge(environment).set_strict(true),
        ["forge", "of", "source", mood] => site.source_forge().set(named(mood)),
        // `report $whole-one "Lighthouse CI" passed`: what CI tells the source's forge of a commit.
        ["report", commit, name, end] => {
            let end = match *end {
                "running" => CheckEnd::Running,
                "passed" => CheckEnd::Passed,
                "failed" => CheckEnd::Failed,
                other => CheckEnd::Neither(other.to_owned()),
            };
            let check = CommitCheck {
                at: (end != CheckEnd::Running).then_some(site.now),
                end,
                link: Some("https://ci.example.com/7".to_owned()),
            };
            let commit = commit.parse().unwrap();
            site.source_forge().report(commit, name, check);
        }
        ["forge", environment, mood] => site.forge(environment).set(named(mood)),
        ["forge", environment, "cut", "before"] => {
            site.forge(environment).break_off(Strike::Before);
        }
        ["forge", environment, "cut", "after"] => site.forge(environment).break_off(Strike::After),
        ["ask", environment, head] => {
            let base = &site.environment(environment).branch;
            site.forge(environment).ask(head, base);
        }
        ["request", environment, rest @ ..] => {
            let (application, rest) = match rest {
                ["of", application, rest @ ..] => (*application, rest),
                rest => ("shop", rest),
            };
            return person(site, environment, application, rest);
        }
        _ => return false,
    }
    true
}

fn named(mood: &str) -> Mood {
    match mood {
        "up" => Mood::Up,
        "down" => Mood::Down,
        "limited" => Mood::Limited,
        "401" => Mood::Unauthorized,
        "archived" => Mood::Archived,
        other => panic!("no mood `{other}`"),
    }
}

fn person(site: &Site, environment: &str, application: &str, words: &[&str]) -> bool {
    let forge = site.forge(environment);
    let head = proposal_branch(&environment.parse().unwrap(), &application.parse().unwrap());
    match words {
        ["approve", by] => forge.approve(&head, by),
        ["arm", by] => forge.arm(&head, by),
        ["enqueue"] => forge.enqueue(&head),
        ["close"] => forge.decline(&head),
        ["reopen"] => forge.reopen(&head),
        ["label", label] => forge.label(&head, label, true),
        ["unlabel", label] => forge.label(&head, label, false),
        ["title", new] => forge.edit(&head, |title, _| (*new).clone_into(title)),
        ["say", words] => forge.edit(&head, |_, body| *body = format!("{words}\r\n\r\n{body}")),
        ["scribble", old, new] => forge.edit(&head, |_, body| {
            assert!(
                body.contains(old),
                "the text does not hold `{old}`:\n{body}"
            );
            *body = body.replace(old, new);
        }),
        ["merge", how, rest @ ..] => {
            let how = match *how {
                "commit" => Merge::Commit,
                "squash" | "rebase" | "queue" => Merge::Squash,
                other => panic!("no way to merge `{other}`"),
            };
            let deletes = rest == ["deleting", "the", "branch"];
            forge.merge(&head, how, deletes, site.now);
        }
        _ => return false,
    }
    true
}

/// Every request from a unit's branch.
pub(super) fn requests(site: &Site, environment: &str, application: &str) -> String {
    let head = proposal_branch(&environment.parse().unwrap(), &application.parse().unwrap());
    let mut shown = String::new();
    for seen in site.forge(environment).see(&head) {
        let line = format!(
            "#{} {} {} {}",
            seen.number,
            seen.state,
            seen.commit.short(),
            seen.title
        );
        shown.push_str(&format!("  {line}\n"));
        let labels = seen.labels.iter().map(|it| format!("label {it}"));
        let reviewers = seen
            .reviewers
            .iter()
            .map(|it| format!("asks {it} to review"));
        let comments = seen.comments.iter().map(|it| format!("comment: {it}"));
        let armed = seen.armed.clone();
        let more = labels.chain(reviewers).chain(armed).chain(comments);
        for line in more.chain(seen.statuses.iter().cloned()) {
            shown.push_str(&show::short(&format!("    {line}\n")));
        }
    }
    shown
}

/// The statuses of branches' heads.
pub(super) fn checks(site: &Site, environment: &str, branches: &[String]) -> String {
    let mut shown = String::new();
    for branch in branches {
        let name = branch
            .rsplit_once('-')
            .map_or(branch.as_str(), |(name, _)| name);
        shown.push_str(&format!("  {name}\n"));
        let head = site.person(environment).head(branch);
        let checks = head.map(|head| site.forge(environment).checks(head));
        for check in checks.into_iter().flatten() {
            shown.push_str(&show::short(&format!("    {check}\n")));
        }
    }
    shown
}

/// The newest request's text.
pub(super) fn text(site: &Site, environment: &str, application: &str) -> String {
    let head = proposal_branch(&environment.parse().unwrap(), &application.parse().unwrap());
    let seen = site.forge(environment).see(&head);
    let body = seen.last().map_or("", |seen| &seen.body);
    let line = |line: &str| match line.is_empty() {
        true => "  |\n".to_owned(),
        false => format!("  | {}\n", show::short(line)),
    };
    body.lines().map(line).collect()
}
