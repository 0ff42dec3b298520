#![allow(clippy::unwrap_used)]

use prost::Message;
use prost_reflect::{DynamicMessage, Value};

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
