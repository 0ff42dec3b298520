//! Exact amounts of money: ISO 4217 currencies, minor units, checked arithmetic.
//!
//! An amount is a whole number of its currency's minor unit. Nothing here rounds: what
//! cannot be represented is refused.

mod amount;
mod currency;

pub use amount::{Money, MoneyError};
pub use currency::Currency;
