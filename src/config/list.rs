//! Forms made of other forms: lists, and tables whose keys are names of their own.

use serde_json::{Map, Value as Json, json};

use super::form::{At, Form, Reading, Text, merge, misformed};
use super::yaml::{Node, Value};

/// Another form's value as something else.
pub(super) struct Mapped<F: Form, T> {
    pub(super) form: F,
    pub(super) into: fn(F::Value) -> T,
}

impl<F: Form, T> Form for Mapped<F, T> {
    type Value = T;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<T> {
        self.form.read(node, reading).map(self.into)
    }

    fn schema(&self) -> Json {
        self.form.schema()
    }

    fn wanted(&self) -> String {
        self.form.wanted()
    }

    fn sample(&self) -> String {
        self.form.sample()
    }

    fn is_leaf(&self) -> bool {
        self.form.is_leaf()
    }
}

/// A list. Its items keep their places.
pub(super) struct List<F> {
    pub(super) item: F,
    /// Whether it may be empty.
    pub(super) empty: bool,
    /// Whether one value may stand for a list of it alone.
    pub(super) alone: bool,
}

/// A list of at least one.
pub(super) fn list<F: Form>(item: F) -> List<F> {
    List {
        item,
        empty: false,
        alone: false,
    }
}

/// A list that may be empty.
pub(super) fn any_list<F: Form>(item: F) -> List<F> {
    List {
        empty: true,
        ..list(item)
    }
}

impl<F: Form> Form for List<F> {
    type Value = Vec<At<F::Value>>;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<Self::Value> {
        let items = match &node.value {
            Value::List(items) if items.is_empty() && !self.empty => {
                let name = reading.path.last().map_or("", String::as_str);
                let what = format!("`{name}` is an empty list");
                let instead = format!("write `{name}: {}`", self.sample());
                reading.problems.error(&node.place, what, instead);
                return None;
            }
            Value::List(items) => items.as_slice(),
            Value::Text(_) if self.alone => std::slice::from_ref(node),
            _ => {
                misformed(self, node, reading);
                return None;
            }
        };
        let before = reading.problems.errors();
        let name = reading.path.pop().unwrap_or_default();
        let values = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| {
                let key = format!("{name}[{index}]");
                // Leaves were noted as a list already.
                let value = match self.is_leaf() {
                    true => {
                        reading.path.push(key);
                        let value = self.item.read(item, reading);
                        reading.path.pop();
                        value
                    }
                    false => reading.within(key, item, true, &self.item),
                }?;
                let place = item.place.clone();
                Some(At { place, value })
            })
            .collect();
        reading.path.push(name);
        // Short values say something together, so one that lacks is missed; sections stand alone.
        (reading.problems.errors() == before || !self.is_leaf()).then_some(values)
    }

    fn schema(&self) -> Json {
        let mut schema = json!({ "type": "array", "items": self.item.schema() });
        if !self.empty {
            merge(&mut schema, json!({ "minItems": 1 }));
        }
        match self.alone {
            true => json!({ "oneOf": [schema, self.item.schema()] }),
            false => schema,
        }
    }

    fn wanted(&self) -> String {
        match self.alone {
            true => format!("{}, or a list", self.item.wanted()),
            false => "a list".to_owned(),
        }
    }

    fn sample(&self) -> String {
        format!("[{}]", self.item.sample())
    }

    fn is_leaf(&self) -> bool {
        self.item.is_leaf()
    }
}

/// A mapping whose keys are names of their own.
pub(super) struct Table<K, F> {
    pub(super) key: Text<K>,
    pub(super) value: F,
}

impl<K, F: Form> Form for Table<K, F> {
    type Value = Vec<(At<K>, F::Value)>;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<Self::Value> {
        let Value::Map(entries) = &node.value else {
            misformed(self, node, reading);
            return None;
        };
        let mut table = Vec::new();
        for entry in entries {
            let key = (self.key.parse)(&entry.key);
            let value = reading.within(entry.key.clone(), &entry.value, true, &self.value);
            match (key, value) {
                (Ok(key), Some(value)) => {
                    let place = entry.key_place.clone();
                    table.push((At { place, value: key }, value));
                }
                (Err(wrong), _) => {
                    reading
                        .problems
                        .error(&entry.key_place, wrong.what, wrong.instead);
                }
                (Ok(_), None) => {}
            }
        }
        Some(table)
    }

    fn schema(&self) -> Json {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("propertyNames".to_owned(), self.key.schema());
        schema.insert("additionalProperties".to_owned(), self.value.schema());
        Json::Object(schema)
    }

    fn wanted(&self) -> String {
        "a mapping".to_owned()
    }

    fn sample(&self) -> String {
        format!("{{ {}: {} }}", self.key.sample, self.value.sample())
    }

    fn is_leaf(&self) -> bool {
        false
    }
}
