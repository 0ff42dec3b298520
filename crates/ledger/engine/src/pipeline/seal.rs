//! Hashes and signs blocks.

use book::Block;
use proof::{Header, Sealer, Tiles};

use super::{Applied, Sealed};

/// What seals.
pub(super) struct Seal {
    sealer: Sealer,
    nodes: Tiles,
}

impl Seal {
    pub(super) fn new(sealer: Sealer, nodes: Tiles) -> Self {
        Self { sealer, nodes }
    }

    /// Seals the next block.
    pub(super) fn seal(&mut self, applied: Applied) -> Sealed {
        let Applied { mut block, answers, key, checkpoint } = applied;
        let sealer = &mut self.sealer;
        let header = (!block.is_empty()).then(|| {
            let signed_by = sealer.public().clone();
            (seal(sealer, &self.nodes, &mut block), signed_by)
        });
        // The block that names the next key is signed with the one before.
        if let Some(key) = key {
            sealer.rotate(*key);
        }
        let checkpoint = checkpoint.map(|request| (request, sealer.tail().clone()));
        Sealed { header, block, answers, checkpoint }
    }
}

/// Completes a block.
pub(crate) fn seal(sealer: &mut Sealer, nodes: &Tiles, block: &mut Block) -> Header {
    let parts = block.finish();
    let mut on_node = |level, index, hash| nodes.put(level, index, hash);
    sealer.seal(block.timestamp, &mut block.bytes, parts, &mut on_node)
}
