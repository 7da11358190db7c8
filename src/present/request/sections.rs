//! What stands in the block, in which order.

use jiff::{SignedDuration, Timestamp};

use super::built::{self, Range};
use super::link::{self, Page};
use super::quote::code;
use super::{About, Commit, Evidence, Outcome, Proven, changes, unlike};
use crate::model::{ImageVersion, OnFailure, Rollback};
use crate::present::diff::Change;

/// How long names and sentences may be here, in bytes.
const NAME_MAX: usize = 200;
const SENTENCE_MAX: usize = 400;
const ADDRESS_MAX: usize = 500;

/// How many of a kind are named.
const NOTICES_MAX: usize = 10;
const IMAGES_MAX: usize = 20;
const COMMITS_MAX: usize = 20;
const PROVEN_MAX: usize = 10;
const EVIDENCE_MAX: usize = 30;
const SMOKE_MAX: usize = 5;
const OBJECTS_MAX: usize = 50;
const FILES_MAX: usize = 30;

/// All of it in at most `room` bytes, the difference cut where it must be; `None` where the rest alone
/// is too long.
pub(super) fn all(about: &About, room: usize) -> Option<String> {
    let above = [
        Some(lead(about)),
        notices(about),
        Some(images(about)),
        source(about),
        Some(proven(about)),
        evidence(about),
    ];
    let below = [
        deleted(about),
        beside(about),
        unlike::section(about),
        Some(ways(about)),
        Some(made_from(about)),
    ];
    let above = joined(above);
    let below = joined(below);
    let taken = above.len() + below.len() + 2 * "\n\n".len();
    let change = changes::section(about, room.checked_sub(taken)?)?;
    Some(format!("{above}\n\n{change}\n\n{below}"))
}

/// The least that a request must say; `None` where even that does not fit.
pub(super) fn short(about: &About, room: usize) -> Option<String> {
    let text = format!(
        "{}\n\nThere is no room for more here: {} shows what would change, and {} the rest.",
        lead(about),
        changes::command(about),
        code(
            &format!(
                "towpath explain {} {}",
                about.application, about.environment
            ),
            NAME_MAX
        ),
    );
    (text.len() <= room).then_some(text)
}

fn joined<const N: usize>(sections: [Option<String>; N]) -> String {
    let sections: Vec<String> = sections.into_iter().flatten().collect();
    sections.join("\n\n")
}

fn lead(about: &About) -> String {
    let release = code(&about.release.name, NAME_MAX);
    let (application, environment) = (name(&about.application), name(&about.environment));
    let instead = about.instead_of.as_ref().map_or_else(
        || "an unknown image".to_owned(),
        |it| code(&it.name, NAME_MAX),
    );
    let older = about.instead_of.as_ref();
    let back = older.is_some_and(|it| it.is_newer_than(&about.release));
    match back {
        true => format!(
            "Takes {application} in {environment} **back** to {release}, from the newer {instead}."
        ),
        false => format!("Brings {application} {release} to {environment}, instead of {instead}."),
    }
}

fn notices(about: &About) -> Option<String> {
    let notice = |it: &String| format!("> - {}", code(it, SENTENCE_MAX));
    let lines = listed(&about.notices, NOTICES_MAX, "> ", notice);
    (!about.notices.is_empty()).then(|| format!("> [!WARNING]\n{lines}"))
}

fn images(about: &About) -> String {
    let before = about.instead_of.as_ref().map(|release| &release.images);
    let images: Vec<_> = about.release.images.iter().collect();
    let mut text = listed(&images, IMAGES_MAX, "", |(repository, image)| {
        let before = before.and_then(|images| images.get(repository));
        let line = format!("- {}", code(&repository.to_string(), NAME_MAX));
        let after = code(&tag(image), NAME_MAX);
        match before {
            Some(before) if before == *image => format!("{line} {after}, unchanged"),
            Some(before) => format!(
                "{line} {} → {after}{}\n  - `{}` → `{}`",
                code(&tag(before), NAME_MAX),
                made(about, image),
                before.digest,
                image.digest
            ),
            None => format!(
                "{line} {after}{}\n  - `{}`",
                made(about, image),
                image.digest
            ),
        }
    });
    let gone = before.into_iter().flat_map(|images| images.keys());
    let gone: Vec<_> = gone
        .filter(|it| about.release.images.get(it).is_none())
        .collect();
    if !gone.is_empty() {
        text.push('\n');
        text.push_str(&listed(&gone, IMAGES_MAX, "", |repository| {
            format!(
                "- {} is no longer part of it",
                code(&repository.to_string(), NAME_MAX)
            )
        }));
    }
    text
}

fn made(about: &About, image: &ImageVersion) -> String {
    let built = about.built.get(&image.digest);
    let at = built.and_then(|built| built.created);
    at.map_or_else(String::new, |at| format!(", built {}", moment(at)))
}

fn tag(image: &ImageVersion) -> String {
    let tag = image.tag.clone();
    tag.unwrap_or_else(|| image.digest.short())
}

fn source(about: &About) -> Option<String> {
    let ranges = built::ranges(about);
    let lines = listed(&ranges, IMAGES_MAX, "", |range| {
        format!("- {}", shown_range(range))
    });
    let commits = about.commits.as_ref().and_then(|commits| {
        let newest = &commits.newest[..commits.newest.len().min(COMMITS_MAX)];
        let page = about.source.as_ref().and_then(Page::of);
        let lines: Vec<String> = newest.iter().map(|it| commit(it, page.as_ref())).collect();
        let count = commits.count.max(lines.len());
        let more = match count > lines.len() {
            true => format!(", the newest {} of them", lines.len()),
            false => String::new(),
        };
        let title = format!("{}{more}", counted(count, "commit"));
        (!lines.is_empty()).then(|| folded(&title, &lines.join("\n")))
    });
    let any = !ranges.is_empty() || commits.is_some();
    let head = any.then(|| "### Source".to_owned());
    let lines = (!ranges.is_empty()).then_some(lines);
    any.then(|| joined([head, lines, commits]))
}

fn shown_range(range: &Range) -> String {
    let (before, after) = range.ends();
    let ends = match before {
        Some(before) => format!("`{before}` → `{after}`"),
        None => format!("`{after}`"),
    };
    let same = match range.is_empty() {
        true => ", the same source commit",
        false => "",
    };
    format!("{}{same}", linked(&ends, range.address.clone()))
}

fn commit(commit: &Commit, page: Option<&Page>) -> String {
    let id = linked(
        &format!("`{}`", commit.id.short()),
        page.map(|page| page.commit(&commit.id.to_string())),
    );
    let (subject, author) = (code(&commit.subject, 100), code(&commit.author, 40));
    format!("- {id} {subject} by {author}")
}

fn proven(about: &About) -> String {
    if about.proven.is_empty() {
        return "### Proven\n\nNo environment has proven this release.".to_owned();
    }
    let lines = listed(&about.proven, PROVEN_MAX, "", seen);
    format!("### Proven\n\n{lines}")
}

fn seen(proven: &Proven) -> String {
    let deployment = match &proven.tag {
        Some(tag) => {
            let page = Page::of(&proven.repository);
            linked(&code(tag, NAME_MAX), page.map(|page| page.tag(tag)))
        }
        None => format!("deployment {}", proven.number),
    };
    let mut line = format!(
        "- {}: {deployment} healthy since {}",
        name(&proven.environment),
        moment(proven.healthy_at)
    );
    if !proven.exercised {
        line.push_str(", **not exercised**: none of its workloads ran");
    }
    let soak = SignedDuration::try_from(proven.soak).unwrap_or(SignedDuration::MAX);
    match proven.soaked_at {
        _ if proven.soak.is_zero() => {}
        Some(at) => line.push_str(&format!(", soaked for {soak:#} at {}", moment(at))),
        None => line.push_str(&format!(", has **not** soaked for {soak:#}")),
    }
    if !proven.smoke.is_empty() {
        let some = &proven.smoke[..proven.smoke.len().min(SMOKE_MAX)];
        let asked: Vec<String> = some.iter().map(|it| code(it, NAME_MAX)).collect();
        let more = match proven.smoke.len() - some.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        line.push_str(&format!(
            "; answered as expected: {}{more}",
            asked.join(", ")
        ));
    }
    line
}

fn evidence(about: &About) -> Option<String> {
    let several = about.release.images.len() > 1;
    let lines = listed(&about.evidence, EVIDENCE_MAX, "", |it| found(it, several));
    (!about.evidence.is_empty()).then(|| format!("### Evidence\n\n{lines}"))
}

fn found(evidence: &Evidence, several: bool) -> String {
    let mut line = format!("- {}", code(&evidence.rule, NAME_MAX));
    if several {
        line.push_str(&format!(" of {}", name(&evidence.repository)));
    }
    let Some(found) = &evidence.found else {
        return format!("{line}: **nothing** is known");
    };
    let said = code(&found.finding.to_string(), SENTENCE_MAX);
    let holds = match evidence.holds {
        true => "",
        false => "does **not** hold: ",
    };
    let by = code(&found.by, NAME_MAX);
    line.push_str(&format!(
        ": {holds}{said}, said by {by} at {}",
        moment(found.at)
    ));
    let link = found.finding.link.as_ref();
    match (link, link.and_then(link::given)) {
        (Some(_), Some(address)) => line.push_str(&format!(", {}", linked("more", Some(address)))),
        (Some(url), None) => line.push_str(&format!(", {}", code(url.as_str(), ADDRESS_MAX))),
        (None, _) => {}
    }
    line
}

fn deleted(about: &About) -> Option<String> {
    let Outcome::Tried(objects) = &about.change else {
        return None;
    };
    let deleted = objects
        .iter()
        .filter(|it| it.diff.change == Change::Deleted);
    let deleted: Vec<_> = deleted.map(|it| &it.diff.reference).collect();
    let lines = listed(&deleted, OBJECTS_MAX, "", |reference| {
        format!("- {}", code(&reference.to_string(), NAME_MAX))
    });
    let head = counted(deleted.len(), "object");
    (!deleted.is_empty()).then(|| format!("### Deletes {head}\n\n{lines}"))
}

fn beside(about: &About) -> Option<String> {
    let lines = listed(&about.beside, FILES_MAX, "", |path| {
        format!("- {}", code(path, NAME_MAX))
    });
    let text = format!("### Changes more than the images\n\n{lines}");
    (!about.beside.is_empty()).then_some(text)
}

fn ways(about: &About) -> String {
    let branch = code(&about.branch, NAME_MAX);
    let fails = match (about.on_failure, about.rollback) {
        (OnFailure::Hold, _) => {
            "what was applied stays, until a newer release or a changed manifest comes"
        }
        (OnFailure::Rollback, Rollback::Gate) => {
            "Towpath proposes to go back to the last healthy release"
        }
        (OnFailure::Rollback, Rollback::Direct) => {
            "Towpath goes back to the last healthy release by itself"
        }
    };
    let lines = [
        "- **Merge** as you like: by a merge commit, a squash or a rebase. What was merged is known by its digests, applied, and judged.".to_owned(),
        "- **Decline**: close this request. The release is not proposed again; a newer one is.".to_owned(),
        format!("- **Roll back**: revert the merge on {branch}. What ran before is applied and stays, until a newer release's request is merged."),
        format!("- **If it fails**, {fails}."),
        "- **Edit**: commit to this branch, or write above and below this text. Both are kept.".to_owned(),
    ];
    folded("Merge, decline, roll back", &lines.join("\n"))
}

fn made_from(about: &About) -> String {
    let mut line = format!(
        "<sub>Made on `{}` of {}",
        about.base.short(),
        code(&about.branch, NAME_MAX)
    );
    match &about.runs {
        Some(runs) => line.push_str(&format!(
            "; {} runs deployment {} (`{}`, {})",
            name(&about.environment),
            runs.number,
            runs.commit.short(),
            code(&runs.standing, NAME_MAX),
        )),
        None => line.push_str(&format!(
            "; {} has no deployment yet",
            name(&about.environment)
        )),
    }
    line + ". Written anew when any of this changes.</sub>"
}

/// A list of the first of these, and how many more there are.
pub(super) fn listed<T>(
    items: &[T],
    most: usize,
    before: &str,
    line: impl Fn(&T) -> String,
) -> String {
    let mut lines: Vec<String> = items.iter().take(most).map(line).collect();
    if items.len() > most {
        lines.push(format!("{before}- and {} more", items.len() - most));
    }
    lines.join("\n")
}

/// Lines that a reader opens. `title` is ours.
pub(super) fn folded(title: &str, lines: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{lines}\n\n</details>")
}

/// `1 object`, `2 objects`.
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn linked(text: &str, address: Option<String>) -> String {
    match address.filter(|address| address.len() <= ADDRESS_MAX) {
        Some(address) => format!("[{text}]({address})"),
        None => text.to_owned(),
    }
}

fn name(name: &impl ToString) -> String {
    code(&name.to_string(), NAME_MAX)
}

/// A moment for people: seconds are enough.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
