//! Hashes and signs blocks.

use std::sync::mpsc::{Receiver, SyncSender};

use book::Block;
use proof::{Header, Sealer, Tiles};

use super::{Applied, Sealed};

/// Seals blocks until there are no more or nobody takes them.
pub(super) fn run(
    sealer: &mut Sealer,
    nodes: &Tiles,
    applied: &Receiver<Applied>,
    to_write: &SyncSender<Sealed>,
) {
    for Applied { mut block, answers, key, checkpoint } in applied {
        let header = (!block.is_empty()).then(|| {
            let signed_by = sealer.public().clone();
            (seal(sealer, nodes, &mut block), signed_by)
        });
        // The block that names the next key is signed with the one before.
        if let Some(key) = key {
            sealer.rotate(*key);
        }
        let checkpoint = checkpoint.map(|request| (request, sealer.tail().clone()));
        if to_write.send(Sealed { header, block, answers, checkpoint }).is_err() {
            return;
        }
    }
}

/// Completes a block.
pub(crate) fn seal(sealer: &mut Sealer, nodes: &Tiles, block: &mut Block) -> Header {
    let parts = block.finish();
    let mut on_node = |level, index, hash| nodes.put(level, index, hash);
    sealer.seal(block.timestamp, &mut block.bytes, parts, &mut on_node)
}
