//! Rate limits: several windows at once for each caller and class (GCRA).
//!
//! A request counts in all windows or in none, so one that the short window refuses takes nothing
//! from the long one. A caller that rested may spend a whole window at once; then each request comes
//! back by itself, after the time of the window divided by its requests. So in any time `t` no caller
//! gets more than `requests × (1 + t / per)`.

mod caller;
mod decision;
mod rule;
mod shared;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Instant;

use metrics::Counter;

pub use caller::Caller;
pub use decision::{Decision, Left};

use crate::config::{ConfigError, RateConfig, RateStore, Window};
use crate::link::{Connection, Redis};
use caller::Hasher;
use rule::{Outcome, Rule};
use shared::Shared;
use table::Table;

/// Class of the methods that name none.
const DEFAULT_CLASS: &str = "default";

/// Counts the requests of all callers. One for the whole process, shared by its threads.
pub struct Limiter {
    classes: Vec<Class>,
    class_ids: HashMap<String, ClassId>,
    tier_ids: HashMap<String, TierId>,
    members: HashMap<String, TierId>,
    hasher: Hasher,
    started: Instant,
    shared: Option<Shared>,
}

/// A class of methods, found once by [`Limiter::class`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClassId(usize);

/// A tier of callers, found by [`Limiter::tier`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TierId(usize);

/// One class of methods and the callers that use them.
struct Class {
    name: String,
    /// The windows of most callers, then those of tiers that have others.
    rules: Vec<Rule>,
    /// Which of them is a tier's.
    by_tier: Vec<usize>,
    verified: Table,
    addresses: Table,
    refused: OnceLock<Counter>,
}

/// Whether a request is admitted, or whom to ask.
pub enum Admission<'a> {
    /// Known at once.
    Decided(Decision<'a>),
    /// Redis knows.
    Ask(Ask<'a>),
}

impl<'a> Admission<'a> {
    /// The decision, now or after one round trip to Redis.
    pub async fn decided(self) -> Decision<'a> {
        match self {
            Self::Decided(decision) => decision,
            Self::Ask(ask) => ask.decide().await,
        }
    }
}

/// A request about which Redis must be asked. Asking takes no longer than the budget.
pub struct Ask<'a> {
    limiter: &'a Limiter,
    place: Place<'a>,
    key: shared::Key,
    connection: Connection<'a>,
}

/// Where a caller is counted.
#[derive(Clone, Copy)]
struct Place<'a> {
    class: &'a Class,
    rule: &'a Rule,
    table: &'a Table,
    digest: u128,
    /// Microseconds since the limiter began.
    now: u64,
}

impl Limiter {
    /// A limiter of these classes and tiers. Redis must be given when the settings say to count
    /// there.
    pub fn new(config: &RateConfig, redis: Option<&Redis>) -> Result<Self, ConfigError> {
        if !config.classes.contains_key(DEFAULT_CLASS) {
            let fault = "the class of all methods that name none must be there";
            return Err(ConfigError::new("rate_limits.classes.default", fault));
        }
        let shared = match (config.store, redis) {
            (RateStore::Memory, _) => None,
            (RateStore::Redis, Some(redis)) => Some(Shared::new(redis.clone(), config.budget)),
            (RateStore::Redis, None) => {
                return Err(ConfigError::new("rate_limits.store", "needs the settings of redis"));
            }
        };
        let tier_ids = tier_ids(config)?;
        let classes =
            config.classes.iter().map(|(name, windows)| Class::new(config, name, windows));
        Ok(Self {
            classes: classes.collect::<Result<_, _>>()?,
            class_ids: config.classes.keys().cloned().zip((0..).map(ClassId)).collect(),
            members: members(config, &tier_ids)?,
            tier_ids,
            hasher: Hasher::new(),
            started: Instant::now(),
            shared,
        })
    }

    /// The class of this name, else `default`.
    pub fn class(&self, name: &str) -> ClassId {
        self.class_ids.get(name).copied().unwrap_or_else(|| self.class_ids[DEFAULT_CLASS])
    }

    /// The tier of a caller: what the settings say of its first name that they know (its subject,
    /// client id, tenant), else what its token claims, else that of most callers.
    pub fn tier<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        claimed: Option<&str>,
    ) -> TierId {
        // Most gateways have no tiers.
        if self.tier_ids.is_empty() {
            return TierId::default();
        }
        let listed = names.into_iter().find_map(|name| self.members.get(name));
        listed.or_else(|| self.tier_ids.get(claimed?)).copied().unwrap_or_default()
    }

    /// Counts one request of a caller, or refuses it: at once when this gateway knows the answer.
    pub fn admit(&self, class: ClassId, tier: TierId, caller: &Caller<'_>) -> Admission<'_> {
        let place = match self.place(class, tier, caller) {
            Ok(place) => place,
            Err(unlimited) => {
                return Admission::Decided(Decision::new(unlimited, Outcome::default()));
            }
        };
        let Some(shared) = &self.shared else { return Admission::Decided(place.count()) };
        // Time that Redis has said to wait has not passed: a flood costs Redis nothing.
        let known = place.look();
        if known.wait > 0 {
            return Admission::Decided(place.decide(known));
        }
        match shared.connection() {
            Some(connection) => {
                let key = shared::Key::new(place.rule, caller);
                Admission::Ask(Ask { limiter: self, place, key, connection })
            }
            None => Admission::Decided(place.count()),
        }
    }

    /// What a caller is told of whom this gateway knows that its limit is reached. Counts nothing, and
    /// asks nobody.
    pub fn refusal(
        &self,
        class: ClassId,
        tier: TierId,
        caller: &Caller<'_>,
    ) -> Option<Decision<'_>> {
        let place = self.place(class, tier, caller).ok()?;
        let known = place.look();
        (known.wait > 0).then(|| Decision::new(place.rule, known))
    }

    /// Where a caller is counted; the rule alone when that bounds nothing.
    fn place(&self, class: ClassId, tier: TierId, caller: &Caller<'_>) -> Result<Place<'_>, &Rule> {
        let class = &self.classes[class.0];
        let index = class.by_tier[tier.0];
        let rule = &class.rules[index];
        if rule.is_unlimited() {
            return Err(rule);
        }
        let (table, digest) = (class.table(caller), self.hasher.digest(caller, index));
        Ok(Place { class, rule, table, digest, now: self.now() })
    }

    /// Waits until this thread's connection to Redis is there, at most the time that making one may
    /// take. Without it the first requests are counted by this gateway alone.
    pub async fn ready(&self) {
        if let Some(shared) = &self.shared {
            shared.ready().await;
        }
    }

    fn now(&self) -> u64 {
        let elapsed = self.started.elapsed();
        elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros())
    }
}

impl<'a> Ask<'a> {
    /// What Redis says; what this gateway says when Redis does not answer in time.
    pub async fn decide(self) -> Decision<'a> {
        let Self { limiter, place, key, connection } = self;
        let answer = match &limiter.shared {
            Some(shared) => shared.count(connection, place.rule, &key).await,
            None => None,
        };
        match answer {
            Some(outcome) => {
                // Redis counted after `place.now`, so this rests no later than Redis says, and
                // refuses nobody whom Redis would admit.
                place.table.at(place.digest, place.now, |rested_at| {
                    outcome.follow(rested_at, place.now);
                });
                place.decide(outcome)
            }
            None => Place { now: limiter.now(), ..place }.count(),
        }
    }
}

impl<'a> Place<'a> {
    fn look(&self) -> Outcome {
        self.table.at(self.digest, self.now, |rested_at| self.rule.look(rested_at, self.now))
    }

    fn count(self) -> Decision<'a> {
        let Self { rule, table, digest, now, .. } = self;
        self.decide(table.at(digest, now, |rested_at| rule.count(rested_at, now)))
    }

    fn decide(self, outcome: Outcome) -> Decision<'a> {
        if outcome.wait > 0 {
            self.class.refused().increment(1);
        }
        Decision::new(self.rule, outcome)
    }
}

impl Class {
    fn new(config: &RateConfig, name: &str, windows: &[Window]) -> Result<Self, ConfigError> {
        let usual = Rule::new(name, windows)
            .map_err(|fault| fault.of(&format!("rate_limits.classes.{name}")))?;
        let (mut rules, mut by_tier) = (vec![usual], vec![0]);
        for (tier, classes) in &config.tiers {
            let Some(windows) = classes.get(name) else {
                by_tier.push(0);
                continue;
            };
            let rule = Rule::new(&format!("{name}-{tier}"), windows)
                .map_err(|fault| fault.of(&format!("rate_limits.tiers.{tier}.{name}")))?;
            by_tier.push(rules.len());
            rules.push(rule);
        }
        let callers_max = usize::try_from(config.callers_max.get()).unwrap_or(usize::MAX);
        Ok(Self {
            name: name.to_owned(),
            rules,
            by_tier,
            verified: Table::new(callers_max),
            addresses: Table::new(callers_max),
            refused: OnceLock::new(),
        })
    }

    /// Addresses are cheap to come by: however many there are, they take no room from those who have
    /// a name.
    fn table(&self, caller: &Caller<'_>) -> &Table {
        match caller {
            Caller::Verified { .. } => &self.verified,
            Caller::Address(_) => &self.addresses,
        }
    }

    fn refused(&self) -> &Counter {
        self.refused.get_or_init(
            || metrics::counter!("malha_edge_rate_limited_total", "class" => self.name.clone()),
        )
    }
}

/// Numbers the tiers; 0 is that of most callers.
fn tier_ids(config: &RateConfig) -> Result<HashMap<String, TierId>, ConfigError> {
    for (tier, classes) in &config.tiers {
        if let Some(class) = classes.keys().find(|class| !config.classes.contains_key(*class)) {
            let field = format!("rate_limits.tiers.{tier}.{class}");
            return Err(ConfigError::new(field, "there is no such class"));
        }
    }
    Ok(config.tiers.keys().cloned().zip((1..).map(TierId)).collect())
}

fn members(
    config: &RateConfig,
    tier_ids: &HashMap<String, TierId>,
) -> Result<HashMap<String, TierId>, ConfigError> {
    let member = |(name, tier): (&String, &String)| {
        let id = tier_ids.get(tier).copied().ok_or_else(|| {
            let field = format!("rate_limits.members.{name}");
            ConfigError::new(field, format!("there is no tier `{tier}`"))
        })?;
        Ok((name.clone(), id))
    };
    config.members.iter().map(member).collect()
}
