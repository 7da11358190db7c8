//! Reading an edit's result again, with two readers, before anybody sees it.

use granit_parser::Event;
use serde::Deserialize as _;

use super::edit::Splice;
use super::error::Refused;
use super::yaml;

/// Checks that two texts differ in the value of exactly these scalars.
///
/// First reader: the same events in the same order, with equal values, styles, anchors and tags,
/// except for the scalars' new values. Second reader (`serde_yaml`): equal values except at the
/// scalars' paths.
pub(super) fn only_these_changed(
    before: &str,
    after: &str,
    splices: &[Splice<'_>],
) -> Result<(), Refused> {
    same_events(before, after, splices)?;
    let mut expected = documents(before)?;
    for Splice { site, value, .. } in splices {
        let scalar = expected
            .get_mut(site.document)
            .and_then(|document| at(document, &site.pointer))
            .ok_or(Refused::SecondReader)?;
        if scalar.as_str() != Some(&site.image.text) {
            return Err(Refused::SecondReader);
        }
        *scalar = value.as_str().into();
    }
    match documents(after)? == expected {
        true => Ok(()),
        false => Err(Refused::Differs),
    }
}

fn same_events(before: &str, after: &str, splices: &[Splice<'_>]) -> Result<(), Refused> {
    let mut splices = splices.iter().peekable();
    let mut after = yaml::events(after);
    for old in yaml::events(before) {
        let (Ok((mut old, span)), Some(Ok((new, _)))) = (old, after.next()) else {
            return Err(Refused::Differs);
        };
        if let Event::Scalar(text, ..) = &mut old
            && let Some(splice) =
                splices.next_if(|next| span.byte_range().as_ref() == Some(&next.range))
        {
            *text = splice.value.as_str().into();
        }
        if old != new {
            return Err(Refused::Differs);
        }
    }
    match (splices.next(), after.next()) {
        (None, None) => Ok(()),
        _ => Err(Refused::Differs),
    }
}

/// The documents as the second reader sees them, empty ones left out.
pub(super) fn documents(text: &str) -> Result<Vec<serde_yaml::Value>, Refused> {
    // This reader takes a byte order mark in bytes, not in a `str`.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // JSON has escapes that this reader of YAML does not know (surrogate pairs).
    if let Ok(document) = serde_json::from_str(text) {
        return Ok(vec![document]);
    }
    let documents = serde_yaml::Deserializer::from_str(text)
        .map(serde_yaml::Value::deserialize)
        .filter(|document| !matches!(document, Ok(serde_yaml::Value::Null)));
    documents
        .collect::<Result<_, _>>()
        .map_err(|_| Refused::SecondReader)
}

/// The value at a JSON pointer.
fn at<'a>(value: &'a mut serde_yaml::Value, pointer: &str) -> Option<&'a mut serde_yaml::Value> {
    pointer
        .split('/')
        .skip(1)
        .try_fold(value, |value, token| match value {
            serde_yaml::Value::Sequence(entries) => entries.get_mut(token.parse::<usize>().ok()?),
            serde_yaml::Value::Mapping(map) => {
                map.get_mut(token.replace("~1", "/").replace("~0", "~").as_str())
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{ImageFields, parse};

    /// What the splice itself can never do, and what a wrong byte range would.
    #[test]
    fn a_change_anywhere_else_is_seen() {
        let before = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: '1'}}\nspec: {containers: [{image: r.io/a:1}, {image: r.io/a:1}]}\n";
        let file = parse("p.yaml", before.as_bytes(), &ImageFields::default()).unwrap();
        let site = &file.objects[0].images[0];
        let range = site.written.as_ref().unwrap().range.clone();
        let value = "r.io/a:2".to_owned();
        let splice = Splice {
            site,
            range,
            token: value.clone(),
            value,
        };
        let check = |after: &str| only_these_changed(before, after, std::slice::from_ref(&splice));

        let good = before.replacen("r.io/a:1", "r.io/a:2", 1);
        assert_eq!(check(&good), Ok(()));
        for (from, to) in [
            ("r.io/a:2", "r.io/a:1"),
            ("r.io/a:2", "r.io/a:3"),
            ("r.io/a:1", "r.io/a:2"),
            ("r.io/a:2", "\"r.io/a:2\""),
            ("r.io/a:2", "&a r.io/a:2"),
            ("r.io/a:2", "!!str r.io/a:2"),
            ("'1'", "1"),
            ("'1'", "\"1\""),
            ("x:", "y:"),
            ("{name: a,", "{"),
            ("]}\n", "]}\n---\na: b\n"),
            ("]}\n", "]\n"),
        ] {
            assert_eq!(
                check(&good.replacen(from, to, 1)),
                Err(Refused::Differs),
                "{from} → {to}"
            );
        }
    }
}
