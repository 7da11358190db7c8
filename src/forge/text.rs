//! What is ours in the text of a request, and what is people's: our block stands between two comments, which
//! no forge shows. A third one seals it: it tells what the block was made from, which title we gave last, and what the
//! block said, so that what people changed is told from what we wrote.

use std::ops::Range;

use super::Content;
use crate::model::Digest;

const BEGIN: &str = "<!-- towpath:begin";
const END: &str = "<!-- towpath:end -->";
const SEAL: &str = "<!-- towpath:of ";

/// A title and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The title.
    pub title: String,
    /// The body.
    pub body: String,
}

/// What our block in a body was made from, if it is as we wrote it; `None`: it is not, or there is none.
pub fn says(body: &str) -> Option<Digest> {
    let body = plain(body);
    let (seal, text) = opened(&body[block(&body)?])?;
    (seal.text == mark(&text)).then(|| seal.facts.parse().ok())?
}

/// What the request's text is to be: our block in place of the former one, else above people's words. A title
/// that a person wrote stays as long as ours would not change.
pub fn merged(now: &Text, content: &Content) -> Text {
    let body = plain(&now.body);
    let ours = sealed(content);
    let before = block(&body);
    let given = before
        .clone()
        .and_then(|block| Some(opened(&body[block])?.0.title));
    // Ours would be what it was, so whatever stands there now is to stay.
    let stays = given == Some(mark(&content.title));
    let title = match stays {
        true => now.title.clone(),
        false => content.title.clone(),
    };
    let body = match before {
        Some(block) => format!("{}{ours}{}", &body[..block.start], &body[block.end..]),
        None if body.trim().is_empty() => ours,
        None => format!("{ours}\n\n{}", body.trim_start()),
    };
    Text { title, body }
}

/// What the third comment tells.
struct Seal {
    facts: String,
    title: String,
    text: String,
}

/// The block with its seal, in its second line.
fn sealed(content: &Content) -> String {
    let block = plain(&content.block);
    let block = block.trim_end();
    let (first, rest) = block.split_once('\n').unwrap_or((block, ""));
    let (title, text) = (mark(&content.title), mark(&format!("{first}\n{rest}")));
    format!(
        "{first}\n{SEAL}{} {title} {text} -->\n{rest}",
        content.facts
    )
}

/// The seal of a block, and the block without it.
fn opened(block: &str) -> Option<(Seal, String)> {
    let (first, rest) = block.split_once('\n')?;
    let (line, rest) = rest.split_once('\n')?;
    let mut told = line.strip_prefix(SEAL)?.strip_suffix(" -->")?.split(' ');
    let mut next = || told.next().map(str::to_owned);
    let seal = Seal {
        facts: next()?,
        title: next()?,
        text: next()?,
    };
    Some((seal, format!("{first}\n{rest}")))
}

fn block(body: &str) -> Option<Range<usize>> {
    let begins = |at: &usize| *at == 0 || body[..*at].ends_with('\n');
    let begin = body.match_indices(BEGIN).map(|(at, _)| at).find(begins)?;
    let end = body[begin..].find(END)?;
    Some(begin..begin + end + END.len())
}

/// Forges' own editors end lines in their way. No return of the carriage is left: what is read again is the same.
fn plain(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// What stands for a text.
fn mark(text: &str) -> String {
    Digest::of(text.trim().as_bytes()).short()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(title: &str, words: &str) -> Content {
        Content {
            title: title.to_owned(),
            block: format!("{BEGIN} production/shop -->\n\n{words}\n\n{END}"),
            facts: facts(words),
        }
    }

    fn facts(words: &str) -> Digest {
        Digest::of(words.as_bytes())
    }

    fn text(title: &str, body: &str) -> Text {
        Text {
            title: title.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_what_is_read_and_is_written_once() {
        let content = content("shop v1", "words");
        let written = merged(&text("", ""), &content);
        assert_eq!(written.title, "shop v1");
        assert_eq!(says(&written.body), Some(facts("words")));
        let by_editor = written.body.replace('\n', "\r\n");
        assert_eq!(says(&by_editor), Some(facts("words")));
        assert_eq!(merged(&written, &content), written);
        assert_eq!(says("no block"), None);
        assert_eq!(says(&format!("{BEGIN} never ends -->")), None);
    }

    #[test]
    fn peoples_words_stay_where_they_are() {
        let one = merged(&text("", ""), &content("shop v1", "one"));
        let mut edited = one.clone();
        edited.body = format!("Mind the\r\nqueue.\r\n\r\n{}\r\n\r\nLater.", one.body);
        edited.title = "Look: shop v1".to_owned();
        let again = merged(&edited, &content("shop v1", "other"));
        assert_eq!(
            again.title, "Look: shop v1",
            "their title stays with the release"
        );
        assert!(again.body.starts_with("Mind the\nqueue.\n\n<!--"));
        assert!(again.body.ends_with("-->\n\nLater."));
        assert_eq!(says(&again.body), Some(facts("other")));
        let newer = merged(&again, &content("shop v2", "other"));
        assert_eq!(newer.title, "shop v2", "a newer release has its own title");
        let without = merged(&text("t", "\nJust words."), &content("shop v1", "one"));
        assert!(without.body.ends_with("-->\n\nJust words."));
    }

    #[test]
    fn a_changed_block_says_something_else() {
        let content = content("shop v1", "one");
        let written = merged(&text("", ""), &content);
        let scribbled = written.body.replace("one", "none");
        assert_eq!(says(&scribbled), None);
        let mended = merged(&text("shop v1", &scribbled), &content);
        assert_eq!(mended, written);
    }
}
