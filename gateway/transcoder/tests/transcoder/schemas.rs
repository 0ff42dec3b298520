//! Random schemas, and random messages of whatever schema.

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FieldOptions, FileDescriptorProto, MessageOptions, OneofDescriptorProto,
};

/// `SplitMix64`.
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.next().is_multiple_of(one_in)
    }

    pub(crate) fn text(&mut self) -> String {
        (0..self.below(8))
            .filter_map(|_| match self.below(3) {
                0 => char::from_u32(u32::try_from(self.next() % 0x11_0000).unwrap()),
                _ => char::from_u32(u32::try_from(self.next() % 0x80).unwrap()),
            })
            .collect()
    }
}

const SCALARS: [Type; 15] = [
    Type::Double,
    Type::Float,
    Type::Int64,
    Type::Uint64,
    Type::Int32,
    Type::Fixed64,
    Type::Fixed32,
    Type::Bool,
    Type::String,
    Type::Bytes,
    Type::Uint32,
    Type::Sfixed32,
    Type::Sfixed64,
    Type::Sint32,
    Type::Sint64,
];

const KEYS: [Type; 12] = [
    Type::Int64,
    Type::Uint64,
    Type::Int32,
    Type::Fixed64,
    Type::Fixed32,
    Type::Bool,
    Type::String,
    Type::Uint32,
    Type::Sfixed32,
    Type::Sfixed64,
    Type::Sint32,
    Type::Sint64,
];

const WELL_KNOWN: [&str; 17] = [
    "Timestamp",
    "Duration",
    "FieldMask",
    "Struct",
    "Value",
    "ListValue",
    "Empty",
    "Any",
    "DoubleValue",
    "FloatValue",
    "Int64Value",
    "UInt64Value",
    "Int32Value",
    "UInt32Value",
    "BoolValue",
    "StringValue",
    "BytesValue",
];

/// A schema of some messages `random.M0`, `random.M1`, ... that hold each other.
pub(crate) fn schema(seed: &mut Seed) -> DescriptorPool {
    let count = 1 + seed.below(4);
    let file = FileDescriptorProto {
        name: Some("random.proto".to_owned()),
        package: Some("random".to_owned()),
        syntax: Some("proto3".to_owned()),
        dependency: ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"]
            .map(|name| format!("google/protobuf/{name}.proto"))
            .to_vec(),
        message_type: (0..count).map(|index| message_type(seed, index, count)).collect(),
        enum_type: vec![enumeration(seed)],
        ..FileDescriptorProto::default()
    };
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(file).unwrap();
    pool
}

fn enumeration(seed: &mut Seed) -> EnumDescriptorProto {
    let numbers = (0..=seed.below(5)).map(|index| match index {
        0 => 0,
        index if seed.chance(3) => -i32::try_from(index).unwrap() * 1000,
        index => i32::try_from(index).unwrap(),
    });
    let value = numbers.enumerate().map(|(index, number)| EnumValueDescriptorProto {
        name: Some(format!("VALUE_{index}")),
        number: Some(number),
        ..EnumValueDescriptorProto::default()
    });
    EnumDescriptorProto {
        name: Some("Choice".to_owned()),
        value: value.collect(),
        ..EnumDescriptorProto::default()
    }
}

fn message_type(seed: &mut Seed, index: usize, count: usize) -> DescriptorProto {
    let name = format!("M{index}");
    let mut message = DescriptorProto {
        name: Some(name.clone()),
        oneof_decl: vec![OneofDescriptorProto {
            name: Some("choice".to_owned()),
            ..OneofDescriptorProto::default()
        }],
        ..DescriptorProto::default()
    };
    let mut number = 0;
    for at in 0..=seed.below(12) {
        let gap = if seed.chance(4) { 3000 } else { 2 };
        number += 1 + i32::try_from(seed.below(gap)).unwrap();
        let field_name = match seed.below(3) {
            0 => format!("f{at}"),
            1 => format!("some_field_{at}"),
            _ => format!("_odd__Field{at}_"),
        };
        let mut field = field(seed, &field_name, number, count);
        match seed.below(6) {
            0 => {
                field.set_label(Label::Repeated);
                let packable =
                    !matches!(field.r#type(), Type::String | Type::Bytes | Type::Message);
                field.options = (packable && seed.chance(3))
                    .then(|| FieldOptions { packed: Some(false), ..FieldOptions::default() });
            }
            1 => {
                let entry = entry(seed, at, field);
                field = FieldDescriptorProto {
                    name: Some(field_name),
                    number: Some(number),
                    type_name: Some(format!(".random.{name}.{}", entry.name())),
                    ..FieldDescriptorProto::default()
                };
                field.set_label(Label::Repeated);
                field.set_type(Type::Message);
                message.nested_type.push(entry);
            }
            2 => field.oneof_index = Some(0),
            3 if field.r#type() != Type::Message => {
                field.proto3_optional = Some(true);
                field.oneof_index = Some(i32::try_from(message.oneof_decl.len()).unwrap());
                message.oneof_decl.push(OneofDescriptorProto {
                    name: Some(format!("_{field_name}")),
                    ..OneofDescriptorProto::default()
                });
            }
            _ => {}
        }
        message.field.push(field);
    }
    // A oneof has a field.
    let mut last = field(seed, "last_of_oneof", number + 1, count);
    last.oneof_index = Some(0);
    message.field.push(last);
    message
}

fn field(seed: &mut Seed, name: &str, number: i32, messages: usize) -> FieldDescriptorProto {
    let mut field = FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..FieldDescriptorProto::default()
    };
    field.set_label(Label::Optional);
    let (kind, type_name) = match seed.below(10) {
        0..5 => (SCALARS[seed.below(SCALARS.len())], None),
        5 => (Type::Enum, Some(".random.Choice".to_owned())),
        6 => (Type::Enum, Some(".google.protobuf.NullValue".to_owned())),
        7 => (Type::Message, Some(format!(".random.M{}", seed.below(messages)))),
        _ => {
            let name = WELL_KNOWN[seed.below(WELL_KNOWN.len())];
            (Type::Message, Some(format!(".google.protobuf.{name}")))
        }
    };
    field.set_type(kind);
    field.type_name = type_name;
    field
}

fn entry(seed: &mut Seed, at: usize, mut value: FieldDescriptorProto) -> DescriptorProto {
    value.name = Some("value".to_owned());
    value.number = Some(2);
    let mut key = FieldDescriptorProto {
        name: Some("key".to_owned()),
        number: Some(1),
        ..FieldDescriptorProto::default()
    };
    key.set_label(Label::Optional);
    key.set_type(KEYS[seed.below(KEYS.len())]);
    DescriptorProto {
        name: Some(format!("Field{at}Entry")),
        field: vec![key, value],
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    }
}

/// Which strings hold decimals.
pub(crate) type IsDecimal<'a> = &'a dyn Fn(&FieldDescriptor) -> bool;

/// A random message, in which no decimal is left out.
pub(crate) fn message(
    descriptor: &MessageDescriptor,
    seed: &mut Seed,
    decimals: IsDecimal<'_>,
    depth: u32,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let mut set = |name: &str, value: Value| message.set_field_by_name(name, value);
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let seconds = i64::try_from(seed.next() % 315_537_897_600).unwrap() - 62_135_596_800;
            set("seconds", Value::I64(seconds));
            set("nanos", Value::I32(nanos(seed)));
        }
        "google.protobuf.Duration" => {
            let sign = if seed.chance(2) { 1 } else { -1 };
            let seconds = i64::try_from(seed.next() % 315_576_000_000).unwrap();
            set("seconds", Value::I64(seconds * i64::from(sign)));
            set("nanos", Value::I32(nanos(seed) * sign));
        }
        "google.protobuf.FieldMask" => {
            let paths = ["name", "banking_details.agency", "a1_b"];
            let paths = paths[seed.below(3)..].iter().map(|path| Value::String((*path).to_owned()));
            set("paths", Value::List(paths.collect()));
        }
        "google.protobuf.Value" | "google.protobuf.Struct" | "google.protobuf.ListValue" => {
            let json = match descriptor.name() {
                "ListValue" => serde_json::json!([json(seed, depth), json(seed, depth)]),
                "Struct" => {
                    serde_json::json!({seed.text(): json(seed, depth), "b": json(seed, depth)})
                }
                _ => json(seed, depth),
            };
            message = DynamicMessage::deserialize(descriptor.clone(), json).unwrap();
        }
        "google.protobuf.Any" => {
            let named = |name: &str| descriptor.parent_pool().get_message_by_name(name);
            let inner = named("random.M0").filter(|_| depth < 4 && seed.chance(2));
            let inner = inner.unwrap_or_else(|| {
                // Not every pool has both.
                let likely = ["google.protobuf.Duration", "google.protobuf.Int32Value"];
                let known: Vec<_> = likely.into_iter().filter_map(named).collect();
                known[seed.below(known.len())].clone()
            });
            let url = format!("type.googleapis.com/{}", inner.full_name());
            let inner = self::message(&inner, seed, decimals, depth + 1);
            set("type_url", Value::String(url));
            set("value", Value::Bytes(prost::Message::encode_to_vec(&inner).into()));
        }
        _ => {
            for field in descriptor.fields() {
                let taken = field
                    .containing_oneof()
                    .is_some_and(|oneof| oneof.fields().any(|field| message.has_field(&field)));
                if taken || (seed.chance(3) && !decimals(&field)) || depth > 4 {
                    continue;
                }
                message.set_field(&field, value_of(&field, seed, decimals, depth));
            }
        }
    }
    message
}

fn nanos(seed: &mut Seed) -> i32 {
    let nanos = i32::try_from(seed.next() % 1_000_000_000).unwrap();
    match seed.below(4) {
        0 => 0,
        1 => nanos / 1_000_000 * 1_000_000,
        2 => nanos / 1_000 * 1_000,
        _ => nanos,
    }
}

fn json(seed: &mut Seed, depth: u32) -> serde_json::Value {
    match seed.below(if depth > 3 { 5 } else { 7 }) {
        0 => serde_json::Value::Null,
        1 => seed.chance(2).into(),
        2 => f64::from(u32::try_from(seed.next() >> 32).unwrap()).into(),
        3 => 0.1.into(),
        4 => seed.text().into(),
        5 => serde_json::json!([json(seed, depth + 1), json(seed, depth + 1)]),
        _ => serde_json::json!({seed.text(): json(seed, depth + 1), seed.text(): 1}),
    }
}

fn value_of(
    field: &FieldDescriptor,
    seed: &mut Seed,
    decimals: IsDecimal<'_>,
    depth: u32,
) -> Value {
    let kind = field.kind();
    if field.is_list() {
        let values = (0..seed.below(4)).map(|_| one(field, &kind, seed, decimals, depth));
        return Value::List(values.collect());
    }
    if !field.is_map() {
        return one(field, &kind, seed, decimals, depth);
    }
    let entry = kind.as_message().unwrap();
    let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
    let entries = (0..seed.below(4)).map(|_| {
        let key: MapKey = one(&key, &key.kind(), seed, decimals, depth).into_map_key().unwrap();
        (key, one(&value, &value.kind(), seed, decimals, depth))
    });
    Value::Map(entries.collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "random bits may be cut"
)]
fn one(
    field: &FieldDescriptor,
    kind: &Kind,
    seed: &mut Seed,
    decimals: IsDecimal<'_>,
    depth: u32,
) -> Value {
    // Small ones as often as large ones.
    let bits = seed.next() >> seed.below(64);
    match kind {
        // NaN is not equal to itself, so it cannot be compared after its round.
        Kind::Double => {
            Value::F64(Some(f64::from_bits(bits)).filter(|it| !it.is_nan()).unwrap_or(0.5))
        }
        Kind::Float => {
            Value::F32(Some(f32::from_bits(bits as u32)).filter(|it| !it.is_nan()).unwrap_or(0.5))
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(bits as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(bits as i64),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(bits as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(bits),
        Kind::Bool => Value::Bool(bits.is_multiple_of(2)),
        Kind::String if decimals(field) => {
            Value::String(format!("{}.{:02}", bits as i64, bits % 100))
        }
        Kind::String => Value::String(seed.text()),
        Kind::Bytes => Value::Bytes(bits.to_le_bytes()[..seed.below(9)].to_vec().into()),
        Kind::Enum(enumeration) => {
            let numbers: Vec<_> = enumeration.values().map(|value| value.number()).collect();
            let unknown = seed.chance(8) && enumeration.full_name() != "google.protobuf.NullValue";
            Value::EnumNumber(if unknown { 77 } else { numbers[seed.below(numbers.len())] })
        }
        Kind::Message(inner) => Value::Message(message(inner, seed, decimals, depth + 1)),
    }
}
