//! Linked groups: all of their items are accepted, or none.

use crate::batch::Outcome;
use crate::past::PastError;
use crate::writer::{Mark, Writer};

/// Refusal of an item because of another item of its group.
const LINKED_EVENT_FAILED: u16 = 2;
/// Refusal of the last item of a batch that is linked to nothing.
const LINKED_EVENT_CHAIN_OPEN: u16 = 3;

/// An item of a batch.
pub(crate) trait Item {
    /// Whether it is accepted only together with the next one.
    fn is_linked(&self) -> bool;
    /// Creates it, if nothing speaks against it.
    fn create(&self, writer: &mut Writer<'_>) -> Result<Outcome, PastError>;
    /// Keeps in mind what has to outlive its refusal.
    fn refuse(&self, writer: &mut Writer<'_>, status: u16);
}

/// The group that is open in a batch.
#[derive(Default)]
pub(crate) struct Groups(Option<Group>);

struct Group {
    /// Index of the outcome of its first item.
    start: usize,
    /// Where the block ended before it.
    before: Mark,
    is_refused: bool,
}

impl Groups {
    /// Runs the next item of a batch and tells what became of it; also of those before it, as far
    /// as they belong to its group.
    pub(crate) fn run(
        &mut self,
        writer: &mut Writer<'_>,
        item: &impl Item,
        is_last: bool,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), PastError> {
        let is_linked = item.is_linked();
        if self.0.is_none() && !is_linked {
            let outcome = item.create(writer)?;
            if outcome.is_refused() {
                item.refuse(writer, outcome.status);
            }
            outcomes.push(outcome);
            return Ok(());
        }
        let group = self.0.get_or_insert_with(|| Group {
            start: outcomes.len(),
            before: writer.begin_group(),
            is_refused: false,
        });
        if group.is_refused {
            outcomes.push(Outcome::refused(LINKED_EVENT_FAILED));
        } else {
            let is_open = is_linked && is_last;
            let outcome = if is_open {
                Outcome::refused(LINKED_EVENT_CHAIN_OPEN)
            } else {
                item.create(writer)?
            };
            group.add(writer, item, outcome, outcomes);
        }
        if !is_linked || is_last {
            group.end(writer, outcomes);
            self.0 = None;
        }
        Ok(())
    }
}

impl Group {
    /// Adds an outcome. If it is a refusal, all before it become one, too.
    fn add(
        &mut self,
        writer: &mut Writer<'_>,
        item: &impl Item,
        outcome: Outcome,
        outcomes: &mut Vec<Outcome>,
    ) {
        if outcome.is_refused() {
            writer.undo(&self.before);
            outcomes[self.start..].fill(Outcome::refused(LINKED_EVENT_FAILED));
            item.refuse(writer, outcome.status);
            self.is_refused = true;
        }
        outcomes.push(outcome);
    }

    /// A group sent again exists as a whole. If only part of it does, an id was used twice: what
    /// is new cannot be accepted together with what was accepted before.
    fn end(&self, writer: &mut Writer<'_>, outcomes: &mut [Outcome]) {
        let outcomes = &mut outcomes[self.start..];
        let first = outcomes.iter().find(|outcome| outcome.is_created()).map(|first| first.at);
        let is_partial = outcomes.iter().any(|outcome| !outcome.is_created());
        if let (Some(first), true, false) = (first, is_partial, self.is_refused) {
            writer.undo(&self.before);
            // Times only grow: what exists since then is of this group, and exists no longer.
            let is_new = |outcome: &&mut Outcome| outcome.at >= first;
            let new = outcomes.iter_mut().filter(is_new);
            new.for_each(|outcome| *outcome = Outcome::refused(LINKED_EVENT_FAILED));
        }
        writer.end_group();
    }
}
