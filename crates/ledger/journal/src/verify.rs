//! Verifying blocks while more are read and those before are applied.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use proof::{Block, Chain, HEADER_BYTES, Hash, Header};

use crate::floor::Floor;
use crate::walk::{Batch, Position, Stop, Walk, Why};

/// How many batches each thread may be ahead of the next.
const AHEAD: usize = 2;

/// What takes nodes of the tree, see [`proof::Tree::push`].
pub(crate) type OnNode<'a> = dyn FnMut(u8, u64, Hash) + Send + 'a;

/// What takes verified blocks, their bytes, and where they begin.
pub(crate) type OnBlock<'a> = dyn FnMut(&Block<'_>, &[u8], Position) -> Result<(), Why> + 'a;

/// Verifies what a walk finds.
pub(crate) struct Verifier<'a, 'n> {
    pub(crate) chain: &'a mut Chain,
    pub(crate) floor: Floor,
    pub(crate) on_node: &'a mut OnNode<'n>,
}

/// Blocks that are verified, and why there are no more of them, if so.
struct Verified {
    batch: Batch,
    headers: Vec<Header>,
    stop: Option<Stop>,
}

impl Verifier<'_, '_> {
    /// Hands all blocks to `on_block` in order and says where they stop. With `threads`, reading
    /// and verifying have threads of their own.
    pub(crate) fn run(
        mut self,
        walk: &mut Walk<'_>,
        threads: bool,
        on_block: &mut OnBlock<'_>,
    ) -> Stop {
        if !threads {
            return hand_on(
                std::iter::from_fn(|| Some(self.verify(walk.next(Vec::new())))),
                on_block,
            );
        }
        thread::scope(|scope| {
            let (read, batches) = mpsc::sync_channel(AHEAD);
            let (verified, blocks) = mpsc::sync_channel(AHEAD);
            scope.spawn(move || send_all(&read, || walk.next(Vec::new()), Result::is_err));
            scope.spawn(move || self.verify_all(&batches, &verified));
            hand_on(blocks.into_iter(), on_block)
        })
    }

    fn verify_all(
        &mut self,
        batches: &Receiver<Result<Batch, Stop>>,
        verified: &SyncSender<Verified>,
    ) {
        for batch in batches {
            let checked = self.verify(batch);
            let is_last = checked.stop.is_some();
            if verified.send(checked).is_err() || is_last {
                return;
            }
        }
    }

    fn verify(&mut self, batch: Result<Batch, Stop>) -> Verified {
        let batch = match batch {
            Ok(batch) => batch,
            Err(stop) => {
                let batch = Batch { at: stop.at, bytes: Vec::new(), ends: Vec::new() };
                return Verified { batch, headers: Vec::new(), stop: Some(stop) };
            }
        };
        let mut headers = Vec::with_capacity(batch.ends.len());
        let mut stop = None;
        let mut begin = 0;
        for end in &batch.ends {
            let block = self.chain.push_with(&batch.bytes[begin..*end], &mut self.on_node);
            let header = block.map_err(Why::from).and_then(|block| {
                self.floor.check(&block.header).map_err(Why::Refused)?;
                Ok(block.header)
            });
            match header {
                Ok(header) => headers.push(header),
                Err(why) => {
                    stop = Some(Stop { at: batch.at.plus(begin), why });
                    break;
                }
            }
            begin = *end;
        }
        Verified { batch, headers, stop }
    }
}

/// Sends what `next` gives, up to the last or until nobody wants more.
fn send_all<T>(to: &SyncSender<T>, mut next: impl FnMut() -> T, is_last: impl Fn(&T) -> bool) {
    loop {
        let item = next();
        let was_last = is_last(&item);
        if to.send(item).is_err() || was_last {
            return;
        }
    }
}

fn hand_on(verified: impl Iterator<Item = Verified>, on_block: &mut OnBlock<'_>) -> Stop {
    for Verified { batch, headers, stop } in verified {
        let mut begin = 0;
        for (header, end) in headers.into_iter().zip(&batch.ends) {
            let bytes = &batch.bytes[begin..*end];
            let at = batch.at.plus(begin);
            let block = Block::new(header, &bytes[HEADER_BYTES..]).map_err(Why::from);
            let taken = block.and_then(|block| on_block(&block, bytes, at));
            if let Err(why) = taken {
                return Stop { at, why };
            }
            begin = *end;
        }
        if let Some(stop) = stop {
            return stop;
        }
    }
    unreachable!("the last batch has a stop")
}
