//! The words: a sentence for people, the message of Slack, the document of a webhook. Pure.
//!
//! What others wrote (names of releases, reasons, people) stands in them as text and nothing else: it formats
//! nothing, mentions nobody and leads nowhere.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::news::News;
use crate::model::{
    Digest, Field, MessageTemplate, Notification, NotificationName, Occasion, Receiver,
};
use crate::shown::on_one_line;

/// What others wrote is no longer than this, in bytes.
const FIELD_MAX: usize = 1_000;

/// Slack takes no longer text in a block than 3,000 characters.
const SLACK_MAX: usize = 2_900;

/// The version of a webhook's document.
const VERSION: u64 = 1;

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// The same on each attempt, by whichever Towpath.
    pub(super) id: String,
    /// The event's word.
    pub(super) event: &'static str,
    /// The document.
    pub(super) body: Vec<u8>,
}

/// What is sent of news, in the form that the receiver takes.
pub(super) fn message(
    notification: &Notification,
    news: &News,
    url: Option<&str>,
    now: Timestamp,
) -> Message {
    let template = notification.template.as_ref();
    let body = match &notification.receiver {
        Receiver::Slack { .. } => slack(news, url, template),
        Receiver::Webhook { .. } => {
            let mut body = document(&notification.name, news.occasion.name(), &news.key, now);
            describe(&mut body, news, url, template);
            Value::Object(body)
        }
    };
    Message {
        id: id(&notification.name, &news.key),
        event: news.occasion.name(),
        body: body.to_string().into_bytes(),
    }
}

/// A message that says nothing but that it came.
pub(super) fn test(notification: &Notification, now: Timestamp) -> Message {
    let name = &notification.name;
    let text = format!("Towpath can tell {name} of news.");
    let key = format!("test/{}", now.as_nanosecond());
    let body = match &notification.receiver {
        Receiver::Slack { .. } => in_slack(&escaped(&text)),
        Receiver::Webhook { .. } => {
            let mut body = document(name, TEST, &key, now);
            body.insert("at".to_owned(), json!(now.to_string()));
            body.insert("text".to_owned(), json!(text));
            Value::Object(body)
        }
    };
    Message {
        id: id(name, &key),
        event: TEST,
        body: body.to_string().into_bytes(),
    }
}

/// The event of a message that only tests.
const TEST: &str = "test";

/// 32 hexadecimal digits, made of what is told and whom.
fn id(name: &NotificationName, key: &str) -> String {
    let digest = Digest::of(format!("{name}/{key}").as_bytes()).to_string();
    let digits = digest.trim_start_matches("sha256:");
    digits.chars().take(32).collect()
}

/// All of it in one sentence.
pub(super) fn text(news: &News) -> String {
    let environment = &news.environment;
    let release = release(news);
    let what = match &news.application {
        Some(application) => format!("{environment}: {application}"),
        None => environment.to_string(),
    };
    let deployment = |words: &str| match news.number {
        Some(number) => format!("{what} {release} {words} (deployment {number})"),
        None => format!("{what} {release} {words}"),
    };
    let head = match news.occasion {
        Occasion::Proposed => format!("{what} {release} is proposed"),
        Occasion::Declined => format!("{what} {release} is declined"),
        Occasion::Healthy => deployment("is healthy"),
        Occasion::Failed => deployment("failed"),
        Occasion::Degraded => deployment("lost its health"),
        Occasion::Held => format!("{what} is held"),
        Occasion::Resumed => format!("{what} is resumed"),
        Occasion::Frozen => format!("{what} is frozen"),
        Occasion::Thawed => format!("{what} is thawed"),
        Occasion::Ungated => {
            format!("{what} {release} came to the branch without a merged proposal")
        }
        Occasion::Stuck => {
            let since = news.at.round(jiff::Unit::Second).unwrap_or(news.at);
            format!("{what} has been waiting since {since}")
        }
    };
    let by = news
        .by
        .as_ref()
        .map(|by| format!(" by {}", on_one_line(by, FIELD_MAX)));
    let reason = news.reason.as_ref();
    let reason = reason.map(|reason| format!(": {}", on_one_line(reason, FIELD_MAX)));
    let unblock = news.unblock.as_ref();
    let unblock =
        unblock.map(|text| format!("; what unblocks it: {}", on_one_line(text, FIELD_MAX)));
    [Some(head), by, reason, unblock]
        .into_iter()
        .flatten()
        .collect()
}

fn release(news: &News) -> String {
    let shown = news
        .release
        .as_ref()
        .map(|it| on_one_line(&it.name, FIELD_MAX));
    shown.unwrap_or_else(|| "an unknown image".to_owned())
}

/// What stands for a field; nothing where there is none.
fn field(news: &News, url: Option<&str>, field: Field) -> String {
    let shown = |text: &Option<String>| {
        let text = text.as_ref();
        text.map_or_else(String::new, |text| on_one_line(text, FIELD_MAX))
    };
    match field {
        Field::Application => news
            .application
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        Field::Environment => news.environment.to_string(),
        Field::Release if news.release.is_none() => String::new(),
        Field::Release => release(news),
        Field::Event => news.occasion.name().to_owned(),
        Field::Reason => shown(&news.reason),
        Field::Number => news
            .number
            .map_or_else(String::new, |number| number.to_string()),
        Field::By => shown(&news.by),
        Field::Url => url.unwrap_or_default().to_owned(),
        Field::Text => text(news),
    }
}

/// The [message](https://api.slack.com/messaging/webhooks) of Slack. A template's own text may hold its markup;
/// what stands for fields may not.
fn slack(news: &News, url: Option<&str>, template: Option<&MessageTemplate>) -> Value {
    let text = match template {
        Some(template) => template.render(|it| escaped(&field(news, url, it))),
        None => match url {
            Some(url) => format!("{}\n{}", escaped(&text(news)), escaped(url)),
            None => escaped(&text(news)),
        },
    };
    in_slack(&text)
}

fn in_slack(text: &str) -> Value {
    let text = cut(text);
    json!({
        "text": text,
        "blocks": [{
            "type": "section",
            // Names of channels and people in the text stay what they are.
            "text": { "type": "mrkdwn", "text": text, "verbatim": true },
        }],
    })
}

/// [Slack's escapes](https://api.slack.com/reference/surfaces/formatting#escaping): without `<` nothing is a link
/// or a mention. Those that take Slack's messages know `@channel` and its like by the bare word, so that an `@`
/// which begins one is parted from it by a space of no width.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '@' if !before.is_alphanumeric() => safe.push_str("@\u{200b}"),
            c => safe.push(c),
        }
        before = c;
    }
    safe
}

/// No longer than Slack takes, and no escape in halves.
fn cut(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(SLACK_MAX) else {
        return text.to_owned();
    };
    let mut kept = &text[..end];
    if let Some((before, after)) = kept.rsplit_once('&')
        && !after.contains(';')
    {
        kept = before;
    }
    format!("{kept}…")
}

/// What each document of a webhook holds.
fn document(name: &NotificationName, event: &str, key: &str, now: Timestamp) -> Map<String, Value> {
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    put("version", json!(VERSION));
    put("id", json!(id(name, key)));
    put("key", json!(key));
    put("notification", json!(name.as_str()));
    put("event", json!(event));
    put("sent", json!(now.to_string()));
    body
}

fn describe(
    body: &mut Map<String, Value>,
    news: &News,
    url: Option<&str>,
    template: Option<&MessageTemplate>,
) {
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    let shown = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    put("at", Some(json!(news.at.to_string())));
    put("environment", Some(json!(news.environment.as_str())));
    put(
        "application",
        news.application.as_ref().map(|it| json!(it.as_str())),
    );
    put(
        "release",
        news.release.as_ref().map(|release| {
            let images = release.images.iter();
            let images =
                images.map(|(image, it)| (image.to_string(), json!(it.digest.to_string())));
            json!({
                "name": release.name,
                "commit": release.commit,
                "images": images.collect::<Map<_, _>>(),
            })
        }),
    );
    put("number", news.number.map(|number| json!(number)));
    put(
        "commit",
        news.commit.map(|commit| json!(commit.to_string())),
    );
    put("reason", shown(&news.reason));
    put("by", shown(&news.by));
    put("unblock", shown(&news.unblock));
    put("url", url.map(|url| json!(url)));
    let text = match template {
        Some(template) => template.render(|it| field(news, url, it)),
        None => text(news),
    };
    put("text", Some(json!(text)));
}

#[cfg(test)]
mod tests;
