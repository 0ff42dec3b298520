//! The well-known types, which have JSON forms of their own.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};
use prost_types::value::Kind as Dynamic;
use prost_types::{ListValue, Struct};
use serde_json::value::RawValue;

use super::Codec;
use super::at::At;
use super::read::{Token, elements, members, token};
use super::scalar;
use crate::problem::FieldError;

/// How JSON shows a well-known type.
pub(super) enum WellKnown {
    /// As prost-reflect has it; the text says what a reader expects.
    Standard(&'static str),
    /// As the value that it wraps.
    Wrapper,
    /// As whatever JSON it holds.
    Struct,
    List,
    Value,
}

impl WellKnown {
    pub(super) fn of(full_name: &str) -> Option<Self> {
        Some(match full_name.strip_prefix("google.protobuf.")? {
            "Timestamp" => Self::Standard("must be an RFC 3339 time, such as 2026-01-31T12:00:00Z"),
            "Duration" => Self::Standard("must be seconds, such as 1.5s"),
            "FieldMask" => Self::Standard("must be field names with commas between them"),
            "Any" => Self::Standard("must be an object with a known @type"),
            "Empty" => Self::Standard("must be an empty object"),
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
            | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => Self::Wrapper,
            "Struct" => Self::Struct,
            "ListValue" => Self::List,
            "Value" => Self::Value,
            _ => return None,
        })
    }
}

impl Codec {
    /// Reads a well-known type; `None` for all other messages.
    pub(super) fn read_well_known(
        &self,
        descriptor: &MessageDescriptor,
        raw: &RawValue,
        at: &At<'_>,
    ) -> Option<Result<DynamicMessage, FieldError>> {
        Some(match WellKnown::of(descriptor.full_name())? {
            WellKnown::Standard(expected) => {
                DynamicMessage::deserialize(descriptor.clone(), raw).map_err(|_| at.error(expected))
            }
            WellKnown::Wrapper => self.read_wrapper(descriptor, raw, at),
            WellKnown::Struct => read_struct(raw, at).and_then(|v| converted(descriptor, &v, at)),
            WellKnown::List => read_list(raw, at).and_then(|v| converted(descriptor, &v, at)),
            WellKnown::Value => read_value(raw, at).and_then(|v| converted(descriptor, &v, at)),
        })
    }

    fn read_wrapper(
        &self,
        descriptor: &MessageDescriptor,
        raw: &RawValue,
        at: &At<'_>,
    ) -> Result<DynamicMessage, FieldError> {
        let mut message = DynamicMessage::new(descriptor.clone());
        if let Some(field) = descriptor.get_field_by_name("value") {
            let value = self.read_one(&field, &field.kind(), raw, at)?;
            message.set_field(&field, value);
        }
        Ok(message)
    }

    /// Reads a field from plain text, as paths and queries have it.
    pub(crate) fn read_text(&self, kind: &Kind, text: &str) -> Result<Value, &'static str> {
        let Kind::Message(descriptor) = kind else { return self.scalar_from_text(kind, text) };
        let mut message = DynamicMessage::new(descriptor.clone());
        match WellKnown::of(descriptor.full_name()) {
            Some(WellKnown::Standard(expected)) => {
                let quoted = serde_json::Value::from(text);
                message = DynamicMessage::deserialize(descriptor.clone(), quoted)
                    .map_err(|_| expected)?;
            }
            Some(WellKnown::Wrapper) => {
                let field = descriptor.get_field_by_name("value").ok_or("is not readable")?;
                let value = self.scalar_from_text(&field.kind(), text)?;
                message.set_field(&field, value);
            }
            _ => return Err("is no value that a path or query can hold"),
        }
        Ok(Value::Message(message))
    }
}

fn converted<M: prost::Message>(
    descriptor: &MessageDescriptor,
    message: &M,
    at: &At<'_>,
) -> Result<DynamicMessage, FieldError> {
    let mut dynamic = DynamicMessage::new(descriptor.clone());
    dynamic.transcode_from(message).map_err(|_| at.error("is not readable"))?;
    Ok(dynamic)
}

fn read_struct(raw: &RawValue, at: &At<'_>) -> Result<Struct, FieldError> {
    at.check_depth()?;
    let mut fields = BTreeMap::new();
    for (name, raw) in members(raw, at)? {
        let value = read_value(raw, &at.field(&name))?;
        fields.insert(name, value);
    }
    Ok(Struct { fields })
}

fn read_list(raw: &RawValue, at: &At<'_>) -> Result<ListValue, FieldError> {
    at.check_depth()?;
    let elements = elements(raw, at)?.into_iter().enumerate();
    let values = elements.map(|(index, raw)| read_value(raw, &at.index(index)));
    Ok(ListValue { values: values.collect::<Result<_, _>>()? })
}

fn read_value(raw: &RawValue, at: &At<'_>) -> Result<prost_types::Value, FieldError> {
    let kind = match token(raw, at)? {
        Token::Null => Dynamic::NullValue(0),
        Token::Bool(value) => Dynamic::BoolValue(value),
        Token::Number(text) => match scalar::number(&Kind::Double, text) {
            Ok(Value::F64(number)) if scalar::is_kept(text, number) => Dynamic::NumberValue(number),
            Ok(_) => return Err(at.error("is a number that cannot be kept exactly")),
            _ => return Err(at.error("is a number beyond all range")),
        },
        Token::Text(text) => Dynamic::StringValue(text),
        Token::Array => Dynamic::ListValue(read_list(raw, at)?),
        Token::Object => Dynamic::StructValue(read_struct(raw, at)?),
    };
    Ok(prost_types::Value { kind: Some(kind) })
}
