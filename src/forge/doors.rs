//! Where forges are heard: what people and others wrote into a request. Their answers are read beside each forge.

use serde::Deserialize;

use super::Content;
use super::rest::Saying;
use super::text::{Text, merged, says};
use crate::doors::{Answer, Door, Knocked, alike, harmless};
use crate::model::Digest;

const TEXTS: &[&str] = &[
    "<!-- towpath:begin production/shop -->\n",
    "\n<!-- towpath:end -->\n",
    "<!-- towpath:of ",
    " -->\n",
    "<!--",
    "-->",
    "\r\n",
    "\n",
    "sha256:",
    "0123456789ab",
    "<!-- towpath:said ",
    "@acme/ops",
    "fixes #1",
    "![x](https://example.com/x.png)",
    "\u{200b}",
    "\u{202e}",
    "```",
    "<details>",
    " ",
];

pub(crate) const DOORS: &[Door] = &[
    Door {
        name: "request-text",
        words: TEXTS,
        knock: text,
    },
    Door {
        name: "request-comment",
        words: TEXTS,
        knock: comment,
    },
];

/// The title of a request in the first line, then its text: ours is put into it, and found again.
fn text(bytes: &[u8]) -> Knocked {
    let given = String::from_utf8_lossy(bytes);
    let (title, body) = given.split_once('\n').unwrap_or((&given, ""));
    let now = Text {
        title: title.to_owned(),
        body: body.to_owned(),
    };
    let block =
        "<!-- towpath:begin production/shop -->\n\nwords\n\n<!-- towpath:end -->".to_owned();
    let content = Content {
        title: "shop v1".to_owned(),
        facts: Digest::of(block.as_bytes()),
        block,
    };
    let one = merged(&now, &content);
    alike(
        "what our block was made from",
        &says(&one.body),
        &Some(content.facts),
    )?;
    let two = merged(&one, &content);
    alike("put in twice", &two, &one)?;
    Ok(Answer::Taken)
}

/// Why a request is closed, as it may stand in a comment.
fn comment(bytes: &[u8]) -> Knocked {
    let reason = String::from_utf8_lossy(bytes);
    let saying = Saying::closes(&reason);
    let body = saying.body();
    let text = body["body"].as_str().unwrap_or_default();
    alike("it is found again", &saying.is(text), &true)?;
    // What acts in it is our mark alone.
    let acts = text.matches("<!--").count() != 1 || acts(text);
    match acts {
        true => Err(format!("what others wrote acts in {text:?}")),
        false => Ok(Answer::Taken),
    }
}

/// A mention, or a reference to what may be closed.
fn acts(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    chars.windows(2).enumerate().any(|(at, two)| {
        let before = at.checked_sub(1).and_then(|at| chars.get(at));
        match two {
            ['@', next] => next.is_alphanumeric() && !before.is_some_and(|it| it.is_alphanumeric()),
            ['#', next] => next.is_ascii_digit(),
            _ => false,
        }
    })
}

/// A forge's answer as what is read of it; that it cannot be is told without harm.
pub(super) fn read<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<Option<T>, String> {
    match serde_json::from_slice(bytes) {
        Ok(read) => Ok(Some(read)),
        Err(error) => harmless(&error.to_string()).map(|()| None),
    }
}
