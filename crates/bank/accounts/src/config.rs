use money::Currency;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of accounts.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Agency of the accounts opened from now on, 4 digits. Default: `0001`.
    pub agency: String,
    /// Currency of the installation, an ISO 4217 code: whose balance is read when a request
    /// names none. Default: `BRL`.
    pub currency: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { agency: "0001".to_owned(), currency: Currency::BRL.code().to_owned() }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The agency is not 4 digits.
    #[error("accounts.agency must be 4 digits")]
    Agency,
    /// The currency is none of ISO 4217.
    #[error("accounts.currency must be an active ISO 4217 code")]
    Currency,
}

/// Settings that were found usable.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) agency: String,
    pub(crate) currency: Currency,
}

impl TryFrom<Config> for Settings {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let Config { agency, currency } = config;
        if agency.len() != 4 || !agency.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ConfigError::Agency);
        }
        let currency = Currency::from_code(&currency).ok_or(ConfigError::Currency)?;
        Ok(Self { agency, currency })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable() {
        let settings = Settings::try_from(Config::default()).unwrap();

        assert_eq!(settings.agency, "0001");
        assert_eq!(settings.currency, Currency::BRL);
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused() {
        for agency in ["", "001", "00001", "00a1", "０００１"] {
            let config = Config { agency: agency.to_owned(), ..Config::default() };
            assert_eq!(Settings::try_from(config).unwrap_err(), ConfigError::Agency, "{agency}");
        }
        let config = Config { currency: "BRX".to_owned(), ..Config::default() };
        assert_eq!(Settings::try_from(config).unwrap_err(), ConfigError::Currency);
    }
}
