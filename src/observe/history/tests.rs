//! Which build ranks below which, on small histories.

use super::*;

fn id(name: char) -> CommitId {
    let hex = u32::from(name) - u32::from('a');
    format!("{hex:x}{}", "0".repeat(39)).parse().unwrap()
}

/// `a<b c` is: `a` has the parents `b` and `c`.
fn history(text: &str) -> History {
    let mut history = History::default();
    for line in text.split(", ") {
        let (commit, parents) = line.split_once('<').unwrap_or((line, ""));
        let at = i64::try_from(history.commits.len()).unwrap();
        let node = Node {
            parents: parents.split_whitespace().map(|it| id(first(it))).collect(),
            at: Timestamp::from_second(at).unwrap(),
        };
        history.commits.insert(id(first(commit)), node);
    }
    history
}

fn first(text: &str) -> char {
    text.chars().next().unwrap()
}

/// Each commit's build time, and the moment before which it ranks.
fn bounds(history: &History, built: &str) -> String {
    let built = built.split_whitespace().map(|it| {
        let (commit, at) = it.split_once('=').unwrap();
        let at = Timestamp::from_second(at.parse().unwrap()).unwrap();
        (id(first(commit)), at)
    });
    let bounds = history.bounds(&built.collect());
    let shown = bounds.iter().map(|(commit, bound)| {
        let name = char::from(b'a' + u8::from_str_radix(&commit.to_string()[..1], 16).unwrap());
        // Just before a second is that second, rounded.
        format!(
            "{name}<{}",
            bound.round(jiff::Unit::Second).unwrap().as_second()
        )
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_build_ranks_below_every_build_of_a_descendant() {
    for (commits, built, expected) in [
        // A line: what was rebuilt late still ranks below.
        ("a, b<a, c<b", "a=9 b=2 c=3", "a<2 b<3"),
        // The oldest build of any descendant counts.
        ("a, b<a, c<b", "a=1 b=7 c=5", "a<5 b<5"),
        // Only what was built counts; what is between is passed through.
        ("a, b<a, c<b", "a=9 c=3", "a<3"),
        // Branches that know nothing of each other bound nothing.
        ("a, b<a, c<a", "b=2 c=9", ""),
        // A merge bounds both sides.
        ("a, b<a, c<a, d<b c", "b=8 c=9 d=4", "b<4 c<4"),
        // A diamond is walked once.
        ("a, b<a, c<a, d<b c, e<d", "a=9 e=1", "a<1"),
        // A parent that is not here ends the walk.
        ("b<a, c<b", "b=5 c=2", "b<2"),
        ("a", "", ""),
    ] {
        assert_eq!(
            bounds(&history(commits), built),
            expected,
            "{commits}: {built}"
        );
    }
}

#[test]
fn a_long_history_is_walked_without_recursion() {
    let mut history = History::default();
    let id = |number: u32| -> CommitId { format!("{number:040x}").parse().unwrap() };
    for number in 0..50_000 {
        let node = Node {
            parents: (number > 0).then(|| id(number - 1)).into_iter().collect(),
            at: Timestamp::UNIX_EPOCH,
        };
        history.commits.insert(id(number), node);
    }
    let built = [(id(0), Timestamp::MAX), (id(49_999), Timestamp::UNIX_EPOCH)];
    let bounds = history.bounds(&built.into());
    assert!(bounds[&id(0)] < Timestamp::UNIX_EPOCH);
}

#[test]
fn a_shortened_id_names_at_most_one_commit() {
    let history = history("a, b<a");
    let full = id('b').to_string();
    for (text, found) in [
        (full.as_str(), Some(id('b'))),
        (&full[..7], Some(id('b'))),
        ("1", Some(id('b'))),
        ("", None),
        ("f", None),
        ("é", None),
        (&"f".repeat(40), None),
    ] {
        assert_eq!(history.find(text), found, "{text}");
    }
}

#[test]
fn what_lies_between_is_newest_first() {
    for (commits, before, after, between) in [
        ("a, b<a, c<b", 'a', 'c', "cb"),
        ("a, b<a, c<b", 'b', 'b', ""),
        // Back to an older one: it brings nothing.
        ("a, b<a, c<b", 'c', 'a', ""),
        // A merge brings its branch, too; what was there already is no news.
        ("a, b<a, c<a, d<b c", 'b', 'd', "dc"),
        // They have nothing in common.
        ("a, b", 'a', 'b', "b"),
    ] {
        let found = history(commits).between(id(before), id(after));
        let expected: Vec<_> = between.chars().map(id).collect();
        assert_eq!(found, expected, "{commits}: {before}..{after}");
    }
}
