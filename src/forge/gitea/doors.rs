//! Where Gitea's answers are read.

use jiff::Timestamp;

use super::answer::{
    Combined, Comment, Event, Pull, Ref, RepositoryPage, Review, approved, scheduled,
};
use crate::doors::{Answer, Door, Knocked, harmless};
use crate::forge::doors::read;

pub(crate) const DOORS: &[Door] = &[Door {
    name: "gitea-answers",
    words: &[
        "\"number\":1,",
        "\"title\":\"WIP: ",
        "\"state\":\"open\",",
        "\"merged\":true,",
        "\"updated_at\":\"",
        "\"head\":{\"label\":\"towpath/production/shop\",\"ref\":\"",
        "\"repo_id\":-1",
        "\"labels\":null",
        "\"state\":\"APPROVED\"",
        "\"dismissed\":true",
        "\"user\":{\"login\":\"",
        "\"type\":\"pull_scheduled_merge\"",
        "\"statuses\":null",
        "\"target_url\":\"javascript:",
        "9223372036854775808",
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
        let (title, draft) = pull.title();
        if title.len() + draft.len() > bytes.len() {
            return Err(format!("a title that nobody wrote: {draft:?} {title:?}"));
        }
        let found = pull.found(None, Timestamp::UNIX_EPOCH);
        harmless(found.as_ref().map_or("", |it| &it.request.name))?;
    }
    let reviews = read::<Vec<Review>>(bytes)?;
    let by = reviews.as_deref().and_then(approved);
    harmless(by.as_deref().unwrap_or_default())?;
    let events = read::<Vec<Event>>(bytes)?;
    let by = events.as_deref().and_then(scheduled);
    harmless(by.as_deref().unwrap_or_default())?;
    let statuses = read::<Combined>(bytes)?;
    let others = [
        read::<Vec<Comment>>(bytes)?.is_some(),
        read::<Vec<Ref>>(bytes)?.is_some(),
        read::<RepositoryPage>(bytes)?.is_some(),
        statuses.is_some_and(|it| {
            let mut statuses = it.statuses.into_iter().flatten();
            statuses.any(|it| !it.read().context.is_empty())
        }),
    ];
    let any = pulls.is_some() || one.is_some() || reviews.is_some() || events.is_some();
    Ok(match any || others.contains(&true) {
        true => Answer::Taken,
        false => Answer::Refused,
    })
}
