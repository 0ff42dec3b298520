//! JSON → messages.

use std::collections::{HashMap, HashSet};
use std::fmt;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Codec;
use super::at::At;
use super::scalar;
use crate::problem::FieldError;

/// Why a document was not read.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum ReadError {
    /// It is no JSON, from this place on (both from 1).
    Syntax { line: usize, column: usize },
    /// A field is not what the contract says.
    Field(FieldError),
}

impl From<FieldError> for ReadError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

/// Reads one whole document, its insides left as text.
fn document(json: &[u8]) -> Result<&RawValue, ReadError> {
    serde_json::from_slice(json)
        .map_err(|error| ReadError::Syntax { line: error.line(), column: error.column() })
}

/// One JSON value, as far as its first byte tells.
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(String),
    Array,
    Object,
}

/// What `raw` is. Fails for a string that is no Unicode.
pub(super) fn token<'a>(raw: &'a RawValue, at: &At<'_>) -> Result<Token<'a>, FieldError> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Token::Null,
        Some(b't') => Token::Bool(true),
        Some(b'f') => Token::Bool(false),
        Some(b'[') => Token::Array,
        Some(b'{') => Token::Object,
        Some(b'"') => {
            Token::Text(serde_json::from_str(text).map_err(|_| at.error("must be Unicode text"))?)
        }
        _ => Token::Number(text),
    })
}

/// The members of an object in their order, repeated names included.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Self)
    }
}

/// The members of `raw`, each name once.
pub(super) fn members<'a>(
    raw: &'a RawValue,
    at: &At<'_>,
) -> Result<Vec<(String, &'a RawValue)>, FieldError> {
    let Members(members) =
        serde_json::from_str(raw.get()).map_err(|_| at.error("must be an object"))?;
    let mut seen = HashSet::with_capacity(members.len());
    for (name, _) in &members {
        if !seen.insert(name.as_str()) {
            return Err(at.field(name).error("is given more than once"));
        }
    }
    Ok(members)
}

/// The elements of `raw`.
pub(super) fn elements<'a>(
    raw: &'a RawValue,
    at: &At<'_>,
) -> Result<Vec<&'a RawValue>, FieldError> {
    serde_json::from_str(raw.get()).map_err(|_| at.error("must be an array"))
}

impl Codec {
    /// Reads a whole message.
    pub(crate) fn read(
        &self,
        descriptor: &MessageDescriptor,
        json: &[u8],
    ) -> Result<DynamicMessage, ReadError> {
        Ok(self.read_message(descriptor, document(json)?, &At::ROOT)?)
    }

    /// Reads the value of one field; `None` for a null.
    pub(crate) fn read_field(
        &self,
        field: &FieldDescriptor,
        json: &[u8],
    ) -> Result<Option<Value>, ReadError> {
        Ok(self.read_value(field, document(json)?, &At::ROOT)?)
    }

    pub(super) fn read_message(
        &self,
        descriptor: &MessageDescriptor,
        raw: &RawValue,
        at: &At<'_>,
    ) -> Result<DynamicMessage, FieldError> {
        at.check_depth()?;
        if let Some(message) = self.read_well_known(descriptor, raw, at) {
            return message;
        }
        let mut message = DynamicMessage::new(descriptor.clone());
        let mut given = HashSet::new();
        for (name, raw) in members(raw, at)? {
            let field = field_named(descriptor, &name, at)?;
            let at = at.field(&name);
            if !given.insert(field.number()) {
                return Err(at.error("is given more than once"));
            }
            let Some(value) = self.read_value(&field, raw, &at)? else { continue };
            if let Some(oneof) = field.containing_oneof()
                && oneof.fields().any(|other| message.has_field(&other))
            {
                return Err(at.error(format!("only one field of `{}` may be given", oneof.name())));
            }
            message.set_field(&field, value);
        }
        Ok(message)
    }

    /// The value of a field; `None` for a null, which means that the field is absent.
    fn read_value(
        &self,
        field: &FieldDescriptor,
        raw: &RawValue,
        at: &At<'_>,
    ) -> Result<Option<Value>, FieldError> {
        let kind = field.kind();
        if raw.get() == "null" && (field.is_list() || !admits_null(&kind)) {
            return Ok(None);
        }
        if field.is_list() {
            self.read_list(field, &kind, raw, at).map(Some)
        } else if field.is_map() {
            self.read_map(&kind, raw, at).map(Some)
        } else {
            self.read_one(field, &kind, raw, at).map(Some)
        }
    }

    fn read_list(
        &self,
        field: &FieldDescriptor,
        kind: &Kind,
        raw: &RawValue,
        at: &At<'_>,
    ) -> Result<Value, FieldError> {
        let elements = elements(raw, at)?.into_iter().enumerate();
        let values = elements.map(|(index, raw)| self.read_one(field, kind, raw, &at.index(index)));
        values.collect::<Result<_, _>>().map(Value::List)
    }

    fn read_map(&self, kind: &Kind, raw: &RawValue, at: &At<'_>) -> Result<Value, FieldError> {
        let entry = kind.as_message().ok_or_else(|| at.error("must be an object"))?;
        let (key_field, value_field) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        let value_kind = value_field.kind();
        let mut map = HashMap::new();
        for (name, raw) in members(raw, at)? {
            let at = at.field(&name);
            let key = self
                .scalar_from_text(&key_field.kind(), &name)
                .map_err(|expected| at.error(format!("its key {expected}")))?;
            let key = key.into_map_key().ok_or_else(|| at.error("cannot be a key"))?;
            let value = self.read_one(&value_field, &value_kind, raw, &at)?;
            if map.insert(key, value).is_some() {
                return Err(at.error("is given more than once"));
            }
        }
        Ok(Value::Map(map))
    }

    /// One value: a singular field's, an element of a list, the value of a map's entry.
    pub(super) fn read_one(
        &self,
        field: &FieldDescriptor,
        kind: &Kind,
        raw: &RawValue,
        at: &At<'_>,
    ) -> Result<Value, FieldError> {
        if let Kind::Message(descriptor) = kind {
            return self.read_message(descriptor, raw, at).map(Value::Message);
        }
        let json_number = || self.policy(field).json_number;
        let value = match (kind, token(raw, at)?) {
            (Kind::String, Token::Number(text)) if json_number() => scalar::decimal(text),
            (Kind::String, Token::Text(text)) if json_number() => scalar::decimal(&text),
            (Kind::String, Token::Text(text)) => Ok(Value::String(text)),
            (Kind::Bytes, Token::Text(text)) => scalar::bytes(&text),
            (Kind::Bool, Token::Bool(value)) => Ok(Value::Bool(value)),
            (Kind::Enum(_), Token::Null) if admits_null(kind) => Ok(Value::EnumNumber(0)),
            (Kind::Enum(enumeration), Token::Text(name)) => self.enum_from_name(enumeration, &name),
            (Kind::Enum(_), Token::Number(text)) => {
                scalar::enum_from_number(text).ok_or(scalar::expected(kind))
            }
            (Kind::String | Kind::Bytes | Kind::Bool, _) => Err(scalar::expected(kind)),
            (_, Token::Number(text)) => scalar::number(kind, text),
            (_, Token::Text(text)) => scalar::number(kind, &text),
            _ => Err(scalar::expected(kind)),
        };
        value.map_err(|expected| at.error(expected))
    }
}

/// The fields of `descriptor` that a document gives, nulls included.
pub(crate) fn fields_given(
    descriptor: &MessageDescriptor,
    json: &[u8],
) -> Result<Vec<FieldDescriptor>, ReadError> {
    let members = members(document(json)?, &At::ROOT)?;
    let fields = members.iter().map(|(name, _)| field_named(descriptor, name, &At::ROOT));
    Ok(fields.collect::<Result<_, _>>()?)
}

/// The field that a client calls `name`: by its JSON name or its own.
pub(crate) fn field_named(
    descriptor: &MessageDescriptor,
    name: &str,
    at: &At<'_>,
) -> Result<FieldDescriptor, FieldError> {
    let field = descriptor.get_field_by_json_name(name);
    field
        .or_else(|| descriptor.get_field_by_name(name))
        .ok_or_else(|| at.field(name).error("is not a field that is known here"))
}

/// Whether a null is a value, not an absence.
fn admits_null(kind: &Kind) -> bool {
    let name = match kind {
        Kind::Message(message) => message.full_name(),
        Kind::Enum(enumeration) => enumeration.full_name(),
        _ => return false,
    };
    matches!(name, "google.protobuf.Value" | "google.protobuf.NullValue")
}
