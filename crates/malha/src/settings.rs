//! All settings of the process: defaults, then the file, then the environment.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use gateway::AnswerStore;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{modules, process};

/// Variables that set something begin with this and name a section and a key:
/// `MALHA_STORAGE__HOST` is `storage.host`.
const PREFIX: &str = "MALHA_";

/// Between the parts of a key. Variables without it are not settings: Kubernetes makes some of its
/// own for a service named `malha`.
const SEPARATOR: &str = "__";

/// Settings of Malha, one table per component.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The process itself.
    pub(crate) process: process::Config,
    /// How services listen, find and protect each other.
    pub(crate) mesh: mesh::Config,
    /// How services reach PostgreSQL.
    pub(crate) storage: storage::Config,
    /// Logs, traces and metrics.
    pub(crate) telemetry: telemetry::Config,
    /// The edge.
    pub(crate) gateway: gateway::Config,
    /// Registration, sessions and tokens.
    pub(crate) identity: identity::Config,
    /// Profiles.
    pub(crate) customers: customers::Config,
    /// Accounts.
    pub(crate) accounts: accounts::Config,
    /// The owner of all balances.
    pub(crate) ledger: ledger::Config,
    /// Transactions.
    pub(crate) payments: payments::Config,
    /// Events between services.
    pub(crate) events: events::Config,
    /// Events told to endpoints of others, and what providers tell.
    pub(crate) webhooks: webhooks::Config,
    /// What users are told.
    pub(crate) notifications: notifications::Config,
    /// What operators see and do of workflows.
    pub(crate) workflows: workflows::Config,
}

impl Default for Settings {
    fn default() -> Self {
        let owned = |(name, address): (&str, SocketAddr)| (name.to_owned(), address);
        let listen: BTreeMap<_, _> = modules::addresses().map(owned).collect();
        let dialled =
            |(name, address): (&String, &SocketAddr)| (name.clone(), vec![address.to_string()]);
        let endpoints = listen.iter().map(dialled).collect();
        Self {
            process: process::Config::default(),
            mesh: mesh::Config { listen, endpoints, ..mesh::Config::default() },
            storage: storage::Config::default(),
            telemetry: telemetry::Config::default(),
            gateway: gateway::Config::default(),
            identity: identity::Config::default(),
            customers: customers::Config::default(),
            accounts: accounts::Config::default(),
            ledger: ledger::Config::default(),
            payments: payments::Config::default(),
            events: events::Config::default(),
            webhooks: webhooks::Config::default(),
            notifications: notifications::Config::default(),
            workflows: workflows::Config::default(),
        }
    }
}

impl Settings {
    /// Whether the edge keeps answers in the database of the services.
    pub(crate) fn edge_is_stored(&self) -> bool {
        self.gateway.idempotency.store == AnswerStore::Postgres && self.gateway.postgres.is_none()
    }

    /// Reads the settings; a later source wins: defaults, `overrides` (TOML), `file`, environment.
    pub(crate) fn load(overrides: &str, file: Option<&Path>) -> Result<Self> {
        read(overrides, file)
    }
}

/// Settings of a gateway that stands alone.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StandAlone {
    /// The edge.
    pub(crate) gateway: gateway::Config,
    /// Logs, traces and metrics.
    pub(crate) telemetry: telemetry::Config,
}

impl Default for StandAlone {
    fn default() -> Self {
        Self { gateway: gateway::Config::alone(), telemetry: telemetry::Config::default() }
    }
}

impl StandAlone {
    /// Reads the settings; a later source wins: defaults, `file`, environment.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self> {
        read("", file)
    }
}

fn read<T>(overrides: &str, file: Option<&Path>) -> Result<T>
where
    T: Default + DeserializeOwned + Serialize,
{
    let mut sources =
        Figment::from(Serialized::defaults(T::default())).merge(Toml::string(overrides));
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the settings in {}", file.display()))?;
        sources = sources.merge(File { path: file, text: &text });
    }
    for (name, text) in env::vars() {
        if let Some(path) = setting_of(&name) {
            sources = sources.merge(Variable { name, path, value: value_of(&text) });
        }
    }
    // Lossy: a variable is text, also where a number is wanted.
    sources.extract_lossy().map_err(|error| explain(&error))
}

/// A settings file that is already read; it gives its name to errors.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Provider for File<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.path.display().to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Toml::string(self.text).data()
    }
}

/// The setting that a variable sets.
fn setting_of(variable: &str) -> Option<String> {
    let path = variable.strip_prefix(PREFIX).filter(|path| path.contains(SEPARATOR))?;
    Some(path.to_lowercase().replace(SEPARATOR, "."))
}

/// One variable of the environment.
struct Variable {
    name: String,
    path: String,
    value: Value,
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let settings = figment::util::nest(&self.path, self.value.clone());
        Ok(Profile::Default.collect(settings.into_dict().unwrap_or_default()))
    }
}

/// Lists and tables are written as in TOML; all else is text, so that a password made of digits
/// stays what it is.
fn value_of(text: &str) -> Value {
    match text.parse::<Value>() {
        Ok(value @ (Value::Array(..) | Value::Dict(..))) => value,
        _ => Value::from(text),
    }
}

/// One sentence for the first thing that is wrong: which key, where, and why.
fn explain(error: &figment::Error) -> anyhow::Error {
    let source = error.metadata.as_ref().map_or("the settings", |metadata| &*metadata.name);
    let mut path = error.path.clone();
    match &error.kind {
        Kind::UnknownField(field, known) => {
            path.push(field.clone());
            path.dedup();
            let key = path.join(".");
            anyhow!("{source}: there is no setting `{key}`; there are: {}", known.join(", "))
        }
        // Not TOML at all.
        kind if path.is_empty() => anyhow!("{source}: {kind}"),
        kind => anyhow!("{source}: `{}` is wrong: {kind}", path.join(".")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn file_wins_over_overrides_and_both_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("malha.toml");
        fs::write(&file, "[storage]\nport = 6543\n[mesh.listen]\nledger = '127.0.0.1:9104'\n")
            .unwrap();

        let overrides = "storage = { port = 1, database = 'other' }";
        let settings = Settings::load(overrides, Some(&file)).unwrap();

        assert_eq!(settings.storage.port, 6543);
        assert_eq!(settings.storage.database, "other");
        assert_eq!(settings.mesh.listen["ledger"].port(), 9104);
        assert_eq!(settings.mesh.listen["payments"].port(), 7105, "the others keep their default");
    }

    #[test]
    fn wrong_settings_are_named_with_their_source() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("malha.toml");
        let refusal = |text: &str| {
            fs::write(&file, text).unwrap();
            let refusal = Settings::load("", Some(&file)).unwrap_err().to_string();
            assert!(refusal.starts_with(file.to_str().unwrap()), "{refusal}");
            refusal
        };

        let unknown = refusal("[mesh.limits]\nin_flight = 3\n");
        assert!(unknown.contains("there is no setting `mesh.limits.in_flight`"), "{unknown}");
        assert!(unknown.contains("in_flight_max"), "{unknown}");
        let section = refusal("[cards]\n");
        assert!(section.contains("there is no setting `cards`"), "{section}");
        let value = refusal("[telemetry]\nflush_timeout = 'soon'\n");
        assert!(value.contains("`telemetry.flush_timeout` is wrong"), "{value}");
        let syntax = refusal("[telemetry\n");
        assert!(!syntax.contains("``"), "{syntax}");
    }

    #[test]
    fn missing_file_is_named() {
        let refusal = Settings::load("", Some(Path::new("/nowhere.toml"))).unwrap_err();

        assert!(refusal.to_string().contains("/nowhere.toml"), "{refusal}");
    }

    #[test]
    fn variables_name_a_section_and_a_key() {
        assert_eq!(setting_of("MALHA_STORAGE__POOL_MAX").as_deref(), Some("storage.pool_max"));
        assert_eq!(setting_of("MALHA_MESH__LISTEN__LEDGER").as_deref(), Some("mesh.listen.ledger"));
        for other in
            ["MALHA_SERVICE_HOST", "MALHA_ADMIN_URL", "STORAGE__HOST", "malha_storage__host"]
        {
            assert_eq!(setting_of(other), None, "{other}");
        }
    }

    #[test]
    fn variables_are_text_unless_they_are_lists_or_tables() {
        assert_eq!(value_of("0123"), Value::from("0123"));
        assert_eq!(value_of("127.0.0.1:7101"), Value::from("127.0.0.1:7101"));
        assert!(
            matches!(value_of("[\"a:1\", \"b:2\"]"), Value::Array(_, items) if items.len() == 2)
        );
    }
}
