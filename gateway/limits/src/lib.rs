//! Bounds on what callers may ask of the edge: rate limits, and keys under which a request is
//! carried out once.
//!
//! Both work in the memory of one gateway, or in a store that several gateways share. The two answer
//! the loss of that store differently:
//!
//! - [`Limiter`]: each gateway counts by itself until Redis is back. No request waits for it longer
//!   than its budget.
//! - [`Idempotency`]: a request with a key is refused, for carrying it out might be the second time.
//!   Requests without a key notice nothing.
//!
//! Nothing here knows HTTP: headers are text that the edge sends.

mod config;
mod idempotency;
mod link;
mod rate;
#[cfg(test)]
mod testing;

pub use config::{
    AnswerStore, ConfigError, IdempotencyConfig, RateConfig, RateStore, RedisConfig, Window,
};
pub use idempotency::{
    Answer, Attempt, Begin, CompleteError, Idempotency, Lock, OpenError, Unavailable,
};
pub use link::Redis;
pub use rate::{Admission, Ask, Caller, ClassId, Decision, Left, Limiter, TierId};
