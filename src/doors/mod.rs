//! Every place where bytes come in from outside, as one function each: bytes in, and whether they were taken.
//!
//! Owns the list, and what must be true of whatever comes in there: the same bytes in other pieces are read
//! alike, what is written is what was read, what is shown deceives nobody. Whoever knocks owns which bytes,
//! how long it may take, and what memory: the tests (`tests/it/doors`), and fuzzers. Nothing of the product
//! calls it, and nothing is asked or kept here.

mod configuration;
mod manifests;
mod model;

use std::fmt::Debug;

use futures_util::FutureExt as _;

use crate::shown::is_deceptive;
use crate::{cluster, forge, git, registry, serve};

/// One place where bytes come in.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// Its name, as in `git-advertisement`.
    pub name: &'static str,
    /// Words that mean something behind it: bytes made of them come further in.
    pub words: &'static [&'static str],
    /// Hands in bytes, as they would come.
    pub knock: fn(&[u8]) -> Knocked,
}

/// What came of it; else what should be true, and is not.
pub type Knocked = Result<Answer, String>;

/// Whether bytes were what is expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// They say something.
    Taken,
    /// They are an error, or nothing.
    Refused,
}

/// All of them.
pub fn all() -> Vec<Door> {
    [
        manifests::DOORS,
        configuration::DOORS,
        model::DOORS,
        git::doors::DOORS,
        registry::doors::DOORS,
        serve::doors::DOORS,
        forge::doors::DOORS,
        forge::github::doors::DOORS,
        forge::gitea::doors::DOORS,
        cluster::kubernetes::doors::DOORS,
    ]
    .concat()
}

/// What is true of everything that was read.
pub(crate) fn answered<T, E>(read: &Result<T, E>) -> Answer {
    match read {
        Ok(_) => Answer::Taken,
        Err(_) => Answer::Refused,
    }
}

/// What a future gives that waits for nothing.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let waits = || "it waits for something, and everything is there".to_owned();
    future.now_or_never().ok_or_else(waits)
}

/// Both are the same.
pub(crate) fn alike<T: PartialEq + Debug>(what: &str, one: &T, other: &T) -> Result<(), String> {
    match one == other {
        true => Ok(()),
        false => Err(format!("{what}:\n  {one:?}\n  {other:?}")),
    }
}

/// A text that people are shown steers no terminal and turns nothing around.
pub(crate) fn harmless(text: &str) -> Result<(), String> {
    let deceives = |c: &char| is_deceptive(*c) && *c != '\n';
    match text.chars().find(deceives) {
        None => Ok(()),
        Some(c) => Err(format!("{c:?} stands in what is shown: {text:?}")),
    }
}

/// The parts of bytes between lines of `-----`, of which there are so many; those that are missing are empty.
pub(crate) fn split<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    const BETWEEN: &[u8] = b"\n-----\n";
    let mut rest = bytes;
    std::array::from_fn(|index| {
        let cut = rest.windows(BETWEEN.len()).position(|it| it == BETWEEN);
        match cut.filter(|_| index + 1 < N) {
            Some(at) => {
                let part = &rest[..at];
                rest = &rest[at + BETWEEN.len()..];
                part
            }
            None => std::mem::take(&mut rest),
        }
    })
}
