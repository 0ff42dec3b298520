//! A future beside a busier one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Waits for `future`, which is looked at only when it was woken itself: a task that is woken for each
/// request passes its timers by.
pub(super) async fn aside<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&bell));
    poll_fn(move |context| {
        // Before the look at the bell, so that no ring is lost.
        bell.task.register(context.waker());
        if !bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_its_own_wakers_have_it_looked_at() {
        let polls = Cell::new(0);
        let mut slow = Box::pin(sleep(Duration::from_secs(10)));
        let counted = poll_fn(|context| {
            polls.set(polls.get() + 1);
            slow.as_mut().poll(context)
        });
        let mut counted = pin!(aside(counted));
        for _ in 0..100 {
            tokio::select! {
                () = &mut counted => unreachable!("it is not time yet"),
                () = sleep(Duration::from_millis(10)) => {}
            }
        }
        assert_eq!(polls.get(), 1);
        counted.await;
        assert_eq!(polls.get(), 2);
    }
}
