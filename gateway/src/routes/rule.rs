//! `google.api.http` as written on a method.

use std::borrow::Cow;

use http::Method;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};

/// One binding of a method to a path.
pub(super) struct Rule {
    /// HTTP method; `None` admits any.
    pub(super) verb: Option<Method>,
    pub(super) path: String,
    pub(super) body: String,
    pub(super) response_body: String,
}

/// What the HTTP body of a request sets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// There is none.
    None,
    /// Every field that the path does not set.
    Whole,
    /// This field.
    Field(FieldDescriptor),
}

impl Rule {
    /// The bindings of `method`; none when it is not annotated.
    pub(super) fn of(method: &MethodDescriptor) -> Result<Vec<Self>, String> {
        let options = method.options();
        let extension = method.parent_pool().get_extension_by_name("google.api.http");
        let Some(extension) = extension.filter(|extension| options.has_extension(extension)) else {
            return Ok(Vec::new());
        };
        let value = options.get_extension(&extension);
        let rule = value.as_message().ok_or("google.api.http is not a message")?;
        let mut rules = vec![Self::read(rule)?];
        if let Some(Cow::Borrowed(Value::List(more))) =
            rule.get_field_by_name("additional_bindings")
        {
            for rule in more.iter().filter_map(Value::as_message) {
                rules.push(Self::read(rule)?);
            }
        }
        Ok(rules)
    }

    fn read(rule: &DynamicMessage) -> Result<Self, String> {
        let (verb, path) = pattern(rule).ok_or("it names no path")?;
        Ok(Self {
            verb: match verb.as_str() {
                "*" => None,
                verb => Some(verb.parse().map_err(|_| format!("`{verb}` is no HTTP method"))?),
            },
            path,
            body: text(rule, "body"),
            response_body: text(rule, "response_body"),
        })
    }
}

impl Body {
    /// What `body` of a rule means for `method`.
    pub(super) fn of(method: &MethodDescriptor, body: &str) -> Result<Self, String> {
        if body == "*" {
            return Ok(Self::Whole);
        }
        Ok(named_field(&method.input(), body)?.map_or(Self::None, Self::Field))
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

/// The field of `message` with this name; `None` for no name.
pub(super) fn named_field(
    message: &MessageDescriptor,
    name: &str,
) -> Result<Option<FieldDescriptor>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    let field = message.get_field_by_name(name);
    field.map(Some).ok_or_else(|| format!("{} has no field `{name}`", message.full_name()))
}

/// The way from `message` down to the field that a path variable sets.
pub(super) fn resolve(
    message: &MessageDescriptor,
    path: &str,
) -> Result<Vec<FieldDescriptor>, String> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for name in path.split('.') {
        let parent = match fields.last().map(FieldDescriptor::kind) {
            None => message.clone(),
            Some(Kind::Message(parent)) => parent,
            Some(_) => return Err(format!("`{path}` goes through a field that is no message")),
        };
        let field =
            named_field(&parent, name)?.ok_or_else(|| format!("`{path}` has an empty part"))?;
        if field.is_list() || field.is_map() {
            return Err(format!("`{path}` goes through a repeated field"));
        }
        fields.push(field);
    }
    Ok(fields)
}
