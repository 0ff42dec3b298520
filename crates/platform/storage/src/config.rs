//! How a service reaches its database.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Connection to PostgreSQL. The role that logs in is the service's name.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Host name or address of the server, or the folder of its UNIX socket. Default: `localhost`.
    pub host: String,
    /// Port of the server; it is part of the socket's file name too. Default: 5432.
    pub port: u16,
    /// Name of the database. Default: `malha`.
    pub database: String,
    /// Password of the service's role. Default: none, for a server that trusts its socket or a
    /// client certificate.
    pub password: Option<Password>,
    /// PEM file with the authority that signed the server's certificate. When it is set, the
    /// connection is TLS and the certificate must fit the host; when not, the connection is not
    /// encrypted. Default: none.
    pub ca: Option<PathBuf>,
    /// Connections that one service holds at most. Default: 32.
    pub pool_max: NonZeroU32,
    /// Time to wait for a connection before the call is answered `UNAVAILABLE`. Default: 2 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub acquire_timeout: Duration,
    /// Time after which a connection that nobody uses is closed. Default: 10 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 5432,
            database: "malha".into(),
            password: None,
            ca: None,
            pool_max: const { NonZeroU32::new(32).unwrap() },
            acquire_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_mins(10),
        }
    }
}

impl Config {
    pub(crate) fn connect_options(&self, role: &str) -> PgConnectOptions {
        // The server keeps its own log of slow statements; ours must not show them.
        let options = PgConnectOptions::new_without_pgpass()
            .disable_statement_logging()
            .host(&self.host)
            .port(self.port)
            .database(&self.database)
            .username(role)
            .application_name(role);
        let options = match &self.password {
            Some(password) => options.password(&password.0),
            None => options,
        };
        match &self.ca {
            Some(ca) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(ca),
            None => options.ssl_mode(PgSslMode::Disable),
        }
    }
}

/// A password that prints and serializes as `***`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Password(pub(crate) String);

impl Password {
    /// The text itself, for who logs in with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_authority_demands_a_verified_server() {
        let plain = Config::default();
        let verified = Config { ca: Some("ca.pem".into()), ..Config::default() };

        assert!(matches!(plain.connect_options("payments").get_ssl_mode(), PgSslMode::Disable));
        assert!(matches!(
            verified.connect_options("payments").get_ssl_mode(),
            PgSslMode::VerifyFull
        ));
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = Config { password: Some("s3cret".into()), ..Config::default() };
        let shown = format!("{config:?}{}", serde_json::to_string(&config).unwrap());

        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("***"));
    }
}
