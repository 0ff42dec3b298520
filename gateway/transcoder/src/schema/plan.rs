//! Plans: all that conversion needs to know of messages, fields and enums, looked up once.

use prost_reflect::MessageDescriptor;

use super::names::Names;
use crate::wire::{Tag, WireType};

/// What a value is; messages and enums by their place in the schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(u32),
    /// `google.protobuf.NullValue`.
    Null,
    Message(u32),
    /// A message between tags of its own instead of behind its length.
    Group(u32),
}

impl Kind {
    /// How one value lies on the wire.
    pub(crate) fn wire_type(self) -> WireType {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => WireType::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => WireType::Fixed32,
            Self::String | Self::Bytes | Self::Message(_) => WireType::Bytes,
            Self::Group(_) => WireType::Group,
            _ => WireType::Varint,
        }
    }

    /// The place of a message's plan.
    pub(crate) fn message(self) -> Option<u32> {
        match self {
            Self::Message(plan) | Self::Group(plan) => Some(plan),
            _ => None,
        }
    }

    /// What a value must be.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Double | Self::Float => "must be a number",
            Self::Int32 | Self::Sint32 | Self::Sfixed32 => "must be a 32-bit integer",
            Self::Int64 | Self::Sint64 | Self::Sfixed64 => "must be a 64-bit integer",
            Self::Uint32 | Self::Fixed32 => "must be an unsigned 32-bit integer",
            Self::Uint64 | Self::Fixed64 => "must be an unsigned 64-bit integer",
            Self::Bool => "must be true or false",
            Self::String => "must be a string",
            Self::Bytes => "must be a base64 string",
            Self::Enum(_) => "must be the name of an enum value",
            Self::Null => "must be null",
            Self::Message(_) | Self::Group(_) => "must be an object",
        }
    }
}

/// How often a field's value may come.
#[derive(Debug)]
pub(crate) enum Label {
    One,
    /// Whether a run of values is written behind one tag.
    List {
        packed: bool,
    },
    /// Key and value, as fields of the entry.
    Map(Box<(Field, Field)>),
}

/// One field of a message, or one half of a map's entry.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// As the contract calls it.
    pub(crate) name: Box<str>,
    /// As JSON calls it.
    pub(crate) json_name: Box<str>,
    /// The JSON name as it is written: `"name":`.
    pub(crate) key: Box<[u8]>,
    pub(crate) tag: Tag,
    pub(crate) kind: Kind,
    pub(crate) label: Label,
    /// Place of the oneof in its message.
    pub(crate) oneof: Option<u32>,
    /// Whether absence differs from the default value.
    pub(crate) presence: bool,
    /// Whether a null is a value, not an absence.
    pub(crate) admits_null: bool,
    /// Whether JSON shows the string or 64-bit integer as a number.
    pub(crate) number_form: bool,
    /// Whether the default value is printed.
    pub(crate) always_print: bool,
    /// Whether the value is never logged.
    pub(crate) sensitive: bool,
}

impl Field {
    /// Whether the field has one value.
    pub(crate) fn is_one(&self) -> bool {
        matches!(self.label, Label::One)
    }
}

/// How JSON shows a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// As an object with a member for each field.
    Ordinary,
    /// As the value of its only field.
    Wrapper,
    Timestamp,
    Duration,
    FieldMask,
    Any,
    Empty,
    Struct,
    List,
    Value,
}

impl Shape {
    pub(super) fn of(descriptor: &MessageDescriptor) -> Self {
        let Some(name) = descriptor.full_name().strip_prefix("google.protobuf.") else {
            return Self::Ordinary;
        };
        match name {
            "Timestamp" => Self::Timestamp,
            "Duration" => Self::Duration,
            "FieldMask" => Self::FieldMask,
            "Any" => Self::Any,
            "Empty" => Self::Empty,
            "Struct" => Self::Struct,
            "ListValue" => Self::List,
            "Value" => Self::Value,
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
            | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue"
                if descriptor.fields().len() == 1 =>
            {
                Self::Wrapper
            }
            _ => Self::Ordinary,
        }
    }

    /// What a value must be.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Timestamp => "must be an RFC 3339 time, such as 2026-01-31T12:00:00Z",
            Self::Duration => "must be seconds, such as 1.5s",
            Self::FieldMask => "must be field names with commas between them",
            Self::Any => "must be an object with a known @type",
            Self::Empty => "must be an empty object",
            Self::List => "must be an array",
            Self::Ordinary | Self::Wrapper | Self::Struct | Self::Value => "must be an object",
        }
    }
}

/// One message.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) descriptor: MessageDescriptor,
    pub(crate) shape: Shape,
    /// Ascending by number, extensions included.
    pub(crate) fields: Box<[Field]>,
    /// Names of the oneofs that have more than one field.
    pub(crate) oneofs: Box<[Box<str>]>,
    /// Whether any field is printed even if it is absent.
    pub(crate) prints_absent: bool,
    pub(super) names: Names<u32>,
}

impl Plan {
    /// The place of the field that a client calls `name`: by its JSON name or its own.
    /// `guess` is where it is if fields come in order.
    #[inline]
    pub(crate) fn place(&self, name: &[u8], guess: usize) -> Option<usize> {
        if self.fields.get(guess).is_some_and(|field| field.json_name.as_bytes() == name) {
            return Some(guess);
        }
        self.names.get(name).map(|place| place as usize)
    }

    /// The field that a client calls `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.place(name.as_bytes(), 0).map(|place| &self.fields[place])
    }

    /// The place of the field with a number.
    pub(crate) fn place_of(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }
}

/// One enum.
#[derive(Debug)]
pub(crate) struct Enum {
    /// Ascending by number: the name as JSON shows it, in quotes.
    pub(super) shown: Box<[(i32, Box<[u8]>)]>,
    /// Every name that is read.
    pub(super) numbers: Names<i32>,
}

impl Enum {
    #[inline]
    pub(crate) fn number(&self, name: &[u8]) -> Option<i32> {
        self.numbers.get(name)
    }

    /// The value's name in quotes.
    #[inline]
    pub(crate) fn shown(&self, number: i32) -> Option<&[u8]> {
        // Most enums count from zero without a gap.
        let direct = usize::try_from(number).ok().and_then(|place| self.shown.get(place));
        if let Some((_, name)) = direct.filter(|(own, _)| *own == number) {
            return Some(name);
        }
        let place = self.shown.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.shown[place].1)
    }
}
