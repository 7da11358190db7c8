//! A map that stays small.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Remembers at least the `capacity` entries used last and at most twice as many: two generations, of
/// which the older is dropped whole when the younger is full. Everything in it can be asked again, so
/// losing an entry costs a request and nothing else.
pub(super) struct Cache<K, V> {
    capacity: usize,
    generations: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        let generations = Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        };
        Self {
            capacity,
            generations: Mutex::new(generations),
        }
    }

    /// The value, which counts as used now.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let mut generations = self.lock();
        if let Some(value) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = generations.old.remove_entry(key)?;
        generations.insert(key, value.clone(), self.capacity);
        Some(value)
    }

    pub(super) fn insert(&self, key: K, value: V) {
        self.lock().insert(key, value, self.capacity);
    }

    /// A panic while the lock was held leaves at worst a missing entry.
    fn lock(&self) -> std::sync::MutexGuard<'_, Generations<K, V>> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn insert(&mut self, key: K, value: V, capacity: usize) {
        if self.young.len() >= capacity && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_and_the_size_is_bounded() {
        let cache = Cache::new(3);
        for key in 0..100 {
            cache.insert(key, key * 2);
            cache.insert(key, key * 2);
            assert_eq!(cache.get(&0), Some(0), "used each time, so never dropped");
        }
        assert_eq!(cache.get(&99), Some(198));
        assert_eq!(cache.get(&50), None);
        let generations = cache.lock();
        assert!(generations.young.len() + generations.old.len() <= 6);
    }
}
