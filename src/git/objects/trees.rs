//! The directories that were read last, parsed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gix::ObjectId;

use crate::git::tree::Tree;

/// Directories kept parsed, in bytes. One of 20,000 entries takes about 0.8 MB.
const TREE_CACHE_BYTES: usize = 4 << 20;

/// The directories read last, bounded by bytes.
#[derive(Default)]
pub(super) struct TreeCache {
    trees: HashMap<ObjectId, (u64, Arc<Tree>)>,
    order: BTreeMap<u64, ObjectId>,
    tick: u64,
    bytes: usize,
}

impl TreeCache {
    pub(super) fn get(&mut self, id: &ObjectId) -> Option<Arc<Tree>> {
        self.tick += 1;
        let (used, tree) = self.trees.get_mut(id)?;
        self.order.remove(used);
        *used = self.tick;
        self.order.insert(self.tick, *id);
        Some(Arc::clone(tree))
    }

    pub(super) fn put(&mut self, tree: &Arc<Tree>) {
        if self.get(&tree.id()).is_some() {
            return;
        }
        self.tick += 1;
        self.bytes += tree.weight();
        self.order.insert(self.tick, tree.id());
        self.trees.insert(tree.id(), (self.tick, Arc::clone(tree)));
        self.drop_oldest(TREE_CACHE_BYTES);
    }

    pub(super) fn is_within(&self, bytes: usize) -> bool {
        self.bytes <= bytes || self.trees.len() <= 1
    }

    /// One directory stays, however large: to parse it again for each question would cost more.
    fn drop_oldest(&mut self, bytes: usize) {
        while !self.is_within(bytes) {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            if let Some((_, tree)) = self.trees.remove(&oldest) {
                self.bytes -= tree.weight();
            }
        }
    }

    pub(super) fn keep_within(&mut self, bytes: usize) {
        self.drop_oldest(bytes);
        self.trees.shrink_to_fit();
    }
}
