//! Where our own pushes moved refs, and for whom. A step planned just before such a push still holds
//! after it, if the push was about other units: so what many units plan on one head goes out in a
//! few pushes, not in one each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use gix::ObjectId;

use crate::model::{ApplicationName, EnvironmentName};

/// Moves remembered per ref. A step that was planned longer ago is planned again.
const MOVES_MAX: usize = 64;

/// A unit.
pub(super) type UnitKey = (EnvironmentName, ApplicationName);

/// See the module.
#[derive(Default)]
pub(super) struct Moves {
    by_ref: BTreeMap<String, VecDeque<Move>>,
}

struct Move {
    from: Option<ObjectId>,
    to: ObjectId,
    units: Arc<BTreeSet<UnitKey>>,
}

impl Moves {
    /// Notes that a push of ours, made for these units, moved a ref.
    pub(super) fn add(
        &mut self,
        name: &str,
        from: Option<ObjectId>,
        to: ObjectId,
        units: &Arc<BTreeSet<UnitKey>>,
    ) {
        let moves = self.by_ref.entry(name.to_owned()).or_default();
        // Somebody else moved it in between: what was planned before that is planned again.
        if moves.back().is_some_and(|last| Some(last.to) != from) {
            moves.clear();
        }
        if moves.len() == MOVES_MAX {
            moves.pop_front();
        }
        let units = Arc::clone(units);
        moves.push_back(Move { from, to, units });
    }

    /// Whether pushes of ours alone, and none of them about this unit, led from one value to the other.
    pub(super) fn lead(
        &self,
        name: &str,
        from: Option<ObjectId>,
        to: Option<ObjectId>,
        unit: &UnitKey,
    ) -> bool {
        let Some(moves) = self.by_ref.get(name) else {
            return false;
        };
        let is_there = moves.back().is_some_and(|last| Some(last.to) == to);
        let Some(start) = moves.iter().position(|it| it.from == from) else {
            return false;
        };
        is_there && moves.iter().skip(start).all(|it| !it.units.contains(unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_holds_over_our_own_moves_for_others_alone() {
        let id = |digit: char| {
            let hex = digit.to_string().repeat(40);
            ObjectId::from_hex(hex.as_bytes()).ok()
        };
        let unit = |name: &str| ("staging".parse().unwrap(), name.parse().unwrap());
        let mut moves = Moves::default();
        let mut moved = |from, to, name: &str| {
            let to = id(to).unwrap();
            let units = Arc::new([unit(name)].into());
            moves.add("refs/heads/master", from, to, &units);
        };
        moved(id('1'), '2', "shop");
        moved(id('2'), '3', "cart");
        let lead = |from, to, name: &str| moves.lead("refs/heads/master", from, to, &unit(name));
        for (from, to, name, expected) in [
            (id('1'), id('3'), "mail", true),
            (id('2'), id('3'), "shop", true),
            (id('1'), id('3'), "shop", false),
            (id('2'), id('3'), "cart", false),
            (id('1'), id('2'), "mail", false),
            (id('4'), id('3'), "mail", false),
            (None, id('3'), "mail", false),
        ] {
            assert_eq!(lead(from, to, name), expected, "{from:?} {to:?} {name}");
        }
        assert!(!moves.lead(
            "refs/notes/towpath/staging",
            id('1'),
            id('3'),
            &unit("mail")
        ));
        // After somebody else's move nothing before it counts.
        moves.add(
            "refs/heads/master",
            id('5'),
            id('6').unwrap(),
            &Arc::new([unit("cart")].into()),
        );
        assert!(!moves.lead("refs/heads/master", id('1'), id('6'), &unit("mail")));
        assert!(moves.lead("refs/heads/master", id('5'), id('6'), &unit("mail")));
    }
}
