//! What stands in records, in evidence, and in single values: tags, versions, addresses, schedules, templates.

use jiff::Timestamp;
use jiff::civil::{Date, Time};

use super::{Answer, Door, Knocked, alike, answered, harmless};
use crate::model::evidence::Asks;
use crate::model::freeze::{LONGEST, Rule, Times, Window, frozen, zone};
use crate::model::record::{Record, Standing, UnitRecords, history, summary};
use crate::model::{
    ApplicationName, Attachment, BranchFilter, Digest, EnvironmentName, EvidenceRule,
    ImageReference, ImageRepository, MessageTemplate, PublicKey, RepositoryUrl, TagTemplate,
    TitleTemplate, VersionRange, parse_version,
};

const RECORDS: &[&str] = &[
    "\"v\":1",
    "\"v\":2",
    "\"record\":",
    "\"deployment\"",
    "\"verdict\"",
    "\"proposed\"",
    "\"withdrawn\"",
    "\"pinned\"",
    "\"held\"",
    "\"frozen\"",
    "\"promoted\"",
    "\"evidence\"",
    "\"adopted\"",
    "\"taken\":[",
    "\"release\":{",
    "\"images\":{",
    "\"at\":\"",
    "9999-12-31T23:59:59Z",
    "-009999-01-01T00:00:00Z",
    "18446744073709551615",
    "\"number\":",
    "\"until\":",
    "\"scores\":{",
    "1e308",
    "-0.0",
    "null",
    "\\u001b[31m",
    "\\u202e",
    "\\ud800",
    "\n",
    "healthy",
    "failed",
    "superseded",
];
const VALUES: &[&str] = &[
    "{branch}",
    "{tag}",
    "{commit}",
    "{commit:7}",
    "{{",
    "}}",
    "v",
    "1.2.3",
    "-rc.1",
    "+build",
    "18446744073709551616",
    ">=",
    "<",
    "^",
    "~",
    "*",
    ", ",
    "||",
    "sha256:",
    "@",
    ":",
    "/",
    "..",
    "-",
    "_",
    "https://",
    "ssh://",
    "git@",
    "[::1]",
    "user:password@",
    "%00",
    "%2f",
    "\u{202e}",
    "\u{1b}[31m",
    "\r\n",
    "**",
    "!",
    "[a-z]",
    "{a,b}",
    "?",
    "ssh-ed25519 ",
];
const SCHEDULES: &[&str] = &[
    "FREQ=",
    "DAILY",
    "WEEKLY",
    "MONTHLY",
    "YEARLY",
    "INTERVAL=1000",
    "COUNT=1000",
    "UNTIL=99991231",
    "BYMONTH=2",
    "BYMONTHDAY=-31,29",
    "BYDAY=-5FR,5MO",
    ";",
    ",",
    "=",
    "-9999-01-01",
    "0001-01-01",
    "9999-12-31",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "UTC",
    "00:00",
    "23:59:59.999999999",
    "744",
    "99999999",
    "-",
];
const EVIDENCE: &[&str] = &[
    "\"digest\":",
    "\"name\":",
    "\"result\":",
    "\"pass\"",
    "\"fail\"",
    "\"scores\":{",
    "\"link\":",
    "\"at\":",
    "https://user:password@example.com/",
    "javascript:",
    "1e999",
    "-0",
    "null",
    ">=",
    "<=",
    "==",
    "!=",
    " ",
    "critical",
    "\u{1b}[31m",
    "sha256:",
    "9999-12-31T23:59:59Z",
];

pub(super) const DOORS: &[Door] = &[
    Door {
        name: "records",
        words: RECORDS,
        knock: records,
    },
    Door {
        name: "records-standing",
        words: RECORDS,
        knock: standing,
    },
    Door {
        name: "tags",
        words: VALUES,
        knock: tags,
    },
    Door {
        name: "values",
        words: VALUES,
        knock: values,
    },
    Door {
        name: "schedules",
        words: SCHEDULES,
        knock: schedules,
    },
    Door {
        name: "evidence",
        words: EVIDENCE,
        knock: evidence,
    },
];

/// A note: one record a line.
fn records(bytes: &[u8]) -> Knocked {
    let text = String::from_utf8_lossy(bytes);
    let mut read = Vec::new();
    for line in text.lines() {
        if let Ok(record) = Record::from_line(line) {
            let again = Record::from_line(&record.to_line());
            alike(
                "a record, written and read again",
                &again.as_ref().ok(),
                &Some(&record),
            )?;
            read.push(record);
        }
    }
    let unit = UnitRecords::fold(read.clone());
    let kept = unit.standing();
    let anew = UnitRecords::fold(kept.clone());
    alike(
        "the present may only become shorter",
        &(anew.standing().len() <= kept.len()),
        &true,
    )?;
    alike(
        "what the kept records say",
        &anew.at_rest(),
        &unit.at_rest(),
    )?;
    let mut standing = Standing::default();
    read.iter().for_each(|record| standing.take(record));
    let again = Standing::from_json(&standing.to_json());
    alike(
        "the standing, written and read again",
        &again.as_ref().ok(),
        &Some(&standing),
    )?;
    summary(&history(read.clone()));
    Ok(match read.is_empty() {
        true => Answer::Refused,
        false => Answer::Taken,
    })
}

fn standing(bytes: &[u8]) -> Knocked {
    let read = Standing::from_json(&String::from_utf8_lossy(bytes));
    if let Ok(standing) = &read {
        let again = Standing::from_json(&standing.to_json());
        alike(
            "written and read again",
            &again.as_ref().ok(),
            &Some(standing),
        )?;
    }
    Ok(answered(&read))
}

/// A template for tags, a range of versions, then tags.
fn tags(bytes: &[u8]) -> Knocked {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    let template: Result<TagTemplate, _> = next().parse();
    let range: Result<VersionRange, _> = next().parse();
    if let Ok(template) = &template {
        let again = template.to_string().parse();
        alike(
            "the template, written and read again",
            &again.as_ref().ok(),
            &Some(template),
        )?;
    }
    for tag in lines {
        if let Some(parts) = template.as_ref().ok().and_then(|it| it.matches(tag)) {
            let written = template.as_ref().ok().map(|it| it.render(&parts));
            alike(
                "the tag that is read out of",
                &written,
                &Some(Ok(tag.to_owned())),
            )?;
        }
        if let (Some(version), Ok(range)) = (parse_version(tag), &range) {
            range.takes(&version);
            alike(
                "the version, written and read again",
                &parse_version(&version.to_string()),
                &Some(version),
            )?;
        }
    }
    Ok(answered(&template))
}

/// Each line as everything that a single value can be.
fn values(bytes: &[u8]) -> Knocked {
    let text = String::from_utf8_lossy(bytes);
    let mut taken = false;
    for line in text.lines().take(30) {
        taken |= value(line)?;
    }
    Ok(match taken {
        true => Answer::Taken,
        false => Answer::Refused,
    })
}

fn value(text: &str) -> Result<bool, String> {
    let repository = text.parse::<ImageRepository>();
    let reference = text.parse::<ImageReference>();
    let address = text.parse::<RepositoryUrl>();
    if let Ok(it) = &repository {
        alike(
            "a repository, written and read again",
            &it.to_string().parse().ok().as_ref(),
            &Some(it),
        )?;
        within_its_folder(it.path())?;
    }
    if let Ok(it) = &reference {
        alike(
            "a reference, written and read again",
            &it.to_string().parse().ok().as_ref(),
            &Some(it),
        )?;
    }
    if let Ok(it) = &address {
        one_line(it.as_str())?;
        let user = it
            .as_str()
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('@'));
        let authority = user
            .map(|(user, _)| user)
            .filter(|user| !user.contains('/'));
        if authority.is_some_and(|user| user.contains(':')) {
            return Err(format!("the address {it} holds a password"));
        }
    }
    for name in [
        text.parse::<ApplicationName>().map(|it| it.to_string()),
        text.parse::<EnvironmentName>().map(|it| it.to_string()),
    ]
    .into_iter()
    .flatten()
    {
        within_its_folder(&name)?;
        alike("a name", &name.contains('/'), &false)?;
    }
    if let Ok(digest) = text.parse::<Digest>() {
        alike("a digest, written", &digest.to_string().as_str(), &text)?;
    }
    if let Ok(filter) = BranchFilter::new([text]) {
        filter.takes("main");
        filter.takes(text);
    }
    if let Ok(title) = text.parse::<TitleTemplate>() {
        alike(
            "a title, written and read again",
            &title.to_string().parse().ok().as_ref(),
            &Some(&title),
        )?;
    }
    let message = text.parse::<MessageTemplate>();
    let key = text.parse::<PublicKey>();
    Ok(
        message.is_ok()
            || repository.is_ok()
            || reference.is_ok()
            || address.is_ok()
            || key.is_ok(),
    )
}

fn within_its_folder(path: &str) -> Result<(), String> {
    one_line(path)?;
    let leaves = path.split('/').any(|part| matches!(part, "" | "." | ".."));
    match leaves {
        true => Err(format!("{path:?} leads elsewhere")),
        false => Ok(()),
    }
}

fn one_line(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("{c:?} stands in {text:?}")),
        None => Ok(()),
    }
}

/// A time zone, a rule, its first day, its time, its hours, and the moment.
fn schedules(bytes: &[u8]) -> Knocked {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    let (zone, rule) = (zone(next()), next());
    let start: Date = next().parse().unwrap_or(Date::constant(2026, 1, 1));
    let from: Time = next().parse().unwrap_or(Time::midnight());
    let hours: u32 = next().parse().unwrap_or(8);
    let now: Timestamp = next().parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let (Some(zone), Ok(rule)) = (zone, Rule::new(rule, start)) else {
        return Ok(Answer::Refused);
    };
    let length = std::time::Duration::from_secs(u64::from(hours) * 3600).min(LONGEST);
    let window = Window {
        times: Times::Rule { rule, from, length },
        zone,
        reason: String::new(),
        place: String::new(),
    };
    let windows = [window.clone(), window];
    if let Some((_, interval)) = frozen(&windows, now)
        && !(interval.from <= now && now < interval.to)
    {
        return Err(format!("{now} is not within {interval:?}"));
    }
    Ok(Answer::Taken)
}

/// The image's digest, a rule, and a document of evidence.
fn evidence(bytes: &[u8]) -> Knocked {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (digest, asks) = (
        String::from_utf8_lossy(next()),
        String::from_utf8_lossy(next()),
    );
    let asks: Option<Asks> = asks.parse().ok();
    if let Some(asks) = &asks {
        alike(
            "a rule, written and read again",
            &asks.to_string().parse().ok().as_ref(),
            &Some(asks),
        )?;
    }
    let Ok(image) = digest.parse::<Digest>() else {
        return Ok(Answer::Refused);
    };
    let read = Attachment::read(next(), &image, None);
    if let Ok(attachment) = &read {
        harmless(&attachment.finding.to_string())?;
        if let Some(link) = &attachment.finding.link {
            one_line(link.as_str())?;
        }
        let max_age = Some(std::time::Duration::MAX);
        if let Some(rule) = asks.map(|asks| EvidenceRule {
            asks,
            max_age,
            from: None,
        }) {
            rule.weigh(Some((&attachment.finding, attachment.at)), Timestamp::MAX);
            rule.weigh(Some((&attachment.finding, Timestamp::MAX)), Timestamp::MIN);
        }
    }
    Ok(answered(&read))
}
