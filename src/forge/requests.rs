//! What is known of a repository's requests: of each proposal branch the newest.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Visibility;
use crate::model::CommitId;
use crate::plan::Request;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests {
    /// By head and base branch.
    newest: BTreeMap<(String, String), Known>,
    /// Open requests from other branches, by number.
    others: BTreeMap<u64, Other>,
    /// The forge's own moment of the last change that is known; `None`: nothing was read yet.
    pub until: Option<Timestamp>,
    /// Who may read the repository, where that is known.
    pub visibility: Option<Visibility>,
}

/// An open request that is not about a proposal: people's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its number.
    pub number: u64,
    /// The branch that it goes to.
    pub base: String,
    /// Its commit.
    pub head: CommitId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    request: Request,
    changed: Timestamp,
}

/// A request as a forge shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The branch that it comes from.
    pub head: String,
    /// The branch that it goes to.
    pub base: String,
    /// The forge's own moment of its last change.
    pub changed: Timestamp,
    /// The request.
    pub request: Request,
}

impl Requests {
    /// The newest request from this branch to that one: an open one before all others.
    pub fn of(&self, head: &str, base: &str) -> Option<&Request> {
        let key = (head.to_owned(), base.to_owned());
        self.newest.get(&key).map(|known| &known.request)
    }

    /// Whether the forge shows the request as it was when it was last read.
    pub fn knows(&self, head: &str, base: &str, number: u64, changed: Timestamp) -> bool {
        let known = self.newest.get(&(head.to_owned(), base.to_owned()));
        known.is_some_and(|it| it.request.number == Some(number) && it.changed == changed)
    }

    /// The newest requests from this branch, one for each branch that they go to.
    pub fn from<'a>(&'a self, head: &'a str) -> impl Iterator<Item = &'a Request> {
        let first = (head.to_owned(), String::new());
        let from = self.newest.range(first..);
        let from = from.take_while(move |((it, _), _)| it == head);
        from.map(|(_, known)| &known.request)
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// Those that may be merged at any moment, by number: with the branch that they go to.
    pub fn armed(&self) -> BTreeMap<u64, String> {
        let known = self.newest.iter();
        let armed = known.filter(|(_, it)| it.request.is_open() && it.request.armed.is_some());
        armed
            .filter_map(|((_, base), it)| Some((it.request.number?, base.clone())))
            .collect()
    }

    /// Takes in which of them have to stand on the heads of their bases first.
    pub fn set_behind(&mut self, behind: &BTreeSet<u64>) {
        for known in self.newest.values_mut() {
            let number = known.request.number;
            known.request.behind = number.is_some_and(|number| behind.contains(&number));
        }
    }

    /// The open requests of others.
    pub fn others(&self) -> impl Iterator<Item = &Other> {
        self.others.values()
    }

    /// Takes in the request of others of this number; `None`: it is not open.
    pub fn take_other(&mut self, number: u64, other: Option<Other>) {
        match other {
            Some(other) => self.others.insert(number, other),
            None => self.others.remove(&number),
        };
    }

    /// Takes in a request, unless a newer one from the same branch is known.
    pub fn take(&mut self, found: Found) {
        let Found {
            head,
            base,
            changed,
            mut request,
        } = found;
        let key = (head, base);
        if let Some(Known { request: known, .. }) = self.newest.get(&key) {
            let newer = (known.is_open(), known.number) > (request.is_open(), request.number);
            if newer && known.number != request.number {
                return;
            }
            if known.number == request.number && known.state == request.state {
                request.since = known.since;
            }
        }
        self.newest.insert(key, Known { request, changed });
    }

    /// The branches whose request is not the same as before.
    pub fn changed<'a>(&'a self, before: &'a Self) -> BTreeSet<&'a str> {
        let differs = |one: &Self, other: &Self, key: &(String, String)| {
            let of = |it: &Self| it.newest.get(key).map(|known| known.request.clone());
            of(one) != of(other)
        };
        let keys = self.newest.keys().chain(before.newest.keys());
        keys.filter(|key| differs(self, before, key))
            .map(|(head, _)| head.as_str())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RequestState;

    fn found(number: u64, state: RequestState, at: i64) -> Found {
        let at = Timestamp::from_second(at).unwrap();
        Found {
            head: "towpath/production/shop".to_owned(),
            base: "main".to_owned(),
            changed: at,
            request: Request {
                name: format!("#{number}"),
                number: Some(number),
                url: None,
                state,
                head: "1111111111111111111111111111111111111111".parse().unwrap(),
                armed: None,
                behind: false,
                says: None,
                labels: BTreeSet::new(),
                since: at,
            },
        }
    }

    #[test]
    fn an_open_request_then_the_newest_counts() {
        use RequestState::{Closed, Open};
        for (taken, number, since) in [
            (vec![(1, Open, 1)], 1, 1),
            (vec![(1, Closed, 1), (2, Closed, 2)], 2, 2),
            (vec![(2, Closed, 2), (1, Closed, 3)], 2, 2),
            (vec![(2, Closed, 2), (1, Open, 3)], 1, 3),
            (vec![(1, Open, 1), (2, Closed, 2)], 1, 1),
            (vec![(1, Open, 1), (1, Closed, 2), (2, Open, 3)], 2, 3),
            // Seen again as it was: it is so since it was first seen so.
            (vec![(1, Open, 1), (1, Open, 2)], 1, 1),
            (vec![(1, Open, 1), (1, Closed, 2)], 1, 2),
        ] {
            let mut requests = Requests::default();
            for (number, state, at) in &taken {
                requests.take(found(*number, *state, *at));
            }
            let newest = requests.of("towpath/production/shop", "main").unwrap();
            let since = Timestamp::from_second(since).unwrap();
            assert_eq!(
                (newest.number, newest.since),
                (Some(number), since),
                "{taken:?}"
            );
        }
    }
}
