//! Messages → JSON.

use std::collections::HashMap;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, SerializeOptions, Value,
};
use prost_types::value::Kind as Dynamic;
use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::Codec;
use super::scalar;
use super::wkt::WellKnown;

/// An upstream's message does not keep its contract: JSON cannot show it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WriteError(serde_json::Error);

/// Beyond this, whole numbers of 64-bit floats are not all distinct.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

impl Codec {
    /// Writes a whole message.
    pub(crate) fn write(&self, message: &DynamicMessage) -> Result<Vec<u8>, WriteError> {
        serde_json::to_vec(&ShownMessage { codec: self, message }).map_err(WriteError)
    }

    /// Writes one field of a message; its default when it is absent.
    pub(crate) fn write_field(
        &self,
        message: &DynamicMessage,
        field: &FieldDescriptor,
    ) -> Result<Vec<u8>, WriteError> {
        let value = message.get_field(field);
        serde_json::to_vec(&ShownField { codec: self, field, value: &value }).map_err(WriteError)
    }

    fn is_shown(&self, message: &DynamicMessage, field: &FieldDescriptor) -> bool {
        message.has_field(field) || (!field.supports_presence() && self.policy(field).always_print)
    }
}

struct ShownMessage<'a> {
    codec: &'a Codec,
    message: &'a DynamicMessage,
}

impl Serialize for ShownMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { codec, message } = *self;
        let descriptor = message.descriptor();
        match WellKnown::of(descriptor.full_name()) {
            Some(WellKnown::Standard(_)) => {
                message.serialize_with_options(serializer, &SerializeOptions::new())
            }
            Some(WellKnown::Wrapper) => {
                let field = descriptor.fields().next();
                let field = field.ok_or_else(|| S::Error::custom("a wrapper wraps nothing"))?;
                let value = message.get_field(&field);
                ShownField { codec, field: &field, value: &value }.serialize(serializer)
            }
            Some(WellKnown::Struct | WellKnown::List | WellKnown::Value) => {
                ShownDynamic::of(message).map_err(S::Error::custom)?.serialize(serializer)
            }
            None => {
                let mut map = serializer.serialize_map(None)?;
                for field in descriptor.fields().filter(|field| codec.is_shown(message, field)) {
                    let value = message.get_field(&field);
                    let value = ShownField { codec, field: &field, value: &value };
                    map.serialize_entry(field.json_name(), &value)?;
                }
                map.end()
            }
        }
    }
}

/// The value of a field: one, a list or a map.
struct ShownField<'a> {
    codec: &'a Codec,
    field: &'a FieldDescriptor,
    value: &'a Value,
}

impl Serialize for ShownField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { codec, field, value } = *self;
        let kind = field.kind();
        match value {
            Value::List(values) => serializer.collect_seq(values.iter().map(|value| Shown {
                codec,
                field,
                kind: &kind,
                value,
            })),
            Value::Map(entries) => self.serialize_map(&kind, entries, serializer),
            value => Shown { codec, field, kind: &kind, value }.serialize(serializer),
        }
    }
}

impl ShownField<'_> {
    fn serialize_map<S: Serializer>(
        &self,
        kind: &Kind,
        entries: &HashMap<MapKey, Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let entry = kind.as_message().ok_or_else(|| S::Error::custom("a map has no entry"))?;
        let field = &entry.map_entry_value_field();
        let kind = &field.kind();
        // In the order of the keys, so that the same message is always the same text.
        let mut entries: Vec<_> =
            entries.iter().map(|(key, value)| (key_text(key), value)).collect();
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let entries = entries.into_iter();
        serializer.collect_map(
            entries.map(|(key, value)| (key, Shown { codec: self.codec, field, kind, value })),
        )
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// One value.
struct Shown<'a> {
    codec: &'a Codec,
    field: &'a FieldDescriptor,
    kind: &'a Kind,
    value: &'a Value,
}

impl Shown<'_> {
    fn is_json_number(&self) -> bool {
        self.codec.policy(self.field).json_number
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::I64(value) if self.is_json_number() => serializer.serialize_i64(*value),
            Value::U64(value) if self.is_json_number() => serializer.serialize_u64(*value),
            Value::I64(value) => serializer.collect_str(value),
            Value::U64(value) => serializer.collect_str(value),
            Value::F32(value) if value.is_finite() && value.fract() != 0.0 => {
                serializer.serialize_f32(*value)
            }
            Value::F32(value) => serialize_float(f64::from(*value), serializer),
            Value::F64(value) => serialize_float(*value, serializer),
            Value::String(text) if self.is_json_number() => serialize_decimal(text, serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
            Value::EnumNumber(number) => self.serialize_enum(*number, serializer),
            Value::Message(message) => {
                ShownMessage { codec: self.codec, message }.serialize(serializer)
            }
            Value::List(_) | Value::Map(_) => Err(S::Error::custom("a list inside a list")),
        }
    }
}

impl Shown<'_> {
    fn serialize_enum<S: Serializer>(&self, number: i32, serializer: S) -> Result<S::Ok, S::Error> {
        let enumeration = self.kind.as_enum();
        let Some(value) = enumeration.and_then(|enumeration| enumeration.get_value(number)) else {
            return serializer.serialize_i32(number);
        };
        if value.parent_enum().full_name() == "google.protobuf.NullValue" {
            return serializer.serialize_unit();
        }
        serializer.serialize_str(self.codec.shown_name(value.parent_enum(), value.name()))
    }
}

/// A decimal as a number, digit for digit; the default of a decimal is zero.
fn serialize_decimal<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if text.is_empty() {
        return serializer.serialize_u64(0);
    }
    if !scalar::is_number(text) {
        return Err(S::Error::custom("a field shown as a number holds none"));
    }
    RawValue::from_string(text.to_owned()).map_err(S::Error::custom)?.serialize(serializer)
}

/// A float; whole ones without a fraction, so that `5` comes back as `5`.
fn serialize_float<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        serializer.serialize_str("NaN")
    } else if value.is_infinite() {
        serializer.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else if value.fract() == 0.0 && value.abs() < WHOLE_MAX && !is_negative_zero(value) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range, as checked")]
        serializer.serialize_i64(value as i64)
    } else {
        serializer.serialize_f64(value)
    }
}

fn is_negative_zero(value: f64) -> bool {
    value == 0.0 && value.is_sign_negative()
}

/// JSON that a message holds as it is: `google.protobuf.Value` and its kin.
struct ShownDynamic(prost_types::Value);

impl ShownDynamic {
    fn of(message: &DynamicMessage) -> Result<Self, prost::DecodeError> {
        let kind = match WellKnown::of(message.descriptor().full_name()) {
            Some(WellKnown::Struct) => Some(Dynamic::StructValue(message.transcode_to()?)),
            Some(WellKnown::List) => Some(Dynamic::ListValue(message.transcode_to()?)),
            _ => return Ok(Self(message.transcode_to()?)),
        };
        Ok(Self(prost_types::Value { kind }))
    }
}

impl Serialize for ShownDynamic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ShownValue(&self.0).serialize(serializer)
    }
}

struct ShownValue<'a>(&'a prost_types::Value);

impl Serialize for ShownValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.kind {
            None | Some(Dynamic::NullValue(_)) => serializer.serialize_unit(),
            Some(Dynamic::BoolValue(value)) => serializer.serialize_bool(*value),
            Some(Dynamic::NumberValue(value)) if value.is_finite() => {
                serialize_float(*value, serializer)
            }
            Some(Dynamic::NumberValue(_)) => Err(S::Error::custom("a number is not finite")),
            Some(Dynamic::StringValue(text)) => serializer.serialize_str(text),
            Some(Dynamic::ListValue(list)) => {
                serializer.collect_seq(list.values.iter().map(ShownValue))
            }
            Some(Dynamic::StructValue(fields)) => serializer
                .collect_map(fields.fields.iter().map(|(name, value)| (name, ShownValue(value)))),
        }
    }
}
