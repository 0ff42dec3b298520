//! The fields that a route sets, for documents: what becomes of them is the transcoder's part.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

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

impl Body {
    /// What `body` of a rule means for `method`.
    pub(super) fn of(method: &MethodDescriptor, body: &str) -> Result<Self, String> {
        if body == "*" {
            return Ok(Self::Whole);
        }
        Ok(named_field(&method.input(), body)?.map_or(Self::None, Self::Field))
    }
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
