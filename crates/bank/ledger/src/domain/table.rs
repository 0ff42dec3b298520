//! Rows in the order of their creation, found by id.

use std::collections::HashMap;
use std::hash::Hash;

/// An append-only table of which only the newest rows can be taken back.
///
/// The index uses the standard library's keyed hash, so that callers who choose their ids
/// cannot choose collisions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Table<K: Eq + Hash, V> {
    rows: Vec<V>,
    index: HashMap<K, usize>,
}

impl<K: Copy + Eq + Hash, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: Vec::new(), index: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    /// Number of the row with that id.
    pub(super) fn find(&self, id: K) -> Option<usize> {
        self.index.get(&id).copied()
    }

    /// The row with that id.
    pub(super) fn get(&self, id: K) -> Option<&V> {
        self.find(id).map(|row| &self.rows[row])
    }

    /// The row of that number, which [`Self::find`] or [`Self::push`] gave.
    pub(super) fn row(&self, row: usize) -> &V {
        &self.rows[row]
    }

    /// The row of that number, to be changed.
    pub(super) fn row_mut(&mut self, row: usize) -> &mut V {
        &mut self.rows[row]
    }

    /// Adds a row, whose id must be new, and returns its number.
    pub(super) fn push(&mut self, id: K, value: V) -> usize {
        let row = self.rows.len();
        let previous = self.index.insert(id, row);
        assert!(previous.is_none(), "checks precede every insertion");
        self.rows.push(value);
        row
    }

    /// Takes the newest row back.
    pub(super) fn pop(&mut self, id_of: impl FnOnce(&V) -> K) -> Option<V> {
        let value = self.rows.pop()?;
        self.index.remove(&id_of(&value));
        Some(value)
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> &[V] {
        &self.rows
    }
}
