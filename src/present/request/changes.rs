//! What the cluster would make of it: as much as there is room for.

use super::quote::{code, fence, html, line};
use super::sections::{counted, folded};
use super::{About, Outcome};
use crate::model::{Release, RequestDiff};
use crate::present::diff::{Change, FieldDiff, Hunk, Trial, Tried};

/// How long one name, path and note may be, in bytes.
const NAME_MAX: usize = 300;
const NOTE_MAX: usize = 500;

/// How long one line of a difference may be, in bytes.
const LINE_MAX: usize = 400;

/// How many bytes one object may take, so that the others are seen too.
const OBJECT_MAX: usize = 16_000;

/// Less room than this shows nothing of an object but its name.
const WORTHWHILE: usize = 1_000;

/// What is kept for the line that tells how much is missing.
const MISSING: usize = 100;

const HEAD: &str = "### What the cluster would change";

/// The section in at most `room` bytes; `None` where that is too little for any.
pub(super) fn section(about: &About, room: usize) -> Option<String> {
    let see = command(about);
    let text = match (&about.change, about.diff) {
        (Outcome::Unknown(why), _) => {
            format!(
                "{HEAD}\n\nNot known: {}. {see} asks again.",
                code(why, NOTE_MAX)
            )
        }
        (Outcome::Tried(_), RequestDiff::None) => {
            format!("{HEAD}\n\nNot shown here: see {see}.")
        }
        (Outcome::Tried(objects), form) => {
            let head = format!(
                "{HEAD}\n\n{}, by its own dry run against what runs. All of it: {see}.",
                counts(objects)
            );
            let left = room.checked_sub(head.len() + MISSING)?;
            format!("{head}{}", entries(objects, form, left))
        }
    };
    (text.len() <= room).then_some(text)
}

/// The command that shows all of it.
pub(super) fn command(about: &About) -> String {
    let (application, environment) = (&about.application, &about.environment);
    let release = word(&about.release);
    let command = format!("towpath diff {application} {environment} --release {release}");
    code(&command, NAME_MAX)
}

/// The release as one word for a shell: its name, or where that is not safe to paste, a digest.
fn word(release: &Release) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name = &release.name;
    match !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        true => name.clone(),
        false => {
            let image = release.images.values().next();
            image.map_or_else(String::new, |image| image.digest.to_string())
        }
    }
}

fn counts(objects: &[Tried]) -> String {
    let counts = Change::ALL.into_iter().filter_map(|change| {
        let count = objects.iter().filter(|it| it.diff.change == change).count();
        (count > 0).then(|| format!("{} {}", counted(count, "object"), change.name()))
    });
    let counts: Vec<String> = counts.collect();
    match counts.is_empty() {
        true => "Nothing".to_owned(),
        false => counts.join(", "),
    }
}

/// Every object with something to tell, as long as there is room. What is deleted has its own section.
fn entries(objects: &[Tried], form: RequestDiff, room: usize) -> String {
    let mut text = String::new();
    let mut left_out = 0;
    let told = objects.iter().filter(|it| !it.is_unchanged());
    for tried in told.filter(|it| it.diff.change != Change::Deleted || it.trial != Trial::Taken) {
        let left = room.saturating_sub(text.len());
        let whole = (left >= WORTHWHILE).then(|| entry(tried, form, left.min(OBJECT_MAX)));
        let fits = |it: &String| it.len() <= left;
        let name = || Some(format!("\n\n{}", heading(tried, code)));
        match whole.filter(fits).or_else(|| name().filter(fits)) {
            Some(entry) => text.push_str(&entry),
            None => left_out += 1,
        }
    }
    text + &more(left_out, "object")
}

/// One object: what it is, what the cluster has against it, and how it differs.
fn entry(tried: &Tried, form: RequestDiff, room: usize) -> String {
    let mut text = String::new();
    if let (Some(outcome), Some(why)) = (tried.trial.outcome(), tried.trial.why()) {
        let why = match (form, &tried.trial) {
            // It may quote the values.
            (RequestDiff::Fields | RequestDiff::None, Trial::Refused(_)) => {
                "why is not shown here".to_owned()
            }
            _ => code(&why, NOTE_MAX),
        };
        let reference = code(&tried.diff.reference.to_string(), NAME_MAX);
        text = format!("\n\n{reference} **{outcome}**: {why}");
    }
    let title = heading(tried, html);
    let left = room.saturating_sub(text.len() + folded(&title, "").len() + MISSING);
    let within = match form {
        RequestDiff::Full => lines(&tried.diff.hunks, left),
        RequestDiff::Fields | RequestDiff::None => fields(&tried.diff.fields, left),
    };
    if within.is_empty() {
        return match text.is_empty() {
            false => text,
            true => format!("\n\n{}", heading(tried, code)),
        };
    }
    format!("{text}\n\n{}", folded(&title, &within))
}

/// `Deployment.apps default/shop changed: its image`.
fn heading(tried: &Tried, quote: fn(&str, usize) -> String) -> String {
    let diff = &tried.diff;
    let reference = quote(&diff.reference.to_string(), NAME_MAX);
    let images = diff.fields.iter().filter(|it| is_image(it)).count();
    let others = diff.fields.len() - images;
    let what = match (images, others) {
        (0, 0) => String::new(),
        (_, 0) => format!(": {}", counted(images, "image")),
        (0, _) => format!(": {}", counted(others, "field")),
        (_, _) => format!(
            ": {} and {}",
            counted(images, "image"),
            counted(others, "other field")
        ),
    };
    format!("{reference} {}{what}", diff.change.name())
}

/// Whether the field is a container's image.
fn is_image(field: &FieldDiff) -> bool {
    field.path.ends_with("/image")
}

/// The lines as `diff` writes them, as many as there is room for.
fn lines(hunks: &[Hunk], room: usize) -> String {
    let mut all: Vec<String> = Vec::new();
    for hunk in hunks {
        if !hunk.within.is_empty() {
            all.push(line(&format!("@@ {} @@", hunk.within), LINE_MAX));
        }
        let lines = hunk.lines.iter();
        all.extend(lines.map(|it| line(&it.to_string(), LINE_MAX)));
    }
    let fence = fence(all.iter().map(String::as_str));
    let room = room.saturating_sub(2 * fence.len() + "diff\n\n".len());
    let shown = fitting(&all, room);
    if shown == 0 {
        return String::new();
    }
    let block = format!("{fence}diff\n{}\n{fence}", all[..shown].join("\n"));
    block + &more(all.len() - shown, "line")
}

/// The paths, as many as there is room for.
fn fields(fields: &[FieldDiff], room: usize) -> String {
    let path = |it: &FieldDiff| {
        let what = match (&it.before, &it.after) {
            (None, _) => " added",
            (_, None) => " removed",
            _ => "",
        };
        format!("- {}{what}", code(&it.path, NAME_MAX))
    };
    let all: Vec<String> = fields.iter().map(path).collect();
    let shown = fitting(&all, room);
    if shown == 0 {
        return String::new();
    }
    all[..shown].join("\n") + &more(all.len() - shown, "field")
}

/// How many of these lines fit.
fn fitting(lines: &[String], room: usize) -> usize {
    let mut taken = 0;
    let fits = |line: &&String| {
        taken += line.len() + 1;
        taken <= room
    };
    lines.iter().take_while(fits).count()
}

/// What is left out.
fn more(count: usize, what: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!("\n\nand 1 more {what}"),
        count => format!("\n\nand {count} more {what}s"),
    }
}
