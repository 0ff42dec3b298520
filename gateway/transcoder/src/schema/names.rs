//! Tables of names that are fixed once built.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Finds values by name. Clients ask, but never add: a fixed hash is no way to attack.
#[derive(Debug)]
pub(crate) struct Names<T>(HashMap<Box<[u8]>, T, FixedState>);

impl<T: Copy> Names<T> {
    pub(crate) fn new() -> Self {
        Self(HashMap::with_hasher(FixedState::with_seed(0x4d61_6c68_6121)))
    }

    /// Adds a name; the last value stays.
    pub(crate) fn insert(&mut self, name: &str, value: T) {
        self.0.insert(name.as_bytes().into(), value);
    }

    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<T> {
        self.0.get(name).copied()
    }
}
