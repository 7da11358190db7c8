//! One YAML text → its documents as JSON values, and where the scalars of interest stand.
//!
//! Owns the reading of bytes: limits, duplicate keys, aliases, merge keys, tags. Knows nothing of
//! Kubernetes. The events and their byte ranges come from `granit-parser`; nothing is ever written
//! back from the values.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

use super::error::{ManifestError, Place, Problem};
use super::{limits, reader, resolve};

/// One document, not empty.
pub(super) struct RawDocument {
    /// Its number in the file, from 0; empty documents are not counted.
    pub(super) index: usize,
    /// Where its first value stands.
    pub(super) place: Place,
    /// The values, aliases and merge keys expanded.
    pub(super) value: Value,
    /// The scalars under a wanted key that are written out, by JSON pointer.
    pub(super) scalars: BTreeMap<String, WrittenScalar>,
    /// Where an alias or a merge key brings in values from elsewhere, by JSON pointer.
    pub(super) borrowed: BTreeMap<String, Borrowed>,
    /// The anchors that an alias repeats.
    pub(super) repeated: BTreeSet<usize>,
    /// Where the entries of a top-level `items` list begin.
    pub(super) items: Vec<Place>,
}

/// A scalar as it is written.
pub(super) struct WrittenScalar {
    /// Its bytes, quotes included.
    pub(super) range: Range<usize>,
    pub(super) style: ScalarStyle,
    pub(super) place: Place,
    /// The anchors on it and on what encloses it.
    pub(super) anchors: Vec<usize>,
}

/// A place whose values are written elsewhere.
pub(super) struct Borrowed {
    pub(super) place: Place,
    pub(super) merge: bool,
}

/// Checks size and encoding.
pub(super) fn text<'a>(file: &Arc<str>, bytes: &'a [u8]) -> Result<&'a str, ManifestError> {
    let at = |line, column| Place {
        file: Arc::clone(file),
        line,
        column,
    };
    if bytes.len() > limits::FILE_BYTES {
        return Err(at(1, 1).error(Problem::TooLarge));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = good.iter().filter(|&&byte| byte == b'\n').count();
        at(number(line + 1), 1).error(Problem::NotUtf8)
    })
}

/// Reads every document of `text`. `wanted` names the keys whose scalars (directly, or as entries of
/// a list) are located.
pub(super) fn read(
    file: &Arc<str>,
    text: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<RawDocument>, ManifestError> {
    reader::read(file, text, wanted)
}

/// The events of a text, without comments.
pub(super) fn events(text: &str) -> Parser<'_, granit_parser::StrInput<'_>> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: limits::DEPTH,
        block_nesting_limit: limits::DEPTH,
    };
    options.set_emit_comments(false);
    Parser::new_from_str_with_options(text, options)
}

/// Appends one token of a JSON pointer.
pub(super) fn push_escaped(pointer: &mut String, token: &str) {
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

pub(super) fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, Problem> {
    let unreadable = || Problem::Number(text.to_owned());
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => resolve::plain(text).ok_or_else(unreadable),
            _ => Ok(text.into()),
        };
    };
    let fits: fn(&Value) -> bool = match tag.core_suffix() {
        Some("str") => return Ok(text.into()),
        Some("int") => |value| value.is_i64() || value.is_u64(),
        Some("float") => Value::is_number,
        Some("bool") => Value::is_boolean,
        Some("null") => Value::is_null,
        // `!` alone says: text, whatever it looks like.
        _ if tag.handle().is_empty() && tag.suffix() == "!" => return Ok(text.into()),
        _ if tag.handle() == "!" && tag.suffix().is_empty() => return Ok(text.into()),
        _ => return Err(Problem::Tag(tag_text(tag))),
    };
    let value = resolve::plain(text).ok_or_else(unreadable)?;
    match fits(&value) {
        true => Ok(value),
        false => Err(Problem::Tag(tag_text(tag))),
    }
}

pub(super) fn check_tag(tag: Option<&Tag>, expected: &str) -> Result<(), Problem> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(expected) => Err(Problem::Tag(tag_text(tag))),
        _ => Ok(()),
    }
}

fn tag_text(tag: &Tag) -> String {
    format!("{}{}", tag.original_handle(), tag.suffix())
}

pub(super) fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A block scalar whose last line ends with the text instead of a line break has no line break
/// there, as every other reader sees it; this one adds one.
pub(super) fn as_ended<'v>(value: &'v str, style: ScalarStyle, span: &Span, text: &str) -> &'v str {
    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
    let last = span
        .byte_range()
        .is_some_and(|range| range.end == text.len());
    let Some(without) = value.strip_suffix('\n').filter(|_| block && last) else {
        return value;
    };
    let line_end = ['\n', '\r'];
    let written = text.rsplit(line_end).next().unwrap_or_default();
    let read = without.rsplit(line_end).next().unwrap_or_default();
    let spaces_only = !read.is_empty() && read.trim().is_empty();
    match !written.trim().is_empty() || (!written.is_empty() && spaces_only) {
        true => without,
        false => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize as _;

    /// Texts in which readers are known to differ, held against the second reader.
    #[test]
    fn block_scalars_at_the_end_have_the_line_breaks_that_are_there() {
        for text in [
            "a: |\n  text",
            "a: |\n  text\n",
            "a: |\n  text\n  ",
            "a: |\n  text\n    ",
            "a: |+\n  text",
            "a: |+\n  text\n  ",
            "a: |+\n  text\n    ",
            "a: |+\n  text\n\n",
            "a: |-\n  text",
            "a: >\n  x\n  text",
            "a: |\n  text  ",
            "a: |\n  text\n# c",
            "a: |\r\n  text",
            "a: |\r\n  text\r\n",
            "- |\n x",
            "a: |",
            "a: |+\n\n",
        ] {
            let documents = read(&"x.yaml".into(), text, &|_| false).unwrap();
            let values: Vec<_> = documents
                .into_iter()
                .map(|document| document.value)
                .collect();
            let second = serde_yaml::Value::deserialize(serde_yaml::Deserializer::from_str(text));
            assert_eq!(
                values,
                [serde_json::to_value(second.unwrap()).unwrap()],
                "{text:?}"
            );
        }
    }
}
