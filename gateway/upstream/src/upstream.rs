//! One upstream: its endpoints, its breakers, what repeats may cost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use mesh::Mesh;
use mesh::breaker::{Breaker, Permit};
use mesh::endpoints::follow;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;
use tower::retry::budget::{Budget, TpsBudget};

use crate::balance::{Balance, Source};
use crate::call::Route;
use crate::config::UpstreamConfig;
use crate::endpoint::Endpoint;
use crate::failure::{Failure, Reason};
use crate::health;
use crate::meters::{UpstreamMeters, breaker_gauge};
use crate::status::{Group, UpstreamStatus};
use crate::target::{Targets, TlsFiles};

/// Time over which the share of repeats is counted.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);

/// One upstream, shared by all workers.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<UpstreamConfig>,
    pub(crate) balance: Arc<Balance>,
    /// Of the version in service, and of its canary: a bad one takes nothing from the other.
    breakers: [Arc<Breaker>; 2],
    pub(crate) meters: UpstreamMeters,
    repeats: Box<[Repeats]>,
    delays: ExponentialBuilder,
    /// Name service, health checks, certificates: all end with the upstream.
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// What one worker may repeat, and has repeated.
#[repr(align(128))]
pub(crate) struct Repeats {
    budget: TpsBudget,
    retries: AtomicU64,
    over_budget: AtomicU64,
    hedges: AtomicU64,
}

impl Upstream {
    /// Must be called within a tokio runtime, on which names are resolved and health is checked.
    pub(crate) fn new(
        name: &str,
        config: UpstreamConfig,
        mesh: Option<&Mesh>,
        workers: usize,
        key: hmac::Key,
    ) -> Result<Self, String> {
        config.validate()?;
        let files = TlsFiles::load(&config.tls)?;
        let targets = Targets { name, config: &config, mesh, files: files.clone() };
        let targets = [targets.stable()?, targets.canary()?];
        let (name, config): (Arc<str>, _) = (name.into(), Arc::new(config));
        let balance = Balance::new(Arc::clone(&name), Arc::clone(&config), targets, workers, key);
        let every = config.limits.resolve_interval;
        let follow = |source: &Arc<Source>| follow(source, vec![source.target.name.clone()], every);
        let mut tasks: Vec<_> = balance.sources().iter().filter_map(follow).collect();
        tasks.extend(files.map(|files| AbortOnDropHandle::new(tokio::spawn(files.keep_fresh()))));
        if config.health.enabled {
            let checks = health::keep_checking(Arc::clone(&balance), Arc::clone(&config), workers);
            tasks.push(AbortOnDropHandle::new(tokio::spawn(checks)));
        }
        let breaker = |group| {
            let gauge = breaker_gauge(&name, group);
            Breaker::new(Arc::clone(&name), config.breaker.clone(), gauge)
        };
        Ok(Self {
            breakers: [Group::Stable, Group::Canary].map(breaker),
            meters: UpstreamMeters::new(&name),
            repeats: (0..workers).map(|_| Repeats::new(&config)).collect(),
            delays: ExponentialBuilder::new()
                .with_min_delay(config.retry.delay_min)
                .with_max_delay(config.retry.delay_max)
                .with_max_times(config.retry.attempts_max.get() as usize - 1)
                .with_jitter(),
            name,
            config,
            balance,
            _tasks: tasks,
        })
    }

    /// The breaker of a group.
    pub(crate) fn breaker(&self, group: Group) -> &Arc<Breaker> {
        &self.breakers[group as usize]
    }

    /// The endpoint for a call, `avoid` only if there is no other, and leave to call it. For a canary
    /// whose breaker is open the version in service answers.
    pub(crate) async fn choose(
        &self,
        worker: usize,
        route: &Route,
        avoid: Option<SocketAddr>,
    ) -> Result<(Permit, Arc<Endpoint>), Failure> {
        let endpoint = self.balance.choose(worker, route, avoid).await?;
        let (endpoint, admitted) = match self.breaker(endpoint.group).admit() {
            Err(_) if endpoint.group == Group::Canary => {
                let stable = self.balance.stable(worker, avoid).unwrap_or(endpoint);
                let admitted = self.breaker(stable.group).admit();
                (stable, admitted)
            }
            admitted => (endpoint, admitted),
        };
        admitted.map(|permit| (permit, endpoint)).map_err(is_open)
    }

    /// The cookie to set on the answer of `endpoint`, unless the client has it.
    pub(crate) fn cookie(&self, endpoint: &Endpoint, route: &Route) -> Option<Arc<str>> {
        let is_new = route.sticky.as_deref() != Some(&*endpoint.token);
        (self.config.sticky.is_some() && is_new).then(|| Arc::clone(&endpoint.token))
    }

    /// What `worker` may repeat.
    pub(crate) fn repeats(&self, worker: usize) -> &Repeats {
        &self.repeats[worker]
    }

    /// The waits before the repeats of one call.
    pub(crate) fn delays(&self) -> ExponentialBackoff {
        self.delays.build()
    }

    /// What is seen of it; the metrics show the same when `publish`.
    pub(crate) fn status(&self, publish: bool) -> UpstreamStatus {
        let sum = |count: fn(&Repeats) -> &AtomicU64| {
            self.repeats.iter().map(|repeats| count(repeats).load(Ordering::Relaxed)).sum()
        };
        let status = UpstreamStatus {
            name: self.name.to_string(),
            breaker: self.breaker(Group::Stable).state(),
            canary_breaker: self.breaker(Group::Canary).state(),
            canary_weight: self.config.canary.weight,
            retries: sum(|repeats| &repeats.retries),
            retries_over_budget: sum(|repeats| &repeats.over_budget),
            hedges: sum(|repeats| &repeats.hedges),
            endpoints: self.balance.statuses(publish),
        };
        if publish {
            self.meters.publish(&status);
        }
        status
    }
}

/// The breaker is open (K-32 has the words).
fn is_open(wait: Duration) -> Failure {
    let failure = Failure::own(Code::Unavailable, Reason::CircuitOpen, "circuit breaker is open");
    Failure { retry_after: Some(wait), ..failure.unsent() }
}

impl Repeats {
    fn new(config: &UpstreamConfig) -> Self {
        let share = f32::from(config.retry.budget_percent) / 100.0;
        let per_second = u32::from(config.retry.budget_per_second);
        Self {
            budget: TpsBudget::new(BUDGET_WINDOW, per_second, share),
            retries: AtomicU64::new(0),
            over_budget: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
        }
    }

    /// A call begins: it pays for its share of a repeat.
    pub(crate) fn deposit(&self) {
        self.budget.deposit();
    }

    /// Whether the budget allows a repeat, which then is counted.
    pub(crate) fn retry(&self) -> bool {
        self.spend(&self.retries)
    }

    /// Whether the budget allows a second copy, which then is counted.
    pub(crate) fn hedge(&self) -> bool {
        self.spend(&self.hedges)
    }

    /// Counts a repeat that costs nothing.
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn spend(&self, count: &AtomicU64) -> bool {
        let may = self.budget.withdraw();
        let count = if may { count } else { &self.over_budget };
        count.fetch_add(1, Ordering::Relaxed);
        may
    }
}
