//! Carries a client's messages to the upstream beside the answers that come back.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::{AbortHandle, spawn_local};

use crate::problem::Problem;

/// Work beside a stream, which ends with it.
pub(crate) struct Pump {
    work: AbortHandle,
    /// Why the client's side went wrong.
    fault: Rc<RefCell<Option<Problem>>>,
}

impl Pump {
    /// Begins the work.
    pub(crate) fn start(work: impl Future<Output = Result<(), Problem>> + 'static) -> Self {
        let fault = Rc::new(RefCell::new(None));
        let noted = Rc::clone(&fault);
        let work = spawn_local(async move {
            if let Err(problem) = work.await {
                *noted.borrow_mut() = Some(problem);
            }
        });
        Self { work: work.abort_handle(), fault }
    }

    /// Whether the client's side went wrong.
    pub(crate) fn is_faulty(&self) -> bool {
        self.fault.borrow().is_some()
    }

    /// What went wrong on the client's side; it explains what the upstream says then.
    pub(crate) fn fault(&self) -> Option<Problem> {
        self.fault.borrow_mut().take()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.work.abort();
    }
}
