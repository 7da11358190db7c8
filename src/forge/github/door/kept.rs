//! Answers that are kept with their tag: an unchanged one is then told in few bytes, and counts against no
//! limit ([conditional requests](https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api)).

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderValue;

/// How much is kept.
const BYTES_MAX: usize = 4 << 20;

/// A larger answer is not kept: it changes often.
const ANSWER_MAX: usize = 1 << 20;

/// See the module. The oldest go first.
#[derive(Default)]
pub(super) struct Kept(Mutex<State>);

#[derive(Default)]
struct State {
    answers: HashMap<String, Known>,
    order: VecDeque<String>,
    bytes: usize,
}

/// An answer.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) tag: HeaderValue,
    pub(super) body: Bytes,
}

impl Kept {
    pub(super) fn of(&self, url: &str) -> Option<Known> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers.get(url).cloned()
    }

    pub(super) fn keep(&self, url: &str, tag: HeaderValue, body: Bytes) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = state.answers.remove(url) {
            state.bytes -= before.body.len();
            state.order.retain(|it| it != url);
        }
        if body.len() > ANSWER_MAX {
            return;
        }
        state.bytes += body.len();
        state.order.push_back(url.to_owned());
        state.answers.insert(url.to_owned(), Known { tag, body });
        while state.bytes > BYTES_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            let gone = state.answers.remove(&oldest);
            state.bytes -= gone.map_or(0, |gone| gone.body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_kept_and_the_oldest_goes_first() {
        let kept = Kept::default();
        let tag = HeaderValue::from_static("\"1\"");
        for index in 0..10 {
            let body = Bytes::from(vec![0; ANSWER_MAX]);
            kept.keep(&format!("/{index}"), tag.clone(), body);
        }
        assert!(kept.of("/5").is_none());
        assert!(kept.of("/6").is_some());
        kept.keep("/6", tag, Bytes::from(vec![0; ANSWER_MAX + 1]));
        assert!(kept.of("/6").is_none(), "what is too large is not kept");
        assert_eq!(kept.0.lock().unwrap().bytes, 3 * ANSWER_MAX);
    }
}
