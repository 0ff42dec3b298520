//! Rows that never move, and a copy of them that is made while they go on changing.

/// Rows of a chunk.
const CHUNK: usize = 1 << 12;

/// A list that grows chunk by chunk, so that no growth has to copy what is there.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    rows: Vec<Box<[T]>>,
    len: u32,
    /// The copy that is being made.
    copying: Option<Copying<T>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), len: 0, copying: None }
    }
}

impl<T: Clone> Clone for Chunks<T> {
    /// What is there now, without the copy that is being made.
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone(), len: self.len, copying: None }
    }
}

/// A list as it was at some moment: chunks that were copied one by one since then, and what stood
/// in rows that were changed before it was their turn.
#[derive(Debug)]
struct Copying<T> {
    rows: Vec<Box<[T]>>,
    len: u32,
    /// Which rows were changed.
    changed: Vec<u32>,
    /// What stood in them.
    kept: Vec<T>,
    /// A bit for each row that was kept.
    is_kept: Vec<u64>,
}

/// A copy that is complete, but not put together yet.
#[derive(Debug)]
pub(crate) struct Copied<T>(Copying<T>);

impl<T: Clone + Default> Chunks<T> {
    /// How many there are.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn get(&self, row: u32) -> &T {
        &self.rows[row as usize / CHUNK][row as usize % CHUNK]
    }

    pub(crate) fn get_mut(&mut self, row: u32) -> &mut T {
        let place = &mut self.rows[row as usize / CHUNK][row as usize % CHUNK];
        if let Some(copying) = &mut self.copying {
            copying.keep(row, place);
        }
        place
    }

    /// Adds a row and returns its number.
    pub(crate) fn push(&mut self, row: T) -> u32 {
        if self.len as usize == self.rows.len() * CHUNK {
            self.rows.push(vec![T::default(); CHUNK].into_boxed_slice());
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
        self.rows.iter().flatten().take(self.len as usize)
    }

    /// Its rows, whose memory is given back as they are taken.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = T> {
        self.rows.into_iter().flatten().take(self.len as usize)
    }

    /// Begins a copy of what is there now. There is one at a time.
    pub(crate) fn begin_copy(&mut self) {
        let is_kept = vec![0; (self.len as usize).div_ceil(64)];
        let (rows, changed, kept) = (Vec::new(), Vec::new(), Vec::new());
        self.copying = Some(Copying { rows, len: self.len, changed, kept, is_kept });
    }

    /// Copies up to `count` chunks more and takes them off it. Nothing is left to do when it is not
    /// zero afterwards.
    pub(crate) fn copy(&mut self, count: &mut usize) {
        let Some(copying) = &mut self.copying else { return };
        let (done, all) = (copying.rows.len(), (copying.len as usize).div_ceil(CHUNK));
        let end = all.min(done.saturating_add(*count));
        copying.rows.extend_from_slice(&self.rows[done..end]);
        *count -= end - done;
    }

    /// The copy, all chunks of which are copied.
    pub(crate) fn take_copy(&mut self) -> Copied<T> {
        Copied(self.copying.take().expect("a copy was begun"))
    }
}

impl<T: Clone> Copying<T> {
    /// Keeps what stands in a row that is going to change, unless it is copied already.
    fn keep(&mut self, row: u32, value: &T) {
        if row >= self.len || (row as usize) < self.rows.len() * CHUNK {
            return;
        }
        let (bits, bit) = (&mut self.is_kept[row as usize / 64], 1 << (row % 64));
        if *bits & bit == 0 {
            *bits |= bit;
            self.changed.push(row);
            self.kept.push(value.clone());
        }
    }
}

impl<T> Copied<T> {
    /// Puts the copy together.
    pub(crate) fn finish(self) -> Chunks<T> {
        let Self(Copying { mut rows, len, changed, kept, .. }) = self;
        for (row, value) in changed.into_iter().zip(kept) {
            rows[row as usize / CHUNK][row as usize % CHUNK] = value;
        }
        Chunks { rows, len, copying: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever changes, comes or goes while a copy is made: it is what was there when it began.
    #[test]
    fn a_copy_is_of_the_moment_at_which_it_began() {
        let mut seed = 3_u32;
        let mut random = move |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u32::try_from((u64::from(seed) * u64::from(below)) >> 32).unwrap()
        };
        let mut list = Chunks::default();
        for round in 0..20_u32 {
            for row in 0..3_000 {
                list.push(row);
            }
            let before: Vec<_> = list.iter().copied().collect();
            list.begin_copy();
            loop {
                for value in 0..500 {
                    match random(20) {
                        0 => _ = list.push(value),
                        1 => list.pop(),
                        _ => *list.get_mut(random(list.len())) = value ^ round << 16,
                    }
                }
                let mut count = if random(2) == 0 { 1 } else { 2 };
                list.copy(&mut count);
                if count > 0 {
                    break;
                }
            }
            assert!(list.take_copy().finish().iter().eq(&before), "{round}");
        }
    }
}
