//! Answers in this process.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use super::record::Record;
use super::store::{Found, NOBODY};

/// Threads seldom meet in one of so many.
const SHARDS: usize = 16;

/// Locks in a shard from which on those that have expired are forgotten.
const LOCKS_KEPT: usize = 64;

/// What an answer takes besides its headers and body.
const OVERHEAD: usize = 512;

/// Locks and answers of one process.
pub(super) struct Memory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Bytes of answers in a shard.
    bytes_max: usize,
}

#[derive(Default)]
struct Shard {
    locks: HashMap<String, Held>,
    /// Number of locks at which those that have expired are forgotten next.
    forget_at: usize,
    answers: HashMap<String, Done>,
    /// Keys of the answers in the order in which they expire: the oldest first.
    oldest: VecDeque<String>,
    bytes: usize,
}

struct Held {
    fingerprint: [u8; 32],
    owner: Uuid,
    until: Instant,
}

struct Done {
    fingerprint: [u8; 32],
    owner: Uuid,
    until: Instant,
    record: Record,
}

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            bytes_max: bytes_max / SHARDS,
        }
    }

    pub(super) fn begin(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Found {
        let now = Instant::now();
        let mut shard = self.shard(key).lock();
        shard.forget_answers(now, usize::MAX);
        shard.forget_locks(now);
        let of_other = |it: &[u8; 32]| it != fingerprint;
        match (shard.answers.get(key), shard.locks.get(key)) {
            (Some(done), _) if of_other(&done.fingerprint) => return Found::Other,
            (Some(done), _) => return Found::Done(done.record.clone()),
            (None, Some(held)) if held.until > now && of_other(&held.fingerprint) => {
                return Found::Other;
            }
            (None, Some(held)) if held.until > now && held.owner == NOBODY => {
                return Found::Abandoned(held.until - now);
            }
            (None, Some(held)) if held.until > now => return Found::Running,
            (None, _) => {}
        }
        let held = Held { fingerprint: *fingerprint, owner, until: now + lock_ttl };
        shard.locks.insert(key.to_owned(), held);
        Found::Nothing
    }

    pub(super) fn renew(&self, key: &str, owner: Uuid, lock_ttl: Duration) -> bool {
        let now = Instant::now();
        let mut shard = self.shard(key).lock();
        let held = shard.locks.get_mut(key).filter(|held| held.owner == owner && held.until > now);
        held.map(|held| held.until = now + lock_ttl).is_some()
    }

    pub(super) fn abandon(&self, key: &str, owner: Uuid, lock_ttl: Duration) {
        let now = Instant::now();
        let mut shard = self.shard(key).lock();
        let held = shard.locks.get_mut(key).filter(|held| held.owner == owner && held.until > now);
        if let Some(held) = held {
            (held.owner, held.until) = (NOBODY, now + lock_ttl);
        }
    }

    pub(super) fn complete(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        record: &Record,
        retention: Duration,
    ) -> bool {
        let now = Instant::now();
        let mut shard = self.shard(key).lock();
        shard.forget_answers(now, usize::MAX);
        if let Some(done) = shard.answers.get(key) {
            return done.owner == owner;
        }
        let of_other = |held: &Held| held.owner != owner && held.until > now;
        if shard.locks.get(key).is_some_and(of_other) {
            return false;
        }
        shard.locks.remove(key);
        shard.bytes += record.bytes() + OVERHEAD;
        let (fingerprint, until, record) = (*fingerprint, now + retention, record.clone());
        shard.answers.insert(key.to_owned(), Done { fingerprint, owner, until, record });
        shard.oldest.push_back(key.to_owned());
        shard.forget_answers(now, self.bytes_max);
        true
    }

    pub(super) fn release(&self, key: &str, owner: Uuid) {
        let mut shard = self.shard(key).lock();
        if shard.locks.get(key).is_some_and(|held| held.owner == owner) {
            shard.locks.remove(key);
        }
    }

    fn shard(&self, key: &str) -> &Mutex<Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let hash = self.hasher.hash_one(key) as usize;
        &self.shards[hash % SHARDS]
    }
}

impl Shard {
    /// Forgets answers that have expired, and the oldest of the others while there are too many.
    fn forget_answers(&mut self, now: Instant, bytes_max: usize) {
        while let Some(key) = self.oldest.front() {
            let Some(done) = self.answers.get(key) else {
                unreachable!("every key in the queue has its answer");
            };
            let expired = done.until <= now;
            if !expired && self.bytes <= bytes_max {
                return;
            }
            if !expired {
                metrics::counter!("malha_edge_idempotency_forgotten_total").increment(1);
            }
            self.bytes -= done.record.bytes() + OVERHEAD;
            self.answers.remove(key);
            self.oldest.pop_front();
        }
    }

    /// Forgets the locks of requests that vanished.
    fn forget_locks(&mut self, now: Instant) {
        if self.locks.len() >= self.forget_at.max(LOCKS_KEPT) {
            self.locks.retain(|_, held| held.until > now);
            self.forget_at = self.locks.len() * 2;
        }
    }
}
