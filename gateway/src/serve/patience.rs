//! A stream whose reader may be slow, but not for ever, and that is closed so that its last word
//! arrives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take to hear the last word. What it still says meanwhile is thrown away: a
/// system that closes a connection with something unread takes back what it has sent.
const LINGER: Duration = Duration::from_secs(1);

/// Ends a connection when its client takes nothing of what it is sent for `patience`.
pub(super) struct Patient<S> {
    stream: S,
    /// Whether a write waits.
    waits: Arc<AtomicBool>,
    patience: Duration,
    /// Runs while a write waits; almost none does, so it is made only then.
    waiting: Option<Pin<Box<Sleep>>>,
    /// What was read before and is to be read again.
    unread: Bytes,
    /// Whether the last word was said; then `waiting` is how long the client may take to hear it.
    is_shut: bool,
}

impl<S> Patient<S> {
    /// Watches over the writes to `stream`, and notes whether one waits.
    pub(super) fn new(stream: S, waits: Arc<AtomicBool>, patience: Duration) -> Self {
        Self { stream, waits, patience, waiting: None, unread: Bytes::new(), is_shut: false }
    }

    /// Gives back what was read and not understood yet. It is copied, for even an empty rest would
    /// keep the whole buffer that it is of.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.unread = Bytes::copy_from_slice(bytes);
    }

    /// The stream that is watched.
    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Lets a write pass on, or fails it when it has waited for too long.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.waiting.take().is_some() {
                self.waits.store(false, Ordering::Relaxed);
            }
            return written;
        }
        self.waits.store(true, Ordering::Relaxed);
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        waiting.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let again = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(again));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + Unpin> Patient<S> {
    /// Waits until the client has closed its side, or its time is over.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 4096];
        while self.waiting.as_mut().is_some_and(|left| left.as_mut().poll(context).is_pending()) {
            let mut buffer = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            let shut = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.judge(context, shut))?;
            self.is_shut = true;
            self.waiting = Some(Box::pin(sleep(LINGER)));
        }
        self.linger(context).map(Ok)
    }
}
