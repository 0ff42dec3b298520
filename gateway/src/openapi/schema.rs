//! Messages, enums and fields as JSON Schema.

use std::collections::BTreeMap;

use prost_reflect::{
    EnumDescriptor, EnumValueDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};
use prost_types::{FieldOptions, MessageOptions};
use serde_json::{Map, Value, json};
use transcoder::{Forms, Schema};

use super::comments::Comments;
use super::example::Examples;
use super::rules::{Rules, is_required};
use crate::site::OfOptions;

/// Key of a reference.
pub(super) const REF: &str = "$ref";

/// Name of the schema of problems.
pub(super) const PROBLEM: &str = "Problem";

/// The schemas that operations refer to; each is built when it is first referred to.
pub(super) struct Schemas<'a> {
    schema: &'a Schema,
    comments: &'a Comments,
    components: BTreeMap<String, Value>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(schema: &'a Schema, comments: &'a Comments) -> Self {
        Self { schema, comments, components: BTreeMap::new() }
    }

    /// All schemas referred to, and the one of problems.
    pub(super) fn into_components(mut self, problem: Value) -> Value {
        self.components.insert(PROBLEM.to_owned(), problem);
        json!(self.components)
    }

    /// An example of a field's value.
    pub(super) fn example(&self, field: &FieldDescriptor) -> Option<Value> {
        Examples(self.schema).field(field)
    }

    /// A reference to the schema of `message`.
    pub(super) fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = component_name(message.full_name());
        if !self.components.contains_key(&name) {
            // Stands there while the schema is built: a message may hold itself.
            self.components.insert(name.clone(), Value::Null);
            let schema = self.message(message, &[]);
            self.components.insert(name.clone(), schema);
        }
        json!({REF: format!("#/components/schemas/{name}")})
    }

    /// The schema of `message` without the fields `left_out`.
    pub(super) fn message(
        &mut self,
        message: &MessageDescriptor,
        left_out: &[FieldDescriptor],
    ) -> Value {
        let fields: Vec<_> = message.fields().filter(|field| !left_out.contains(field)).collect();
        let properties: Map<_, _> =
            fields.iter().map(|field| (field.json_name().to_owned(), self.field(field))).collect();
        let required: Vec<_> = fields
            .iter()
            .filter(|field| is_required(field))
            .map(FieldDescriptor::json_name)
            .collect();
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if message.descriptor_proto().options.as_ref().is_some_and(MessageOptions::deprecated) {
            schema["deprecated"] = json!(true);
        }
        described(schema, self.comments.of_message(message))
    }

    /// The schema of one field, with its comment and its rules.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        let rules = Rules::of(field);
        let kind = field.kind();
        let mut schema = if field.is_list() {
            let repeated = rules.inner("repeated");
            let items = self.one(field, &kind, &repeated.inner("items"));
            let mut schema = json!({"type": "array", "items": items});
            repeated.copy(
                &mut schema,
                &[("min_items", "minItems"), ("max_items", "maxItems"), ("unique", "uniqueItems")],
            );
            schema
        } else if let (true, Some(entry)) = (field.is_map(), kind.as_message()) {
            let value = entry.map_entry_value_field();
            let mut schema = json!({"type": "object", "additionalProperties": self.field(&value)});
            let pairs = [("min_pairs", "minProperties"), ("max_pairs", "maxProperties")];
            rules.inner("map").copy(&mut schema, &pairs);
            schema
        } else {
            self.one(field, &kind, &rules)
        };
        let options = field.field_descriptor_proto().options.as_ref();
        if options.is_some_and(FieldOptions::deprecated) {
            schema["deprecated"] = json!(true);
        }
        described(
            schema,
            self.comments.of_path(&field.parent_message().parent_file(), field.path()),
        )
    }

    fn one(&mut self, field: &FieldDescriptor, kind: &Kind, rules: &Rules) -> Value {
        let json_number = OfOptions.field(field).number;
        match kind {
            Kind::String if json_number => json!({"type": "number"}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 if !json_number => {
                json!({"type": "string", "format": "int64"})
            }
            Kind::Uint64 | Kind::Fixed64 if !json_number => {
                json!({"type": "string", "format": "uint64"})
            }
            Kind::Double | Kind::Float => bounded(json!({"type": "number"}), kind, rules),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                bounded(json!({"type": "integer", "format": "int32"}), kind, rules)
            }
            Kind::Uint32 | Kind::Fixed32 => {
                bounded(json!({"type": "integer", "minimum": 0}), kind, rules)
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                bounded(json!({"type": "integer", "format": "int64"}), kind, rules)
            }
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => text(&rules.inner("string")),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Enum(enumeration) => self.enumeration(enumeration),
            Kind::Message(message) => {
                well_known(message).unwrap_or_else(|| self.reference(message))
            }
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor) -> Value {
        let file = enumeration.parent_file();
        // A zero of that name stands for no value at all.
        let is_value = |value: &EnumValueDescriptor| {
            value.number() != 0 || !value.name().ends_with("UNSPECIFIED")
        };
        let values: Vec<_> = enumeration.values().filter(is_value).collect();
        let names: Vec<_> = values
            .iter()
            .filter_map(|value| self.schema.enum_name(enumeration, value.number()))
            .collect();
        let lines = values.iter().zip(&names).map(|(value, name)| {
            format!("- `{name}`: {}", self.comments.of_path(&file, value.path()).replace('\n', " "))
        });
        let mut description = vec![self.comments.of_path(&file, enumeration.path()).to_owned()];
        description.extend(lines);
        let description = description.join("\n");
        let name = component_name(enumeration.full_name());
        let schema = json!({"type": "string", "enum": names, "description": description});
        self.components.insert(name.clone(), schema);
        json!({REF: format!("#/components/schemas/{name}")})
    }
}

/// `malha.payments.v1.Transaction` → `payments.Transaction`; of others the whole name.
fn component_name(full_name: &str) -> String {
    match full_name.strip_prefix("malha.") {
        Some(short) => short.replacen(".v1.", ".", 1),
        None if full_name == PROBLEM => format!("{full_name}_"),
        None => full_name.to_owned(),
    }
}

fn described(mut schema: Value, description: &str) -> Value {
    if !description.is_empty() {
        schema["description"] = json!(description);
    }
    schema
}

/// Whether a well-known type is one string in JSON, as a query can hold it.
pub(super) fn is_text(message: &MessageDescriptor) -> bool {
    matches!(
        message.full_name(),
        "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask"
    ) || message.full_name().starts_with("google.protobuf.")
        && message.name().ends_with("Value")
        && !matches!(message.name(), "Value" | "ListValue")
}

/// Whether JSON shows a message in a form of its own.
pub(super) fn is_well_known(message: &MessageDescriptor) -> bool {
    message.full_name().starts_with("google.protobuf.")
}

/// The schema of a message that JSON shows in a form of its own.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    let schema = match message.full_name() {
        "google.api.HttpBody" => json!({"type": "string", "format": "binary"}),
        full_name => match full_name.strip_prefix("google.protobuf.")? {
            "Timestamp" => json!({"type": "string", "format": "date-time"}),
            "Duration" => json!({"type": "string", "pattern": "^-?[0-9]+([.][0-9]{1,9})?s$"}),
            "FieldMask" => json!({"type": "string"}),
            "ListValue" => json!({"type": "array"}),
            "Value" => json!({}),
            "DoubleValue" | "FloatValue" => json!({"type": ["number", "null"]}),
            "Int32Value" | "UInt32Value" => json!({"type": ["integer", "null"]}),
            "BoolValue" => json!({"type": ["boolean", "null"]}),
            "Int64Value" | "UInt64Value" | "StringValue" | "BytesValue" => {
                json!({"type": ["string", "null"]})
            }
            // Struct, Empty, Any.
            _ => json!({"type": "object"}),
        },
    };
    Some(schema)
}

/// What such a message may look like.
pub(super) fn well_known_example(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name().strip_prefix("google.protobuf.")? {
        "Timestamp" => json!("2026-01-31T12:00:00Z"),
        "Duration" => json!("1.500s"),
        "FieldMask" => json!(""),
        "ListValue" => json!(["text", 1]),
        "Value" | "StringValue" => json!("text"),
        "DoubleValue" | "FloatValue" => json!(1.5),
        "Int32Value" | "UInt32Value" => json!(1),
        "Int64Value" | "UInt64Value" => json!("1"),
        "BoolValue" => json!(true),
        "BytesValue" => json!("bWFsaGE="),
        "Struct" => json!({"key": "value"}),
        "Any" => {
            json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.500s"})
        }
        _ => json!({}),
    })
}

fn text(rules: &Rules) -> Value {
    let mut schema = json!({"type": "string"});
    let keywords = [
        ("len", "minLength"),
        ("len", "maxLength"),
        ("min_len", "minLength"),
        ("max_len", "maxLength"),
        ("pattern", "pattern"),
        ("const", "const"),
        ("in", "enum"),
    ];
    rules.copy(&mut schema, &keywords);
    for format in ["uuid", "email", "uri", "hostname", "ipv4", "ipv6"] {
        if rules.is_on(format) {
            schema["format"] = json!(format);
        }
    }
    schema
}

fn bounded(mut schema: Value, kind: &Kind, rules: &Rules) -> Value {
    let bounds = [
        ("gte", "minimum"),
        ("lte", "maximum"),
        ("gt", "exclusiveMinimum"),
        ("lt", "exclusiveMaximum"),
        ("const", "const"),
        ("in", "enum"),
    ];
    // The rules of a number stand under the name of its type.
    rules.inner(&format!("{kind:?}")).copy(&mut schema, &bounds);
    schema
}
