//! The connections of one worker to one endpoint.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::wire::Payload;

/// The connections and counts of one worker at one endpoint. Other workers only read the counts:
/// its own alignment keeps them out of each other's cache lines.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Lane {
    pub(crate) in_flight: AtomicUsize,
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) connects: AtomicU64,
    /// When the endpoint was chosen last, in choices of the worker.
    pub(crate) turn: AtomicU64,
    connections: Mutex<Connections>,
    /// Notified when room is made while calls wait for it.
    room: Notify,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Connections {
    open: Vec<Arc<Connection>>,
    opening: Option<Opening>,
}

/// A connection that is being made; all that need it wait for the same.
type Opening = Shared<BoxFuture<'static, Result<Arc<Connection>, Arc<io::Error>>>>;

/// Leave to send one call on a connection.
pub(crate) struct Slot {
    pub(crate) connection: Arc<Connection>,
    /// Keeps the endpoint, and with it the connections, until the last call has ended.
    endpoint: Arc<Endpoint>,
    worker: usize,
}

impl Slot {
    fn new(connection: Arc<Connection>, endpoint: &Arc<Endpoint>, worker: usize) -> Self {
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.lanes[worker].in_flight.fetch_add(1, Ordering::Relaxed);
        Self { connection, endpoint: Arc::clone(endpoint), worker }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connection.in_flight.fetch_sub(1, Ordering::Relaxed);
        let lane = &self.endpoint.lanes[self.worker];
        lane.in_flight.fetch_sub(1, Ordering::Relaxed);
        if lane.waiting.load(Ordering::Relaxed) > 0 {
            lane.room.notify_one();
        }
    }
}

/// What a call finds that wants to be sent.
enum Pick {
    Found(Slot, SendRequest<Payload>),
    Opening(Opening),
    Full,
}

/// Waits for room at `endpoint`, on a connection of `worker`; a connection is made where that helps.
pub(crate) async fn acquire(
    endpoint: &Arc<Endpoint>,
    worker: usize,
) -> Result<(Slot, SendRequest<Payload>), Arc<io::Error>> {
    if let Pick::Found(slot, sender) = pick(endpoint, worker) {
        return Ok((slot, sender));
    }
    let lane = &endpoint.lanes[worker];
    let _waiting = Waiting::enter(&lane.waiting);
    loop {
        // Before the look, so that room made after it is noticed.
        let room = lane.room.notified();
        match pick(endpoint, worker) {
            Pick::Found(slot, sender) => return Ok((slot, sender)),
            Pick::Full => room.await,
            Pick::Opening(opening) => tokio::select! {
                // One that is gone already is not made again and again.
                opened = opening => if opened?.sender().is_none() {
                    return Err(given_up("the peer closed the connection at once"));
                },
                () = room => {}
            },
        }
    }
}

/// The least busy connection with room, or what to wait for.
fn pick(endpoint: &Arc<Endpoint>, worker: usize) -> Pick {
    let mut connections = endpoint.lanes[worker].connections.lock();
    let mut best: Option<(usize, SendRequest<Payload>, Arc<Connection>)> = None;
    connections.open.retain(|connection| {
        let Some(sender) = connection.sender() else { return false };
        let busy = connection.in_flight.load(Ordering::Relaxed);
        if connection.has_room(&sender) && best.as_ref().is_none_or(|(least, ..)| busy < *least) {
            best = Some((busy, sender, Arc::clone(connection)));
        }
        true
    });
    if let Some((_, sender, connection)) = best {
        return Pick::Found(Slot::new(connection, endpoint, worker), sender);
    }
    if connections.opening.is_none() {
        if connections.open.len() >= endpoint.limits.connections_max.get() as usize {
            return Pick::Full;
        }
        // In a task: it goes on when the calls that wait for it are given up.
        let opening = tokio::spawn(open(Arc::clone(endpoint), worker));
        let opening =
            opening.map(|ended| ended.unwrap_or_else(|_| Err(given_up("the runtime ends"))));
        connections.opening = Some(opening.boxed().shared());
    }
    connections.opening.clone().map_or(Pick::Full, Pick::Opening)
}

async fn open(endpoint: Arc<Endpoint>, worker: usize) -> Result<Arc<Connection>, Arc<io::Error>> {
    let opened = Connection::open(endpoint.address, &endpoint.security, &endpoint.limits).await;
    let lane = &endpoint.lanes[worker];
    let mut connections = lane.connections.lock();
    connections.opening = None;
    let opened = Arc::new(opened?);
    connections.open.push(Arc::clone(&opened));
    lane.connects.fetch_add(1, Ordering::Relaxed);
    Ok(opened)
}

fn given_up(reason: &'static str) -> Arc<io::Error> {
    Arc::new(io::Error::other(reason))
}

impl Lane {
    /// Connections that stand.
    pub(crate) fn connections(&self) -> usize {
        let mut connections = self.connections.lock();
        connections.open.retain(|connection| connection.sender().is_some());
        connections.open.len()
    }
}

/// Counts a call that waits for room.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
