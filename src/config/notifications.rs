//! The key `notifications` of `towpath.yaml`: who is told of what.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use url::Url;

use super::credential::{self, Described};
use super::environment::values;
use super::form::{At, Form, Reading, Text, Words, Wrong, a_second_or_more, misformed};
use super::list::{List, any_list, list};
use super::problem::quote;
use super::section::{Fields, Section};
use super::terms;
use super::yaml::{Node, Value};
use crate::model::{
    Credential, EnvironmentName, MessageTemplate, Notification, NotificationName, Occasion,
    Receiver, WebAddress, is_over_http,
};

/// A notification, and the environments as they stand there.
pub(super) struct Declared {
    pub(super) name: At<NotificationName>,
    pub(super) notification: Notification,
    pub(super) environments: Vec<At<EnvironmentName>>,
}

/// The form of `notifications`.
pub(super) fn notifications() -> List<Fields<Declared>> {
    any_list(Fields {
        sample: "{ name: chat, slack: { url: { env: SLACK_URL } } }",
        read: notification,
    })
}

const OCCASIONS: [(&str, Occasion); Occasion::ALL.len()] = {
    let mut words = [("", Occasion::Stuck); Occasion::ALL.len()];
    let mut index = 0;
    while index < words.len() {
        let occasion = Occasion::ALL[index];
        words[index] = (occasion.name(), occasion);
        index += 1;
    }
    words
};

fn notification(section: &mut Section<'_>) -> Option<Declared> {
    let name = section.required(
        "name",
        "What it is known by in the log, in metrics, and in git, where it stands what was sent. Under another name it begins anew.",
        name(),
    );
    let slack = section.optional(
        "slack",
        "An incoming webhook of Slack, or of what takes the same (Mattermost, Rocket.Chat).",
        Fields {
            sample: "{ url: { env: SLACK_URL } }",
            read: slack,
        },
    );
    let webhook = section.optional(
        "webhook",
        "Whoever takes a JSON document over HTTP (docs/notifications.md).",
        Fields {
            sample: "{ url: { env: WEBHOOK_URL }, secret: { env: WEBHOOK_SECRET } }",
            read: webhook,
        },
    );
    section.hint(
        "token",
        "an address that is a secret is named: `slack: { url: { env: SLACK_URL } }`",
    );
    let one = section.exactly_one(&["slack", "webhook"], "slack: { url: { env: SLACK_URL } }");
    let on = section.optional(
        "on",
        "What is told: `proposed`, `declined`, `healthy` (where the environment is gated), `failed`, `degraded`, `held`, `resumed`, `frozen`, `thawed`, `ungated`, `stuck`. Left out: all of it.",
        list(Words(&OCCASIONS)),
    );
    let environments = section.optional(
        "environments",
        "Of which environments. Left out: of all.",
        list(terms::environment_name()),
    );
    let stuck_after = section.or(
        "stuck-after",
        "How long a unit waits for one reason, other than such as only ask for patience, before that is told.",
        a_second_or_more(),
        "30m",
    );
    let template = section.optional(
        "template",
        "The words. `{application}`, `{environment}`, `{release}`, `{event}`, `{reason}`, `{number}`, `{by}`, `{url}` and `{text}` (all of it, in Towpath's words) stand for what they name.",
        template(),
    );
    let on: BTreeSet<Occasion> = match on {
        Some(on) => values(on.value).into_iter().collect(),
        None => Occasion::ALL.into(),
    };
    if section.has("stuck-after") && !on.contains(&Occasion::Stuck) {
        let place = section.key_place("stuck-after");
        let what = "`stuck-after` says nothing where `on` does not name `stuck`";
        section
            .reading
            .problems
            .error(&place, what, "add `stuck` to `on`, or remove it");
    }
    let receiver = slack.or(webhook).filter(|_| one)?.value;
    let environments = environments.map(|environments| environments.value);
    let known = |list: &Vec<At<EnvironmentName>>| list.iter().map(|at| at.value.clone()).collect();
    let name = name?;
    Some(Declared {
        notification: Notification {
            name: name.value.clone(),
            receiver,
            on,
            environments: environments.as_ref().map(known),
            stuck_after: stuck_after?.value,
            template: template.map(|at| at.value),
        },
        name,
        environments: environments.unwrap_or_default(),
    })
}

fn slack(section: &mut Section<'_>) -> Option<Receiver> {
    let url = section.required("url", ADDRESS, Address)?;
    if let WebAddress::Plain(address) = &url.value
        && address.host_str() == Some("hooks.slack.com")
    {
        section.reading.problems.warning(
            &url.place,
            "whoever reads this address may write to the channel",
            "name what holds it: `url: { env: SLACK_URL }`",
        );
    }
    Some(Receiver::Slack { url: url.value })
}

fn webhook(section: &mut Section<'_>) -> Option<Receiver> {
    section.hint(
        "secrets",
        "one secret signs what is sent: `secret: { env: WEBHOOK_SECRET }`",
    );
    let url = section.required("url", ADDRESS, Address);
    let secret = section.optional(
        "secret",
        "The name of the secret that the documents are signed with. Left out: they are not signed.",
        Fields {
            sample: "{ env: WEBHOOK_SECRET }",
            read: secret,
        },
    );
    Some(Receiver::Webhook {
        url: url?.value,
        secret: secret.map(|at| at.value),
    })
}

fn secret(section: &mut Section<'_>) -> Option<Credential> {
    let described = Described {
        variable: "The environment variable that holds it.",
        file: "The file that holds it; read anew each time, so that it may be exchanged. A relative path starts at the configuration's folder.",
        sample: "{ env: WEBHOOK_SECRET }",
    };
    credential::secret(section, &described)
}

const ADDRESS: &str =
    "Its address: `https://…`, or the name of what holds it, for an address that is a secret.";

/// An address, or the name of a secret that holds one. It is no leaf: `explain --config` does not repeat it.
struct Address;

impl Address {
    fn named() -> Fields<Credential> {
        Fields {
            sample: "{ env: SLACK_URL }",
            read: secret,
        }
    }
}

impl Form for Address {
    type Value = WebAddress;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<WebAddress> {
        match &node.value {
            Value::Text(text) => match text.parse::<Url>() {
                Ok(url) if is_over_http(&url) => Some(WebAddress::Plain(url)),
                _ => {
                    let what = "this is not an address over HTTP";
                    let instead =
                        "write `https://…`, or name what holds it: `url: { env: SLACK_URL }`";
                    reading.problems.error(&node.place, what, instead);
                    None
                }
            },
            Value::Map(_) => Self::named().read(node, reading).map(WebAddress::Named),
            _ => {
                misformed(self, node, reading);
                None
            }
        }
    }

    fn schema(&self) -> Json {
        let plain = json!({ "type": "string", "pattern": "^https?://." });
        json!({ "oneOf": [plain, Self::named().schema()] })
    }

    fn wanted(&self) -> String {
        "an address, or the name of what holds it".to_owned()
    }

    fn sample(&self) -> String {
        "{ env: SLACK_URL }".to_owned()
    }

    fn is_leaf(&self) -> bool {
        false
    }
}

fn name() -> Text<NotificationName> {
    Text {
        wanted: "a name",
        sample: "chat",
        parse: |text| {
            text.parse().map_err(|_| {
                Wrong::new(
                    format!("{} cannot name a notification", quote(text)),
                    "use 1 to 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit",
                )
            })
        },
        schema: || json!({ "pattern": "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$" }),
    }
}

fn template() -> Text<MessageTemplate> {
    Text {
        wanted: "a message",
        sample: "{environment}: {application} {release} {event}",
        parse: |text| {
            let parsed = text.parse::<MessageTemplate>();
            parsed.map_err(|why| {
                Wrong::new(
                    format!("{} is no message: {why}", quote(text)),
                    "write something like `{environment}: {application} {release} {event}`",
                )
            })
        },
        schema: || json!({ "minLength": 1 }),
    }
}
