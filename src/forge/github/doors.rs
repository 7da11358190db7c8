//! Where GitHub's answers are read.

use jiff::Timestamp;

use super::access::{Given, Granted, Installation};
use super::answer::{Combined, Comment, Deployment, Pull, RepositoryPage, Review, Rule, approved};
use super::checks::{CheckRuns, Statuses};
use super::commit::Created;
use crate::doors::{Answer, Door, Knocked, harmless};
use crate::forge::doors::read;

pub(crate) const DOORS: &[Door] = &[Door {
    name: "github-answers",
    words: &[
        "\"number\":1,",
        "\"node_id\":\"\",",
        "\"state\":\"open\",",
        "\"merged_at\":\"2026-11-21T05:00:00Z\",",
        "\"updated_at\":\"",
        "\"head\":{\"ref\":\"towpath/production/shop\",\"sha\":\"",
        "\"repo\":{\"id\":1}",
        "\"repo\":null",
        "\"auto_merge\":{\"enabled_by\":{\"login\":\"",
        "\"state\":\"APPROVED\"",
        "\"user\":{\"login\":\"",
        "\"statuses\":[",
        "\"description\":",
        "{\"total_count\":1,\"check_runs\":[{\"status\":\"completed\",\"conclusion\":\"skipped\"",
        "\"context\":\"lighthouse\",",
        "\"token\":\"",
        "\"data\":{\"createCommitOnBranch\":{\"commit\":{\"oid\":\"",
        "\"errors\":[{\"type\":\"STALE_DATA\",\"message\":\"",
        "\"expires_at\":\"",
        "\"permissions\":{",
        "18446744073709551616",
        "\\ud800",
        "\\u001b]0;",
        "\\u202e",
        "null",
        "[]",
    ],
    knock: answers,
}];

/// One answer, as each of those that are read.
fn answers(bytes: &[u8]) -> Knocked {
    let pulls = read::<Vec<Pull>>(bytes)?;
    let one = read::<Pull>(bytes)?;
    for pull in pulls.iter().flatten().chain(&one) {
        let armed = pull.auto_merge.as_ref().map(super::answer::AutoMerge::told);
        harmless(armed.as_deref().unwrap_or_default())?;
        let found = pull.found(armed, Timestamp::UNIX_EPOCH);
        harmless(found.as_ref().map_or("", |it| &it.request.name))?;
    }
    let reviews = read::<Vec<Review>>(bytes)?;
    let by = reviews.as_deref().and_then(approved);
    harmless(by.as_deref().unwrap_or_default())?;
    let token = read::<Given>(bytes)?;
    let created = read::<Created>(bytes)?;
    if let Some(Err(error)) = created
        .as_ref()
        .map(|it| it.commit("github.com/acme/infra"))
    {
        harmless(&error.to_string())?;
    }
    let others = [
        created.is_some(),
        read::<Vec<Comment>>(bytes)?.is_some(),
        read::<Vec<Deployment>>(bytes)?.is_some(),
        read::<Vec<Rule>>(bytes)?.is_some(),
        read::<Combined>(bytes)?.is_some(),
        read::<CheckRuns>(bytes)?.is_some_and(|it| it.read().count() > 0),
        read::<Statuses>(bytes)?.is_some_and(|it| it.of("lighthouse").is_some()),
        read::<RepositoryPage>(bytes)?.is_some(),
        read::<Granted>(bytes)?.is_some(),
        read::<Installation>(bytes)?.is_some(),
    ];
    let any = pulls.is_some() || one.is_some() || reviews.is_some() || token.is_some();
    Ok(match any || others.contains(&true) {
        true => Answer::Taken,
        false => Answer::Refused,
    })
}
