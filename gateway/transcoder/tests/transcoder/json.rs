//! The JSON of messages: proto3 JSON, and what the options of the contracts change.

use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use transcoder::{InputError, OutputError, Settings};

use crate::corner::{Options, plan, pool, schema};

fn read(json: &[u8]) -> Result<Vec<u8>, InputError> {
    let mut wire = Vec::new();
    plan("Everything").encode(json, &mut wire).map(|()| wire)
}

fn write(wire: &[u8]) -> Result<String, OutputError> {
    let mut json = Vec::new();
    plan("Everything").decode(wire, &mut json)?;
    Ok(String::from_utf8(json).unwrap())
}

/// Reads and writes again.
fn through(json: &str) -> String {
    let wire = read(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error:?}"));
    write(&wire).unwrap()
}

/// What a message without content prints: only what its contract always prints.
const ALWAYS: &str = r#""limit":0,"balance":0,"always":false,"alwaysList":[]"#;

/// Reads and writes a member that stands before those always printed.
fn early(member: &str) -> String {
    through(&format!("{{{member}}}")).replace(&format!(",{ALWAYS}"), "").replace(['{', '}'], "")
}

/// The place and the sentence of a refusal.
fn refusal(json: &str) -> (String, String) {
    match read(json.as_bytes()) {
        Err(InputError::Fields(errors)) => (errors[0].field.clone(), errors[0].description.clone()),
        other => panic!("{json}: {other:?}"),
    }
}

/// 64-bit integers are strings but where the contract says number; no digit is lost.
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
        (r#"{"byName":[]}"#, "byName", "must be an object"),
        ("[]", "", "must be an object"),
        ("null", "", "must be an object"),
    ] {
        assert_eq!(refusal(json), (field.to_owned(), description.to_owned()), "{json}");
    }
}

/// Enums without their prefix, read in both forms.
#[test]
fn enums_are_shown_without_their_prefix_where_the_contract_says_so() {
    for (given, shown) in [
        (r#""colour":"RED""#, r#""colour":"RED""#),
        (r#""colour":"COLOUR_DARK_BLUE""#, r#""colour":"DARK_BLUE""#),
        (r#""colour":2"#, r#""colour":"DARK_BLUE""#),
        (r#""colour":77"#, r#""colour":77"#),
        (r#""colour":-1"#, r#""colour":-1"#),
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
    let schema = schema(Settings::default());
    let colour = pool().get_enum_by_name("malha.corner.v1.Colour").unwrap();
    assert_eq!(schema.enum_name(&colour, 2), Some("DARK_BLUE"));
    assert_eq!(schema.enum_name(&colour, 77), None);
}

/// Zero values vanish as proto3 JSON says, but not where the contract keeps them.
#[test]
fn zeros_stay_where_the_contract_says_so() {
    assert_eq!(through("{}"), format!("{{{ALWAYS}}}"));
    assert_eq!(through(r#"{"int32":0,"text":"","bool":false}"#), format!("{{{ALWAYS}}}"));
    assert_eq!(through(r#"{"maybe":0}"#), format!("{{{ALWAYS},\"maybe\":0}}"), "explicit presence");
    assert_eq!(through(r#"{"left":""}"#), format!("{{{ALWAYS},\"left\":\"\"}}"), "a oneof");
    // Senders may write out a default that others leave out.
    assert_eq!(write(&[0x18, 0]).unwrap(), format!("{{{ALWAYS}}}"));
    assert_eq!(write(&[0xb0, 0x01, 0]).unwrap(), format!("{{{ALWAYS}}}"));
}

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
        (r#"{"nothing":{"a":1}}"#, "nothing.a"),
        (r#"{"wrappedNumber":"x"}"#, "wrappedNumber"),
        (r#"{"mask":"foo_bar"}"#, "mask"),
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
    let long: Vec<u8> = (0..=255).collect();
    let mut message =
        DynamicMessage::new(pool().get_message_by_name("malha.corner.v1.Everything").unwrap());
    message.set_field_by_name("bytes", Value::Bytes(long.into()));
    let wire = message.encode_to_vec();
    assert!(read(write(&wire).unwrap().as_bytes()).unwrap().starts_with(&wire));
}

#[test]
fn maps_and_lists_keep_their_content_in_order() {
    let json = format!(
        r#"{{{ALWAYS},"numbers":["1","2"],"amounts":[1.10,2],"byName":{{"a":"1","b":"2"}},"byNumber":{{"-1":{{"name":"x"}}}},"byTruth":{{"true":"t"}}}}"#
    );
    assert_eq!(through(&json), json);
    assert_eq!(
        through(r#"{"byName":{"c":1,"a":2,"b":3}}"#),
        format!(r#"{{{ALWAYS},"byName":{{"a":"2","b":"3","c":"1"}}}}"#),
        "maps are in the order of their keys"
    );
    assert_eq!(
        refusal(r#"{"byNumber":{"x":{}}}"#),
        ("byNumber.x".into(), "its key must be a 32-bit integer".into())
    );
    assert_eq!(refusal(r#"{"byNumber":{"1":{},"1.0":{}}}"#).0, "byNumber.1.0");
    assert_eq!(refusal(r#"{"numbers":[1,null]}"#).0, "numbers[1]");
}

/// The bytes themselves: defaults left out, runs packed, entries with both halves.
#[test]
fn messages_are_written_as_protobuf_says() {
    let table: &[(&str, &[u8])] = &[
        ("{}", &[]),
        (r#"{"int32":-1}"#, &[0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        (r#"{"uint32":300}"#, &[0x28, 0xac, 0x02]),
        (r#"{"sint32":-2}"#, &[0x38, 3]),
        (r#"{"fixed32":1}"#, &[0x4d, 1, 0, 0, 0]),
        (r#"{"sfixed64":-1}"#, &[0x61, 255, 255, 255, 255, 255, 255, 255, 255]),
        (r#"{"bool":true}"#, &[0x68, 1]),
        (r#"{"text":"aé"}"#, &[0x72, 3, b'a', 0xc3, 0xa9]),
        (r#"{"text":"\n"}"#, &[0x72, 1, b'\n']),
        (r#"{"inner":{}}"#, &[0x92, 1, 0]),
        (r#"{"inner":{"name":"x"}}"#, &[0x92, 1, 3, 0x0a, 1, b'x']),
        (r#"{"numbers":[1,"2",300]}"#, &[0x8a, 2, 4, 1, 2, 0xac, 2]),
        (r#"{"numbers":[]}"#, &[]),
        (r#"{"amounts":[1.10]}"#, &[0x92, 2, 4, b'1', b'.', b'1', b'0']),
        (r#"{"byName":{"":0}}"#, &[0xa2, 2, 4, 0x0a, 0, 0x10, 0]),
        (r#"{"at":"1970-01-01T00:00:00Z"}"#, &[0xc2, 2, 0]),
        (
            r#"{"at":"1970-01-01T00:00:01.5Z"}"#,
            &[0xc2, 2, 8, 8, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 1],
        ),
        (r#"{"value":null}"#, &[0xe2, 2, 2, 8, 0]),
    ];
    for (json, wire) in table {
        assert_eq!(read(json.as_bytes()).unwrap(), *wire, "{json}");
    }
}

/// One byte is left for a length, and more are made where it takes more.
#[test]
fn lengths_of_any_size_are_written() {
    for length in [0, 1, 126, 127, 128, 129, 16_383, 16_384, 2_100_000] {
        let text = "x".repeat(length);
        let json = format!(r#"{{"inner":{{"name":"{text}"}},"data":{{"{text}\n":["{text}"]}}}}"#);
        let wire = read(json.as_bytes()).unwrap();
        let everything = pool().get_message_by_name("malha.corner.v1.Everything").unwrap();
        let message = DynamicMessage::decode(everything, &*wire).unwrap();
        let inner = message.get_field_by_name("inner").unwrap().into_owned();
        let name = inner.as_message().unwrap().get_field_by_name("name").unwrap().into_owned();
        assert_eq!(name.as_str().unwrap().len(), length);
        assert!(write(&wire).unwrap().contains(&format!(r#""data":{{"{text}\n":["{text}"]}}"#)));
    }
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
    assert_eq!(through(r#"{"ren\u0061med":"x"}"#), through(r#"{"renamed":"x"}"#));
}

#[test]
fn what_is_not_in_the_contract_is_named() {
    let long = "n".repeat(1000);
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
        (r#"{"text":null,"text":"b"}"#, "text", "is given more than once"),
        (r#"{"wrappedText":"a","wrapped_text":"b"}"#, "wrapped_text", "is given more than once"),
        (r#"{"byName":{"a":1,"a":2}}"#, "byName.a", "is given more than once"),
        (r#"{"left":"a","right":{}}"#, "right", "only one field of `choice` may be given"),
        (&format!("{{\"{long}\":1}}"), &long[..64], "is not a field that is known here"),
    ] {
        assert_eq!(refusal(json), (field.to_owned(), description.to_owned()), "{json}");
    }
}

#[test]
fn a_setting_relaxes_what_is_refused() {
    let settings = Settings { ignore_unknown: true, merge_duplicates: true };
    let plan = schema(settings).message("malha.corner.v1.Everything").unwrap();
    let through = |json: &str| {
        let (mut wire, mut shown) = (Vec::new(), Vec::new());
        plan.encode(json.as_bytes(), &mut wire).unwrap();
        plan.decode(&wire, &mut shown).unwrap();
        String::from_utf8(shown).unwrap()
    };
    for (json, shown) in [
        (r#"{"nope":{"a":[1]},"maybe":1}"#, r#","maybe":1"#),
        (r#"{"nothing":{"a":1}}"#, r#","nothing":{}"#),
        (r#"{"colours":["RED","PURPLE"]}"#, r#","colours":["RED"]"#),
        (r#"{"maybe":1,"maybe":2}"#, r#","maybe":2"#),
        (r#"{"wrappedText":"a","wrapped_text":""}"#, r#","wrappedText":"""#),
        (r#"{"numbers":[1],"numbers":[2]}"#, r#","numbers":["1","2"]"#),
        (r#"{"byName":{"a":1,"a":2}}"#, r#","byName":{"a":"2"}"#),
    ] {
        assert_eq!(through(json), format!("{{{ALWAYS}{shown}}}"), "{json}");
    }
    assert_eq!(through(r#"{"int32":1,"int32":0}"#), format!("{{{ALWAYS}}}"));
    assert_eq!(through(r#"{"text":"a","text":""}"#), format!("{{{ALWAYS}}}"));
    let merged = r#"{"inner":{"name":"a"},"inner":{"deeper":{}}}"#;
    assert!(through(merged).contains(r#""inner":{"name":"a","deeper":{}}"#));
}

#[test]
fn text_that_is_no_json_is_refused_with_its_place() {
    for (json, line, column) in [
        ("{\n  \"text\": tru }", 2, 14),
        ("", 1, 0),
        ("{\"a\":1", 1, 6),
        ("{} x", 1, 4),
        // That it is no JSON goes before what is wrong with it.
        ("{\"nope\":1,\n\"int32\":\"x\",}", 2, 13),
    ] {
        assert_eq!(
            read(json.as_bytes()).unwrap_err(),
            InputError::Syntax { line, column },
            "{json}"
        );
    }
    let error = read(b"{\"text\":\"\xff\"}").unwrap_err();
    assert_eq!(error, InputError::Syntax { line: 1, column: 10 });
    assert_eq!(error.to_string(), "the body is not JSON: line 1, column 10");
    assert_eq!(refusal(r#"{"text":"\ud800"}"#).1, "must be Unicode text");
    assert_eq!(refusal(r#"{"\ud800":1}"#).1, "must be Unicode text");
}

#[test]
fn nesting_has_a_bound() {
    for (field, open, close) in
        [("value", "[", "]"), ("value", r#"{"a":"#, "}"), ("inner", r#"{"deeper":"#, "}")]
    {
        let json = |depth: usize| {
            format!("{{\"{field}\":{}null{}}}", open.repeat(depth), close.repeat(depth))
        };
        let wire = read(json(28).as_bytes()).unwrap_or_else(|error| panic!("{open}: {error:?}"));
        let everything = pool().get_message_by_name("malha.corner.v1.Everything").unwrap();
        assert!(DynamicMessage::decode(everything, &*wire).is_ok(), "{open}");
        assert!(write(&wire).is_ok(), "{open}");
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
        let error = read(json.as_bytes()).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

/// An upstream that breaks its own contract: better no answer than a wrong one.
#[test]
fn what_json_cannot_show_is_not_written() {
    let everything = pool().get_message_by_name("malha.corner.v1.Everything").unwrap();
    let written = |field: &str, value: Value| {
        let mut message = DynamicMessage::new(everything.clone());
        message.set_field_by_name(field, value);
        write(&message.encode_to_vec())
    };
    let unshowable = |result| matches!(result, Err(OutputError::Unshowable(_)));
    assert!(unshowable(written("balance", Value::String("1,00".to_owned()))));
    assert!(unshowable(write(&[0x72, 1, 0xff])), "a string that is not UTF-8");
    let minus_one = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    let two_signs = [&[0xca, 2, 13, 8, 1, 0x10], minus_one.as_slice()].concat();
    assert!(unshowable(write(&two_signs)), "a duration of two signs");
    assert!(unshowable(write(&[0xd2, 2, 3, 0x0a, 1, b'A'])), "a mask that would not come back");
    assert!(unshowable(write(&[0xe2, 2, 9, 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f])), "infinity");
}

#[test]
fn a_balance_is_a_number_with_its_zeros() {
    let pool = contracts::pool();
    let schema = transcoder::Schema::new(pool, &Options, Settings::default());
    let name = "malha.accounts.v1.GetBalanceResponse";
    let mut message = DynamicMessage::new(pool.get_message_by_name(name).unwrap());
    message.set_field_by_name("balance", Value::String("1000.00".to_owned()));
    let mut json = Vec::new();
    schema.message(name).unwrap().decode(&message.encode_to_vec(), &mut json).unwrap();
    assert_eq!(json, br#"{"balance":1000.00}"#);
}
