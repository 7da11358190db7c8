//! The events of a YAML text → values. Owns the stack of open maps and lists, aliases, merge keys and
//! the limits; what a single scalar means is [`super::yaml`]'s and [`super::resolve`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Marker, ScalarStyle, Span};
use serde_json::{Map, Value};

use super::error::{ManifestError, Place, Problem};
use super::limits;
use super::yaml::{
    Borrowed, RawDocument, WrittenScalar, as_ended, check_tag, events, number, push_escaped, scalar,
};

/// Reads every document, see [`super::yaml::read`].
pub(super) fn read(
    file: &Arc<str>,
    text: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<RawDocument>, ManifestError> {
    let mut reader = Reader {
        text,
        file,
        wanted,
        documents: Vec::new(),
        frames: Vec::new(),
        anchors: BTreeMap::new(),
        nodes: 0,
        current: None,
    };
    for event in events(text) {
        let (event, span) = event.map_err(|error| {
            reader.place(error.marker()).error(match error.kind() {
                ErrorKind::RecursionLimitExceeded => Problem::TooDeep,
                _ => Problem::Syntax(error.info()),
            })
        })?;
        reader.event(event, span)?;
    }
    Ok(reader.documents)
}

struct Reader<'a> {
    text: &'a str,
    file: &'a Arc<str>,
    wanted: &'a dyn Fn(&str) -> bool,
    documents: Vec<RawDocument>,
    /// The maps and lists that are open, outermost first.
    frames: Vec<Frame>,
    /// The anchored values of this document that are complete.
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
    current: Option<RawDocument>,
}

struct Frame {
    node: Node,
    anchor: usize,
    nodes_before: usize,
    /// Levels below this one, this one included.
    depth: usize,
    place: Place,
}

enum Node {
    Map {
        entries: Map<String, Value>,
        key: Option<Key>,
        merged: Vec<(Value, Place)>,
    },
    List(Vec<Value>),
}

struct Key {
    text: String,
    /// An unquoted `<<`.
    merge: bool,
    place: Place,
}

struct Anchored {
    value: Value,
    nodes: usize,
    depth: usize,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), ManifestError> {
        let place = self.place(&span.start);
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::DocumentEnd => {
                self.documents
                    .extend(self.current.take().filter(|raw| !raw.value.is_null()));
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.open(&place)?;
                if self.take_key(&text, style, &place)? {
                    if anchor != 0 {
                        // An anchored key may be repeated by an alias, as any scalar may.
                        let value = Value::String(text.into_owned());
                        self.anchors.insert(
                            anchor,
                            Anchored {
                                value,
                                nodes: 1,
                                depth: 0,
                            },
                        );
                    }
                    return Ok(());
                }
                self.locate(style, anchor, &span, &place);
                let text = as_ended(&text, style, &span, self.text);
                let value =
                    scalar(text, style, tag.as_deref()).map_err(|problem| place.error(problem))?;
                if anchor != 0 {
                    let value = value.clone();
                    self.anchors.insert(
                        anchor,
                        Anchored {
                            value,
                            nodes: 1,
                            depth: 0,
                        },
                    );
                }
                self.put(value, 0, place)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(&place)?;
                check_tag(tag.as_deref(), "seq").map_err(|problem| place.error(problem))?;
                self.push(Node::List(Vec::new()), anchor, place)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(&place)?;
                check_tag(tag.as_deref(), "map").map_err(|problem| place.error(problem))?;
                let node = Node::Map {
                    entries: Map::new(),
                    key: None,
                    merged: Vec::new(),
                };
                self.push(node, anchor, place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => self.alias(anchor, place)?,
            _ => {}
        }
        Ok(())
    }

    /// Counts a value, and begins the document with its first one.
    fn open(&mut self, place: &Place) -> Result<(), ManifestError> {
        self.count(1, place)?;
        if self.current.is_none() {
            self.current = Some(RawDocument {
                index: self.documents.len(),
                place: place.clone(),
                value: Value::Null,
                scalars: BTreeMap::new(),
                borrowed: BTreeMap::new(),
                repeated: BTreeSet::new(),
                items: Vec::new(),
            });
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Result<(), ManifestError> {
        self.nodes = self.nodes.saturating_add(nodes);
        match self.nodes > limits::NODES {
            true => Err(place.error(Problem::TooMany)),
            false => Ok(()),
        }
    }

    /// Takes the scalar as a key where one is due.
    fn take_key(
        &mut self,
        text: &str,
        style: ScalarStyle,
        place: &Place,
    ) -> Result<bool, ManifestError> {
        let Some(Frame {
            node:
                Node::Map {
                    entries,
                    key: key @ None,
                    merged,
                },
            ..
        }) = self.frames.last_mut()
        else {
            return Ok(false);
        };
        let merge = style == ScalarStyle::Plain && text == "<<";
        let twice = if merge {
            !merged.is_empty()
        } else {
            entries.contains_key(text)
        };
        if twice {
            return Err(place.error(Problem::DuplicateKey(text.to_owned())));
        }
        *key = Some(Key {
            text: text.to_owned(),
            merge,
            place: place.clone(),
        });
        Ok(true)
    }

    fn push(&mut self, node: Node, anchor: usize, place: Place) -> Result<(), ManifestError> {
        self.refuse_key(&place)?;
        if self.frames.len() >= limits::DEPTH {
            return Err(place.error(Problem::TooDeep));
        }
        if let [
            Frame {
                node: Node::Map { key: Some(key), .. },
                ..
            },
            Frame {
                node: Node::List(_),
                ..
            },
        ] = self.frames.as_slice()
            && key.text == "items"
            && let Some(current) = &mut self.current
        {
            current.items.push(place.clone());
        }
        // The value itself was counted just now.
        let nodes_before = self.nodes - 1;
        self.frames.push(Frame {
            node,
            anchor,
            nodes_before,
            depth: 1,
            place,
        });
        Ok(())
    }

    /// A list, map or alias cannot stand where a key is due.
    fn refuse_key(&self, place: &Place) -> Result<(), ManifestError> {
        match self.frames.last() {
            Some(Frame {
                node: Node::Map { key: None, .. },
                ..
            }) => Err(place.error(Problem::KeyNotText)),
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), ManifestError> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let value = match frame.node {
            Node::List(entries) => Value::Array(entries),
            Node::Map {
                mut entries,
                merged,
                ..
            } => {
                for (value, place) in merged {
                    merge(&mut entries, value).map_err(|problem| place.error(problem))?;
                }
                Value::Object(entries)
            }
        };
        if frame.anchor != 0 {
            let nodes = self.nodes - frame.nodes_before;
            self.count(nodes, &frame.place)?;
            let value = value.clone();
            self.anchors.insert(
                frame.anchor,
                Anchored {
                    value,
                    nodes,
                    depth: frame.depth,
                },
            );
        }
        self.put(value, frame.depth, frame.place)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), ManifestError> {
        self.open(&place)?;
        self.refuse_key(&place)?;
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(place.error(Problem::SelfAlias));
        };
        let (nodes, depth) = (anchored.nodes, anchored.depth);
        if self.frames.len() + depth > limits::DEPTH {
            return Err(place.error(Problem::TooDeep));
        }
        self.count(nodes, &place)?;
        let value = self.anchors[&anchor].value.clone();
        let (pointer, merge) = self.pointer();
        if let Some(current) = &mut self.current {
            current.repeated.insert(anchor);
            if !merge {
                current.borrowed.insert(
                    pointer,
                    Borrowed {
                        place: place.clone(),
                        merge,
                    },
                );
            }
        }
        self.put(value, depth, place)
    }

    /// Puts a complete value where it belongs.
    fn put(&mut self, value: Value, depth: usize, place: Place) -> Result<(), ManifestError> {
        let merging = self.frames.last().is_some_and(
            |frame| matches!(&frame.node, Node::Map { key: Some(key), .. } if key.merge),
        );
        if merging {
            let (pointer, _) = self.pointer();
            if let Some(current) = &mut self.current {
                current.borrowed.entry(pointer).or_insert(Borrowed {
                    place: place.clone(),
                    merge: true,
                });
            }
        }
        let Some(frame) = self.frames.last_mut() else {
            if let Some(current) = &mut self.current {
                current.value = value;
            }
            return Ok(());
        };
        frame.depth = frame.depth.max(depth + 1);
        match &mut frame.node {
            Node::List(entries) => entries.push(value),
            Node::Map {
                entries,
                key,
                merged,
            } => match key.take() {
                Some(key) if key.merge => merged.push((value, key.place)),
                Some(key) => {
                    entries.insert(key.text, value);
                }
                None => return Err(place.error(Problem::KeyNotText)),
            },
        }
        Ok(())
    }

    /// Remembers where a scalar of interest stands.
    fn locate(&mut self, style: ScalarStyle, anchor: usize, span: &Span, place: &Place) {
        let key = self
            .frames
            .iter()
            .rev()
            .find_map(|frame| match &frame.node {
                Node::Map { key, .. } => Some(key.as_ref()),
                Node::List(_) => None,
            });
        if !key.flatten().is_some_and(|key| (self.wanted)(&key.text)) {
            return;
        }
        let (pointer, merge) = self.pointer();
        let (Some(range), false) = (span.byte_range(), merge) else {
            return;
        };
        let anchors = self.frames.iter().map(|frame| frame.anchor).chain([anchor]);
        let anchors = anchors.filter(|&anchor| anchor != 0).collect();
        if let Some(current) = &mut self.current {
            let scalar = WrittenScalar {
                range,
                style,
                place: place.clone(),
                anchors,
            };
            current.scalars.insert(pointer, scalar);
        }
    }

    /// The JSON pointer (RFC 6901) of the value being read, and whether it is the value of a merge
    /// key (or below one); then the pointer is that of the map which is merged into.
    fn pointer(&self) -> (String, bool) {
        let mut pointer = String::new();
        for frame in &self.frames {
            match &frame.node {
                Node::List(entries) => {
                    pointer.push('/');
                    pointer.push_str(&entries.len().to_string());
                }
                Node::Map { key: Some(key), .. } if key.merge => return (pointer, true),
                Node::Map { key, .. } => {
                    pointer.push('/');
                    push_escaped(&mut pointer, key.as_ref().map_or("", |key| &key.text));
                }
            }
        }
        (pointer, false)
    }

    fn place(&self, marker: &Marker) -> Place {
        Place {
            file: Arc::clone(self.file),
            line: number(marker.line().max(1)),
            column: number(marker.col() + 1),
        }
    }
}

/// Keys that stand in the map win over merged ones; earlier merged maps win over later ones
/// (<https://yaml.org/type/merge.html>).
fn merge(entries: &mut Map<String, Value>, value: Value) -> Result<(), Problem> {
    let maps = match value {
        Value::Array(maps) => maps,
        map => vec![map],
    };
    for map in maps {
        let Value::Object(map) = map else {
            return Err(Problem::MergeValue);
        };
        for (key, value) in map {
            if !entries.contains_key(&key) {
                entries.insert(key, value);
            }
        }
    }
    Ok(())
}
