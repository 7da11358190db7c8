//! Texts with fields in braces, as `{branch}-{commit:7}`: where each field stands. What a field means is its
//! template's.

/// A part of such a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Literal(&'a str),
    /// What stands between the braces.
    Field(&'a str),
}

/// The parts of a text in order, no literal empty; `None`: a brace is without its partner.
pub(super) fn parts(text: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, tail) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        rest = tail;
        if rest.is_empty() {
            break;
        }
        let (name, tail) = rest.strip_prefix('{')?.split_once('}')?;
        if name.contains('{') {
            return None;
        }
        parts.push(Part::Field(name));
        rest = tail;
    }
    Some(parts)
}
