//! Counts in Redis, for all gateways together.

use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::timeout;

use super::caller::Caller;
use super::rule::{Outcome, Rule};
use crate::link::{Connection, Redis, Script};

/// Counts in Redis, within a budget.
pub(super) struct Shared {
    redis: Redis,
    budget: Duration,
    script: Script,
}

/// Where Redis keeps the counts of one caller and rule: `malha:rate:{default:9f86d0…}`. What stands
/// in braces is alone in saying which machine of a cluster has it.
pub(super) struct Key(String);

impl Key {
    pub(super) fn new(rule: &Rule, caller: &Caller<'_>) -> Self {
        Self(format!("malha:rate:{{{}:{}}}", rule.name(), hex::encode(caller.name())))
    }
}

impl Shared {
    pub(super) fn new(redis: Redis, budget: Duration) -> Self {
        Self { redis, budget, script: Script::new(include_str!("admit.lua")) }
    }

    pub(super) fn connection(&self) -> Option<Connection<'_>> {
        self.redis.connection()
    }

    pub(super) async fn ready(&self) {
        self.redis.connected().await;
    }

    /// Counts one request in all windows or in none; nothing when Redis does not say so in time.
    /// Then it may have been counted all the same: a caller gets less for it, never more.
    pub(super) async fn count(
        &self,
        mut connection: Connection<'_>,
        rule: &Rule,
        key: &Key,
    ) -> Option<Outcome> {
        let windows = |command: &mut Cmd| {
            for span in rule.spans() {
                command.arg(span.interval).arg(span.whole);
            }
        };
        let answer = connection.run(&self.script, key.0.as_bytes(), windows);
        match timeout(self.budget, answer).await {
            Ok(Ok(answer)) => {
                connection.answered();
                outcome(&answer)
            }
            Ok(Err(error)) => {
                connection.failed(&error);
                None
            }
            Err(_) => {
                connection.late();
                None
            }
        }
    }
}

/// Reads what the script returns: the wait, then what is owed in each window.
pub(super) fn outcome(answer: &Value) -> Option<Outcome> {
    let Value::Array(numbers) = answer else { return None };
    let mut numbers = numbers.iter().map(|number| match number {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    });
    let mut outcome = Outcome { wait: numbers.next()??, ..Outcome::default() };
    for (owed, number) in outcome.owed.iter_mut().zip(numbers) {
        *owed = number?;
    }
    Some(outcome)
}
