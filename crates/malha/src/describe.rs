//! Prints settings as TOML, each under its documentation.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Map, Value};

use crate::settings::Settings;

/// The settings as TOML that [`Settings::load`] reads back. Where one differs from its default, the
/// default stands beside it. Secrets print as `***`.
pub(crate) fn describe(settings: &Settings) -> Result<String> {
    let schema = schemars::schema_for!(Settings).to_value();
    let printer = Printer { definitions: schema["$defs"].clone() };
    let mut text = String::new();
    printer.table(
        &mut text,
        "",
        &schema,
        &serde_json::to_value(settings)?,
        &serde_json::to_value(Settings::default())?,
    );
    Ok(text.trim_start().to_owned())
}

struct Printer {
    definitions: Value,
}

impl Printer {
    /// Prints one table: its plain settings, then its subtables.
    fn table(&self, text: &mut String, path: &str, schema: &Value, value: &Value, default: &Value) {
        let Some(members) = value.as_object() else { return };
        let (tables, plain): (Vec<_>, Vec<_>) =
            members.iter().partition(|(_, member)| member.is_object());
        for (key, member) in plain {
            let documentation = self.documentation(self.property(schema, key));
            setting(text, documentation, key, member, &default[key]);
        }
        for (key, member) in tables {
            let property = self.property(schema, key);
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            text.push('\n');
            comment(text, self.documentation(property));
            let _ = writeln!(text, "[{path}]");
            self.table(text, &path, self.resolve(property), member, &default[key]);
        }
    }

    /// Schema of a member; the members of a map share one.
    fn property<'a>(&'a self, schema: &'a Value, key: &str) -> &'a Value {
        let schema = self.resolve(schema);
        schema["properties"].get(key).unwrap_or(&Value::Null)
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
        reference.map_or(schema, |name| &self.definitions[name])
    }

    /// What stands beside the member, else beside its type.
    fn documentation<'a>(&'a self, property: &'a Value) -> &'a str {
        let of = |schema: &'a Value| schema["description"].as_str();
        of(property).or_else(|| of(self.resolve(property))).unwrap_or_default()
    }
}

fn setting(text: &mut String, documentation: &str, key: &str, value: &Value, default: &Value) {
    if !documentation.is_empty() {
        text.push('\n');
        comment(text, documentation);
    }
    if value != default {
        let default = inline(default).unwrap_or_else(|| "not set".to_owned());
        let _ = writeln!(text, "# CHANGED from its default: {default}");
    }
    let _ = match inline(value) {
        Some(value) => writeln!(text, "{key} = {value}"),
        None => writeln!(text, "# {key} is not set"),
    };
}

fn comment(text: &mut String, documentation: &str) {
    for line in documentation.lines() {
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
}

/// The value as TOML on one line; `None` for what is not set.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(inline).collect();
            Some(format!("[{}]", items.join(", ")))
        }
        Value::Object(members) => Some(inline_table(members)),
        // A JSON string is a TOML basic string.
        plain => Some(plain.to_string()),
    }
}

fn inline_table(members: &Map<String, Value>) -> String {
    let members: Vec<_> = members
        .iter()
        .filter_map(|(key, value)| Some(format!("{key} = {}", inline(value)?)))
        .collect();
    format!("{{ {} }}", members.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn printed_settings_read_back_as_they_were() {
        let changes = "
            telemetry.log = 'debug'
            mesh.endpoints.ledger = ['ledger-0:7104', 'ledger-1:7104']
            mesh.limits.in_flight_max = 7
            gateway.http = '127.0.0.1:8080'
            gateway.rate_limits.classes.probe = [{ requests = 5, per = '1m' }]
            ledger.journal = 'a \"quoted\" folder'
        ";
        let settings = Settings::load(changes, None).unwrap();

        let printed = describe(&settings).unwrap();

        let again = Settings::load(&printed, None).unwrap();
        let json = |settings| serde_json::to_value(settings).unwrap();
        assert_eq!(json(again), json(settings), "{printed}");
    }

    #[test]
    fn what_differs_stands_beside_its_default() {
        let settings = Settings::load("storage.port = 6543", None).unwrap();

        let printed = describe(&settings).unwrap();

        assert!(printed.contains("# CHANGED from its default: 5432\nport = 6543\n"), "{printed}");
        assert_eq!(printed.matches("# CHANGED").count(), 1, "{printed}");
    }

    #[test]
    fn every_setting_is_documented() {
        let printed = describe(&Settings::default()).unwrap();

        let lines: Vec<_> = printed.lines().collect();
        for pair in lines.windows(2) {
            let key = pair[1].split([' ', '=']).next().unwrap_or_default();
            let is_setting = !key.is_empty() && !key.starts_with(['#', '[']);
            let is_of_map = pair[0].starts_with('[') || pair[0].contains(" = ");
            assert!(!is_setting || is_of_map || pair[0].starts_with('#'), "{pair:?}");
        }
        assert!(lines.contains(&"# Name of the database. Default: `malha`."), "{printed}");
    }

    /// T-46
    #[test]
    fn secrets_are_not_printed() {
        let settings = Settings::load("storage.password = 'hunter2'", None).unwrap();

        let printed = describe(&settings).unwrap();

        assert!(!printed.contains("hunter2"));
        assert!(printed.contains("password = \"***\""), "{printed}");
    }
}
