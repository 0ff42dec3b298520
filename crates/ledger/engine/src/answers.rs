//! Answers on their way to those who wait for them.
//!
//! A thread that serves callers is woken once for all answers of a block, and gives them out
//! itself: to wake one task from outside its runtime may cost as much as to apply the call.

use std::cell::RefCell;
use std::sync::Arc;

use book::Outcome;
use tokio::runtime::{Handle, Id};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

/// Whom to tell the outcomes. When it is dropped instead, the caller knows nothing.
pub(crate) struct Reply {
    to: oneshot::Sender<Vec<Outcome>>,
    /// None for a caller outside of any runtime.
    home: Option<Arc<Home>>,
}

/// An answer, and whom to tell.
pub(crate) type Answer = (Reply, Vec<Outcome>);

/// Where the callers of a thread get their answers: a task on its runtime.
struct Home {
    runtime: Id,
    inbox: UnboundedSender<Vec<Answer>>,
}

thread_local! {
    static HOME: RefCell<Option<Arc<Home>>> = const { RefCell::new(None) };
}

impl Reply {
    /// For a caller on this thread, and where it waits.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Vec<Outcome>>) {
        let (to, answer) = oneshot::channel();
        (Self { to, home: Home::here() }, answer)
    }
}

impl Home {
    fn here() -> Option<Arc<Self>> {
        let runtime = Handle::try_current().ok()?;
        HOME.with_borrow_mut(|home| {
            // A runtime may end and its thread enter another.
            if home.as_ref().is_none_or(|it| it.runtime != runtime.id() || it.inbox.is_closed()) {
                let (inbox, answers) = mpsc::unbounded_channel();
                runtime.spawn(give_out(answers));
                *home = Some(Arc::new(Self { runtime: runtime.id(), inbox }));
            }
            home.clone()
        })
    }
}

async fn give_out(mut inbox: UnboundedReceiver<Vec<Answer>>) {
    while let Some(answers) = inbox.recv().await {
        answers.into_iter().for_each(tell);
    }
}

fn tell((reply, outcomes): Answer) {
    // A caller that no longer waits is no concern of ours.
    drop(reply.to.send(outcomes));
}

/// Gives the answers of a block.
pub(crate) fn give(answers: Vec<Answer>) {
    let mut homes: Vec<(Arc<Home>, Vec<Answer>)> = Vec::new();
    for answer in answers {
        let Some(home) = &answer.0.home else {
            tell(answer);
            continue;
        };
        if let Some((_, its)) = homes.iter_mut().find(|(it, _)| Arc::ptr_eq(it, home)) {
            its.push(answer);
        } else {
            homes.push((Arc::clone(home), vec![answer]));
        }
    }
    for (home, answers) in homes {
        // Fails when the runtime has ended, and its callers with it.
        drop(home.inbox.send(answers));
    }
}
