//! Which entries of two lists are the same.

use std::hash::Hash;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// More entries than this on both sides together are not matched one by one: the time grows with the
/// square of what differs.
const MATCHED_MAX: usize = 10_000;

/// The stretches that are equal, removed, added or replaced, in order.
pub(super) fn align<T: Eq + Hash>(before: &[T], after: &[T]) -> Vec<DiffOp> {
    let same = |(a, b): &(&T, &T)| a == b;
    let head = before.iter().zip(after).take_while(same).count();
    let rest = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev());
    let tail = tail.take(rest).take_while(same).count();
    let (old, new) = (before.len() - head - tail, after.len() - head - tail);
    if old + new <= MATCHED_MAX {
        return capture_diff_slices(Algorithm::Myers, before, after);
    }
    let equal = |old_index, new_index, len| DiffOp::Equal {
        old_index,
        new_index,
        len,
    };
    let replaced = DiffOp::Replace {
        old_index: head,
        old_len: old,
        new_index: head,
        new_len: new,
    };
    vec![
        equal(0, 0, head),
        replaced,
        equal(head + old, head + new, tail),
    ]
}
