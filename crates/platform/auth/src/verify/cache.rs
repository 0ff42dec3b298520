//! Tokens that were verified, to be found again without a lock.

use std::array;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;

use super::{Times, Verified};
use crate::keys::Key;

/// Sets of places. A token may stand in the places of one set, which its signature chooses.
const SETS: usize = 2_048;

/// Places of a set: 16,384 in all.
const PLACES: usize = 8;

/// Bytes of a set's tokens and of what was made of them: 32 MiB in all.
const SET_BYTES_MAX: usize = 16 * 1024;

/// Bytes at the end of a token that find it. They belong to its signature, so that nobody but its
/// issuer can choose them; all of the token is compared afterwards.
const TAIL_BYTES: usize = 32;

/// A token that was verified.
pub(super) struct Entry {
    pub(super) token: Box<str>,
    pub(super) verified: Arc<Verified>,
    pub(super) times: Times,
    /// What vouches for it.
    pub(super) key: Arc<Key>,
    /// Place of its issuer among the issuers.
    pub(super) issuer: usize,
    /// Second of the last look.
    used_at: AtomicI64,
}

impl Entry {
    pub(super) fn new(
        token: &str,
        verified: Arc<Verified>,
        times: Times,
        key: Arc<Key>,
        issuer: usize,
    ) -> Self {
        Self { token: token.into(), verified, times, key, issuer, used_at: AtomicI64::new(0) }
    }

    /// Its text, and about as much for what was made of it.
    fn bytes(&self) -> usize {
        2 * self.token.len()
    }

    /// Who goes first when there is no place: whoever counts no more, then who was not looked at for
    /// longest.
    fn rank(&self, now: i64) -> i64 {
        if self.key.is_withdrawn() || self.times.refuse(now).is_some() {
            i64::MIN
        } else {
            self.used_at.load(Ordering::Relaxed)
        }
    }
}

/// Verified tokens. A look takes no lock and writes nothing that other cores read, save once a second
/// when a token was used.
///
/// Refused tokens are not remembered. All but the signature is checked before the signature is, so
/// that most refusals cost little anyway; and who forges signatures changes a byte at no cost, finds
/// no refusal in the cache, and would only drive out the good ones.
pub(super) struct Cache {
    /// Keyed by chance at each start.
    hasher: RandomState,
    sets: Box<[Set]>,
}

/// Tags tell which place to look at: all of them share one cache line.
#[derive(Default)]
#[repr(align(64))]
struct Set {
    tags: [AtomicU64; PLACES],
    places: [ArcSwapOption<Entry>; PLACES],
    changing: Mutex<()>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), sets: (0..SETS).map(|_| Set::default()).collect() }
    }

    /// Finds a token, at second `now`.
    pub(super) fn find(&self, token: &str, now: i64) -> Option<Guard<Option<Arc<Entry>>>> {
        let (set, tag) = self.locate(token);
        for (place, known) in set.places.iter().zip(&set.tags) {
            if known.load(Ordering::Relaxed) != tag {
                continue;
            }
            let guard = place.load();
            if let Some(entry) = &*guard
                && *entry.token == *token
            {
                if entry.used_at.load(Ordering::Relaxed) < now {
                    entry.used_at.store(now, Ordering::Relaxed);
                }
                return Some(guard);
            }
        }
        None
    }

    /// Remembers a token, at second `now`.
    pub(super) fn insert(&self, entry: Entry, now: i64) {
        entry.used_at.store(now, Ordering::Relaxed);
        let (set, tag) = self.locate(&entry.token);
        let _alone = set.changing.lock();
        set.make_room(&entry, now);
        let free = set.places.iter().position(|place| place.load().is_none());
        if let Some(place) = free {
            set.places[place].store(Some(Arc::new(entry)));
            set.tags[place].store(tag, Ordering::Relaxed);
        }
    }

    fn locate(&self, token: &str) -> (&Set, u64) {
        let bytes = token.as_bytes();
        let tail = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let hash = self.hasher.hash_one(tail);
        // SETS is far below 2^32, and the tag is the whole hash.
        #[expect(clippy::cast_possible_truncation, reason = "the low bits choose the set")]
        let set = hash as usize % SETS;
        (&self.sets[set], hash)
    }
}

impl Set {
    /// Drops entries until there is a place, and bytes enough, for `entry`.
    fn make_room(&self, entry: &Entry, now: i64) {
        let mut held: [Option<(i64, usize)>; PLACES] = array::from_fn(|place| {
            let held = self.places[place].load();
            let held = held.as_ref()?;
            if held.token == entry.token {
                // Verified by two calls at a time, or again with another key.
                self.places[place].store(None);
                return None;
            }
            Some((held.rank(now), held.bytes()))
        });
        loop {
            let bytes: usize = held.iter().flatten().map(|(_, bytes)| bytes).sum();
            let has_place = held.iter().any(Option::is_none);
            if has_place && bytes + entry.bytes() <= SET_BYTES_MAX {
                return;
            }
            let ranked = held.iter().enumerate().filter_map(|(i, held)| Some((i, (*held)?.0)));
            let Some((place, _)) = ranked.min_by_key(|(_, rank)| *rank) else { return };
            self.places[place].store(None);
            held[place] = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::TokenSigner;

    struct Maker {
        key: Arc<Key>,
        verified: Arc<Verified>,
    }

    impl Maker {
        fn new() -> Self {
            let verified = Verified {
                issuer: "malha".into(),
                subject: String::new(),
                tenant: None,
                roles: Vec::new(),
                scopes: Vec::new(),
                tier: None,
                metadata: Vec::new(),
                expires_at: DateTime::default(),
                principal: None,
                forward: false,
                is_staff: false,
            };
            Self { key: key(), verified: Arc::new(verified) }
        }

        fn entry(&self, token: &str, until: i64) -> Entry {
            let times = Times { from: 0, until };
            Entry::new(token, Arc::clone(&self.verified), times, Arc::clone(&self.key), 0)
        }
    }

    fn key() -> Arc<Key> {
        Arc::new(Key::of(TokenSigner::generate().unwrap().public_jwk()))
    }

    /// Tokens that differ where a signature does.
    fn token(n: usize, bytes: usize) -> String {
        format!("{}{n:032}", "x".repeat(bytes - 32))
    }

    fn held(cache: &Cache) -> Vec<Arc<Entry>> {
        cache.sets.iter().flat_map(|set| &set.places).filter_map(ArcSwapOption::load_full).collect()
    }

    #[test]
    fn the_whole_token_is_compared() {
        let (cache, maker) = (Cache::new(), Maker::new());
        let kept = token(1, 800);
        cache.insert(maker.entry(&kept, 100), 1);

        assert!(cache.find(&kept, 1).is_some());
        assert!(cache.find(&kept.replacen('x', "y", 1), 1).is_none(), "the same tail");
        assert!(cache.find(&kept[1..], 1).is_none());
        assert!(cache.find("", 1).is_none());
    }

    #[test]
    fn a_token_stands_once() {
        let (cache, maker) = (Cache::new(), Maker::new());
        for _ in 0..20 {
            cache.insert(maker.entry(&token(1, 800), 100), 1);
        }
        assert_eq!(held(&cache).len(), 1);
    }

    #[test]
    fn count_and_bytes_are_bounded() {
        let maker = Maker::new();
        for (bytes, count_max) in [(40, SETS * PLACES), (800, SETS * PLACES), (8 * 1024, SETS)] {
            let cache = Cache::new();
            for n in 0..3 * count_max {
                cache.insert(maker.entry(&token(n, bytes), 100), 1);
            }
            let held = held(&cache);
            assert!(held.len() <= count_max && held.len() > count_max * 9 / 10, "{bytes}");
            let taken: usize = held.iter().map(|entry| entry.bytes()).sum();
            assert!(taken <= SETS * SET_BYTES_MAX, "{bytes}");
        }
    }

    /// Who was used goes after who was not, and who counts no more goes first.
    #[test]
    fn those_in_use_stay() {
        let (cache, maker) = (Cache::new(), Maker::new());
        let busy = token(usize::MAX, 800);
        cache.insert(maker.entry(&busy, 1_000_000), 0);
        for n in 0..200_000 {
            let now = i64::try_from(n / 1_000).unwrap() + 1;
            assert!(cache.find(&busy, now).is_some(), "after {n} others");
            cache.insert(maker.entry(&token(n, 800), 1_000_000), now);
        }

        let cache = Cache::new();
        for n in 0..100_000 {
            cache.insert(maker.entry(&token(n, 800), if n % 2 == 0 { 10 } else { 100 }), 1);
        }
        for n in 100_000..200_000 {
            cache.insert(maker.entry(&token(n, 800), 100), 20);
        }
        assert!(held(&cache).iter().all(|entry| entry.times.until == 100), "none that expired");
    }
}
