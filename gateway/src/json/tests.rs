#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, Value};

use super::*;
use crate::corner;

fn codec() -> Codec {
    Codec::new(corner::pool())
}

fn read(json: &str) -> Result<DynamicMessage, ReadError> {
    codec().read(&corner::message("Everything"), json.as_bytes())
}

/// Reads and writes again.
fn through(json: &str) -> String {
    let message = read(json).unwrap_or_else(|error| panic!("{json}: {error:?}"));
    String::from_utf8(codec().write(&message).unwrap()).unwrap()
}

/// What a message without content prints: only what its contract always prints.
const ALWAYS: &str = r#""limit":0,"balance":0,"always":false,"alwaysList":[]"#;

/// Reads and writes a member that stands before those always printed.
fn early(member: &str) -> String {
    through(&format!("{{{member}}}")).replace(&format!(",{ALWAYS}"), "").replace(['{', '}'], "")
}

/// The place and the sentence of a refusal.
fn refusal(json: &str) -> (String, String) {
    match read(json) {
        Err(ReadError::Field(error)) => (error.field, error.description),
        other => panic!("{json}: {other:?}"),
    }
}

/// Trap 1: 64-bit integers are strings but where the contract says number; no digit is lost.
#[test]
fn numbers_keep_every_digit() {
    for (given, shown) in [
        (r#""amount":100.50"#, r#""amount":100.50"#),
        (r#""amount":0.1"#, r#""amount":0.1"#),
        (r#""amount":"100.50""#, r#""amount":100.50"#),
        (r#""amount":-0.00"#, r#""amount":-0.00"#),
        (
            r#""amount":123456789012345678901234567890.123456789012345678901"#,
            r#""amount":123456789012345678901234567890.123456789012345678901"#,
        ),
        (r#""count":9223372036854775807"#, r#""count":9223372036854775807"#),
        (r#""count":"-9223372036854775808""#, r#""count":-9223372036854775808"#),
        (r#""int64":9007199254740993"#, r#""int64":"9007199254740993""#),
        (r#""int64":"9007199254740993""#, r#""int64":"9007199254740993""#),
        (r#""uint64":18446744073709551615"#, r#""uint64":"18446744073709551615""#),
        (r#""int32":1e2"#, r#""int32":100"#),
        (r#""int32":1.0"#, r#""int32":1"#),
        (r#""int32":12300e-2"#, r#""int32":123"#),
        (r#""float64":10000"#, r#""float64":10000"#),
        (r#""float64":0.1"#, r#""float64":0.1"#),
        (r#""float64":1e300"#, r#""float64":1e+300"#),
        (r#""float64":"NaN""#, r#""float64":"NaN""#),
        (r#""float32":"-Infinity""#, r#""float32":"-Infinity""#),
        (r#""float32":1.5"#, r#""float32":1.5"#),
    ] {
        assert_eq!(early(given), shown, "{given}");
    }
}

#[test]
fn numbers_out_of_their_type_are_refused() {
    for (json, field, description) in [
        (r#"{"amount":1e2}"#, "amount", "must be a decimal number without an exponent"),
        (r#"{"amount":"abc"}"#, "amount", "must be a decimal number without an exponent"),
        (r#"{"amount":""}"#, "amount", "must be a decimal number without an exponent"),
        (r#"{"amount":" 1"}"#, "amount", "must be a decimal number without an exponent"),
        (r#"{"amount":true}"#, "amount", "must be a string"),
        (r#"{"int32":2147483648}"#, "int32", "must be a 32-bit integer"),
        (r#"{"int32":1.5}"#, "int32", "must be a 32-bit integer"),
        (r#"{"int32":1e-1}"#, "int32", "must be a 32-bit integer"),
        (r#"{"int32":"+1"}"#, "int32", "must be a 32-bit integer"),
        (r#"{"int32":""}"#, "int32", "must be a 32-bit integer"),
        (r#"{"int32":1e999999999}"#, "int32", "must be a 32-bit integer"),
        (r#"{"int64":9223372036854775808}"#, "int64", "must be a 64-bit integer"),
        (r#"{"uint32":-1}"#, "uint32", "must be an unsigned 32-bit integer"),
        (r#"{"float64":1e400}"#, "float64", "must be a number"),
        (r#"{"float32":1e39}"#, "float32", "must be a number"),
        (r#"{"bool":"true"}"#, "bool", "must be true or false"),
        (r#"{"text":1}"#, "text", "must be a string"),
        (r#"{"bytes":"*"}"#, "bytes", "must be a base64 string"),
        (r#"{"inner":[]}"#, "inner", "must be an object"),
        (r#"{"numbers":1}"#, "numbers", "must be an array"),
    ] {
        assert_eq!(refusal(json), (field.to_owned(), description.to_owned()), "{json}");
    }
}

/// Trap 3: enums without their prefix, read in both forms.
#[test]
fn enums_are_shown_without_their_prefix_where_the_contract_says_so() {
    for (given, shown) in [
        (r#""colour":"RED""#, r#""colour":"RED""#),
        (r#""colour":"COLOUR_DARK_BLUE""#, r#""colour":"DARK_BLUE""#),
        (r#""colour":2"#, r#""colour":"DARK_BLUE""#),
        (r#""colour":77"#, r#""colour":77"#),
        (r#""shape":"SHAPE_ROUND""#, r#""shape":"SHAPE_ROUND""#),
    ] {
        assert_eq!(early(given), shown, "{given}");
    }
    assert_eq!(refusal(r#"{"shape":"ROUND"}"#).0, "shape");
    assert_eq!(refusal(r#"{"colour":"red"}"#).0, "colour");
    assert_eq!(
        through(r#"{"colours":["RED",2]}"#),
        format!("{{{ALWAYS},\"colours\":[\"RED\",\"DARK_BLUE\"]}}")
    );
}

/// Trap 4: zero values vanish as proto3 JSON says, but not where the contract keeps them.
#[test]
fn zeros_stay_where_the_contract_says_so() {
    assert_eq!(through("{}"), format!("{{{ALWAYS}}}"));
    assert_eq!(through(r#"{"int32":0,"text":"","bool":false}"#), format!("{{{ALWAYS}}}"));
    assert_eq!(through(r#"{"maybe":0}"#), format!("{{{ALWAYS},\"maybe\":0}}"), "explicit presence");
    assert_eq!(through(r#"{"left":""}"#), format!("{{{ALWAYS},\"left\":\"\"}}"), "a oneof");
}

/// Trap 5, and the other well-known types.
#[test]
fn well_known_types_have_their_own_forms() {
    for (given, shown) in [
        (r#""at":"2026-01-31T12:00:00Z""#, r#""at":"2026-01-31T12:00:00Z""#),
        (r#""at":"2026-01-31T12:00:00.5+01:00""#, r#""at":"2026-01-31T11:00:00.500Z""#),
        (r#""took":"0.245s""#, r#""took":"0.245s""#),
        (r#""mask":"name,bankingDetails.agency""#, r#""mask":"name,bankingDetails.agency""#),
        (
            r#""data":{"b":[1,null,{"c":1.5}],"a":"R$ 5.000","n":5}"#,
            r#""data":{"a":"R$ 5.000","b":[1,null,{"c":1.5}],"n":5}"#,
        ),
        (r#""value":null"#, r#""value":null"#),
        (r#""value":[1,"x"]"#, r#""value":[1,"x"]"#),
        (r#""list":[true]"#, r#""list":[true]"#),
        (r#""nothing":{}"#, r#""nothing":{}"#),
        (r#""wrappedNumber":"0""#, r#""wrappedNumber":"0""#),
        (r#""wrappedText":"""#, r#""wrappedText":"""#),
        (r#""wrappedBool":false"#, r#""wrappedBool":false"#),
    ] {
        assert_eq!(through(&format!("{{{given}}}")), format!("{{{ALWAYS},{shown}}}"), "{given}");
    }
    for (json, field) in [
        (r#"{"at":"yesterday"}"#, "at"),
        (r#"{"took":"5"}"#, "took"),
        (r#"{"data":[]}"#, "data"),
        (r#"{"data":{"a":{"b":1,"b":2}}}"#, "data.a.b"),
        (r#"{"nothing":{"a":1}}"#, "nothing"),
        (r#"{"wrappedNumber":"x"}"#, "wrappedNumber"),
    ] {
        assert_eq!(refusal(json).0, field, "{json}");
    }
}

#[test]
fn bytes_are_read_in_every_base64() {
    for given in [r#""bytes":"-_8=""#, r#""bytes":"-_8""#, r#""bytes":"+/8=""#, r#""bytes":"+/8""#]
    {
        assert_eq!(early(given), r#""bytes":"+/8=""#);
    }
}

#[test]
fn maps_and_lists_keep_their_content_in_order() {
    let json = format!(
        r#"{{{ALWAYS},"numbers":["1","2"],"amounts":[1.10,2],"byName":{{"a":"1","b":"2"}},"byNumber":{{"-1":{{"name":"x"}}}},"byTruth":{{"true":"t"}}}}"#
    );
    assert_eq!(through(&json), json);
    assert_eq!(
        refusal(r#"{"byNumber":{"x":{}}}"#),
        ("byNumber.x".into(), "its key must be a 32-bit integer".into())
    );
    assert_eq!(refusal(r#"{"byNumber":{"1":{},"1.0":{}}}"#).0, "byNumber.1.0");
    assert_eq!(refusal(r#"{"numbers":[1,null]}"#).0, "numbers[1]");
}

#[test]
fn nulls_are_absences() {
    assert_eq!(
        through(r#"{"text":null,"inner":null,"numbers":null,"byName":null}"#),
        format!("{{{ALWAYS}}}")
    );
}

#[test]
fn fields_are_read_by_either_name() {
    assert_eq!(through(r#"{"wrapped_text":"x"}"#), format!("{{{ALWAYS},\"wrappedText\":\"x\"}}"));
    assert_eq!(through(r#"{"otherName":"x"}"#), through(r#"{"renamed":"x"}"#));
}

#[test]
fn what_is_not_in_the_contract_is_named() {
    for (json, field, description) in [
        (r#"{"nope":1}"#, "nope", "is not a field that is known here"),
        (
            r#"{"inner":{"deeper":{"nope":1}}}"#,
            "inner.deeper.nope",
            "is not a field that is known here",
        ),
        (
            r#"{"alwaysList":[{},{"nope":1}]}"#,
            "alwaysList[1].nope",
            "is not a field that is known here",
        ),
        (r#"{"text":"a","text":"b"}"#, "text", "is given more than once"),
        (r#"{"wrappedText":"a","wrapped_text":"b"}"#, "wrapped_text", "is given more than once"),
        (r#"{"byName":{"a":1,"a":2}}"#, "byName.a", "is given more than once"),
        (r#"{"left":"a","right":{}}"#, "right", "only one field of `choice` may be given"),
    ] {
        assert_eq!(refusal(json), (field.to_owned(), description.to_owned()), "{json}");
    }
}

#[test]
fn text_that_is_no_json_is_refused_with_its_place() {
    for (json, line, column) in
        [("{\n  \"text\": tru }", 2, 14), ("", 1, 0), ("{\"a\":1", 1, 6), ("{} x", 1, 4)]
    {
        assert_eq!(read(json).unwrap_err(), ReadError::Syntax { line, column }, "{json}");
    }
    assert!(codec().read(&corner::message("Everything"), b"{\"text\":\"\xff\"}").is_err());
    assert_eq!(refusal(r#"{"text":"\ud800"}"#).1, "must be Unicode text");
}

#[test]
fn nesting_has_a_bound() {
    for (field, open, close) in
        [("value", "[", "]"), ("value", r#"{"a":"#, "}"), ("inner", r#"{"deeper":"#, "}")]
    {
        let json = |depth: usize| {
            format!("{{\"{field}\":{}null{}}}", open.repeat(depth), close.repeat(depth))
        };
        let message = read(&json(28)).unwrap_or_else(|error| panic!("{open}: {error:?}"));
        let wire = message.encode_to_vec();
        assert!(DynamicMessage::decode(corner::message("Everything"), &*wire).is_ok(), "{open}");
        for depth in [31, 100_000] {
            assert_eq!(refusal(&json(depth)).1, "nests too deep", "{open}");
        }
    }
}

/// No refusal shows what the client sent, be it secret or not.
#[test]
fn refusals_never_show_a_value() {
    for json in [
        r#"{"secret":{"hunter2":"hunter2"}}"#,
        r#"{"secret":["hunter2"]}"#,
        r#"{"at":"hunter2"}"#,
        r#"{"colour":"hunter2"}"#,
        r#"{"amount":"hunter2"}"#,
        r#"{"took":"hunter2"}"#,
    ] {
        let error = read(json).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

/// An upstream that breaks its own contract: better no answer than a wrong one.
#[test]
fn a_number_field_that_holds_no_number_is_not_written() {
    let mut message = DynamicMessage::new(corner::message("Everything"));
    message.set_field_by_name("balance", Value::String("1,00".to_owned()));
    assert!(codec().write(&message).is_err());
}

/// Trap 2 and the exact JSON of Loomi's balance.
#[test]
fn the_seeds_balance_is_a_number_with_its_zeros() {
    let codec = Codec::new(contracts::pool());
    let balance = contracts::pool().get_message_by_name("malha.accounts.v1.GetBalanceResponse");
    let mut message = DynamicMessage::new(balance.unwrap());
    message.set_field_by_name("balance", Value::String("1000.00".to_owned()));
    assert_eq!(codec.write(&message).unwrap(), br#"{"balance":1000.00}"#);

    let listing = corner::message("Listing");
    let things = listing.get_field_by_name("things").unwrap();
    assert_eq!(codec.write_field(&DynamicMessage::new(listing), &things).unwrap(), b"[]");
}

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
        Kind::Bool => Value::Bool(bits % 2 == 0),
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
    /// SplitMix64.
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
                if !kept && (taken || seed.next() % 3 == 0 || depth > 4) {
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
                let wire = message.encode_to_vec();
                let message = DynamicMessage::decode(descriptor.clone(), &*wire).unwrap();
                let json = codec.write(&message).unwrap();
                let back = codec.read(&descriptor, &json).unwrap_or_else(|error| {
                    panic!("{error:?} in {}", String::from_utf8_lossy(&json))
                });
                let json = String::from_utf8_lossy(&json);
                prop_assert!(message == back, "{} read from {json}", descriptor.full_name());
            }
        }
    }
}
