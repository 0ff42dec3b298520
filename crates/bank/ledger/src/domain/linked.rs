//! Linked groups: all of their items are accepted, or none.

use super::Outcome;

/// Creates items one by one and can take the newest of them back.
pub(super) trait Batch {
    type Item;
    type Refusal: Copy;

    /// Refusal of an item because of another item of its group.
    const LINKED_EVENT_FAILED: Self::Refusal;
    /// Refusal of the last item of a batch that is linked to nothing.
    const LINKED_EVENT_CHAIN_OPEN: Self::Refusal;

    /// Whether the item is accepted only together with the next one.
    fn is_linked(item: &Self::Item) -> bool;
    fn create(&mut self, item: &Self::Item) -> Outcome<Self::Refusal>;
    /// Takes back the newest item that was created.
    fn undo(&mut self);
    /// Keeps in mind what has to outlive the refusal of an item.
    fn refuse(&mut self, item: &Self::Item, refusal: Self::Refusal);
}

/// Runs all items in order and tells what became of each.
pub(super) fn run<B: Batch>(batch: &mut B, items: &[B::Item]) -> Vec<Outcome<B::Refusal>> {
    let mut outcomes = Vec::with_capacity(items.len());
    for group in items.split_inclusive(|item| !B::is_linked(item)) {
        run_group(batch, group, &mut outcomes);
    }
    outcomes
}

fn run_group<B: Batch>(batch: &mut B, group: &[B::Item], outcomes: &mut Vec<Outcome<B::Refusal>>) {
    let start = outcomes.len();
    let chain_open = group.last().is_some_and(B::is_linked);
    for (position, item) in group.iter().enumerate() {
        let outcome = if chain_open && position + 1 == group.len() {
            Outcome::Refused(B::LINKED_EVENT_CHAIN_OPEN)
        } else {
            batch.create(item)
        };
        if let Outcome::Refused(refusal) = outcome {
            take_back(batch, &mut outcomes[start..]);
            batch.refuse(item, refusal);
            outcomes.truncate(start);
            outcomes.resize(start + group.len(), Outcome::Refused(B::LINKED_EVENT_FAILED));
            outcomes[start + position] = outcome;
            return;
        }
        outcomes.push(outcome);
    }
    // A group sent again exists as a whole. If only part of it does, an id was used twice: what
    // is new cannot be accepted together with what was accepted before.
    let group = &mut outcomes[start..];
    if group.iter().any(|outcome| matches!(outcome, Outcome::Exists(_))) {
        take_back(batch, group);
    }
}

/// Refuses all that was created, newest first, and what was the same again.
fn take_back<B: Batch>(batch: &mut B, outcomes: &mut [Outcome<B::Refusal>]) {
    let first = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Created(at) => Some(*at),
        _ => None,
    });
    let Some(first) = first else { return };
    for outcome in outcomes.iter_mut().rev() {
        match *outcome {
            Outcome::Created(_) => batch.undo(),
            // Times only grow: what exists since then is of this group, and exists no longer.
            Outcome::Exists(at) if at >= first => {}
            _ => continue,
        }
        *outcome = Outcome::Refused(B::LINKED_EVENT_FAILED);
    }
}
