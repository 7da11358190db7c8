//! YAML text into nodes that know their place.
//!
//! Takes the part of YAML that configuration needs: one document of mappings, lists and scalars.
//! Anchors, aliases, merge keys, tags and several documents are refused by name, so that what a
//! reader sees is what is meant. Never guesses the type of a scalar: who asks for it knows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::problem::{Place, Problems, quote};

/// The deepest nesting that is read; configuration itself needs six levels.
const DEEPEST: usize = 32;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What stands there.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Nothing,
    /// What was already reported; whoever reads it says no more.
    Refused,
    /// A scalar, unescaped.
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Node,
}

impl Node {
    /// What kind of value it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Nothing | Value::Refused => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The value in YAML's one-line form, for people.
    pub(super) fn one_line(&self) -> String {
        match &self.value {
            Value::Nothing | Value::Refused => "~".to_owned(),
            Value::Text(text) => text.clone(),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(Node::one_line).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|entry| format!("{}: {}", entry.key, entry.value.one_line()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

/// Reads one file. What is wrong goes to `problems`; `None` where the text cannot be read to its end.
pub(super) fn parse(file: &Arc<Path>, bytes: &[u8], problems: &mut Problems) -> Option<Node> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let place = end_of(file, &bytes[..error.valid_up_to()]);
            problems.error(&place, "this is not UTF-8", "save the file as UTF-8");
            return None;
        }
    };
    let mut builder = Builder {
        file,
        problems,
        open: Vec::new(),
        root: None,
        documents: 0,
    };
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take(event, span.start),
            Err(error) => {
                builder.refuse(&error);
                return None;
            }
        }
    }
    let root = builder.root.unwrap_or(Node {
        place: end_of(file, b""),
        value: Value::Nothing,
    });
    Some(root)
}

/// The place just after these bytes of a file.
fn end_of(file: &Arc<Path>, bytes: &[u8]) -> Place {
    let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    let last = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let column = String::from_utf8_lossy(last).chars().count() + 1;
    Place {
        file: file.clone(),
        position: Some((line, column)),
    }
}

struct Builder<'a> {
    file: &'a Arc<Path>,
    problems: &'a mut Problems,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

/// A collection whose end was not seen yet.
struct Open {
    place: Place,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashMap<String, Place>,
        /// The key whose value comes next; inside, `None` where the key was refused.
        key: Option<Option<(String, Place)>>,
    },
}

impl Builder<'_> {
    fn place(&self, marker: Marker) -> Place {
        Place {
            file: self.file.clone(),
            position: Some((marker.line(), marker.col() + 1)),
        }
    }

    fn refuse(&mut self, error: &ScanError) {
        let place = self.place(*error.marker());
        self.problems.error(
            &place,
            format!("this is not YAML: {}", error.info()),
            "values with special characters (such as `>=1.0.0`, `*`, `{`) stand in \"quotes\", lists and mappings are indented evenly",
        );
    }

    fn take(&mut self, event: Event<'_>, start: Marker) {
        let place = self.place(start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plain(&place, anchor, tag.is_some());
                self.add(place, scalar(&text, style));
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.plain(&place, anchor, tag.is_some());
                self.begin(place, Content::List(Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                self.plain(&place, anchor, tag.is_some());
                let content = Content::Map {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    key: None,
                };
                self.begin(place, content);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(_) => {
                self.problems.error(
                    &place,
                    "aliases (`*name`) are not read here",
                    "write the value itself",
                );
                self.add(place, Value::Refused);
            }
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.problems.error(
                        &place,
                        "a second document begins here",
                        "one file holds one document: remove the `---`",
                    );
                }
            }
            _ => {}
        }
    }

    /// Refuses anchors and tags.
    fn plain(&mut self, place: &Place, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.problems.error(
                place,
                "anchors (`&name`) are not read here",
                "remove the anchor and write the value at each place that needs it",
            );
        }
        if tagged {
            self.problems.error(
                place,
                "tags (`!name`) are not read here",
                "remove the tag, or put the value in \"quotes\" where it begins with `!`",
            );
        }
    }

    fn begin(&mut self, place: Place, content: Content) {
        self.open.push(Open { place, content });
    }

    fn end(&mut self) {
        // The parser closes only what it opened.
        let Some(open) = self.open.pop() else { return };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.add(open.place, value);
    }

    fn add(&mut self, place: Place, value: Value) {
        let node = Node { place, value };
        let Some(open) = self.open.last_mut() else {
            // Only the first document counts; a second one was reported when it began.
            self.root.get_or_insert(node);
            return;
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, seen, key } => match key.take() {
                None => *key = Some(self::key(node, self.problems)),
                Some(None) => {}
                Some(Some((name, key_place))) => {
                    if let Some(first) = seen.get(&name) {
                        duplicate(&name, &key_place, first, self.problems);
                        return;
                    }
                    seen.insert(name.clone(), key_place.clone());
                    entries.push(Entry {
                        key: name,
                        key_place,
                        value: node,
                    });
                }
            },
        }
    }
}

fn key(node: Node, problems: &mut Problems) -> Option<(String, Place)> {
    match node.value {
        Value::Text(text) if text == "<<" => {
            problems.error(
                &node.place,
                "merge keys (`<<`) are not read here",
                "write the keys themselves",
            );
            None
        }
        Value::Text(text) => Some((text, node.place)),
        Value::Refused => None,
        _ => {
            problems.error(
                &node.place,
                format!("a key is one word, not {}", node.kind()),
                "write `key: value`; a value with braces stands in \"quotes\"",
            );
            None
        }
    }
}

fn duplicate(name: &str, place: &Place, first: &Place, problems: &mut Problems) {
    let line = first.position.map_or(0, |(line, _)| line);
    problems.error(
        place,
        format!("{} stands here twice, first in line {line}", quote(name)),
        "keep one of them",
    );
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match (style, text) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Value::Nothing,
        _ => Value::Text(text.to_owned()),
    }
}
