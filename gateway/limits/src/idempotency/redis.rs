//! Answers in Redis: one key with a time to live, changed by scripts.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use redis::{Cmd, FromRedisValue, Value};
use uuid::Uuid;

use super::record::Record;
use super::store::{Found, NOBODY, Unavailable};
use crate::link::{Redis, Script};

/// Locks and answers in Redis.
pub(super) struct RedisStore {
    redis: Redis,
    begin: Script,
    renew: Script,
    abandon: Script,
    complete: Script,
    release: Script,
}

impl RedisStore {
    pub(super) fn new(redis: Redis) -> Self {
        Self {
            redis,
            begin: Script::new(include_str!("redis/begin.lua")),
            renew: Script::new(include_str!("redis/renew.lua")),
            abandon: Script::new(include_str!("redis/abandon.lua")),
            complete: Script::new(include_str!("redis/complete.lua")),
            release: Script::new(include_str!("redis/release.lua")),
        }
    }

    pub(super) async fn begin(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<Found, Unavailable> {
        let answer = self.run(&self.begin, key, |command| {
            command.arg(owner.as_bytes()).arg(fingerprint).arg(millis(lock_ttl));
            command.arg(NOBODY.as_bytes());
        });
        found(answer.await?).ok_or_else(|| Unavailable::new("redis holds what was not kept there"))
    }

    pub(super) async fn renew(
        &self,
        key: &str,
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<bool, Unavailable> {
        let answer = self.run(&self.renew, key, |command| {
            command.arg(owner.as_bytes()).arg(millis(lock_ttl));
        });
        Ok(answer.await? == Value::Int(1))
    }

    pub(super) async fn abandon(
        &self,
        key: &str,
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<(), Unavailable> {
        let answer = self.run(&self.abandon, key, |command| {
            command.arg(owner.as_bytes()).arg(millis(lock_ttl)).arg(NOBODY.as_bytes());
        });
        answer.await.map(drop)
    }

    pub(super) async fn complete(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        record: &Record,
        retention: Duration,
    ) -> Result<bool, Unavailable> {
        let answer = self.run(&self.complete, key, |command| {
            command.arg(owner.as_bytes()).arg(fingerprint).arg(millis(retention));
            command.arg(record.status_code).arg(&record.headers[..]);
            command.arg(record.created_at.to_rfc3339_opts(SecondsFormat::Micros, true));
            if let Some(body) = &record.body {
                command.arg(&body[..]);
            }
        });
        Ok(answer.await? == Value::Int(1))
    }

    pub(super) async fn release(&self, key: &str, owner: Uuid) -> Result<(), Unavailable> {
        let answer = self.run(&self.release, key, |command| {
            command.arg(owner.as_bytes());
        });
        answer.await.map(drop)
    }

    async fn run(
        &self,
        script: &Script,
        key: &str,
        add_arguments: impl Fn(&mut Cmd),
    ) -> Result<Value, Unavailable> {
        // A connection may turn out to have died. All scripts may be repeated.
        loop {
            let mut connection =
                self.redis.connected().await.ok_or_else(|| Unavailable::new("redis is gone"))?;
            let answer = connection.run(script, key.as_bytes(), &add_arguments).await;
            let Err(error) = answer else { return answer.map_err(Unavailable::new) };
            connection.failed(&error);
            if !error.is_connection_dropped() {
                return Err(Unavailable::new(error));
            }
        }
    }
}

/// Reads what `begin.lua` returns; nothing when it cannot be read.
fn found(answer: Value) -> Option<Found> {
    let Value::Array(parts) = answer else { return None };
    let mut parts = parts.into_iter();
    match parts.next()? {
        Value::SimpleString(word) => match word.as_str() {
            "taken" => Some(Found::Nothing),
            "running" => Some(Found::Running),
            "other" => Some(Found::Other),
            "abandoned" => {
                let left = u64::from_redis_value(parts.next()?).ok()?;
                Some(Found::Abandoned(Duration::from_millis(left)))
            }
            _ => None,
        },
        status_code => Some(Found::Done(Record {
            status_code: u16::from_redis_value(status_code).ok()?,
            headers: Vec::<u8>::from_redis_value(parts.next()?).ok()?.into(),
            created_at: created_at(parts.next()?)?,
            body: Option::<Vec<u8>>::from_redis_value(parts.next()?).ok()?.map(Bytes::from),
        })),
    }
}

fn created_at(value: Value) -> Option<DateTime<Utc>> {
    let text = String::from_redis_value(value).ok()?;
    Some(DateTime::parse_from_rfc3339(&text).ok()?.to_utc())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
