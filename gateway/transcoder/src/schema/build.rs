//! Descriptors → plans.

use std::collections::HashMap;

use prost_protovalidate::Validator;
use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor,
    Kind as Reflected, MessageDescriptor,
};

use super::names::Names;
use super::plan::{Enum, Field, Kind, Label, Plan, Shape};
use super::{Plans, Settings};
use crate::json::write_text;
use crate::rules;
use crate::wire::{Tag, WireType};
use crate::{FieldForm, Forms};

pub(super) fn plans(pool: &DescriptorPool, forms: &dyn Forms, settings: Settings) -> Plans {
    let builder = Builder {
        forms,
        messages: places(pool.all_messages().map(|message| message.full_name().to_owned())),
        enums: places(pool.all_enums().map(|enumeration| enumeration.full_name().to_owned())),
    };
    let messages: Vec<_> = pool.all_messages().map(|message| builder.message(&message)).collect();
    let enums = pool.all_enums().map(|enumeration| builder.enumeration(&enumeration)).collect();
    Plans {
        rules: rules::compile(pool, &messages),
        messages,
        enums,
        settings,
        validator: Validator::new(),
        by_name: builder.messages,
        enums_by_name: builder.enums,
    }
}

fn places(names: impl Iterator<Item = String>) -> HashMap<String, u32> {
    names.zip(0..).collect()
}

struct Builder<'a> {
    forms: &'a dyn Forms,
    messages: HashMap<String, u32>,
    enums: HashMap<String, u32>,
}

impl Builder<'_> {
    fn message(&self, descriptor: &MessageDescriptor) -> Plan {
        let oneofs: Vec<_> = descriptor.oneofs().filter(|oneof| !oneof.is_synthetic()).collect();
        let mut fields: Vec<_> = descriptor
            .fields()
            .map(|field| {
                let own = field.containing_oneof();
                let oneof = oneofs.iter().zip(0..).find(|(oneof, _)| own.as_ref() == Some(*oneof));
                Field { oneof: oneof.map(|(_, place)| place), ..self.field(&field) }
            })
            .chain(descriptor.extensions().map(|extension| self.extension(&extension)))
            .collect();
        fields.sort_by_key(|field| field.number);
        let mut names = Names::new();
        for (field, place) in fields.iter().zip(0..) {
            names.insert(&field.name, place);
        }
        for (field, place) in fields.iter().zip(0..) {
            names.insert(&field.json_name, place);
        }
        Plan {
            shape: Shape::of(descriptor),
            prints_absent: fields.iter().any(|field| field.always_print),
            fields: fields.into(),
            oneofs: oneofs.iter().map(|oneof| oneof.name().into()).collect(),
            names,
            descriptor: descriptor.clone(),
        }
    }

    fn field(&self, field: &FieldDescriptor) -> Field {
        let label = match field.kind() {
            Reflected::Message(entry) if field.is_map() => Label::Map(Box::new((
                self.field(&entry.map_entry_key_field()),
                // The value takes the form of the map's field, as the elements of a list do.
                Field {
                    number_form: self.forms.field(field).number,
                    ..self.field(&entry.map_entry_value_field())
                },
            ))),
            _ if field.is_list() => Label::List { packed: field.is_packed() },
            _ => Label::One,
        };
        let kind = self.kind(&field.kind(), field.is_group());
        let presence = field.supports_presence();
        let form = self.forms.field(field);
        self.planned(field.number(), (field.name(), field.json_name()), kind, label, presence, form)
    }

    fn extension(&self, field: &ExtensionDescriptor) -> Field {
        let label = match field.cardinality() {
            Cardinality::Repeated => Label::List { packed: field.is_packed() },
            _ => Label::One,
        };
        let kind = self.kind(&field.kind(), field.is_group());
        let names = (field.json_name(), field.json_name());
        let presence = field.supports_presence();
        self.planned(field.number(), names, kind, label, presence, FieldForm::default())
    }

    fn planned(
        &self,
        number: u32,
        (name, json_name): (&str, &str),
        kind: Kind,
        label: Label,
        presence: bool,
        form: FieldForm,
    ) -> Field {
        let wire_type = match label {
            Label::List { packed: true } => WireType::Bytes,
            _ => kind.wire_type(),
        };
        let mut key = Vec::new();
        write_text(&mut key, json_name);
        key.push(b':');
        Field {
            number,
            name: name.into(),
            json_name: json_name.into(),
            key: key.into(),
            tag: Tag::new(number, wire_type),
            admits_null: self.admits_null(kind) && matches!(label, Label::One),
            kind,
            label,
            oneof: None,
            presence,
            number_form: form.number,
            always_print: form.always_print && !presence,
            sensitive: form.sensitive,
        }
    }

    fn admits_null(&self, kind: Kind) -> bool {
        let value = self.messages.get("google.protobuf.Value").copied();
        kind == Kind::Null || (value.is_some() && kind.message() == value)
    }

    fn kind(&self, kind: &Reflected, is_group: bool) -> Kind {
        match kind {
            Reflected::Double => Kind::Double,
            Reflected::Float => Kind::Float,
            Reflected::Int32 => Kind::Int32,
            Reflected::Int64 => Kind::Int64,
            Reflected::Uint32 => Kind::Uint32,
            Reflected::Uint64 => Kind::Uint64,
            Reflected::Sint32 => Kind::Sint32,
            Reflected::Sint64 => Kind::Sint64,
            Reflected::Fixed32 => Kind::Fixed32,
            Reflected::Fixed64 => Kind::Fixed64,
            Reflected::Sfixed32 => Kind::Sfixed32,
            Reflected::Sfixed64 => Kind::Sfixed64,
            Reflected::Bool => Kind::Bool,
            Reflected::String => Kind::String,
            Reflected::Bytes => Kind::Bytes,
            Reflected::Enum(own) if own.full_name() == "google.protobuf.NullValue" => Kind::Null,
            Reflected::Enum(own) => Kind::Enum(self.enums[own.full_name()]),
            Reflected::Message(own) if is_group => Kind::Group(self.messages[own.full_name()]),
            Reflected::Message(own) => Kind::Message(self.messages[own.full_name()]),
        }
    }

    fn enumeration(&self, descriptor: &EnumDescriptor) -> Enum {
        let prefix = self.forms.enum_prefix(descriptor).unwrap_or_default();
        let mut numbers = Names::new();
        let mut shown: Vec<(i32, Box<[u8]>)> = Vec::new();
        // In the order of the contract: of the names of one number, the first is shown.
        let values = &descriptor.enum_descriptor_proto().value;
        for short in [true, false] {
            for value in values {
                let name = value.name().strip_prefix(&prefix).filter(|_| short);
                numbers.insert(name.unwrap_or(value.name()), value.number());
            }
        }
        for value in values {
            let name = value.name().strip_prefix(&prefix).unwrap_or(value.name());
            if shown.iter().all(|(number, _)| *number != value.number()) {
                shown.push((value.number(), format!("\"{name}\"").into_bytes().into()));
            }
        }
        shown.sort_by_key(|(number, _)| *number);
        Enum { shown: shown.into(), numbers }
    }
}
