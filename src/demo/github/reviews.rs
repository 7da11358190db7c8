//! Reviews and who is asked for one ([API](https://docs.github.com/en/rest/pulls/reviews)).

use serde_json::{Value, json};

use super::access::role_of;
use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::moved;
use super::state::Review;

pub(super) fn list(call: &Call<'_>) -> Answer {
    let (repository, pull) = (call.repository()?, call.pull()?);
    let all: Vec<&Review> = pull.reviews.iter().collect();
    call.listed(all, |it| call.form().review(repository, pull, it))
}

pub(super) async fn create(call: &mut Call<'_>) -> Answer {
    let pull = call.pull()?;
    let number = pull.number;
    let body = call.text("body").unwrap_or_default();
    let state = match call.text("event").as_deref() {
        Some("APPROVE") => "APPROVED",
        Some("REQUEST_CHANGES") => "CHANGES_REQUESTED",
        Some("COMMENT") => "COMMENTED",
        // Without an event a review would be pending: a draft that only its author sees.
        _ => {
            return Err(Refusal::said(&[
                "Variable $event of type PullRequestReviewEvent was provided invalid value",
            ]));
        }
    };
    if state != "COMMENTED" && pull.author == call.grant.login {
        let what = match state {
            "APPROVED" => "Can not approve your own pull request",
            _ => "Can not request changes on your own pull request",
        };
        return Err(Refusal::said(&[what]));
    }
    if state != "APPROVED" && body.is_empty() {
        return Err(Refusal::said(&["Review body can't be blank"]));
    }
    let sha = call.text("commit_id");
    let review = Review {
        id: call.state.new_id(),
        author: call.grant.login.clone(),
        body,
        state,
        sha: sha.unwrap_or_else(|| pull_head(call)),
        at: call.now,
    };
    let login = call.grant.login.clone();
    let pull = call.pull_mut()?;
    pull.reviewers.retain(|it| *it != login);
    pull.reviews.push(review);
    let form = last(call)?;
    tell(call, number, "submitted", form.clone());
    moved::settle(call.shared, call.state, &call.name, call.now).await?;
    Ok(Reply::ok(form))
}

fn pull_head(call: &Call<'_>) -> String {
    call.pull()
        .map(|pull| pull.head_sha.clone())
        .unwrap_or_default()
}

fn last(call: &Call<'_>) -> Result<Value, Refusal> {
    let (repository, pull) = (call.repository()?, call.pull()?);
    let review = pull.reviews.last().ok_or_else(Refusal::not_found)?;
    Ok(call.form().review(repository, pull, review))
}

pub(super) fn dismiss(call: &mut Call<'_>) -> Answer {
    call.required("message")?;
    let (number, wanted) = (call.pull()?.number, call.number(1)?);
    let pull = call.pull_mut()?;
    let review = pull.reviews.iter_mut().find(|it| it.id == wanted);
    let review = review.ok_or_else(Refusal::not_found)?;
    if !["APPROVED", "CHANGES_REQUESTED"].contains(&review.state) {
        let message = "Can not dismiss a dismissed pull request review";
        let message = match review.state {
            "COMMENTED" => "Can not dismiss a commented pull request review",
            _ => message,
        };
        return Err(Refusal::said(&[message]));
    }
    review.state = "DISMISSED";
    call.note(number, "review_dismissed", None)?;
    let (repository, pull) = (call.repository()?, call.pull()?);
    let review = pull.reviews.iter().find(|it| it.id == wanted);
    let review = review.ok_or_else(Refusal::not_found)?;
    let form = call.form().review(repository, pull, review);
    tell(call, number, "dismissed", form.clone());
    Ok(Reply::ok(form))
}

fn tell(call: &mut Call<'_>, number: u64, action: &str, review: Value) {
    let Some(pull) = call
        .repository()
        .ok()
        .and_then(|repository| Some((repository, repository.pulls.get(&number)?)))
        .map(|(repository, pull)| call.form().simple_pull(repository, pull))
    else {
        return;
    };
    let payload = json!({ "review": review, "pull_request": pull });
    call.tell("pull_request_review", Some(action), payload);
}

pub(super) fn requested(call: &Call<'_>) -> Answer {
    let users = call.pull()?.reviewers.iter();
    let users: Value = users.map(|login| call.form().user(login)).collect();
    Ok(Reply::ok(json!({ "users": users, "teams": [] })))
}

pub(super) fn request(call: &mut Call<'_>) -> Answer {
    let number = call.pull()?.number;
    for login in call.texts("reviewers") {
        let (repository, pull) = (call.repository()?, call.pull()?);
        if pull.author == login {
            let message = "Review cannot be requested from pull request author.";
            return Err(Refusal::new(422, message));
        }
        if !call.state.users.contains_key(&login) || role_of(repository, &login).is_none() {
            let message = "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the repository.";
            return Err(Refusal::new(422, message));
        }
        if pull.reviewers.contains(&login) {
            continue;
        }
        call.pull_mut()?.reviewers.push(login.clone());
        call.note(number, "review_requested", Some(login.clone()))?;
        let more = json!({ "requested_reviewer": call.form().user(&login) });
        call.tell_pull(number, "review_requested", more);
    }
    let (repository, pull) = (call.repository()?, call.pull()?);
    Ok(Reply::new(201, call.form().simple_pull(repository, pull)))
}

pub(super) fn unrequest(call: &mut Call<'_>) -> Answer {
    let gone = call.texts("reviewers");
    let number = call.pull()?.number;
    call.pull_mut()?.reviewers.retain(|it| !gone.contains(it));
    for login in gone {
        call.note(number, "review_request_removed", Some(login))?;
    }
    let (repository, pull) = (call.repository()?, call.pull()?);
    Ok(Reply::ok(call.form().simple_pull(repository, pull)))
}
