//! What pushes of ours move while a server is asked where its refs are: its answer may be from before them, and what is
//! known must not go backwards. Owns which parts of an answer are overtaken. Never asks anybody.

use std::sync::Mutex;

use gix::ObjectId;

use super::locked;
use super::remote::{Ref, RefUpdate, Refs};

/// See the module.
#[derive(Default)]
pub(super) struct Meanwhile {
    /// How many look now.
    looks: usize,
    /// What was moved since the first of them began.
    moves: Vec<Move>,
}

struct Move {
    name: String,
    old: Option<ObjectId>,
    new: Option<Ref>,
}

impl Meanwhile {
    /// Notes what a push moved, if anybody looks.
    pub(super) fn note(&mut self, update: &RefUpdate, new: Option<Ref>) {
        if self.looks > 0 && !update.is_verification() {
            self.moves.push(Move {
                name: update.name.clone(),
                old: update.old,
                new,
            });
        }
    }
}

/// A look at a server's refs, until its answer was taken in.
pub(super) struct Look<'a> {
    meanwhile: &'a Mutex<Meanwhile>,
    from: usize,
}

impl<'a> Look<'a> {
    /// The server is about to be asked.
    pub(super) fn begin(meanwhile: &'a Mutex<Meanwhile>) -> Self {
        let mut all = locked(meanwhile);
        all.looks += 1;
        let from = all.moves.len();
        drop(all);
        Self { meanwhile, from }
    }

    /// Moves on what the answer shows as it was before a push of ours that ended since. What it shows otherwise,
    /// somebody else made of it.
    pub(super) fn catch_up(&self, refs: &mut Refs, prefixes: &[String]) {
        for moved in locked(self.meanwhile).moves.iter().skip(self.from) {
            let is_asked = prefixes.iter().any(|it| moved.name.starts_with(it));
            let shown = refs.get(&moved.name).map(|shown| shown.id);
            if !is_asked || shown != moved.old {
                continue;
            }
            match moved.new {
                Some(new) => drop(refs.insert(moved.name.clone(), new)),
                None => drop(refs.remove(&moved.name)),
            }
        }
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let mut all = locked(self.meanwhile);
        all.looks -= 1;
        if all.looks == 0 {
            all.moves.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[digit; 20])
    }

    fn at(digit: u8) -> Ref {
        Ref {
            id: id(digit),
            peeled: None,
        }
    }

    fn push(meanwhile: &Mutex<Meanwhile>, name: &str, old: Option<u8>, new: Option<u8>) {
        let update = RefUpdate {
            name: name.to_owned(),
            old: old.map(id),
            new: new.map(id),
        };
        locked(meanwhile).note(&update, new.map(at));
    }

    #[test]
    fn an_answer_from_before_a_push_is_moved_on() {
        let meanwhile = Mutex::default();
        push(&meanwhile, "refs/heads/a", Some(8), Some(1));
        let look = Look::begin(&meanwhile);
        push(&meanwhile, "refs/heads/a", Some(1), Some(2));
        push(&meanwhile, "refs/heads/a", Some(2), Some(3));
        push(&meanwhile, "refs/heads/gone", Some(1), None);
        push(&meanwhile, "refs/heads/new", None, Some(1));
        push(&meanwhile, "refs/notes/a", None, Some(1));
        for (shown, expected) in [(Some(1), 3), (Some(2), 3), (Some(3), 3), (Some(7), 7)] {
            let mut refs = Refs::new();
            refs.insert("refs/heads/gone".to_owned(), at(1));
            refs.extend(shown.map(|it| ("refs/heads/a".to_owned(), at(it))));
            look.catch_up(&mut refs, &["refs/heads/".to_owned()]);
            let names: Vec<_> = refs.keys().map(String::as_str).collect();
            assert_eq!(names, ["refs/heads/a", "refs/heads/new"]);
            assert_eq!(refs["refs/heads/a"], at(expected));
        }
        drop(look);
        assert!(locked(&meanwhile).moves.is_empty());
    }
}
