//! Rows that never move.

/// Rows of a chunk.
const CHUNK: usize = 1 << 12;

/// A list that grows chunk by chunk, so that no growth has to copy what is there.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Box<[T]>>,
    len: u32,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Clone + Default> Chunks<T> {
    /// How many there are.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn get(&self, row: u32) -> &T {
        &self.chunks[row as usize / CHUNK][row as usize % CHUNK]
    }

    pub(crate) fn get_mut(&mut self, row: u32) -> &mut T {
        &mut self.chunks[row as usize / CHUNK][row as usize % CHUNK]
    }

    /// Adds a row and returns its number.
    pub(crate) fn push(&mut self, row: T) -> u32 {
        if self.len as usize == self.chunks.len() * CHUNK {
            self.chunks.push(vec![T::default(); CHUNK].into_boxed_slice());
        }
        let number = self.len;
        self.len += 1;
        *self.get_mut(number) = row;
        number
    }

    /// Takes the newest one back.
    pub(crate) fn pop(&mut self) {
        self.len -= 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().take(self.len as usize)
    }
}
