//! Other settings for a gateway that runs.

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::StartError;
use crate::config::Config;

/// Orders that wait. They come from people and files: one at a time.
const ORDERS_MAX: usize = 1;

/// Gives a running gateway other settings.
///
/// Upstreams and policies are taken over, all or none; other settings count from the start alone.
#[derive(Clone, Debug)]
pub struct Reloader {
    orders: mpsc::Sender<Order>,
    started: Value,
}

/// Settings to take over, and where to tell what came of it.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) config: Config,
    pub(crate) done: oneshot::Sender<Result<(), StartError>>,
}

impl Reloader {
    /// What gives orders to a gateway that started with these settings, and what it takes them from.
    pub(crate) fn new(config: &Config) -> (Self, mpsc::Receiver<Order>) {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        (Self { orders, started: fixed(config) }, taken)
    }

    /// Takes the upstreams and policies of `config` over, and names the settings that are others than
    /// those of the start and need a new one. Settings that could not start a gateway change nothing.
    pub async fn reload(&self, config: Config) -> Result<Vec<String>, StartError> {
        let now = fixed(&config);
        let (done, outcome) = oneshot::channel();
        if self.orders.send(Order { config, done }).await.is_ok()
            && let Ok(outcome) = outcome.await
        {
            outcome?;
        }
        let (Value::Object(started), Value::Object(now)) = (&self.started, now) else {
            return Ok(Vec::new());
        };
        let is_other = |(name, value): (String, Value)| {
            (started.get(&name) != Some(&value)).then(|| format!("gateway.{name}"))
        };
        Ok(now.into_iter().filter_map(is_other).collect())
    }
}

/// The settings that count from the start alone.
fn fixed(config: &Config) -> Value {
    let mut settings = serde_json::to_value(config).unwrap_or_default();
    if let Value::Object(settings) = &mut settings {
        settings.remove("upstreams");
        settings.remove("policies");
    }
    settings
}
