//! Patch paths that name the element of a list by what stands in it:
//! `/spec/template/spec/containers/[name=web]/image`.
//!
//! A token `[key=value]` stands for the one element of a list whose `key` has this value. In a map it is
//! a key like any other. Escapes are those of a JSON pointer (RFC 6901): `~1` is `/`, `~0` is `~`; the
//! first `=` ends the key.

use json_patch::jsonptr::{Pointer, PointerBuf, Token};
use json_patch::{
    AddOperation, CopyOperation, MoveOperation, PatchOperation, RemoveOperation, ReplaceOperation,
    TestOperation,
};
use serde_json::Value;

/// The operation with every list element in its paths named by its index in `object`.
///
/// # Errors
/// Where a list has no such element, or several.
pub(super) fn resolve(
    operation: &PatchOperation,
    object: &Value,
) -> Result<PatchOperation, String> {
    let path = |pointer: &PointerBuf| by_index(pointer, object);
    Ok(match operation {
        PatchOperation::Add(AddOperation { path: at, value }) => {
            PatchOperation::Add(AddOperation {
                path: path(at)?,
                value: value.clone(),
            })
        }
        PatchOperation::Remove(RemoveOperation { path: at }) => {
            PatchOperation::Remove(RemoveOperation { path: path(at)? })
        }
        PatchOperation::Replace(ReplaceOperation { path: at, value }) => {
            PatchOperation::Replace(ReplaceOperation {
                path: path(at)?,
                value: value.clone(),
            })
        }
        PatchOperation::Move(MoveOperation { from, path: at }) => {
            let from = path(from)?;
            // It is put where `path` leads once it is no longer where it was.
            let mut without = object.clone();
            let remove = PatchOperation::Remove(RemoveOperation { path: from.clone() });
            let path = match json_patch::patch(&mut without, &[remove]) {
                Ok(()) => by_index(at, &without)?,
                // It is not there, which is told when it is moved.
                Err(_) => path(at)?,
            };
            PatchOperation::Move(MoveOperation { from, path })
        }
        PatchOperation::Copy(CopyOperation { from, path: at }) => {
            PatchOperation::Copy(CopyOperation {
                from: path(from)?,
                path: path(at)?,
            })
        }
        PatchOperation::Test(TestOperation { path: at, value }) => {
            PatchOperation::Test(TestOperation {
                path: path(at)?,
                value: value.clone(),
            })
        }
    })
}

/// Whether a path of the operation names an element by what stands in it.
pub(super) fn is_needed(operation: &PatchOperation) -> bool {
    let from = match operation {
        PatchOperation::Move(MoveOperation { from, .. })
        | PatchOperation::Copy(CopyOperation { from, .. }) => Some(from.as_ptr()),
        _ => None,
    };
    let mut pointers = from.into_iter().chain([operation.path()]);
    pointers.any(|pointer| {
        pointer
            .tokens()
            .any(|token| selector(&token.decoded()).is_some())
    })
}

fn by_index(pointer: &Pointer, object: &Value) -> Result<PointerBuf, String> {
    let mut resolved = PointerBuf::new();
    let mut value = Some(object);
    for token in pointer.tokens() {
        let key = token.decoded();
        let token = match (value, selector(&key)) {
            (Some(Value::Array(elements)), Some((field, wanted))) => {
                let index = index_of(elements, field, wanted)
                    .map_err(|why| format!("{why} in the list `{resolved}`"))?;
                Token::from(index)
            }
            (Some(Value::Object(map)), Some(_)) if !map.contains_key(&*key) => {
                return Err(format!(
                    "`{key}` names an element of a list, and `{resolved}` is a map"
                ));
            }
            _ => token,
        };
        value = value.and_then(|value| match value {
            Value::Array(elements) => elements.get(token.decoded().parse::<usize>().ok()?),
            Value::Object(map) => map.get(&*token.decoded()),
            _ => None,
        });
        resolved.push_back(token);
    }
    Ok(resolved)
}

/// `key` and `value` of `[key=value]`.
fn selector(token: &str) -> Option<(&str, &str)> {
    let inner = token.strip_prefix('[')?.strip_suffix(']')?;
    inner.split_once('=').filter(|(key, _)| !key.is_empty())
}

fn index_of(elements: &[Value], field: &str, wanted: &str) -> Result<usize, String> {
    let has = |element: &Value| match element.get(field) {
        Some(Value::String(text)) => text == wanted,
        Some(Value::Number(number)) => number.to_string() == wanted,
        Some(Value::Bool(flag)) => wanted == if *flag { "true" } else { "false" },
        _ => false,
    };
    let mut found = elements
        .iter()
        .enumerate()
        .filter(|(_, element)| has(element));
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (None, _) => Err(format!("no element has `{field}: {wanted}`")),
        (Some(_), Some(_)) => Err(format!("several elements have `{field}: {wanted}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_are_found_by_what_stands_in_them() {
        let object = json!({
            "list": [
                { "name": "a", "port": 80, "path": "/x~y", "on": true, "eq": "b=c" },
                { "name": "b", "port": 80, "in": [{ "name": "c" }] },
                "text",
            ],
            "map": { "[name=a]": { "x": 1 }, "y": {} },
        });
        for (path, expected) in [
            ("/list/[name=a]/port", Ok("/list/0/port")),
            ("/list/[name=b]/in/[name=c]/name", Ok("/list/1/in/0/name")),
            ("/list/[path=~1x~0y]", Ok("/list/0")),
            ("/list/[on=true]", Ok("/list/0")),
            ("/list/[eq=b=c]", Ok("/list/0")),
            ("/list/1", Ok("/list/1")),
            ("/list/-", Ok("/list/-")),
            ("/list/[name=b]/in/-", Ok("/list/1/in/-")),
            ("/list/[]", Ok("/list/[]")),
            ("/list/[name]", Ok("/list/[name]")),
            ("/map/[name=a]/x", Ok("/map/[name=a]/x")),
            ("/nothing/[name=a]", Ok("/nothing/[name=a]")),
            (
                "/list/[name=c]",
                Err("no element has `name: c` in the list `/list`"),
            ),
            (
                "/list/[port=80]/x",
                Err("several elements have `port: 80` in the list `/list`"),
            ),
            (
                "/list/[name=b]/in/[name=d]",
                Err("no element has `name: d` in the list `/list/1/in`"),
            ),
            (
                "/map/y/[name=a]",
                Err("`[name=a]` names an element of a list, and `/map/y` is a map"),
            ),
        ] {
            let pointer = PointerBuf::parse(path).unwrap();
            let found = by_index(&pointer, &object);
            let found = found
                .as_ref()
                .map(|found| found.as_str())
                .map_err(String::as_str);
            assert_eq!(found, expected, "{path}");
        }
    }
}
