use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of payments.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// ISO 4217 code of the currency in which amounts are read. Default: `BRL`.
    pub currency: String,
    /// Largest amount of one payment, a decimal in that currency. More is refused with
    /// `INVALID_AMOUNT`. Default: `1000000000`.
    pub amount_max: String,
    /// Whether customers may deposit and withdraw by themselves. Operators and administrators always
    /// may. Default: false.
    pub customer_cash: bool,
    /// Time between two looks for payments whose end is not recorded. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub recovery_interval: Duration,
    /// Age at which such a payment is taken up, and again after each attempt that had no answer. Longer
    /// than a request may take, so that recovery leaves requests alone that are still running.
    /// Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub recovery_after: Duration,
    /// Payments taken up at once, 1 to 8189. Default: 500.
    pub recovery_batch: u16,
    /// Accounts of users that are remembered. Default: 100000.
    pub accounts_cached_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            currency: "BRL".into(),
            amount_max: "1000000000".into(),
            customer_cash: false,
            recovery_interval: Duration::from_secs(1),
            recovery_after: Duration::from_secs(10),
            recovery_batch: 500,
            accounts_cached_max: 100_000,
        }
    }
}
