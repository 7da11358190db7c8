//! What is ours in the text of a request, and what is people's: our block stands between two comments, which
//! no forge shows. A third one tells which title we gave it last, so that a person's title is told from ours.

use std::ops::Range;

use super::Content;
use crate::model::Digest;

const BEGIN: &str = "<!-- towpath:begin";
const END: &str = "<!-- towpath:end -->";
const TITLE: &str = "<!-- towpath:title ";

/// A title and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The title.
    pub title: String,
    /// The body.
    pub body: String,
}

/// What a content says, to be compared with [`says`].
pub fn fingerprint(content: &Content) -> Digest {
    Digest::of(sealed(content).as_bytes())
}

/// What our block in a body says; `None`: there is none.
pub fn says(body: &str) -> Option<Digest> {
    let body = plain(body);
    let block = block(&body)?;
    Some(Digest::of(body[block].trim_end().as_bytes()))
}

/// What the request's text is to be: our block in place of the former one, else above people's words. A title
/// that a person wrote stays as long as ours would not change.
pub fn merged(now: &Text, content: &Content) -> Text {
    let body = plain(&now.body);
    let ours = sealed(content);
    let before = block(&body);
    let given = before.clone().and_then(|block| given_title(&body[block]));
    // Ours would be what it was, so whatever stands there now is to stay.
    let stays = given == Some(mark(&content.title).as_str());
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

/// The block with the mark of its title.
fn sealed(content: &Content) -> String {
    let block = plain(&content.block);
    let (first, rest) = block.trim_end().split_once('\n').unwrap_or((&block, ""));
    let title = mark(&content.title);
    format!("{first}\n{TITLE}{title} -->\n{rest}")
}

fn given_title(block: &str) -> Option<&str> {
    let line = block.lines().find_map(|line| line.strip_prefix(TITLE))?;
    line.strip_suffix(" -->")
}

fn block(body: &str) -> Option<Range<usize>> {
    let begins = |at: &usize| *at == 0 || body[..*at].ends_with('\n');
    let begin = body.match_indices(BEGIN).map(|(at, _)| at).find(begins)?;
    let end = body[begin..].find(END)?;
    Some(begin..begin + end + END.len())
}

/// Forges' own editors end lines in their way.
fn plain(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// What stands for a title.
fn mark(title: &str) -> String {
    Digest::of(title.trim().as_bytes()).short()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(title: &str, words: &str) -> Content {
        Content {
            title: title.to_owned(),
            block: format!("{BEGIN} production/shop -->\n\n{words}\n\n{END}"),
        }
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
        assert_eq!(says(&written.body), Some(fingerprint(&content)));
        let by_editor = written.body.replace('\n', "\r\n");
        assert_eq!(says(&by_editor), Some(fingerprint(&content)));
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
        assert_eq!(
            says(&again.body),
            Some(fingerprint(&content("shop v1", "other")))
        );
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
        assert_ne!(says(&scribbled), Some(fingerprint(&content)));
        let mended = merged(&text("shop v1", &scribbled), &content);
        assert_eq!(mended, written);
    }
}
