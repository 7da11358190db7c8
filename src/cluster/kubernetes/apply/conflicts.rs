//! Fields that other managers hold and an apply would change: taken and named, or a refusal.
//!
//! Owns what is said of them. Whether they are taken is the environment's `conflicts`.

use std::collections::BTreeMap;

use super::super::marks::PART_OF;
use super::super::refusal::Held;
use crate::cluster::Taken;
use crate::model::ObjectRef;

/// How many fields a refusal names.
const NAMED: usize = 6;

/// The field that says which set an object belongs to, as conflicts name it.
fn membership() -> String {
    format!(".metadata.labels.{PART_OF}")
}

/// Why the fields cannot be taken even by force: the object belongs to another set.
pub(super) fn of_another_set(held: &[Held]) -> Option<String> {
    let membership = membership();
    let other = held.iter().find(|held| held.field == membership)?;
    Some(of_other_set(Some(&other.manager)))
}

/// The words for an object of another set.
pub(super) fn of_other_set(manager: Option<&str>) -> String {
    let who = manager.map_or_else(String::new, |it| format!(", which `{it}` applies"));
    format!(
        "it belongs to another ApplySet{who}: take its label `{PART_OF}` off, or leave the object out"
    )
}

/// The refusal where fields are not to be taken.
pub(super) fn refused(held: &[Held]) -> String {
    let named = by_manager(held).into_iter().map(|(manager, fields)| {
        let more = fields.len().saturating_sub(NAMED);
        let shown = fields.iter().take(NAMED).map(|field| format!("`{field}`"));
        let shown = shown.collect::<Vec<_>>().join(", ");
        match more {
            0 => format!("`{manager}` holds {shown}"),
            more => format!("`{manager}` holds {shown} and {more} more"),
        }
    });
    format!(
        "{}: leave these fields out of the manifest, or set `conflicts: force`",
        named.collect::<Vec<_>>().join("; ")
    )
}

/// What is taken, by manager.
pub(super) fn taken(object: &ObjectRef, held: &[Held]) -> Vec<Taken> {
    let by_manager = by_manager(held).into_iter();
    let taken = by_manager.map(|(manager, fields)| Taken {
        object: object.clone(),
        manager: manager.to_owned(),
        fields,
    });
    taken.collect()
}

fn by_manager(held: &[Held]) -> BTreeMap<&str, Vec<String>> {
    let mut by_manager: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Held { manager, field } in held {
        let fields = by_manager.entry(manager).or_default();
        if !fields.contains(field) {
            fields.push(field.clone());
        }
    }
    by_manager
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pairs: &[(&str, &str)]) -> Vec<Held> {
        let held = pairs.iter().map(|(manager, field)| Held {
            manager: (*manager).to_owned(),
            field: (*field).to_owned(),
        });
        held.collect()
    }

    #[test]
    fn a_refusal_names_managers_and_fields() {
        let set = membership();
        let many: Vec<_> = (0..8).map(|number| format!(".spec.f{number}")).collect();
        let many: Vec<_> = many.iter().map(|field| ("a", field.as_str())).collect();
        for (pairs, expected, of_another) in [
            (
                vec![("hpa", ".spec.replicas"), ("hpa", ".spec.replicas")],
                "`hpa` holds `.spec.replicas`: leave",
                false,
            ),
            (
                vec![("b", ".spec.x"), ("a", ".spec.y")],
                "`a` holds `.spec.y`; `b` holds `.spec.x`: leave",
                false,
            ),
            (
                many,
                "`a` holds `.spec.f0`, `.spec.f1`, `.spec.f2`, `.spec.f3`, `.spec.f4`, `.spec.f5` and 2 more: leave",
                false,
            ),
            (
                vec![("kubectl-applyset", set.as_str())],
                "`kubectl-applyset` holds",
                true,
            ),
        ] {
            let held = held(&pairs);
            let said = refused(&held);
            assert!(said.starts_with(expected), "{said}");
            assert_eq!(of_another_set(&held).is_some(), of_another);
        }
    }
}
