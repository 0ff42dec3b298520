//! A Redis server of a test's own, as these tests see it.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::{Redis, RedisConfig};

/// A server that stops when it is dropped.
pub(crate) struct Server(testkit::Redis);

impl Server {
    /// A new, empty server.
    pub(crate) fn start() -> Self {
        Self(testkit::Redis::start())
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig {
            url: format!("redis://127.0.0.1:{}", self.port()),
            retry_interval: Duration::from_millis(50),
            ..RedisConfig::default()
        }
    }

    pub(crate) fn open(&self) -> Redis {
        Redis::open(&self.config()).unwrap()
    }

    /// A connection of the test itself.
    pub(crate) fn raw(&self) -> redis::Connection {
        redis::Client::open(self.config().url).unwrap().get_connection().unwrap()
    }
}

impl Deref for Server {
    type Target = testkit::Redis;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
