//! Rate limits: several windows at once for each caller and class (GCRA).
//!
//! A request counts in all windows or in none, so one that the short window refuses takes
//! nothing from the long one. Counts live in this process, as many as `callers_max` a class.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use auth::{TenantId, UserId};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;

use crate::StartError;
use crate::config::Window;
use crate::problem::{Problem, whole_seconds};

/// Class of the methods that name none.
const DEFAULT_CLASS: &str = "default";

/// Callers from which on those that have rested are forgotten.
const CALLERS_KEPT: usize = 1024;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Caller {
    /// A verified user.
    User(TenantId, UserId),
    /// Anybody else at an address; of IPv6 the network, for a host has as many as it likes.
    Address(IpAddr),
    /// All who come when the table is full.
    Others,
}

impl Caller {
    /// The caller without a user at `address`.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// Counts the requests of all callers.
pub(crate) struct Limiter {
    classes: BTreeMap<String, Class>,
    started: Instant,
}

impl Limiter {
    /// A limiter of these classes, `default` among them.
    pub(crate) fn new(
        classes: &BTreeMap<String, Vec<Window>>,
        callers_max: NonZeroU32,
    ) -> Result<Self, StartError> {
        let refused =
            |class: &str, fault| Err(StartError::RateLimits { class: class.to_owned(), fault });
        if !classes.contains_key(DEFAULT_CLASS) {
            return refused(DEFAULT_CLASS, "the class of all methods that name none must be there");
        }
        if let Some((class, _)) = classes.iter().find(|(_, windows)| windows.iter().any(is_instant))
        {
            return refused(class, "a window must take some time");
        }
        let callers_max = usize::try_from(callers_max.get()).unwrap_or(usize::MAX);
        let classes = classes
            .iter()
            .map(|(name, windows)| (name.clone(), Class::new(name, windows, callers_max)))
            .collect();
        Ok(Self { classes, started: Instant::now() })
    }

    /// Counts one request of `caller`, or refuses it; says which in the headers.
    pub(crate) fn admit(
        &self,
        class: &str,
        caller: Caller,
        headers: &mut HeaderMap,
    ) -> Result<(), Problem> {
        let class = self.classes.get(class).or_else(|| self.classes.get(DEFAULT_CLASS));
        let Some(class) = class.filter(|class| !class.windows.is_empty()) else { return Ok(()) };
        let outcome = class.count(caller, self.started.elapsed());
        class.describe(&outcome, headers);
        match outcome.wait {
            None => Ok(()),
            Some(wait) => {
                metrics::counter!("malha_edge_rate_limited_total", "class" => class.name.clone())
                    .increment(1);
                let problem = Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "RATE_LIMITED",
                    "too many requests; wait as long as Retry-After says",
                );
                Err(problem.retry_after(wait))
            }
        }
    }
}

/// One class of methods and the callers that use them.
struct Class {
    name: String,
    windows: Vec<Window>,
    /// The `RateLimit-Policy` header.
    policy: Option<HeaderValue>,
    callers_max: usize,
    callers: Mutex<Callers>,
}

/// When each caller will have rested, by window: nanoseconds since the limiter began.
#[derive(Default)]
struct Callers {
    rested_at: HashMap<Caller, Box<[u64]>>,
    /// Size at which those that have rested are forgotten next.
    forget_at: usize,
}

/// What became of a request.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// How long to wait; `None` when the request is admitted.
    wait: Option<Duration>,
    /// For each window the requests left, and the time until all are back.
    left: Vec<(u64, Duration)>,
}

impl Class {
    fn new(name: &str, windows: &[Window], callers_max: usize) -> Self {
        let policy = windows.iter().map(|window| {
            format!("{};q={};w={}", label(name, window), window.requests, whole_seconds(window.per))
        });
        let policy = policy.collect::<Vec<_>>().join(", ");
        Self {
            name: name.to_owned(),
            windows: windows.to_vec(),
            policy: HeaderValue::try_from(policy).ok(),
            callers_max,
            callers: Mutex::new(Callers { forget_at: CALLERS_KEPT, ..Callers::default() }),
        }
    }

    fn count(&self, caller: Caller, now: Duration) -> Outcome {
        let now = nanos(now);
        let mut callers = self.callers.lock();
        let caller = callers.place(caller, now, self.callers_max);
        let rested_at = callers
            .rested_at
            .entry(caller)
            .or_insert_with(|| vec![now; self.windows.len()].into_boxed_slice());
        admit(&self.windows, rested_at, now)
    }

    fn describe(&self, outcome: &Outcome, headers: &mut HeaderMap) {
        let windows = || self.windows.iter().zip(&outcome.left);
        let Some((tightest, (left, reset))) = windows().min_by_key(|(_, (left, _))| *left) else {
            return;
        };
        let all = windows().map(|(window, (left, reset))| {
            format!("{};r={left};t={}", label(&self.name, window), whole_seconds(*reset))
        });
        if let Ok(all) = HeaderValue::try_from(all.collect::<Vec<_>>().join(", ")) {
            headers.insert("ratelimit", all);
        }
        if let Some(policy) = &self.policy {
            headers.insert("ratelimit-policy", policy.clone());
        }
        headers.insert("ratelimit-limit", tightest.requests.get().into());
        headers.insert("ratelimit-remaining", (*left).into());
        headers.insert("ratelimit-reset", whole_seconds(*reset).into());
    }
}

impl Callers {
    /// The key under which `caller` is counted; makes room when there is none.
    fn place(&mut self, caller: Caller, now: u64, callers_max: usize) -> Caller {
        if self.rested_at.len() < self.forget_at.min(callers_max) {
            return caller;
        }
        if self.rested_at.contains_key(&caller) {
            return caller;
        }
        self.rested_at.retain(|_, rested_at| rested_at.iter().any(|at| *at > now));
        self.forget_at = CALLERS_KEPT.max(self.rested_at.len() * 2);
        if self.rested_at.len() < callers_max { caller } else { Caller::Others }
    }
}

/// Counts one request in all windows, or in none if any refuses it.
fn admit(windows: &[Window], rested_at: &mut [u64], now: u64) -> Outcome {
    let next: Vec<u64> = windows
        .iter()
        .zip(&*rested_at)
        .map(|(window, at)| now.max(*at).saturating_add(interval(window)))
        .collect();
    let wait = windows.iter().zip(&next).map(|(window, next)| excess(window, *next, now)).max();
    let wait = wait.filter(|wait| *wait > 0);
    if wait.is_none() {
        rested_at.copy_from_slice(&next);
    }
    let left = windows.iter().zip(&*rested_at).map(|(window, at)| {
        let owed = at.saturating_sub(now);
        let left = nanos(window.per).saturating_sub(owed) / interval(window);
        (left, Duration::from_nanos(owed))
    });
    Outcome { left: left.collect(), wait: wait.map(Duration::from_nanos) }
}

/// Time that one request of a window takes to come back.
fn interval(window: &Window) -> u64 {
    (nanos(window.per) / u64::from(window.requests.get())).max(1)
}

/// How far a caller that will have rested at `next` is beyond the window.
fn excess(window: &Window, next: u64, now: u64) -> u64 {
    (next - now).saturating_sub(nanos(window.per))
}

fn is_instant(window: &Window) -> bool {
    window.per.is_zero()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Name of a window in the headers: `"default-60s"`.
fn label(class: &str, window: &Window) -> String {
    format!("\"{class}-{}s\"", whole_seconds(window.per))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter(windows: &[Window], callers_max: u32) -> Limiter {
        let classes = BTreeMap::from([("default".to_owned(), windows.to_vec())]);
        Limiter::new(&classes, NonZeroU32::new(callers_max).unwrap()).unwrap()
    }

    fn anybody(last: u8) -> Caller {
        Caller::at(IpAddr::from([192, 0, 2, last]))
    }

    fn admitted(class: &Class, caller: Caller, now: Duration) -> bool {
        class.count(caller, now).wait.is_none()
    }

    /// L-06, B-02: 100 per minute and 1000 per 15 minutes at once.
    #[test]
    fn every_window_must_admit_and_refusals_count_in_none() {
        let windows = [Window::new(2, SECOND), Window::new(3, 60 * SECOND)];
        let limiter = limiter(&windows, 10);
        let class = &limiter.classes["default"];
        let me = anybody(1);

        assert!(admitted(class, me, Duration::ZERO));
        assert!(admitted(class, me, Duration::ZERO));
        for _ in 0..10 {
            let outcome = class.count(me, Duration::ZERO);
            assert_eq!(outcome.wait, Some(SECOND / 2), "the short window says when");
            assert_eq!(outcome.left[1].0, 1, "the long window lost nothing by refusals");
        }
        assert!(admitted(class, me, SECOND));
        assert_eq!(class.count(me, SECOND).wait, Some(19 * SECOND), "now the long window refuses");
        assert!(admitted(class, me, 20 * SECOND));
        assert!(admitted(class, anybody(2), Duration::ZERO), "others have counts of their own");
    }

    #[test]
    fn a_caller_that_rested_has_the_whole_window_again() {
        let limiter = limiter(&[Window::new(5, SECOND)], 10);
        let class = &limiter.classes["default"];
        for round in 0..3 {
            let now = round * SECOND;
            assert!((0..5).all(|_| admitted(class, anybody(1), now)));
            assert!(!admitted(class, anybody(1), now));
        }
    }

    #[test]
    fn a_full_table_forgets_those_who_rested_and_counts_the_rest_together() {
        let limiter = limiter(&[Window::new(1, SECOND)], 3);
        let class = &limiter.classes["default"];
        for last in 0..3 {
            assert!(admitted(class, anybody(last), Duration::ZERO));
        }
        assert!(admitted(class, anybody(3), Duration::ZERO), "the first of the others");
        assert!(!admitted(class, anybody(4), Duration::ZERO), "they share one count");
        assert!(!admitted(class, anybody(0), Duration::ZERO), "those known keep their own");

        assert!(admitted(class, anybody(4), 2 * SECOND));
        assert_eq!(class.callers.lock().rested_at.len(), 1, "those who rested are forgotten");
    }

    #[test]
    fn limits_that_cannot_be_applied_are_refused_at_start() {
        let refused = |class: &str, windows: &[Window]| {
            let classes = BTreeMap::from([(class.to_owned(), windows.to_vec())]);
            let error = Limiter::new(&classes, NonZeroU32::MIN).err();
            error.map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(refused("auth", &[]).contains("gateway.rate_limits.default"));
        assert!(refused("default", &[Window::new(1, Duration::ZERO)]).contains("some time"));
        assert_eq!(refused("default", &[]), "", "no window is no limit");
    }

    #[test]
    fn one_ipv6_network_is_one_caller() {
        let caller = |address: &str| Caller::at(address.parse().unwrap());
        assert_eq!(caller("2001:db8::1"), caller("2001:db8::ffff:2"));
        assert_ne!(caller("2001:db8::1"), caller("2001:db8:0:1::1"));
        assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
    }

    #[test]
    fn headers_say_what_is_left() {
        let windows = [Window::new(2, 60 * SECOND), Window::new(10, 900 * SECOND)];
        let limiter = limiter(&windows, 10);
        let mut headers = HeaderMap::new();

        limiter.admit("default", anybody(1), &mut headers).unwrap();
        assert_eq!(
            headers["ratelimit-policy"],
            r#""default-60s";q=2;w=60, "default-900s";q=10;w=900"#
        );
        assert_eq!(headers["ratelimit"], r#""default-60s";r=1;t=30, "default-900s";r=9;t=90"#);
        assert_eq!(headers["ratelimit-limit"], "2");
        assert_eq!(headers["ratelimit-remaining"], "1");
        assert_eq!(headers["ratelimit-reset"], "30");

        limiter.admit("unheard-of", anybody(1), &mut headers).unwrap();
        let problem = limiter.admit("default", anybody(1), &mut headers).unwrap_err();
        let response = problem.into_response("/", "c");
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "30");
        assert_eq!(headers["ratelimit-remaining"], "0");
    }
}
