//! `google.api.http` as it is written on a method.

use std::borrow::Cow;

use ::http::Method;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};

/// One binding of a method to a path, as the contract or a configuration says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HttpRule {
    /// HTTP method; `None` admits any.
    pub verb: Option<Method>,
    /// Path template, such as `/v1/{name=shelves/*}:publish`.
    pub template: String,
    /// Field that the body sets; `*` is the whole request, empty means that there is no body.
    pub body: String,
    /// Field of the answer that is the body; empty means the whole answer.
    pub response_body: String,
}

/// Why a rule cannot be served.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the route of {method}: {fault}")]
pub struct RuleError {
    method: String,
    fault: String,
}

impl RuleError {
    pub(super) fn new(method: &MethodDescriptor, fault: impl Into<String>) -> Self {
        Self { method: method.full_name().to_owned(), fault: fault.into() }
    }
}

impl HttpRule {
    /// The bindings that are written on `method`, additional ones included; none if there are none.
    pub fn of(method: &MethodDescriptor) -> Result<Vec<Self>, RuleError> {
        let options = method.options();
        let extension = method.parent_pool().get_extension_by_name("google.api.http");
        let Some(extension) = extension.filter(|extension| options.has_extension(extension)) else {
            return Ok(Vec::new());
        };
        let value = options.get_extension(&extension);
        let faulty = |fault: String| RuleError::new(method, fault);
        let rule =
            value.as_message().ok_or_else(|| faulty("google.api.http is not a message".into()))?;
        let mut rules = vec![Self::read(rule).map_err(faulty)?];
        if let Some(Cow::Borrowed(Value::List(more))) =
            rule.get_field_by_name("additional_bindings")
        {
            for rule in more.iter().filter_map(Value::as_message) {
                rules.push(Self::read(rule).map_err(faulty)?);
            }
        }
        Ok(rules)
    }

    fn read(rule: &DynamicMessage) -> Result<Self, String> {
        let (verb, template) = pattern(rule).ok_or("it names no path")?;
        Ok(Self {
            verb: match verb.as_str() {
                "*" => None,
                verb => Some(verb.parse().map_err(|_| format!("`{verb}` is no HTTP method"))?),
            },
            template,
            body: text(rule, "body"),
            response_body: text(rule, "response_body"),
        })
    }
}

fn pattern(rule: &DynamicMessage) -> Option<(String, String)> {
    for verb in ["get", "put", "post", "delete", "patch"] {
        let path = text(rule, verb);
        if !path.is_empty() {
            return Some((verb.to_ascii_uppercase(), path));
        }
    }
    let custom = rule.get_field_by_name("custom")?;
    let custom = custom.as_message()?;
    Some((text(custom, "kind"), text(custom, "path"))).filter(|(_, path)| !path.is_empty())
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.as_deref().and_then(Value::as_str).unwrap_or_default().to_owned()
}
