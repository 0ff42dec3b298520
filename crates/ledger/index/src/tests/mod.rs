#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod answers;
mod merging;
mod reopen;
mod world;

use std::path::Path;

use crate::manifest::Boot;
use crate::store::Sizes;
use crate::{Index, IndexError};

/// Sizes with which a few thousand records make many runs on many levels.
const TINY: Sizes = Sizes { full: 16, store: 100, wait: 200, fan: 3, hash_mask: u64::MAX };

const BOOT: Boot = [b'a'; 36];

fn open(folder: &Path) -> Index {
    open_with(folder, TINY)
}

fn open_with(folder: &Path, sizes: Sizes) -> Index {
    Index::open_with(folder, sizes, BOOT).unwrap()
}

/// What all questions can be asked about.
fn collected<T>(answers: impl Iterator<Item = Result<T, IndexError>>) -> Vec<T> {
    answers.collect::<Result<_, _>>().unwrap()
}
