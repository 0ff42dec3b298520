//! The endpoints of one upstream, and which of them a call goes to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use mesh::endpoints::{Resolved, two_of};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::Code;

use crate::call::Route;
use crate::config::UpstreamConfig;
use crate::endpoint::{Endpoint, Place};
use crate::failure::{Failure, Reason};
use crate::status::{EndpointStatus, Group};
use crate::target::Target;

/// The endpoints of one upstream, as names are resolved now.
pub(crate) struct Balance {
    upstream: Arc<str>,
    config: Arc<UpstreamConfig>,
    workers: usize,
    key: hmac::Key,
    sources: OnceLock<Vec<Arc<Source>>>,
    lists: ArcSwap<Lists>,
    /// Whether every name has been looked up.
    known: watch::Sender<bool>,
    /// Those that left, while calls to them are under way. Locked while the lists are replaced.
    leaving: Mutex<Vec<Weak<Endpoint>>>,
    /// Held to eject, so that two at once do not eject too many.
    ejecting: Mutex<()>,
    /// Choices so far, one count per worker.
    turns: Box<[Turn]>,
}

#[derive(Default)]
#[repr(align(128))]
struct Turn(AtomicU64);

/// The endpoints that calls may go to.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) stable: Vec<Arc<Endpoint>>,
    pub(crate) canary: Vec<Arc<Endpoint>>,
}

/// One configured endpoint and the addresses that it stands for.
pub(crate) struct Source {
    pub(crate) target: Target,
    group: Group,
    /// `None` until it was looked up.
    addresses: Mutex<Option<Vec<SocketAddr>>>,
    outdated: Notify,
    balance: Weak<Balance>,
}

impl Resolved for Source {
    fn set(&self, addresses: &[SocketAddr]) {
        *self.addresses.lock() = Some(addresses.to_vec());
        if let Some(balance) = self.balance.upgrade() {
            balance.rebuild();
        }
    }

    fn is_known(&self) -> bool {
        self.addresses.lock().as_ref().is_some_and(|addresses| !addresses.is_empty())
    }

    fn outdated(&self) -> &Notify {
        &self.outdated
    }
}

impl Balance {
    /// Without any endpoint until [`Source`]s are resolved.
    pub(crate) fn new(
        upstream: Arc<str>,
        config: Arc<UpstreamConfig>,
        targets: [Vec<Target>; 2],
        workers: usize,
        key: hmac::Key,
    ) -> Arc<Self> {
        let balance = Arc::new(Self {
            upstream,
            config,
            workers,
            key,
            sources: OnceLock::new(),
            lists: ArcSwap::default(),
            known: watch::Sender::new(false),
            leaving: Mutex::default(),
            ejecting: Mutex::default(),
            turns: (0..workers).map(|_| Turn::default()).collect(),
        });
        let source = |target, group| {
            let balance = Arc::downgrade(&balance);
            let (addresses, outdated) = (Mutex::default(), Notify::new());
            Arc::new(Source { target, group, addresses, outdated, balance })
        };
        let [stable, canary] = targets;
        let stable = stable.into_iter().map(|target| source(target, Group::Stable));
        let canary = canary.into_iter().map(|target| source(target, Group::Canary));
        balance.sources.get_or_init(|| stable.chain(canary).collect());
        balance
    }

    pub(crate) fn sources(&self) -> &[Arc<Source>] {
        self.sources.get().map_or(&[], Vec::as_slice)
    }

    /// Makes the lists of what the names stand for now. Endpoints that stay keep their connections.
    fn rebuild(&self) {
        let mut leaving = self.leaving.lock();
        let old = self.lists.load_full();
        let mut lists = Lists::default();
        let mut complete = true;
        for source in self.sources() {
            let addresses = source.addresses.lock().clone();
            complete &= addresses.is_some();
            let (list, known) = match source.group {
                Group::Stable => (&mut lists.stable, &old.stable),
                Group::Canary => (&mut lists.canary, &old.canary),
            };
            for address in addresses.unwrap_or_default() {
                let same = |endpoint: &&Arc<Endpoint>| endpoint.address == address;
                if list.iter().any(|endpoint| same(&endpoint)) {
                    continue;
                }
                let endpoint = known.iter().find(same).cloned();
                list.push(endpoint.unwrap_or_else(|| self.endpoint(source, address)));
            }
        }
        let stays = |gone: &Arc<Endpoint>| lists.all().any(|stays| Arc::ptr_eq(stays, gone));
        leaving.retain(|endpoint| endpoint.strong_count() > 0);
        for gone in old.all().filter(|endpoint| !stays(endpoint)) {
            gone.drain();
            leaving.push(Arc::downgrade(gone));
        }
        self.lists.store(Arc::new(lists));
        self.known.send_if_modified(|known| complete && !std::mem::replace(known, true));
    }

    /// The upstream left: its endpoints get no new calls.
    pub(crate) fn drain(&self) {
        self.lists.load().all().for_each(|endpoint| endpoint.drain());
    }

    fn endpoint(&self, source: &Source, address: SocketAddr) -> Arc<Endpoint> {
        let place = Place {
            address,
            group: source.group,
            authority: source.target.authority.clone(),
            security: source.target.security.clone(),
            token: self.token(address),
        };
        Arc::new(Endpoint::new(&self.upstream, place, &self.config.limits, self.workers))
    }

    /// The cookie of an address: only who has the key can make it, and it tells nothing.
    fn token(&self, address: SocketAddr) -> Arc<str> {
        let text = format!("{}|{address}", self.upstream);
        let tag = hmac::sign(&self.key, text.as_bytes());
        hex::encode(&tag.as_ref()[..16]).into()
    }

    /// Every endpoint, those that are leaving at the end.
    pub(crate) fn statuses(&self, publish: bool) -> Vec<EndpointStatus> {
        let lists = self.lists.load_full();
        let leaving: Vec<_> = self.leaving.lock().iter().filter_map(Weak::upgrade).collect();
        let status = |endpoint: &Arc<Endpoint>| {
            let status = endpoint.status();
            if publish {
                endpoint.publish(&status);
            }
            status
        };
        lists.all().chain(&leaving).map(status).collect()
    }

    /// Every endpoint in service.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.lists.load().all().cloned().collect()
    }

    /// The endpoint for a call, `avoid` only if there is no other. Waits until names were looked up.
    pub(crate) async fn choose(
        &self,
        worker: usize,
        route: &Route,
        avoid: Option<SocketAddr>,
    ) -> Result<Arc<Endpoint>, Failure> {
        if let Some(endpoint) = self.find(worker, route, avoid) {
            return Ok(endpoint);
        }
        // Ends only with the upstream, which the caller holds.
        let _ = self.known.subscribe().wait_for(|known| *known).await;
        self.find(worker, route, avoid).ok_or_else(|| {
            let message = format!("no endpoint of {} is known", self.upstream);
            Failure::own(Code::Unavailable, Reason::Unknown, message).unsent()
        })
    }

    fn find(
        &self,
        worker: usize,
        route: &Route,
        avoid: Option<SocketAddr>,
    ) -> Option<Arc<Endpoint>> {
        let lists = self.lists.load();
        let now = Instant::now();
        let open = |endpoint: &Arc<Endpoint>| is_open(endpoint, now, avoid);
        let kept = route.sticky.as_deref().and_then(|token| self.kept(&lists, route, token));
        let endpoint = kept.filter(|endpoint| open(endpoint)).or_else(|| {
            let of_canary = if self.to_canary(route) { &lists.canary[..] } else { &[] };
            // A canary of which nothing lives is no reason to fail.
            Self::draw(worker, of_canary, open)
                .or_else(|| Self::of_stable(worker, &lists, now, avoid))
        })?;
        Some(self.take_turn(worker, endpoint))
    }

    /// An endpoint of the version in service, `avoid` only if there is no other.
    pub(crate) fn stable(&self, worker: usize, avoid: Option<SocketAddr>) -> Option<Arc<Endpoint>> {
        let lists = self.lists.load();
        let endpoint = Self::of_stable(worker, &lists, Instant::now(), avoid)?;
        Some(self.take_turn(worker, endpoint))
    }

    fn of_stable(
        worker: usize,
        lists: &Lists,
        now: Instant,
        avoid: Option<SocketAddr>,
    ) -> Option<&Arc<Endpoint>> {
        Self::draw(worker, &lists.stable, |endpoint| is_open(endpoint, now, avoid))
            .or_else(|| Self::draw(worker, &lists.stable, |endpoint| endpoint.is_available(now)))
            // None lives as far as we know: we may be wrong.
            .or_else(|| Self::draw(worker, &lists.stable, |_| true))
    }

    fn take_turn(&self, worker: usize, endpoint: &Arc<Endpoint>) -> Arc<Endpoint> {
        let turn = self.turns[worker].0.fetch_add(1, Ordering::Relaxed) + 1;
        endpoint.lanes[worker].turn.store(turn, Ordering::Relaxed);
        Arc::clone(endpoint)
    }

    fn to_canary(&self, route: &Route) -> bool {
        let weight = self.config.canary.weight;
        route.canary || (weight > 0 && rand::random_range(0..100) < weight)
    }

    /// The endpoint that a client was kept at before, if it still has to do with its group.
    fn kept<'a>(&self, lists: &'a Lists, route: &Route, token: &str) -> Option<&'a Arc<Endpoint>> {
        self.config.sticky.as_ref()?;
        let canary = route.canary || self.config.canary.weight > 0;
        let of_canary = if canary { &lists.canary[..] } else { &[] };
        let of_stable =
            if route.canary && !lists.canary.is_empty() { &[] } else { &lists.stable[..] };
        of_canary.iter().chain(of_stable).find(|endpoint| &*endpoint.token == token)
    }

    /// Of two drawn at random the less busy, or the one whose turn is longer ago: endpoints that are
    /// all alike get their calls in turns, as round robin would give them.
    fn draw(
        worker: usize,
        list: &[Arc<Endpoint>],
        admits: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        if let [only] = list {
            return admits(only).then_some(only);
        }
        let open = || list.iter().filter(|endpoint| admits(endpoint));
        let [first, second] = two_of(open().count())?;
        let rank = |endpoint: &Arc<Endpoint>| {
            (endpoint.load(worker), endpoint.lanes[worker].turn.load(Ordering::Relaxed))
        };
        // Between the count and here one may have been ejected.
        let drawn = [open().nth(first), open().nth(second)];
        drawn.into_iter().flatten().min_by_key(|endpoint| rank(endpoint))
    }

    /// Takes the outcome of a call down.
    pub(crate) fn record(&self, endpoint: &Endpoint, worker: usize, failure: Option<&Failure>) {
        let outlier = &self.config.outlier;
        let Some(failure) = failure.filter(|failure| failure.is_fault()) else {
            return endpoint.succeeded(outlier);
        };
        let unreachable = failure.reason == Some(Reason::Unreachable);
        if endpoint.failed(worker, unreachable, outlier) {
            self.eject(endpoint);
        }
        if unreachable {
            self.sources().iter().for_each(|source| source.outdated.notify_one());
        }
    }

    /// Passes an outlier over, unless more than half of those in service would be. A canary may go
    /// altogether: others answer for it.
    fn eject(&self, endpoint: &Endpoint) {
        let _one_at_a_time = self.ejecting.lock();
        let lists = self.lists.load();
        let now = Instant::now();
        let may_go = match endpoint.group {
            Group::Stable => {
                let out = lists.stable.iter().filter(|other| other.is_ejected(now)).count();
                (out + 1) * 2 <= lists.stable.len()
            }
            Group::Canary => true,
        };
        if may_go && !endpoint.is_ejected(now) {
            endpoint.eject(&self.config.outlier);
            let (upstream, address) = (&*self.upstream, endpoint.address);
            tracing::warn!(upstream, %address, "endpoint ejected");
        }
    }
}

/// Whether a call may go to `endpoint` that had better not go to `avoid`.
fn is_open(endpoint: &Endpoint, now: Instant, avoid: Option<SocketAddr>) -> bool {
    endpoint.is_available(now) && Some(endpoint.address) != avoid
}

impl Lists {
    fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.stable.iter().chain(&self.canary)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;
    use crate::target::Security;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// B-05: what the name service says is followed; who stays keeps its connections, who leaves
    /// ends its calls.
    #[tokio::test]
    async fn endpoints_follow_the_names() {
        let target = Target {
            name: "shop:1".to_owned(),
            authority: "shop:1".parse().unwrap(),
            security: Security::Plain,
        };
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).unwrap();
        let config = Arc::new(UpstreamConfig::default());
        let balance = Balance::new("shop".into(), config, [vec![target], Vec::new()], 1, key);
        let source = &balance.sources()[0];
        assert!(!source.is_known());
        source.set(&[address(1), address(2)]);
        let mut first = balance.endpoints();
        let (two, one) = (first.pop().unwrap(), first.pop().unwrap());

        source.set(&[address(2), address(3), address(3)]);

        let second = balance.endpoints();
        assert!(second.len() == 2 && Arc::ptr_eq(&two, &second[0]));
        assert_eq!(second[1].address, address(3));
        let route = Route::default();
        for _ in 0..20 {
            assert_ne!(balance.choose(0, &route, None).await.unwrap().address, one.address);
        }
        let leaving = || {
            let statuses = balance.statuses(false).into_iter();
            statuses
                .filter(|status| status.draining)
                .map(|status| status.address)
                .collect::<Vec<_>>()
        };
        assert_eq!(leaving(), [address(1)], "while a call holds it");
        drop(one);
        assert_eq!(leaving(), []);

        source.set(&[]);
        let none = balance.choose(0, &route, None).await.map(|endpoint| endpoint.address);
        assert!(none.unwrap_err().surely_not_sent);
    }
}
