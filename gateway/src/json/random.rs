//! Random messages of every contract, through JSON and back.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "tests; random bits may be cut"
)]

use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

use super::*;
use crate::corner;

/// A random value of a field's kind, from a stream of random numbers.
fn arbitrary_value(
    codec: &Codec,
    field: &FieldDescriptor,
    kind: &Kind,
    seed: &mut Seed,
    depth: u32,
) -> Value {
    let bits = seed.next();
    match kind {
        Kind::Double => Value::F64(f64::from_bits(bits)).finite(),
        Kind::Float => Value::F32(f32::from_bits(bits as u32)).finite(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(bits as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(bits as i64),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(bits as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(bits),
        Kind::Bool => Value::Bool(bits.is_multiple_of(2)),
        Kind::String if codec.policy(field).json_number => {
            Value::String(format!("{}.{:02}", bits as i64, bits % 100))
        }
        Kind::String => Value::String(seed.text()),
        Kind::Bytes => Value::Bytes(bits.to_le_bytes().to_vec().into()),
        Kind::Enum(enumeration) => {
            let values: Vec<_> = enumeration.values().collect();
            Value::EnumNumber(values[bits as usize % values.len()].number())
        }
        Kind::Message(message) => {
            Value::Message(arbitrary_message(codec, message, seed, depth + 1))
        }
    }
}

trait Finite {
    fn finite(self) -> Self;
}

impl Finite for Value {
    /// NaN is not equal to itself, so it cannot be compared after its round.
    fn finite(self) -> Self {
        match self {
            Self::F64(value) if !value.is_finite() => Self::F64(-0.0),
            Self::F32(value) if !value.is_finite() => Self::F32(f32::MIN_POSITIVE),
            other => other,
        }
    }
}

struct Seed(u64);

impl Seed {
    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn text(&mut self) -> String {
        (0..self.next() % 8)
            .filter_map(|_| char::from_u32((self.next() % 0x11_0000) as u32))
            .collect()
    }
}

fn arbitrary_message(
    codec: &Codec,
    descriptor: &MessageDescriptor,
    seed: &mut Seed,
    depth: u32,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            message
                .set_field_by_name("seconds", Value::I64((seed.next() % 253_402_300_800) as i64));
            message.set_field_by_name("nanos", Value::I32((seed.next() % 1_000_000_000) as i32));
        }
        "google.protobuf.Duration" => {
            message.set_field_by_name("seconds", Value::I64((seed.next() % 1_000_000) as i64));
            message.set_field_by_name("nanos", Value::I32((seed.next() % 1_000_000_000) as i32));
        }
        "google.protobuf.FieldMask" => {
            let paths =
                ["name", "banking_details.agency"].map(|path| Value::String(path.to_owned()));
            message.set_field_by_name("paths", Value::List(paths.to_vec()));
        }
        "google.protobuf.Value" | "google.protobuf.Struct" | "google.protobuf.ListValue" => {
            let json = serde_json::json!({seed.text(): [seed.next() as u32, null, true, {seed.text(): 0.5}]});
            let json = match descriptor.name() {
                "ListValue" => serde_json::json!([json]),
                _ => json,
            };
            message = codec.read(descriptor, json.to_string().as_bytes()).unwrap();
        }
        _ => {
            for field in descriptor.fields() {
                let taken = field
                    .containing_oneof()
                    .is_some_and(|o| o.fields().any(|f| message.has_field(&f)));
                let policy = codec.policy(&field);
                // A decimal that is absent but always printed reads back as a zero.
                let kept = policy.json_number && policy.always_print;
                if !kept && (taken || seed.next().is_multiple_of(3) || depth > 4) {
                    continue;
                }
                let value = arbitrary_field(codec, &field, seed, depth);
                message.set_field(&field, value);
            }
        }
    }
    message
}

fn arbitrary_field(codec: &Codec, field: &FieldDescriptor, seed: &mut Seed, depth: u32) -> Value {
    let kind = field.kind();
    if field.is_list() {
        return Value::List(
            (0..seed.next() % 3)
                .map(|_| arbitrary_value(codec, field, &kind, seed, depth))
                .collect(),
        );
    }
    if !field.is_map() {
        return arbitrary_value(codec, field, &kind, seed, depth);
    }
    let entry = kind.as_message().unwrap();
    let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
    let entries = (0..seed.next() % 3).map(|_| {
        let key: MapKey =
            arbitrary_value(codec, &key, &key.kind(), seed, depth).into_map_key().unwrap();
        (key, arbitrary_value(codec, &value, &value.kind(), seed, depth))
    });
    Value::Map(entries.collect())
}

fn through_wire(message: &DynamicMessage) -> DynamicMessage {
    DynamicMessage::decode(message.descriptor(), &*message.encode_to_vec()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any message of any contract survives the way to JSON and back.
    #[test]
    fn messages_survive_the_round_through_json(seed: u64) {
        for pool in [contracts::pool(), corner::pool()] {
            let codec = Codec::new(pool);
            let ours = |message: &MessageDescriptor| {
                message.full_name().starts_with("malha.") && !message.is_map_entry()
            };
            for descriptor in pool.all_messages().filter(ours) {
                let message = arbitrary_message(&codec, &descriptor, &mut Seed(seed), 0);
                // As an upstream would send it: what holds its default is absent.
                let message = through_wire(&message);
                let json = codec.write(&message).unwrap();
                let back = codec.read(&descriptor, &json).unwrap_or_else(|error| {
                    panic!("{error:?} in {}", String::from_utf8_lossy(&json))
                });
                let json = String::from_utf8_lossy(&json);
                prop_assert!(message == through_wire(&back), "{} read from {json}", descriptor.full_name());
            }
        }
    }
}
