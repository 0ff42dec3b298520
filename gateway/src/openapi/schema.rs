//! Messages, enums and fields as JSON Schema.

use std::collections::BTreeMap;

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value as Dynamic,
};
use serde_json::{Map, Value, json};

use super::comments::Comments;
use crate::json::Codec;

/// Key of a reference.
pub(super) const REF: &str = "$ref";

/// The schemas that operations refer to; each is built when it is first referred to.
pub(super) struct Schemas<'a> {
    codec: &'a Codec,
    comments: &'a Comments,
    components: BTreeMap<String, Value>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(codec: &'a Codec, comments: &'a Comments) -> Self {
        Self { codec, comments, components: BTreeMap::new() }
    }

    /// All schemas referred to, and the one of problems.
    pub(super) fn into_components(mut self, problem: Value) -> Value {
        self.components.insert("Problem".to_owned(), problem);
        json!(self.components)
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
        described(schema, self.comments.of_message(message))
    }

    /// The schema of one field, with its comment and its rules.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        let rules = Rules::of(field);
        let kind = field.kind();
        let schema = if field.is_list() {
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
            json!({"type": "object", "additionalProperties": self.field(&value)})
        } else {
            self.one(field, &kind, &rules)
        };
        described(
            schema,
            self.comments.of_path(&field.parent_message().parent_file(), field.path()),
        )
    }

    fn one(&mut self, field: &FieldDescriptor, kind: &Kind, rules: &Rules) -> Value {
        let json_number = self.codec.policy(field).json_number;
        match kind {
            Kind::String if json_number => json!({"type": "number", "examples": [100.5]}),
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
        // The zero stands for no value at all.
        let values: Vec<_> = enumeration.values().filter(|value| value.number() != 0).collect();
        let names: Vec<_> =
            values.iter().map(|value| self.codec.shown_name(enumeration, value.name())).collect();
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

/// `malha.payments.v1.Transaction` → `payments.Transaction`.
fn component_name(full_name: &str) -> String {
    let short = full_name.strip_prefix("malha.").unwrap_or(full_name);
    short.replacen(".v1.", ".", 1)
}

fn described(mut schema: Value, description: &str) -> Value {
    if !description.is_empty() {
        schema["description"] = json!(description);
    }
    schema
}

/// Whether a message must hold something to be accepted.
pub(super) fn has_required(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| is_required(&field))
}

fn is_required(field: &FieldDescriptor) -> bool {
    Rules::of(field).get("required") == Some(json!(true))
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

fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name().strip_prefix("google.protobuf.")? {
        "Timestamp" => {
            json!({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]})
        }
        "Duration" => json!({"type": "string", "pattern": "^-?[0-9]+([.][0-9]{1,9})?s$"}),
        "FieldMask" => json!({"type": "string", "examples": ["name,bankingDetails"]}),
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
    })
}

fn text(rules: &Rules) -> Value {
    let mut schema = json!({"type": "string"});
    rules.copy(
        &mut schema,
        &[("min_len", "minLength"), ("max_len", "maxLength"), ("pattern", "pattern")],
    );
    for (rule, format) in [("uuid", "uuid"), ("email", "email"), ("uri", "uri")] {
        if rules.get(rule) == Some(json!(true)) {
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
    ];
    // The rules of a number stand under the name of its type.
    rules.inner(&format!("{kind:?}")).copy(&mut schema, &bounds);
    schema
}

/// `buf.validate` rules of a field, or a part of them.
struct Rules(Option<DynamicMessage>);

impl Rules {
    fn of(field: &FieldDescriptor) -> Self {
        let extension = field.parent_pool().get_extension_by_name("buf.validate.field");
        let options = field.options();
        let extension = extension.filter(|extension| options.has_extension(extension));
        Self(extension.and_then(|e| options.get_extension(&e).as_message().cloned()))
    }

    /// The rules under `name`.
    fn inner(&self, name: &str) -> Self {
        let rules = self.0.as_ref().filter(|rules| rules.has_field_by_name(name));
        let inner = rules.and_then(|rules| rules.get_field_by_name(name));
        Self(inner.and_then(|inner| inner.as_message().cloned()))
    }

    /// The value of one rule, when it is given.
    fn get(&self, name: &str) -> Option<Value> {
        let rules = self.0.as_ref().filter(|rules| rules.has_field_by_name(name))?;
        Some(match &*rules.get_field_by_name(name)? {
            Dynamic::Bool(value) => json!(value),
            Dynamic::I32(value) => json!(value),
            Dynamic::I64(value) => json!(value),
            Dynamic::U32(value) => json!(value),
            Dynamic::U64(value) => json!(value),
            Dynamic::F32(value) => json!(value),
            Dynamic::F64(value) => json!(value),
            Dynamic::String(value) => json!(value),
            _ => return None,
        })
    }

    /// Adds the rules that are given to `schema`, under the names that it has for them.
    fn copy(&self, schema: &mut Value, names: &[(&str, &str)]) {
        for (rule, keyword) in names {
            if let Some(value) = self.get(rule) {
                schema[*keyword] = value;
            }
        }
    }
}
