//! What a scenario's output shows of things.

use jiff::{SignedDuration, Timestamp};
use towpath::act::Rehearsal;
use towpath::git::memory::MemoryRemote;
use towpath::git::notes::{read_all, records_ref};
use towpath::git::{Reach, Repository};
use towpath::model::record::{Happening, Record, Statement};
use towpath::model::{ApplicationName, CommitId, EnvironmentName, ObjectRef};
use towpath::plan::{Decision, Journey, LiveObject, UnitPlan, Waiting};

/// Shortens digests, so that lines can be read, and leaves out in which commit of the records something was said:
/// how many statements share one depends on how fast pushes are.
pub(super) fn short(text: &str) -> String {
    let text = &without_commit(text);
    let mut short = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("sha256:") {
        let (before, digest) = rest.split_at(at + "sha256:".len());
        short.push_str(before);
        let hex = digest.bytes().take_while(u8::is_ascii_hexdigit).count();
        short.push_str(&digest[..hex.min(6)]);
        rest = &digest[hex..];
    }
    short + rest
}

fn without_commit(text: &str) -> String {
    let Some((before, after)) = text.split_once("): ") else {
        return text.to_owned();
    };
    let said = before
        .rsplit_once(" (")
        .filter(|(_, commit)| commit.len() == 7 && commit.bytes().all(|it| it.is_ascii_hexdigit()));
    match said {
        Some((said, _)) => format!("{said} (…): {after}"),
        None => text.to_owned(),
    }
}

/// A moment, counted from the beginning of 2026 when all scenarios begin.
pub(super) fn clock(at: Timestamp) -> String {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let passed: SignedDuration = at.duration_since(begin);
    let seconds = passed.as_secs();
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.abs();
    format!(
        "{sign}{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

pub(super) fn waiting(waiting: &Waiting) -> String {
    let mut text = format!("[{}] {}", waiting.reason.name(), waiting.reason);
    if let Some(next) = waiting.next {
        text.push_str(&format!("; next at {}", clock(next)));
    }
    short(&text)
}

pub(super) fn decision(decision: &Decision) -> String {
    match decision {
        Decision::Step(step) => short(&step.to_string()),
        Decision::Waiting(it) => waiting(it),
    }
}

/// Since when, what would unblock it, and what else there is to say.
pub(super) fn explain(application: &ApplicationName, unit: &UnitPlan) -> String {
    let mut output = String::new();
    if let Decision::Waiting(waiting) = &unit.decision {
        if let Some(since) = waiting.since {
            output.push_str(&format!("    since {}\n", clock(since)));
        }
        let unblock = waiting.reason.unblock(application, &unit.environment);
        if let Some(unblock) = unblock {
            output.push_str(&format!("    unblocked by: {unblock}\n"));
        }
    }
    for note in &unit.notes {
        output.push_str(&format!("    note: {}\n", short(note)));
    }
    output
}

/// What would be written.
pub(super) fn rehearsal(rehearsal: &Rehearsal, next: Option<&UnitPlan>) -> String {
    let mut output = String::new();
    for it in &rehearsal.records {
        output.push_str(&format!("  record {}\n", record(it)));
    }
    for commit in &rehearsal.commits {
        let files = commit.files.join(", ");
        output.push_str(&format!(
            "  commit on {}: {}: {files}\n",
            commit.branch, commit.subject
        ));
    }
    for moved in &rehearsal.refs {
        let from = moved.from.map_or("nothing".to_owned(), |it| it.short());
        let deleted = if moved.is_deleted { ", deleted" } else { "" };
        output.push_str(&format!("  ref {} from {from}{deleted}\n", moved.name));
    }
    if let Some(next) = next {
        output.push_str(&format!("  next {}\n", decision(&next.decision)));
    }
    output
}

/// A live object, whose it is, and which one of its name.
pub(super) fn live((reference, found): (&ObjectRef, &LiveObject)) -> String {
    let whose = match (&found.mark, &found.engine) {
        (Some(mark), _) => format!("{} in {}", mark.application, mark.environment),
        (None, Some(engine)) => engine.clone(),
        (None, None) => "nobody's".to_owned(),
    };
    format!("  {reference}: {whose}, {}\n", found.uid)
}

/// Everything a server holds.
pub(super) async fn mirror(remote: &MemoryRemote) -> Repository {
    let mirror = Repository::in_memory(std::sync::Arc::new(remote.clone()));
    let refs = mirror.look(&["refs/".to_owned()]).await.unwrap();
    let tips: Vec<_> = refs.values().map(|held| held.id).collect();
    mirror.fetch(&tips, Reach::Depth(10_000)).await.unwrap();
    mirror
}

/// The branch's first parents, newest first.
pub(super) async fn log(remote: &MemoryRemote, branch: &str) -> String {
    let mirror = mirror(remote).await;
    let mut shown = String::new();
    let mut next = remote.person("").head(branch);
    while let Some(id) = next {
        let commit = mirror.commit(id).unwrap();
        let merge = match commit.parents.len() {
            0 | 1 => "",
            _ => " (a merge)",
        };
        let by = &commit.committer.name;
        let line = format!("  {} {by}: {}{merge}\n", id.short(), commit.subject());
        shown.push_str(&line);
        next = commit.parents.first().copied();
    }
    shown
}

/// Every record of the environment, oldest first: from the notes, never from what sums them up.
pub(super) async fn records(remote: &MemoryRemote, environment: &EnvironmentName) -> Vec<Record> {
    let Some(head) = remote.refs().get(&records_ref(environment)).copied() else {
        return Vec::new();
    };
    let mirror = mirror(remote).await;
    let tree = mirror.commit(CommitId(head.id)).unwrap().tree;
    read_all(&mirror, tree).unwrap()
}

/// What stops a release, and where it stands in each environment.
pub(super) fn journey(journey: &Journey) -> String {
    let mut output = match &journey.stopped {
        None => "  nothing stops it\n".to_owned(),
        Some(stopped) => format!(
            "  {} [{}] {}\n",
            stopped.environment,
            stopped.state,
            short(&stopped.sentence)
        ),
    };
    let stopped = journey.stopped.as_ref();
    for (word, at) in [
        ("since", stopped.and_then(|it| it.since)),
        ("next at", stopped.and_then(|it| it.next)),
    ] {
        if let Some(at) = at {
            output.push_str(&format!("    {word} {}\n", clock(at)));
        }
    }
    if let Some(unblock) = stopped.and_then(|it| it.unblock.as_ref()) {
        output.push_str(&format!("    unblocked by: {unblock}\n"));
    }
    for (environment, stand) in &journey.stands {
        let number = stand.number.map(|it| format!(" #{it}"));
        let why = stand.why.as_ref().map(|it| format!(": {}", short(it)));
        let [number, why] = [number, why].map(Option::unwrap_or_default);
        output.push_str(&format!("    {environment} {}{number}{why}\n", stand.word));
    }
    output
}

pub(super) fn happening(happening: &Happening) -> String {
    match happening {
        Happening::Said(said) => record(said),
        Happening::Deployment(it) => {
            let release = it.release.as_ref().map_or("?", |release| &release.name);
            let judged = it.judged.as_ref();
            let ended = judged.map_or("not judged".to_owned(), |judged| {
                let after = judged.at.duration_since(it.at).as_secs();
                format!("{} after {after} s", judged.verdict.as_str())
            });
            let cause = it.cause.as_str();
            format!(
                "{} #{} {release} ({cause}): {ended}",
                clock(it.at),
                it.number
            )
        }
    }
}

pub(super) fn record(record: &Record) -> String {
    let number = match &record.statement {
        Statement::Deployment { number, .. }
        | Statement::Verdict { number, .. }
        | Statement::Degraded { number, .. }
        | Statement::Took { number, .. } => format!(" #{number}"),
        _ => String::new(),
    };
    let application = record
        .application
        .as_ref()
        .map_or_else(String::new, |it| format!(" {it}"));
    let by = match record.by.as_str() {
        "towpath" => String::new(),
        by => format!(" (by {by})"),
    };
    short(&format!(
        "{} {}{application}{number} {}{by}",
        clock(record.at),
        record.commit.short(),
        record.statement
    ))
}

/// The environment's deployment tags: names, where they point and what they say.
pub(super) async fn tags(remote: &MemoryRemote) -> String {
    let mirror = mirror(remote).await;
    let mut shown = String::new();
    for (name, held) in remote.refs() {
        if let Some(name) = name.strip_prefix("refs/tags/") {
            let message = mirror
                .tag(held.id)
                .map(|tag| tag.message)
                .unwrap_or_default();
            let mut lines = message.lines().filter(|line| !line.is_empty());
            let subject = lines.next().unwrap_or_default();
            let verdict = lines.next().unwrap_or_default();
            shown.push_str(&format!(
                "  {name} -> {}: {subject} | {verdict}\n",
                held.commit().short()
            ));
        }
    }
    short(&shown)
}
