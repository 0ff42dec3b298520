//! Whether calls come one by one, which is when it pays to look for the next thing rather than to
//! sleep until it comes: to be woken takes a processor that sleeps, too, as long as the work itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::{RecvError, TryRecvError};
use tokio::task::yield_now;

/// How long a thread looks before it sleeps: about as long as a lone caller takes from an answer to
/// its next call, and the disk for that.
pub(crate) const LOOK: Duration = Duration::from_micros(300);

/// Told by the thread that applies calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calm(Arc<AtomicBool>);

impl Calm {
    /// The last block was of so many calls.
    pub(crate) fn set(&self, calls: usize) {
        self.0.store(calls == 1, Ordering::Relaxed);
    }

    /// Whether the last block was of one call.
    pub(crate) fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for an answer, and for what else this thread has to do.
    pub(crate) async fn look<T>(&self, mut answer: Receiver<T>) -> Result<T, RecvError> {
        let end = Instant::now() + LOOK;
        while self.is() && Instant::now() < end {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => yield_now().await,
                Err(TryRecvError::Closed) => break,
                Ok(answer) => return Ok(answer),
            }
        }
        answer.await
    }
}
