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
