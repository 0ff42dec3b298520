//! What the claims of a token mean, by the settings of its issuer.

use std::borrow::Cow;
use std::fmt::Write;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::config::header_name;
use crate::{ClaimsConfig, ConfigError};

type Object = Map<String, Value>;

/// Finds in the claims of an issuer what we want to know.
#[derive(Default)]
pub(super) struct Mapping {
    config: ClaimsConfig,
    metadata: Vec<(HeaderName, String)>,
}

impl Mapping {
    pub(super) fn new(config: &ClaimsConfig) -> Result<Self, ConfigError> {
        let header = |(name, claim): (&String, &String)| match header_name(name) {
            Ok(header) => Ok((header, claim.clone())),
            Err(problem) => Err(ConfigError::new(format!("claims.metadata.{name}"), problem)),
        };
        let metadata = config.metadata.iter().map(header).collect::<Result<_, _>>()?;
        Ok(Self { config: config.clone(), metadata })
    }

    /// Names of the headers that tell claims.
    pub(super) fn metadata_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.metadata.iter().map(|(name, _)| name)
    }

    /// Every token names a user.
    pub(super) fn user(&self, claims: &Object) -> Option<String> {
        text(claims, &self.config.user)
    }

    pub(super) fn tenant(&self, claims: &Object) -> Option<String> {
        text(claims, &self.config.tenant)
    }

    pub(super) fn tier(&self, claims: &Object) -> Option<String> {
        text(claims, &self.config.tier)
    }

    pub(super) fn roles(&self, claims: &Object) -> Vec<String> {
        names(claims, &self.config.roles)
    }

    pub(super) fn scopes(&self, claims: &Object) -> Vec<String> {
        names(claims, &self.config.scopes)
    }

    /// The claims that upstreams want to know; those that a token lacks are left out.
    pub(super) fn metadata(&self, claims: &Object) -> Vec<(HeaderName, HeaderValue)> {
        let told = |(name, path): &(HeaderName, String)| {
            let value = header_value(&shown(find(claims, path)?)?)?;
            Some((name.clone(), value))
        };
        self.metadata.iter().filter_map(told).collect()
    }
}

/// The claim at a path: the member of that name, or one of the member that a part of the path
/// before a dot names.
fn find<'a>(claims: &'a Object, path: &str) -> Option<&'a Value> {
    claims.get(path).or_else(|| {
        path.match_indices('.').find_map(|(dot, _)| {
            let inner = claims.get(&path[..dot])?.as_object()?;
            find(inner, &path[dot + 1..])
        })
    })
}

fn text(claims: &Object, path: &str) -> Option<String> {
    let text = find(claims, path)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// A list of strings, or a string of names between spaces, as `scope` is (RFC 8693 section 4.2).
fn names(claims: &Object, path: &str) -> Vec<String> {
    match find(claims, path) {
        Some(Value::String(names)) => names.split_whitespace().map(ToOwned::to_owned).collect(),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

fn shown(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(shown).collect();
            Some(Cow::Owned(items.join(",")))
        }
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// Text as the value of a header. What headers, and the ASCII metadata of gRPC, do not admit is
/// percent-encoded: a claim can neither end its header nor begin another.
fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            value.push(char::from(byte));
        } else {
            write!(value, "%{byte:02X}").ok()?;
        }
    }
    HeaderValue::from_maybe_shared(value.into_bytes()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_path_names_a_member_at_any_depth_and_a_whole_name_comes_first() {
        let claims = object(json!({
            "realm_access": {"roles": ["deep"], "b.c": {"d": "dots"}},
            "https://bank.example/roles": "namespaced",
            "x.y": "whole", "x": {"y": "parts"},
        }));
        let found = |path| find(&claims, path).cloned();

        assert_eq!(found("realm_access.roles"), Some(json!(["deep"])));
        assert_eq!(found("realm_access.b.c.d"), Some(json!("dots")));
        assert_eq!(found("https://bank.example/roles"), Some(json!("namespaced")));
        assert_eq!(found("x.y"), Some(json!("whole")));
        for path in ["roles", "realm_access.", ".roles", "realm_access.roles.0", "x.y.z", "."] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn names_come_as_a_list_or_between_spaces() {
        let table = [
            (json!("read  write\nadmin"), vec!["read", "write", "admin"]),
            (json!(["read", "two words", 7, null, ["x"]]), vec!["read", "two words"]),
            (json!({"read": true}), vec![]),
            (json!(7), vec![]),
            (json!(null), vec![]),
        ];
        for (value, expected) in table {
            assert_eq!(names(&object(json!({ "scope": value })), "scope"), expected, "{value}");
        }
    }

    #[test]
    fn claims_become_metadata_that_cannot_break_out() {
        let names = ["name", "list", "flag", "nested.number", "object", "missing", "null"];
        let metadata = names.map(|claim| (format!("x-{claim}"), claim.to_owned()));
        let config = ClaimsConfig { metadata: BTreeMap::from(metadata), ..ClaimsConfig::default() };
        let claims = object(json!({
            "name": "João\r\nx-role: admin\u{0}100%", "list": ["a", 1, ["b"]], "flag": true,
            "nested": {"number": 1.5}, "object": {"a": "b"}, "null": null,
        }));

        let told = Mapping::new(&config).unwrap().metadata(&claims);
        let told: Vec<_> =
            told.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();

        assert_eq!(
            told,
            [
                ("x-flag", "true"),
                ("x-list", "a,1,b"),
                ("x-name", "Jo%C3%A3o%0D%0Ax-role: admin%00100%25"),
                ("x-nested.number", "1.5"),
                ("x-object", r#"{"a":"b"}"#),
            ]
        );
    }
}
