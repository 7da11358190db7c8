//! Generated manifests: the generator knows where it put each image, which makes it an oracle that
//! shares nothing with the readers.

use std::ops::Range;

use proptest::prelude::*;
use serde::Deserialize as _;
use towpath::manifest;

use super::{cases, fields, fixtures, images};

/// A value beside an image.
#[derive(Debug, Clone)]
enum Filler {
    Scalar(&'static str),
    List(bool, Vec<Filler>),
    Map(bool, Vec<(&'static str, Filler)>),
    /// Lines of a block scalar, with its indicator.
    Block(&'static str, Vec<&'static str>),
}

/// Scalars that may stand anywhere, flow collections included.
const SCALARS: [&str; 22] = [
    "word",
    "two words",
    "1",
    "-7",
    "1.5",
    "true",
    "null",
    "~",
    "''",
    "\"\"",
    "'it''s'",
    "\"a \\\"b\\\" \\u00e9\"",
    "\"# no comment\"",
    "'image: registry.example.com/acme/web:v1'",
    "größe",
    "日本語",
    "🚢",
    "a:b",
    "a#b",
    "http://x/y?z=1",
    "!!str 12",
    "\"{{ not a template }}\"",
];
const KEYS: [&str; 8] = [
    "a",
    "\"b c\"",
    "'d'",
    "image-of",
    "größe",
    "\"#\"",
    "e.f/g",
    "\"\\u0041\"",
];
const BLOCK_LINES: [&str; 5] = [
    "text",
    "image: registry.example.com/acme/web:v1",
    "# no comment",
    "  indented",
    "--- x",
];
const COMMENTS: [&str; 5] = [
    "",
    "",
    " # note",
    "  # image: registry.example.com/acme/web:v1",
    " #",
];

/// How an image is written: before, after, whether it is one of ours, and what stands there.
#[derive(Debug, Clone)]
struct Image {
    anchored: bool,
    quote: &'static str,
    text: String,
    ours: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Container {
    flow: bool,
    before: Vec<(&'static str, Filler)>,
    image: Image,
    after: Vec<(&'static str, Filler)>,
    comment: &'static str,
}

#[derive(Debug, Clone)]
struct Document {
    marker: &'static str,
    containers: Vec<Container>,
}

#[derive(Debug, Clone)]
struct Stream {
    bom: bool,
    crlf: bool,
    final_newline: bool,
    documents: Vec<Document>,
}

fn filler() -> impl Strategy<Value = Filler> {
    let leaf = prop_oneof![
        4 => prop::sample::select(&SCALARS[..]).prop_map(Filler::Scalar),
        1 => (
            prop::sample::select(vec!["|", ">-", "|+", ">2", "|2-"]),
            prop::collection::vec(prop::sample::select(&BLOCK_LINES[..]), 1..4),
        ).prop_map(|(indicator, lines)| Filler::Block(indicator, lines)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (any::<bool>(), prop::collection::vec(inner.clone(), 0..3))
                .prop_map(|(flow, entries)| Filler::List(flow, entries)),
            (any::<bool>(), entries(inner)).prop_map(|(flow, entries)| Filler::Map(flow, entries)),
        ]
    })
}

fn entries(
    value: impl Strategy<Value = Filler>,
) -> impl Strategy<Value = Vec<(&'static str, Filler)>> {
    (
        prop::sample::subsequence(&KEYS[..], 0..4),
        prop::collection::vec(value, 4),
    )
        .prop_map(|(keys, values)| keys.into_iter().zip(values).collect())
}

fn image() -> impl Strategy<Value = Image> {
    let repository = prop::sample::select(vec![
        ("registry.example.com/acme/web", true),
        ("nginx", true),
        ("index.docker.io/library/nginx", true),
        ("127.0.0.1:5000/web", true),
        ("registry.example.com/acme/web-admin", false),
        ("acme/nginx", false),
    ]);
    let version = prop::sample::select(vec!["", ":v1", ":2024-01-02", ":v1@", "@", ":kept@"]);
    let quote = prop::sample::select(vec!["", "'", "\""]);
    (repository, version, quote, any::<bool>()).prop_map(
        |((repository, ours), version, quote, anchored)| {
            let right = version == ":kept@";
            let digest = match version.ends_with('@') {
                true => format!("sha256:{}", if right { "2" } else { "1" }.repeat(64)),
                false => String::new(),
            };
            let text = format!("{repository}{version}{digest}");
            Image {
                anchored,
                quote,
                text,
                ours: (ours && !right).then_some(repository),
            }
        },
    )
}

fn stream() -> impl Strategy<Value = Stream> {
    let container = (
        any::<bool>(),
        entries(filler()),
        image(),
        entries(filler()),
        prop::sample::select(&COMMENTS[..]),
    )
        .prop_map(|(flow, before, image, after, comment)| Container {
            flow,
            before,
            image,
            after,
            comment,
        });
    let marker = prop::sample::select(vec!["---", "--- # next", "...\n---", "---\n# only\n---"]);
    let document = (marker, prop::collection::vec(container, 1..4))
        .prop_map(|(marker, containers)| Document { marker, containers });
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(document, 1..4),
    )
        .prop_map(|(bom, crlf, final_newline, documents)| Stream {
            bom,
            crlf,
            final_newline,
            documents,
        })
}

/// A text in the making, and where its images of ours stand in it.
#[derive(Default)]
struct Writer {
    text: String,
    images: Vec<(Range<usize>, String)>,
    anchors: usize,
}

impl Writer {
    fn stream(mut self, stream: &Stream) -> (String, String) {
        for (index, document) in stream.documents.iter().enumerate() {
            // A stream cannot begin with the end of a document.
            let marker = if index == 0 { "---" } else { document.marker };
            self.line(marker);
            self.line(&format!(
                "apiVersion: v1\nkind: Pod # kind\nmetadata: {{name: p{index}}}"
            ));
            self.line("spec:\n  containers:");
            for container in &document.containers {
                self.container(container);
            }
        }
        if !stream.final_newline {
            // A block scalar may end the text; its last line break is content then.
            let keeps = self.text.ends_with("\n\n");
            self.text.truncate(self.text.len() - usize::from(!keeps));
        }
        let after = self.edited();
        let dress = |text: String| {
            let text = if stream.crlf {
                text.replace('\n', "\r\n")
            } else {
                text
            };
            if stream.bom {
                format!("\u{feff}{text}")
            } else {
                text
            }
        };
        (dress(self.text), dress(after))
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// The text as it should be after the edit.
    fn edited(&self) -> String {
        let mut text = self.text.clone();
        for (range, new) in self.images.iter().rev() {
            text.replace_range(range.clone(), new);
        }
        text
    }

    fn container(&mut self, container: &Container) {
        // A container's keys are told apart from its fillers' by a map of their own.
        if container.flow {
            self.text.push_str("    - {before: ");
            self.flow(&Filler::Map(true, container.before.clone()));
            self.text.push_str(", image: ");
            self.image(&container.image);
            self.text.push_str(" , after: ");
            self.flow(&Filler::Map(true, container.after.clone()));
            self.text.push('}');
            self.line(container.comment);
            return;
        }
        self.text.push_str("    - before:");
        self.block(&Filler::Map(false, container.before.clone()), 8);
        self.text.push_str("      image: ");
        self.image(&container.image);
        self.line(container.comment);
        self.text.push_str("      after:");
        self.block(&Filler::Map(false, container.after.clone()), 8);
    }

    fn image(&mut self, image: &Image) {
        if image.anchored {
            self.anchors += 1;
            self.text.push_str(&format!("&a{} ", self.anchors));
        }
        self.text.push_str(image.quote);
        let start = self.text.len();
        self.text.push_str(&image.text);
        if let Some(repository) = image.ours {
            let new = format!("{repository}:v2@sha256:{}", "2".repeat(64));
            self.images.push((start..self.text.len(), new));
        }
        self.text.push_str(image.quote);
    }

    fn flow(&mut self, filler: &Filler) {
        match filler {
            Filler::Scalar(text) => self.text.push_str(text),
            Filler::Block(..) => self.text.push_str("'no block in flow'"),
            Filler::List(_, entries) => {
                self.text.push('[');
                for entry in entries {
                    self.flow(entry);
                    self.text.push_str(", ");
                }
                self.text.push(']');
            }
            Filler::Map(_, entries) => {
                self.text.push_str("{ ");
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.text.push_str(if index > 0 { "," } else { "" });
                    self.text.push_str(&format!("{key}: "));
                    self.flow(value);
                }
                self.text.push('}');
            }
        }
    }

    /// Writes a value behind `key:` or `-`, up to and with its line break.
    fn block(&mut self, filler: &Filler, indent: usize) {
        let space = " ".repeat(indent);
        match filler {
            Filler::List(false, entries) if !entries.is_empty() => {
                self.text.push('\n');
                for entry in entries {
                    self.text.push_str(&format!("{space}-"));
                    self.block(entry, indent + 2);
                }
            }
            Filler::Map(false, entries) if !entries.is_empty() => {
                self.text.push('\n');
                for (key, value) in entries {
                    self.text
                        .push_str(&format!("{space}# about {key}\n{space}{key}:"));
                    self.block(value, indent + 2);
                }
            }
            Filler::Block(indicator, lines) => {
                // An explicit indentation is relative to the parent, which stands two to the left.
                self.line(&format!(" {indicator}"));
                for line in lines {
                    // A first line with more spaces would set the indentation.
                    self.line(&format!("{space}{}", line.trim_start()));
                }
            }
            flow => {
                self.text.push(' ');
                self.flow(flow);
                self.text.push_str("  # end\n");
            }
        }
    }
}

/// What `serde_yaml` makes of the documents.
fn second_opinion(text: &str) -> Vec<serde_json::Value> {
    serde_yaml::Deserializer::from_str(text.trim_start_matches('\u{feff}'))
        .map(|document| serde_yaml::Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .map(|document| serde_json::to_value(document).unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_changes_exactly_the_bytes_of_the_images(stream in stream()) {
        let (before, after) = Writer::default().stream(&stream);
        let file = manifest::parse("p.yaml", before.as_bytes(), &fields())
            .map_err(|error| TestCaseError::fail(format!("{error}\n{before}")))?;
        let values: Vec<_> = file.objects.iter().map(|object| object.value()).collect();
        prop_assert_eq!(&values, &second_opinion(&before));
        match manifest::set_image(&file, &images()) {
            Ok(None) => prop_assert_eq!(&before, &after),
            Ok(Some(edited)) => {
                prop_assert_eq!(&edited.text, &after);
                let again = manifest::parse("p.yaml", after.as_bytes(), &fields()).unwrap();
                prop_assert_eq!(manifest::set_image(&again, &images()), Ok(None));
            }
            Err(errors) => prop_assert!(false, "{errors:?}\n{before}"),
        }
    }

    #[test]
    fn random_text_never_panics(text in any::<Vec<u8>>(), yaml in "[-:{}\\[\\]&*!|>'\"%@`#, \\n\\r\\ta0~<?é\u{feff}]{0,60}") {
        read_all(&text);
        read_all(yaml.as_bytes());
    }

    #[test]
    fn mutated_manifests_never_panic(
        pick in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..20usize, any::<prop::sample::Index>(), 0..20usize), 1..5),
    ) {
        let seeds = seeds();
        let mut bytes = pick.get(seeds).clone();
        let donor = other.get(seeds);
        for (at, length, from, taken) in &cuts {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            let from = from.index(donor.len() + 1);
            let piece = donor[from..(from + taken).min(donor.len())].to_vec();
            bytes.splice(at..end, piece);
        }
        read_all(&bytes);
    }
}

/// The edit cases, but for the bombs, which take their time by design.
fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    SEEDS.get_or_init(|| {
        let mut cases = [cases(&fixtures("edit")), cases(&fixtures("images-yaml"))].concat();
        cases.retain(|path| !path.ends_with("alias-bomb.yaml"));
        cases
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect()
    })
}

/// Reads bytes as everything they could be; an edit that is made must read again.
fn read_all(bytes: &[u8]) {
    if let Ok(file) = manifest::parse("x.yaml", bytes, &fields())
        && let Ok(Some(edited)) = manifest::set_image(&file, &images())
    {
        let again = manifest::parse("x.yaml", edited.text.as_bytes(), &fields()).unwrap();
        assert_eq!(manifest::set_image(&again, &images()), Ok(None));
    }
    if let Ok(file) = manifest::parse_images("images.yaml", bytes)
        && let Ok(Some(edited)) = manifest::set_in_images_yaml(Some(&file), &images())
    {
        manifest::parse_images("images.yaml", edited.text.as_bytes()).unwrap();
    }
    // Whether it is a patch file or an error does not matter here.
    let _ = manifest::parse_patches("p.yaml", bytes).is_ok();
}
