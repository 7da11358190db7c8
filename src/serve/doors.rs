//! Where webhooks come in: what senders say, what they show as their secret, and the addresses they name.

use super::payload::{self, Change};
use super::{keys, receive};
use crate::doors::{Answer, Door, Knocked, alike, answered, harmless};
use crate::model::Sender;

const WEBHOOKS: &[&str] = &[
    "github push\n",
    "github pull_request\n",
    "gitea package\n",
    "gitea push\n",
    "registry -\n",
    "harbor -\n",
    "docker-hub -\n",
    "quay -\n",
    "generic -\n",
    "\"repository\":{",
    "\"clone_url\":\"",
    "\"ref\":\"refs/heads/",
    "\"after\":\"",
    "\"merged\":true",
    "\"events\":[",
    "\"action\":\"push\"",
    "\"target\":{",
    "\"tag\":\"",
    "\"host\":\"",
    "\"url\":\"",
    "https://user:password@",
    "file:///etc/passwd",
    "../..",
    "\"images\":[",
    "\"repositories\":[",
    "null",
    "18446744073709551616",
    "\\ud800",
    "\\u001b[31m",
    "[[[[[[[[",
    "{\"a\":",
    "]}",
];
const HEADERS: &[&str] = &[
    "sha256=",
    "sha1=",
    "Bearer ",
    "Basic ",
    "OnBlc3Q=",
    ":",
    "=",
    " ",
    "\0",
    "é",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "https://",
    "git@",
    "/",
    ".git",
    "[::1]:22",
];

pub(crate) const DOORS: &[Door] = &[
    Door {
        name: "webhook",
        words: WEBHOOKS,
        knock: webhook,
    },
    Door {
        name: "webhook-headers",
        words: HEADERS,
        knock: headers,
    },
];

/// Sender and event in the first line, then the body.
fn webhook(bytes: &[u8]) -> Knocked {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let first = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let (name, event) = first.split_once(' ').unwrap_or((&first, ""));
    let Some(sender) = Sender::named(name) else {
        return Ok(Answer::Refused);
    };
    let read = payload::read(sender, Some(event), parts.next().unwrap_or_default());
    match &read {
        Err(error) => harmless(&error.to_string())?,
        Ok(said) => {
            // Two lists of 256 are kept, of whatever length they come.
            alike(
                "more is kept than is looked at",
                &(said.changes.len() > 512),
                &false,
            )?;
            for change in &said.changes {
                if let Change::Image(repository, _) = change {
                    let again = repository.to_string().parse();
                    alike("a repository", &again.as_ref().ok(), &Some(repository))?;
                }
            }
        }
    }
    Ok(answered(&read))
}

/// Each line as a header with a signature, with a secret, and as the address of a repository.
fn headers(bytes: &[u8]) -> Knocked {
    let mut answer = Answer::Refused;
    for line in bytes.split(|byte| *byte == b'\n') {
        keys::words(line);
        let text = String::from_utf8_lossy(line);
        let place = receive::place(&text);
        if keys::hexadecimal(line).is_some() || place.is_some() {
            answer = Answer::Taken;
        }
        if let Some((host, path)) = place {
            alike(
                "it stands in it",
                &(text.contains(host) && text.contains(path)),
                &true,
            )?;
        }
    }
    Ok(answer)
}
