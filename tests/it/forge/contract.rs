//! What every forge must do, told to the trait: the same cases run on each of them.
//!
//! A [`Bed`] is a forge with people on it. Where forges differ, the bed says so, in words that
//! `docs/github.md` and its like repeat.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use towpath::forge::{
    Binds, Content, Forge, May, Opening, PROVEN, Progress, Protection, Requests, RuleKind, Status,
    Visibility, Work,
};
use towpath::model::{CommitId, Digest, OnNewer, RequestPolicy, TitleTemplate};
use towpath::plan::{Request, RequestState};

use super::checked;

/// The branch that requests go to.
pub(super) const BASE: &str = "master";

/// How a person merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Commit,
    Squash,
    Rebase,
}

/// A request as a person sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) labels: Vec<String>,
    pub(super) comments: Vec<String>,
}

/// A forge with people on it. Its branch [`BASE`] exists.
#[async_trait]
pub(super) trait Bed: Send + Sync {
    /// The forge as a process sees it that was just started.
    fn forge(&self) -> Arc<dyn Forge>;

    /// Now, as the forge has it; no two calls give the same second.
    async fn now(&self) -> Timestamp;

    /// Commits one file to a branch, which begins at [`BASE`].
    async fn commit(&self, branch: &str, file: &str, text: &str) -> CommitId;

    /// Deletes a branch.
    async fn delete(&self, branch: &str);

    /// A person opens a request between these branches.
    async fn opens(&self, head: &str, base: &str);

    /// A person who is not us approves.
    async fn approves(&self, request: &Request);

    /// A person merges, and leaves the branch.
    async fn merges(&self, request: &Request, how: How);

    /// A person closes, or opens again.
    async fn sets_open(&self, request: &Request, open: bool);

    /// A person puts a label on it or takes it away.
    async fn labels(&self, request: &Request, label: &str, on: bool);

    /// A person edits the title, and writes something above our text.
    async fn edits(&self, request: &Request, title: &str, words: &str);

    /// What a person sees.
    async fn page(&self, request: &Request) -> Page;

    /// A person protects a branch: changes come by requests with one approval, on which `towpath/proven` has
    /// succeeded; not even administrators are free.
    async fn protects(&self, branch: &str);

    /// Whether the base branch has this commit.
    async fn has(&self, commit: CommitId) -> bool;

    /// Its owner says who may read the repository.
    async fn shows_to(&self, visibility: Visibility);
}

/// Runs every case, each with branches of its own.
pub(super) async fn check(bed: &dyn Bed) {
    opened_once(bed).await;
    read_anew_and_read_on(bed).await;
    follows_its_branch(bed).await;
    peoples_words_stay(bed).await;
    closed_and_opened_again(bed).await;
    merged(bed).await;
    its_branch_is_deleted(bed).await;
    closed_with_words_once(bed).await;
    disarmed(bed).await;
    labels_are_seen(bed).await;
    what_is_not_ours_is_left_alone(bed).await;
    statuses_are_read_as_they_were_set(bed).await;
    checked::statuses_are_checks(bed).await;
    rights_are_told(bed).await;
    protection_is_told(bed).await;
    what_is_reported_is_told(bed).await;
    who_may_read_it_is_told(bed).await;
}

/// The branch of a case's proposal.
pub(super) fn head(case: &str) -> String {
    format!("towpath/production/{case}")
}

pub(super) fn content(title: &str, words: &str) -> Content {
    Content {
        title: title.to_owned(),
        block: format!("<!-- towpath:begin production/shop -->\n\n{words}\n\n<!-- towpath:end -->"),
        facts: Digest::of(words.as_bytes()),
    }
}

pub(super) fn policy(labels: &[&str]) -> Arc<RequestPolicy> {
    Arc::new(RequestPolicy {
        title: TitleTemplate::default(),
        labels: labels.iter().map(|&it| it.to_owned()).collect(),
        reviewers: Vec::new(),
        draft: false,
        auto_merge: None,
        on_newer: OnNewer::Wait,
        diff: None,
    })
}

/// What opens a request from this branch.
pub(super) fn opening(head: &str, commit: CommitId, labels: &[&str]) -> Opening {
    Opening {
        head: head.to_owned(),
        commit,
        base: BASE.to_owned(),
        content: content(head, "words"),
        policy: policy(labels),
    }
}

/// A status of its own.
pub(super) fn status(description: &str) -> Status {
    Status {
        context: "towpath/proven".to_owned(),
        progress: Progress::Success,
        description: description.to_owned(),
        url: None,
    }
}

/// A branch of its own, and what opens its request.
async fn proposed(bed: &dyn Bed, case: &str) -> Opening {
    let commit = bed
        .commit(&head(case), &format!("{case}.yaml"), "one\n")
        .await;
    Opening {
        head: head(case),
        commit,
        base: BASE.to_owned(),
        content: content(&format!("production: {case} v1"), "words"),
        policy: policy(&[]),
    }
}

/// The request that was just opened.
pub(super) async fn opened(bed: &dyn Bed, case: &str) -> Request {
    let opening = proposed(bed, case).await;
    let now = bed.now().await;
    bed.forge().open(&opening, now).await.unwrap().request
}

/// The newest request of a case, as one who looks for the first time sees it.
async fn look(bed: &dyn Bed, case: &str) -> Request {
    let now = bed.now().await;
    let requests = bed
        .forge()
        .requests(&Requests::default(), now)
        .await
        .unwrap();
    requests.of(&head(case), BASE).unwrap().clone()
}

/// Somebody's request, of which only the number is known.
fn numbered(number: u64) -> Request {
    Request {
        name: format!("#{number}"),
        number: Some(number),
        url: None,
        state: RequestState::Open,
        head: "0000000000000000000000000000000000000000".parse().unwrap(),
        armed: None,
        behind: false,
        says: None,
        labels: BTreeSet::new(),
        since: Timestamp::UNIX_EPOCH,
    }
}

/// The same, whenever it was seen.
fn timeless(request: &Request) -> Request {
    Request {
        since: Timestamp::UNIX_EPOCH,
        ..request.clone()
    }
}

async fn who_may_read_it_is_told(bed: &dyn Bed) {
    let forge = bed.forge();
    for visibility in [
        Visibility::Public,
        Visibility::Internal,
        Visibility::Private,
    ] {
        bed.shows_to(visibility).await;
        assert_eq!(forge.visibility().await, Ok(visibility));
        assert_eq!(bed.forge().visibility().await, Ok(visibility), "anew");
    }
}

async fn opened_once(bed: &dyn Bed) {
    let opening = proposed(bed, "once").await;
    let opened = bed.forge().open(&opening, bed.now().await).await.unwrap();
    assert_eq!(
        (opened.head.as_str(), opened.base.as_str()),
        (opening.head.as_str(), BASE)
    );
    let request = opened.request;
    assert!(request.is_open());
    assert_eq!(request.head, opening.commit);
    assert_eq!(request.armed, None);
    assert_eq!(request.says, Some(opening.content.facts));
    // Another process, whose answer was lost, or who raced.
    let again = bed.forge().open(&opening, bed.now().await).await.unwrap();
    assert_eq!(again.request.number, request.number, "there are never two");
    assert_eq!(timeless(&look(bed, "once").await), timeless(&request));
    let page = bed.page(&request).await;
    assert_eq!(page.title, "production: once v1");
    assert!(page.body.contains("words"), "{}", page.body);
}

async fn read_anew_and_read_on(bed: &dyn Bed) {
    let (forge, now) = (bed.forge(), bed.now().await);
    let before = forge.requests(&Requests::default(), now).await.unwrap();
    assert_eq!(
        forge.requests(&before, now).await.unwrap(),
        before,
        "nothing changed"
    );
    let request = opened(bed, "news").await;
    let after = forge.requests(&before, bed.now().await).await.unwrap();
    let changed: Vec<&str> = after.changed(&before).into_iter().collect();
    assert_eq!(changed, [head("news")]);
    assert_eq!(
        timeless(after.of(&head("news"), BASE).unwrap()),
        timeless(&request)
    );
}

async fn follows_its_branch(bed: &dyn Bed) {
    let request = opened(bed, "moves").await;
    let commit = bed.commit(&head("moves"), "moves.yaml", "two\n").await;
    let after = look(bed, "moves").await;
    assert_eq!((after.number, after.head), (request.number, commit));
    assert!(after.is_open());
}

async fn peoples_words_stay(bed: &dyn Bed) {
    let request = opened(bed, "words").await;
    bed.edits(&request, "Look at this", "Mind the queue.").await;
    let edited = look(bed, "words").await;
    assert_eq!(edited.says, request.says, "our part is as it was");
    let same_title = content("production: words v1", "other words");
    let written = bed
        .forge()
        .rewrite(&edited, &same_title, bed.now().await)
        .await
        .unwrap();
    assert_eq!(written.request.says, Some(same_title.facts));
    let page = bed.page(&request).await;
    assert_eq!(page.title, "Look at this");
    assert!(page.body.contains("Mind the queue.") && page.body.contains("other words"));
    let newer = content("production: words v2", "newer words");
    bed.forge()
        .rewrite(&edited, &newer, bed.now().await)
        .await
        .unwrap();
    let page = bed.page(&request).await;
    assert_eq!(page.title, "production: words v2");
    assert!(page.body.contains("Mind the queue.") && !page.body.contains("other words"));
}

async fn closed_and_opened_again(bed: &dyn Bed) {
    let request = opened(bed, "closed").await;
    bed.sets_open(&request, false).await;
    let closed = look(bed, "closed").await;
    assert_eq!(
        (closed.state, closed.head),
        (RequestState::Closed, request.head)
    );
    bed.sets_open(&request, true).await;
    let reopened = look(bed, "closed").await;
    assert_eq!(
        (reopened.is_open(), reopened.number),
        (true, request.number)
    );
    // One that ended is no hindrance to one about another commit.
    bed.sets_open(&request, false).await;
    let mut opening = proposed(bed, "closed").await;
    opening.commit = bed.commit(&head("closed"), "closed.yaml", "newer\n").await;
    let newer = bed
        .forge()
        .open(&opening, bed.now().await)
        .await
        .unwrap()
        .request;
    assert!(
        newer.is_open() && newer.number > request.number,
        "{newer:?}"
    );
}

async fn merged(bed: &dyn Bed) {
    for (case, how) in [
        ("by-commit", How::Commit),
        ("by-squash", How::Squash),
        ("by-rebase", How::Rebase),
    ] {
        let request = opened(bed, case).await;
        bed.merges(&request, how).await;
        let merged = look(bed, case).await;
        let RequestState::Merged { commit } = merged.state else {
            panic!("{how:?}: {merged:?}");
        };
        assert!(bed.has(commit.unwrap()).await, "{how:?}: {commit:?}");
        assert_eq!(merged.head, request.head);
    }
}

async fn its_branch_is_deleted(bed: &dyn Bed) {
    let request = opened(bed, "gone").await;
    bed.delete(&head("gone")).await;
    let gone = look(bed, "gone").await;
    assert_eq!(
        (gone.state, gone.head),
        (RequestState::Closed, request.head)
    );
}

async fn closed_with_words_once(bed: &dyn Bed) {
    let request = opened(bed, "served").await;
    for _ in 0..2 {
        let now = bed.now().await;
        let closed = bed
            .forge()
            .close(&request, "it already runs", now)
            .await
            .unwrap();
        assert_eq!(closed.request.state, RequestState::Closed);
    }
    let page = bed.page(&request).await;
    let said = page
        .comments
        .iter()
        .filter(|it| it.contains("it already runs"));
    assert_eq!(said.count(), 1, "{:?}", page.comments);
    // One that was merged meanwhile is left as it is.
    let request = opened(bed, "merged-meanwhile").await;
    bed.merges(&request, How::Commit).await;
    let now = bed.now().await;
    let left = bed
        .forge()
        .close(&request, "it already runs", now)
        .await
        .unwrap();
    assert!(matches!(left.request.state, RequestState::Merged { .. }));
    assert_eq!(bed.page(&request).await.comments, Vec::<String>::new());
}

async fn disarmed(bed: &dyn Bed) {
    let request = opened(bed, "armed").await;
    bed.approves(&request).await;
    let armed = look(bed, "armed").await;
    let by = armed.armed.clone().unwrap_or_default();
    assert!(by.starts_with("approved by "), "{by}");
    let now = bed.now().await;
    let disarmed = bed
        .forge()
        .disarm(&armed, "v2 takes its place", now)
        .await
        .unwrap();
    assert_eq!(disarmed.request.armed, None);
    assert_eq!(look(bed, "armed").await.armed, None);
}

async fn labels_are_seen(bed: &dyn Bed) {
    let mut opening = proposed(bed, "labels").await;
    opening.policy = policy(&["deployment"]);
    let request = bed
        .forge()
        .open(&opening, bed.now().await)
        .await
        .unwrap()
        .request;
    assert!(
        request.labels.contains("deployment"),
        "{:?}",
        request.labels
    );
    bed.labels(&request, "towpath/hold", true).await;
    assert!(look(bed, "labels").await.labels.contains("towpath/hold"));
    bed.labels(&request, "towpath/hold", false).await;
    assert!(!look(bed, "labels").await.labels.contains("towpath/hold"));
    assert_eq!(bed.page(&request).await.labels, ["deployment"]);
}

async fn what_is_not_ours_is_left_alone(bed: &dyn Bed) {
    let first = bed.commit("feature", "feature.txt", "one\n").await;
    bed.opens("feature", BASE).await;
    let forge = bed.forge();
    let now = bed.now().await;
    let requests = forge.requests(&Requests::default(), now).await.unwrap();
    assert_eq!(requests.from("feature").count(), 0);
    // It is known as another's, and follows its branch.
    let others = |requests: &Requests| -> Vec<CommitId> {
        let others = requests.others().filter(|it| it.base == BASE);
        others.map(|it| it.head).collect()
    };
    assert_eq!(others(&requests), [first]);
    let second = bed.commit("feature", "feature.txt", "two\n").await;
    let now = bed.now().await;
    let requests = forge.requests(&requests, now).await.unwrap();
    assert_eq!(others(&requests), [second]);
    let number = requests.others().next().unwrap().number;
    bed.sets_open(&numbered(number), false).await;
    let now = bed.now().await;
    let requests = forge.requests(&requests, now).await.unwrap();
    assert_eq!(others(&requests), []);
}

async fn statuses_are_read_as_they_were_set(bed: &dyn Bed) {
    let commit = bed.commit(&head("status"), "status.yaml", "one\n").await;
    let forge = bed.forge();
    assert_eq!(forge.statuses(commit).await.unwrap(), []);
    let status = |progress, description: &str| Status {
        context: "towpath/proven".to_owned(),
        progress,
        description: description.to_owned(),
        url: None,
    };
    for status in [
        status(Progress::Pending, "it soaks in qa"),
        status(Progress::Success, "proven in qa"),
        status(Progress::Failure, "it failed in qa"),
    ] {
        bed.now().await;
        forge.set_status(commit, &status).await.unwrap();
        assert_eq!(forge.statuses(commit).await.unwrap(), [status]);
    }
}

async fn rights_are_told(bed: &dyn Bed) {
    let rights = bed.forge().rights().await.unwrap();
    assert!(rights.login.is_some());
    assert!(!rights.archived);
    for work in Work::ALL {
        let may = &rights.may[&work];
        assert!(!matches!(may, May::No(_)), "{work:?}: {may:?}");
    }
}

async fn protection_is_told(bed: &dyn Bed) {
    bed.commit("guarded", "guarded.yaml", "one\n").await;
    let forge = bed.forge();
    let us = forge.rights().await.unwrap();
    for reference in ["refs/heads/guarded", "refs/tags/deployment-0001"] {
        let open = forge.protection(reference, &us).await.unwrap();
        assert_eq!(open.rules, [], "{reference}");
    }
    bed.protects("guarded").await;
    let told = forge.protection("refs/heads/guarded", &us).await;
    let Protection { rules, .. } = told.unwrap();
    let by_requests = rules
        .iter()
        .find(|it| it.kind == RuleKind::Requests { approvals: 1 });
    let binds = by_requests.map(|it| &it.binds);
    assert!(
        matches!(binds, Some(Binds::Yes | Binds::Untold(_))),
        "{rules:?}"
    );
    let checks = rules.iter().find_map(|it| match &it.kind {
        RuleKind::Checks { checks, .. } => Some(checks),
        _ => None,
    });
    let contexts = checks.unwrap().iter().map(|it| (it.is_ours(), it.app));
    assert_eq!(contexts.collect::<Vec<_>>(), [(true, None)], "{rules:?}");
    let has = |kind: RuleKind| {
        rules
            .iter()
            .any(|it| it.kind == kind && it.binds == Binds::Yes)
    };
    assert!(has(RuleKind::NoDeletion), "{rules:?}");
}

async fn what_is_reported_is_told(bed: &dyn Bed) {
    let request = opened(bed, "reported").await;
    let forge = bed.forge();
    forge
        .set_status(request.head, &status("proven in qa"))
        .await
        .unwrap();
    let reported = forge.reported(BASE).await.unwrap();
    assert!(reported.requests > 0);
    assert!(reported.contexts.contains(PROVEN), "{reported:?}");
    let nothing = forge.reported("nobody-merges-here").await.unwrap();
    assert_eq!((nothing.requests, nothing.contexts.len()), (0, 0));
}
