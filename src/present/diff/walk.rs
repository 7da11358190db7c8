//! Two values side by side: the lines of both, and the fields that differ.

use std::ops::Range;
use std::rc::Rc;

use serde_json::{Map, Value};
use similar::DiffOp;

use super::FieldDiff;
use super::align::align;
use super::lines::{Line, Placed, Sign};
use super::text;

/// What elements of Kubernetes' lists are told apart by, where it is unique in the list: the single
/// keys among `x-kubernetes-list-map-keys`, and those that people go by.
const LIST_KEYS: [&str; 6] = ["name", "mountPath", "containerPort", "port", "key", "host"];

/// What a walk found.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) lines: Vec<Placed>,
    pub(super) fields: Vec<FieldDiff>,
}

/// Two versions of an object side by side. Of one that is created, its lines; of one that is deleted,
/// nothing.
pub(super) fn walk(before: Option<&Value>, after: Option<&Value>) -> Walk {
    let mut walk = Walk::default();
    let root: Rc<str> = "".into();
    match (before, after) {
        (Some(before), Some(after)) => walk.compare(At::top(&root), before, after),
        (None, Some(after)) => walk.whole(At::top(&root), Sign::Added, after),
        (_, None) => {}
    }
    walk
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct At<'a> {
    /// Its path.
    path: &'a Rc<str>,
    /// The path of what it stands in.
    within: &'a Rc<str>,
    /// Its key in the map it stands in.
    key: Option<&'a str>,
    indent: usize,
}

impl<'a> At<'a> {
    fn top(root: &'a Rc<str>) -> Self {
        Self {
            path: root,
            within: root,
            key: None,
            indent: 0,
        }
    }

    /// What stands before the value in its line.
    fn prefix(&self) -> String {
        let key = self.key.map(|key| format!("{}:", text::key(key)));
        format!("{:1$}{2}", "", self.indent, key.unwrap_or_default())
    }

    /// What stands before a value that follows in the same line.
    fn prefix_inline(&self) -> String {
        let space = if self.key.is_some() { " " } else { "" };
        format!("{}{space}", self.prefix())
    }

    /// Where the entries of a map begin.
    fn below(&self) -> usize {
        self.indent + if self.key.is_some() { 2 } else { 0 }
    }
}

impl Walk {
    fn compare(&mut self, at: At<'_>, before: &Value, after: &Value) {
        match (before, after) {
            _ if before == after => self.whole(at, Sign::Same, after),
            (Value::Object(before), Value::Object(after))
                if !before.is_empty() && !after.is_empty() =>
            {
                self.heading(at);
                self.maps(at, before, after);
            }
            (Value::Array(before), Value::Array(after))
                if !before.is_empty() && !after.is_empty() =>
            {
                self.heading(at);
                self.lists(at, before, after);
            }
            (Value::String(before), Value::String(after)) => self.texts(at, before, after),
            _ => self.replace(at, before, after),
        }
    }

    fn maps(&mut self, at: At<'_>, before: &Map<String, Value>, after: &Map<String, Value>) {
        let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
        keys.sort_unstable_by_key(|key| rank(key));
        keys.dedup();
        for key in keys {
            let path = entry(at.path, key);
            let at = At {
                path: &path,
                within: at.path,
                key: Some(key),
                indent: at.below(),
            };
            match (before.get(key), after.get(key)) {
                (Some(before), Some(after)) => self.compare(at, before, after),
                (before, after) => self.one_sided(at, before, after),
            }
        }
    }

    fn lists(&mut self, at: At<'_>, before: &[Value], after: &[Value]) {
        match (Named::of(before), Named::of(after)) {
            (Some(before), Some(after)) if before.by == after.by => {
                self.named_lists(at, &before, &after);
            }
            _ => self.plain_lists(at, before, after),
        }
    }

    fn named_lists(&mut self, at: At<'_>, before: &Named<'_>, after: &Named<'_>) {
        let path = |name: &str| -> Rc<str> {
            format!("{}/[{}={}]", at.path, before.by, pointer(name)).into()
        };
        for operation in align(&before.names, &after.names) {
            let (olds, news) = (operation.old_range(), operation.new_range());
            if let DiffOp::Equal { .. } = operation {
                for ((name, before), (_, after)) in before.range(olds).zip(after.range(news)) {
                    self.item(at, &path(name), |walk, at| walk.compare(at, before, after));
                }
                continue;
            }
            for (name, before) in before.range(olds) {
                self.item(at, &path(name), |walk, at| {
                    walk.one_sided(at, Some(before), None);
                });
            }
            for (name, after) in after.range(news) {
                self.item(at, &path(name), |walk, at| {
                    walk.one_sided(at, None, Some(after));
                });
            }
        }
    }

    /// Lists whose elements have no names: those that are equal are the same.
    fn plain_lists(&mut self, at: At<'_>, before: &[Value], after: &[Value]) {
        let operations = align(
            &before.iter().collect::<Vec<_>>(),
            &after.iter().collect::<Vec<_>>(),
        );
        let one_for_one = before.len() == after.len()
            && operations.iter().all(|operation| match operation {
                DiffOp::Equal { .. } => true,
                DiffOp::Replace {
                    old_len, new_len, ..
                } => old_len == new_len,
                _ => false,
            });
        if one_for_one {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                let path: Rc<str> = format!("{}/{index}", at.path).into();
                self.item(at, &path, |walk, at| walk.compare(at, before, after));
            }
            return;
        }
        for operation in operations {
            let (olds, news) = (operation.old_range(), operation.new_range());
            let same = matches!(operation, DiffOp::Equal { .. });
            let (old_sign, news) = match same {
                true => (Sign::Same, 0..0),
                false => (Sign::Removed, news),
            };
            for value in before.get(olds).into_iter().flatten() {
                self.item(at, at.path, |walk, at| walk.whole(at, old_sign, value));
            }
            for value in after.get(news).into_iter().flatten() {
                self.item(at, at.path, |walk, at| walk.whole(at, Sign::Added, value));
            }
        }
        self.fields.push(FieldDiff {
            path: at.path.to_string(),
            before: Some(Value::Array(before.to_vec())),
            after: Some(Value::Array(after.to_vec())),
        });
    }

    /// An element of a list: written like any value, then led in by a dash in both versions.
    fn item(&mut self, list: At<'_>, path: &Rc<str>, write: impl FnOnce(&mut Self, At<'_>)) {
        let first = self.lines.len();
        let at = At {
            path,
            within: path,
            key: None,
            indent: list.indent + 2,
        };
        write(self, at);
        for missing in [Sign::Added, Sign::Removed] {
            let line = self.lines[first..]
                .iter_mut()
                .find(|placed| placed.line.sign != missing);
            if let Some(placed) = line {
                let dash = list.indent..list.indent + 2;
                placed.line.text.replace_range(dash, "- ");
            }
        }
    }

    fn texts(&mut self, at: At<'_>, before: &str, after: &str) {
        let blocks = text::block(before).zip(text::block(after));
        let Some(((old_form, old), (new_form, new))) = blocks else {
            let both = [before, after].map(Value::from);
            let [before_value, after_value] = &both;
            if text::inline(before_value).is_none() || text::inline(after_value).is_none() {
                return self.replace(at, before_value, after_value);
            }
            let differs_at = text::common(before, after);
            let shown =
                |text: &str| format!("{}{}", at.prefix_inline(), text::scalar(text, differs_at));
            self.line(at.within, Sign::Removed, shown(before));
            self.line(at.within, Sign::Added, shown(after));
            return self.field(at, Some(before_value), Some(after_value));
        };
        let heading = |form: &str| format!("{}{form}", at.prefix_inline());
        if old_form == new_form {
            self.line(at.within, Sign::Same, heading(old_form));
        } else {
            self.line(at.within, Sign::Removed, heading(old_form));
            self.line(at.within, Sign::Added, heading(new_form));
        }
        for operation in align(&old, &new) {
            let (olds, news) = (operation.old_range(), operation.new_range());
            let (sign, news) = match operation {
                DiffOp::Equal { .. } => (Sign::Same, 0..0),
                _ => (Sign::Removed, news),
            };
            for line in old.get(olds).into_iter().flatten() {
                self.line(at.path, sign, indented(at.below(), line));
            }
            for line in new.get(news).into_iter().flatten() {
                self.line(at.path, Sign::Added, indented(at.below(), line));
            }
        }
        self.field(at, Some(&before.into()), Some(&after.into()));
    }

    fn replace(&mut self, at: At<'_>, before: &Value, after: &Value) {
        self.whole(at, Sign::Removed, before);
        self.whole(at, Sign::Added, after);
        self.field(at, Some(before), Some(after));
    }

    fn one_sided(&mut self, at: At<'_>, before: Option<&Value>, after: Option<&Value>) {
        if let Some(before) = before {
            self.whole(at, Sign::Removed, before);
        }
        if let Some(after) = after {
            self.whole(at, Sign::Added, after);
        }
        self.field(at, before, after);
    }

    /// All lines of a value.
    fn whole(&mut self, at: At<'_>, sign: Sign, value: &Value) {
        if let Some(inline) = text::inline(value) {
            return self.line(at.within, sign, format!("{}{inline}", at.prefix_inline()));
        }
        match value {
            Value::Object(map) => {
                if at.key.is_some() {
                    self.line(at.within, sign, at.prefix());
                }
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| rank(key));
                for (key, value) in entries {
                    let path = entry(at.path, key);
                    let at = At {
                        path: &path,
                        within: at.path,
                        key: Some(key),
                        indent: at.below(),
                    };
                    self.whole(at, sign, value);
                }
            }
            Value::Array(list) => {
                if at.key.is_some() {
                    self.line(at.within, sign, at.prefix());
                }
                for value in list {
                    self.item(at, at.path, |walk, at| walk.whole(at, sign, value));
                }
            }
            Value::String(text) => {
                let (form, lines) = text::block(text).unwrap_or_default();
                self.line(at.within, sign, format!("{}{form}", at.prefix_inline()));
                for line in lines {
                    self.line(at.path, sign, indented(at.below(), line));
                }
            }
            _ => {}
        }
    }

    /// The line that leads a map or list in, the same in both versions.
    fn heading(&mut self, at: At<'_>) {
        if at.key.is_some() {
            self.line(at.within, Sign::Same, at.prefix());
        }
    }

    fn line(&mut self, within: &Rc<str>, sign: Sign, text: String) {
        self.lines.push(Placed {
            line: Line { sign, text },
            within: within.clone(),
        });
    }

    fn field(&mut self, at: At<'_>, before: Option<&Value>, after: Option<&Value>) {
        self.fields.push(FieldDiff {
            path: at.path.to_string(),
            before: before.cloned(),
            after: after.cloned(),
        });
    }
}

/// A list whose elements have names of their own.
struct Named<'a> {
    /// The key that names them.
    by: &'static str,
    names: Vec<String>,
    list: &'a [Value],
}

impl<'a> Named<'a> {
    fn of(list: &'a [Value]) -> Option<Self> {
        let by = |by: &'static str| {
            let name = |value: &Value| match value.get(by)? {
                Value::String(name) => Some(name.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let names: Vec<String> = list.iter().map(name).collect::<Option<_>>()?;
            let mut sorted: Vec<&String> = names.iter().collect();
            sorted.sort_unstable();
            let unique = !sorted.array_windows().any(|[a, b]| a == b);
            unique.then_some(Self { by, names, list })
        };
        LIST_KEYS.into_iter().find_map(by)
    }

    fn range(&self, range: Range<usize>) -> impl Iterator<Item = (&str, &'a Value)> {
        let elements = self.names.iter().map(String::as_str).zip(self.list);
        elements.skip(range.start).take(range.len())
    }
}

/// What an object is comes first, the rest by name.
fn rank(key: &str) -> (usize, &str) {
    let first = ["apiVersion", "kind", "metadata", "name"];
    let place = first.iter().position(|it| *it == key);
    (place.unwrap_or(first.len()), key)
}

fn entry(path: &str, key: &str) -> Rc<str> {
    format!("{path}/{}", pointer(key)).into()
}

/// A part of a JSON pointer (RFC 6901, section 3).
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn indented(indent: usize, line: &str) -> String {
    match line.is_empty() {
        true => String::new(),
        false => format!("{:indent$}{line}", ""),
    }
}
