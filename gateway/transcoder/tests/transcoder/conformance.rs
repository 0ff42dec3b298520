//! The JSON cases of protobuf's conformance suite for proto3, by their names there.
//!
//! A case that is read must make the message that is named in the text format, and come back from
//! our own JSON as the same message; `docs/json-conformance.md` says which cases are not here.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use transcoder::{MessagePlan, Schema, Settings};

use crate::corner::compile;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| compile("conformance.proto"));

fn descriptor() -> MessageDescriptor {
    POOL.get_message_by_name("malha.conformance.v1.All").unwrap()
}

fn plan(settings: Settings) -> MessagePlan {
    Schema::new(&POOL, &(), settings).message("malha.conformance.v1.All").unwrap()
}

fn of_text(text: &str) -> DynamicMessage {
    DynamicMessage::parse_text_format(descriptor(), text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn read(json: &str, settings: Settings) -> Result<DynamicMessage, String> {
    let mut wire = Vec::new();
    plan(settings).encode(json.as_bytes(), &mut wire).map_err(|error| error.to_string())?;
    Ok(DynamicMessage::decode(descriptor(), &*wire).unwrap())
}

fn written(message: &DynamicMessage) -> Result<String, String> {
    let mut json = Vec::new();
    let written = plan(Settings::default()).decode(&message.encode_to_vec(), &mut json);
    written.map(|()| String::from_utf8(json).unwrap()).map_err(|error| error.to_string())
}

/// Whether two messages are the same; one NaN is as good as another.
fn same(a: &DynamicMessage, b: &DynamicMessage) -> bool {
    a == b || a.to_text_format() == b.to_text_format()
}

/// Cases that are read: name, JSON, the message as text.
const READ: &[(&str, &str, &str)] = &[
    ("HelloWorld", r#"{"optionalString":"Hello, World!"}"#, "optional_string: 'Hello, World!'"),
    (
        "FieldNameInSnakeCase",
        r#"{"fieldname1": 1, "fieldName2": 2, "FieldName3": 3, "fieldName4": 4}"#,
        "fieldname1: 1 field_name2: 2 _field_name3: 3 field__name4_: 4",
    ),
    (
        "FieldNameWithNumbers",
        r#"{"field0name5": 5, "field0Name6": 6}"#,
        "field0name5: 5 field_0_name6: 6",
    ),
    (
        "FieldNameWithMixedCases",
        r#"{"fieldName7": 7, "FieldName8": 8, "fieldName9": 9, "FieldName10": 10,
            "FIELDNAME11": 11, "FIELDName12": 12}"#,
        "fieldName7: 7 FieldName8: 8 field_Name9: 9 Field_Name10: 10 FIELD_NAME11: 11 FIELD_name12: 12",
    ),
    (
        "FieldNameWithDoubleUnderscores",
        r#"{"FieldName13": 13, "FieldName14": 14, "fieldName15": 15, "fieldName16": 16,
            "fieldName17": 17, "FieldName18": 18}"#,
        "__field_name13: 13 __Field_name14: 14 field__name15: 15 field__Name16: 16 \
         field_name17__: 17 Field_name18__: 18",
    ),
    (
        "OriginalProtoFieldName",
        r#"{"fieldname1": 1, "field_name2": 2, "_field_name3": 3, "field__name4_": 4,
            "field0name5": 5, "field_0_name6": 6, "fieldName7": 7, "FieldName8": 8,
            "field_Name9": 9, "Field_Name10": 10, "FIELD_NAME11": 11, "FIELD_name12": 12,
            "__field_name13": 13, "__Field_name14": 14, "field__name15": 15,
            "field__Name16": 16, "field_name17__": 17, "Field_name18__": 18}"#,
        "fieldname1: 1 field_name2: 2 _field_name3: 3 field__name4_: 4 field0name5: 5 \
         field_0_name6: 6 fieldName7: 7 FieldName8: 8 field_Name9: 9 Field_Name10: 10 \
         FIELD_NAME11: 11 FIELD_name12: 12 __field_name13: 13 __Field_name14: 14 \
         field__name15: 15 field__Name16: 16 field_name17__: 17 Field_name18__: 18",
    ),
    ("FieldNameEscaped", r#"{"fieldn\u0061me1": 1}"#, "fieldname1: 1"),
    (
        "OneLineNoSpaces",
        r#"{"optionalInt32":1,"optionalInt64":2}"#,
        "optional_int32: 1 optional_int64: 2",
    ),
    (
        "OneLineWithSpaces",
        r#"{ "optionalInt32" : 1 , "optionalInt64" : 2 }"#,
        "optional_int32: 1 optional_int64: 2",
    ),
    (
        "MultilineNoSpaces",
        "{\n\"optionalInt32\"\n:\n1\n,\n\"optionalInt64\"\n:\n2\n}",
        "optional_int32: 1 optional_int64: 2",
    ),
    (
        "MultilineWithSpaces",
        "{\n  \"optionalInt32\"  :  1\n  ,\n  \"optionalInt64\"  :  2\n}\n",
        "optional_int32: 1 optional_int64: 2",
    ),
    ("Int32FieldMaxValue", r#"{"optionalInt32": 2147483647}"#, "optional_int32: 2147483647"),
    ("Int32FieldMinValue", r#"{"optionalInt32": -2147483648}"#, "optional_int32: -2147483648"),
    ("Uint32FieldMaxValue", r#"{"optionalUint32": 4294967295}"#, "optional_uint32: 4294967295"),
    (
        "Int64FieldMaxValue",
        r#"{"optionalInt64": "9223372036854775807"}"#,
        "optional_int64: 9223372036854775807",
    ),
    (
        "Int64FieldMinValue",
        r#"{"optionalInt64": "-9223372036854775808"}"#,
        "optional_int64: -9223372036854775808",
    ),
    (
        "Uint64FieldMaxValue",
        r#"{"optionalUint64": "18446744073709551615"}"#,
        "optional_uint64: 18446744073709551615",
    ),
    (
        "Int64FieldMaxValueNotQuoted",
        r#"{"optionalInt64": 9223372036854774784}"#,
        "optional_int64: 9223372036854774784",
    ),
    (
        "Int64FieldMinValueNotQuoted",
        r#"{"optionalInt64": -9223372036854775808}"#,
        "optional_int64: -9223372036854775808",
    ),
    (
        "Uint64FieldMaxValueNotQuoted",
        r#"{"optionalUint64": 18446744073709549568}"#,
        "optional_uint64: 18446744073709549568",
    ),
    ("Int32FieldStringValue", r#"{"optionalInt32": "2147483647"}"#, "optional_int32: 2147483647"),
    (
        "Int32FieldStringValueEscaped",
        r#"{"optionalInt32": "2\u003147483647"}"#,
        "optional_int32: 2147483647",
    ),
    ("Int32FieldFloatTrailingZero", r#"{"optionalInt32": 100000.000}"#, "optional_int32: 100000"),
    ("Int32FieldExponentialFormat", r#"{"optionalInt32": 1e5}"#, "optional_int32: 100000"),
    (
        "Int32FieldMaxFloatValue",
        r#"{"optionalInt32": 2.147483647e9}"#,
        "optional_int32: 2147483647",
    ),
    (
        "Int32FieldMinFloatValue",
        r#"{"optionalInt32": -2.147483648e9}"#,
        "optional_int32: -2147483648",
    ),
    (
        "Uint32FieldMaxFloatValue",
        r#"{"optionalUint32": 4.294967295e9}"#,
        "optional_uint32: 4294967295",
    ),
    ("BoolFieldTrue", r#"{"optionalBool":true}"#, "optional_bool: true"),
    ("BoolFieldFalse", r#"{"optionalBool":false}"#, "optional_bool: false"),
    (
        "FloatFieldMinPositiveValue",
        r#"{"optionalFloat": 1.175494e-38}"#,
        "optional_float: 1.175494e-38",
    ),
    (
        "FloatFieldMaxNegativeValue",
        r#"{"optionalFloat": -1.175494e-38}"#,
        "optional_float: -1.175494e-38",
    ),
    (
        "FloatFieldMaxPositiveValue",
        r#"{"optionalFloat": 3.402823e+38}"#,
        "optional_float: 3.402823e+38",
    ),
    (
        "FloatFieldMinNegativeValue",
        r#"{"optionalFloat": 3.402823e+38}"#,
        "optional_float: 3.402823e+38",
    ),
    ("FloatFieldQuotedValue", r#"{"optionalFloat": "1"}"#, "optional_float: 1"),
    ("FloatFieldNan", r#"{"optionalFloat": "NaN"}"#, "optional_float: nan"),
    ("FloatFieldInfinity", r#"{"optionalFloat": "Infinity"}"#, "optional_float: inf"),
    ("FloatFieldNegativeInfinity", r#"{"optionalFloat": "-Infinity"}"#, "optional_float: -inf"),
    (
        "DoubleFieldMinPositiveValue",
        r#"{"optionalDouble": 2.22507e-308}"#,
        "optional_double: 2.22507e-308",
    ),
    (
        "DoubleFieldMaxNegativeValue",
        r#"{"optionalDouble": -2.22507e-308}"#,
        "optional_double: -2.22507e-308",
    ),
    (
        "DoubleFieldMaxPositiveValue",
        r#"{"optionalDouble": 1.79769e+308}"#,
        "optional_double: 1.79769e+308",
    ),
    (
        "DoubleFieldMinNegativeValue",
        r#"{"optionalDouble": -1.79769e+308}"#,
        "optional_double: -1.79769e+308",
    ),
    ("DoubleFieldQuotedValue", r#"{"optionalDouble": "1"}"#, "optional_double: 1"),
    ("DoubleFieldNan", r#"{"optionalDouble": "NaN"}"#, "optional_double: nan"),
    ("DoubleFieldInfinity", r#"{"optionalDouble": "Infinity"}"#, "optional_double: inf"),
    ("DoubleFieldNegativeInfinity", r#"{"optionalDouble": "-Infinity"}"#, "optional_double: -inf"),
    ("EnumField", r#"{"optionalNestedEnum": "FOO"}"#, "optional_nested_enum: FOO"),
    (
        "EnumFieldWithAlias",
        r#"{"optionalAliasedEnum": "ALIAS_BAZ"}"#,
        "optional_aliased_enum: ALIAS_BAZ",
    ),
    (
        "EnumFieldWithAliasUseAlias",
        r#"{"optionalAliasedEnum": "MOO"}"#,
        "optional_aliased_enum: ALIAS_BAZ",
    ),
    (
        "EnumFieldWithAliasLowerCase",
        r#"{"optionalAliasedEnum": "moo"}"#,
        "optional_aliased_enum: ALIAS_BAZ",
    ),
    (
        "EnumFieldWithAliasDifferentCase",
        r#"{"optionalAliasedEnum": "bAz"}"#,
        "optional_aliased_enum: ALIAS_BAZ",
    ),
    ("EnumFieldNumericValueZero", r#"{"optionalNestedEnum": 0}"#, "optional_nested_enum: FOO"),
    ("EnumFieldNumericValueNonZero", r#"{"optionalNestedEnum": 1}"#, "optional_nested_enum: BAR"),
    ("StringField", r#"{"optionalString": "Hello world!"}"#, r#"optional_string: "Hello world!""#),
    ("StringFieldUnicode", r#"{"optionalString": "谷歌"}"#, r#"optional_string: "谷歌""#),
    (
        "StringFieldEscape",
        r#"{"optionalString": "\"\\\/\b\f\n\r\t"}"#,
        r#"optional_string: "\"\\/\b\f\n\r\t""#,
    ),
    (
        "StringFieldUnicodeEscape",
        r#"{"optionalString": "\u8C37\u6B4C"}"#,
        r#"optional_string: "谷歌""#,
    ),
    (
        "StringFieldUnicodeEscapeWithLowercaseHexLetters",
        r#"{"optionalString": "\u8c37\u6b4c"}"#,
        r#"optional_string: "谷歌""#,
    ),
    (
        "StringFieldSurrogatePair",
        r#"{"optionalString": "\uD83D\uDE01"}"#,
        r#"optional_string: "\xF0\x9F\x98\x81""#,
    ),
    (
        "StringFieldEmbeddedNull",
        r#"{"optionalString": "Hello\u0000world!"}"#,
        r#"optional_string: "Hello\000world!""#,
    ),
    ("BytesField", r#"{"optionalBytes": "AQI="}"#, r#"optional_bytes: "\x01\x02""#),
    ("BytesFieldBase64Url", r#"{"optionalBytes": "-_"}"#, r#"optional_bytes: "\xfb""#),
    (
        "MessageField",
        r#"{"optionalNestedMessage": {"a": 1234}}"#,
        "optional_nested_message: {a: 1234}",
    ),
    (
        "OneofFieldNullFirst",
        r#"{"oneofUint32": null, "oneofString": "test"}"#,
        "oneof_string: \"test\"",
    ),
    (
        "OneofFieldNullSecond",
        r#"{"oneofString": "test", "oneofUint32": null}"#,
        "oneof_string: \"test\"",
    ),
    ("OneofZeroUint32", r#"{"oneofUint32": 0}"#, "oneof_uint32: 0"),
    ("OneofZeroMessage", r#"{"oneofNestedMessage": {}}"#, "oneof_nested_message: {}"),
    ("OneofZeroString", r#"{"oneofString": ""}"#, "oneof_string: \"\""),
    ("OneofZeroBytes", r#"{"oneofBytes": ""}"#, "oneof_bytes: \"\""),
    ("OneofZeroBool", r#"{"oneofBool": false}"#, "oneof_bool: false"),
    ("OneofZeroUint64", r#"{"oneofUint64": 0}"#, "oneof_uint64: 0"),
    ("OneofZeroFloat", r#"{"oneofFloat": 0.0}"#, "oneof_float: 0"),
    ("OneofZeroDouble", r#"{"oneofDouble": 0.0}"#, "oneof_double: 0"),
    ("OneofZeroEnum", r#"{"oneofEnum":"FOO"}"#, "oneof_enum: FOO"),
    (
        "Int32MapField",
        r#"{"mapInt32Int32": {"1": 2, "3": 4}}"#,
        "map_int32_int32: {key: 1 value: 2} map_int32_int32: {key: 3 value: 4}",
    ),
    (
        "Uint32MapField",
        r#"{"mapUint32Uint32": {"1": 2, "3": 4}}"#,
        "map_uint32_uint32: {key: 1 value: 2} map_uint32_uint32: {key: 3 value: 4}",
    ),
    (
        "Int64MapField",
        r#"{"mapInt64Int64": {"1": 2, "3": 4}}"#,
        "map_int64_int64: {key: 1 value: 2} map_int64_int64: {key: 3 value: 4}",
    ),
    (
        "Uint64MapField",
        r#"{"mapUint64Uint64": {"1": 2, "3": 4}}"#,
        "map_uint64_uint64: {key: 1 value: 2} map_uint64_uint64: {key: 3 value: 4}",
    ),
    (
        "BoolMapField",
        r#"{"mapBoolBool": {"true": true, "false": false}}"#,
        "map_bool_bool: {key: true value: true} map_bool_bool: {key: false value: false}",
    ),
    (
        "MessageMapField",
        r#"{"mapStringNestedMessage": {"hello": {"a": 1234}, "world": {"a": 5678}}}"#,
        r#"map_string_nested_message: {key: "hello" value: {a: 1234}}
           map_string_nested_message: {key: "world" value: {a: 5678}}"#,
    ),
    (
        "Int32MapEscapedKey",
        r#"{"mapInt32Int32": {"\u0031": 2}}"#,
        "map_int32_int32: {key: 1 value: 2}",
    ),
    (
        "Int64MapEscapedKey",
        r#"{"mapInt64Int64": {"\u0031": 2}}"#,
        "map_int64_int64: {key: 1 value: 2}",
    ),
    (
        "BoolMapEscapedKey",
        r#"{"mapBoolBool": {"tr\u0075e": true}}"#,
        "map_bool_bool: {key: true value: true}",
    ),
    (
        "PrimitiveRepeatedField",
        r#"{"repeatedInt32": [1, 2, 3, 4]}"#,
        "repeated_int32: [1, 2, 3, 4]",
    ),
    (
        "EnumRepeatedField",
        r#"{"repeatedNestedEnum": ["FOO", "BAR", "BAZ"]}"#,
        "repeated_nested_enum: [FOO, BAR, BAZ]",
    ),
    (
        "StringRepeatedField",
        r#"{"repeatedString": ["Hello", "world"]}"#,
        r#"repeated_string: ["Hello", "world"]"#,
    ),
    (
        "BytesRepeatedField",
        r#"{"repeatedBytes": ["AAEC", "AQI="]}"#,
        r#"repeated_bytes: ["\x00\x01\x02", "\x01\x02"]"#,
    ),
    (
        "MessageRepeatedField",
        r#"{"repeatedNestedMessage": [{"a": 1234}, {"a": 5678}]}"#,
        "repeated_nested_message: {a: 1234} repeated_nested_message: {a: 5678}",
    ),
    (
        "AllFieldAcceptNull",
        r#"{"optionalInt32": null, "optionalInt64": null, "optionalUint32": null,
            "optionalUint64": null, "optionalSint32": null, "optionalSint64": null,
            "optionalFixed32": null, "optionalFixed64": null, "optionalSfixed32": null,
            "optionalSfixed64": null, "optionalFloat": null, "optionalDouble": null,
            "optionalBool": null, "optionalString": null, "optionalBytes": null,
            "optionalNestedEnum": null, "optionalNestedMessage": null, "repeatedInt32": null,
            "repeatedInt64": null, "repeatedUint32": null, "repeatedUint64": null,
            "repeatedSint32": null, "repeatedSint64": null, "repeatedFixed32": null,
            "repeatedFixed64": null, "repeatedSfixed32": null, "repeatedSfixed64": null,
            "repeatedFloat": null, "repeatedDouble": null, "repeatedBool": null,
            "repeatedString": null, "repeatedBytes": null, "repeatedNestedEnum": null,
            "repeatedNestedMessage": null, "mapInt32Int32": null, "mapBoolBool": null,
            "mapStringNestedMessage": null}"#,
        "",
    ),
    (
        "OptionalBoolWrapper",
        r#"{"optionalBoolWrapper": false}"#,
        "optional_bool_wrapper: {value: false}",
    ),
    (
        "OptionalInt32Wrapper",
        r#"{"optionalInt32Wrapper": 0}"#,
        "optional_int32_wrapper: {value: 0}",
    ),
    (
        "OptionalUint32Wrapper",
        r#"{"optionalUint32Wrapper": 0}"#,
        "optional_uint32_wrapper: {value: 0}",
    ),
    (
        "OptionalInt64Wrapper",
        r#"{"optionalInt64Wrapper": 0}"#,
        "optional_int64_wrapper: {value: 0}",
    ),
    (
        "OptionalUint64Wrapper",
        r#"{"optionalUint64Wrapper": 0}"#,
        "optional_uint64_wrapper: {value: 0}",
    ),
    (
        "OptionalFloatWrapper",
        r#"{"optionalFloatWrapper": 0}"#,
        "optional_float_wrapper: {value: 0}",
    ),
    (
        "OptionalDoubleWrapper",
        r#"{"optionalDoubleWrapper": 0}"#,
        "optional_double_wrapper: {value: 0}",
    ),
    (
        "OptionalStringWrapper",
        r#"{"optionalStringWrapper": ""}"#,
        r#"optional_string_wrapper: {value: ""}"#,
    ),
    (
        "OptionalBytesWrapper",
        r#"{"optionalBytesWrapper": ""}"#,
        r#"optional_bytes_wrapper: {value: ""}"#,
    ),
    (
        "OptionalWrapperTypesWithNonDefaultValue",
        r#"{"optionalBoolWrapper": true, "optionalInt32Wrapper": 1, "optionalUint32Wrapper": 1,
            "optionalInt64Wrapper": "1", "optionalUint64Wrapper": "1", "optionalFloatWrapper": 1,
            "optionalDoubleWrapper": 1, "optionalStringWrapper": "1",
            "optionalBytesWrapper": "AQI="}"#,
        r#"optional_bool_wrapper: {value: true} optional_int32_wrapper: {value: 1}
           optional_uint32_wrapper: {value: 1} optional_int64_wrapper: {value: 1}
           optional_uint64_wrapper: {value: 1} optional_float_wrapper: {value: 1}
           optional_double_wrapper: {value: 1} optional_string_wrapper: {value: "1"}
           optional_bytes_wrapper: {value: "\x01\x02"}"#,
    ),
    (
        "RepeatedBoolWrapper",
        r#"{"repeatedBoolWrapper": [true, false]}"#,
        "repeated_bool_wrapper: {value: true} repeated_bool_wrapper: {value: false}",
    ),
    (
        "RepeatedInt32Wrapper",
        r#"{"repeatedInt32Wrapper": [0, 1]}"#,
        "repeated_int32_wrapper: {value: 0} repeated_int32_wrapper: {value: 1}",
    ),
    (
        "RepeatedUint32Wrapper",
        r#"{"repeatedUint32Wrapper": [0, 1]}"#,
        "repeated_uint32_wrapper: {value: 0} repeated_uint32_wrapper: {value: 1}",
    ),
    (
        "RepeatedInt64Wrapper",
        r#"{"repeatedInt64Wrapper": [0, 1]}"#,
        "repeated_int64_wrapper: {value: 0} repeated_int64_wrapper: {value: 1}",
    ),
    (
        "RepeatedUint64Wrapper",
        r#"{"repeatedUint64Wrapper": [0, 1]}"#,
        "repeated_uint64_wrapper: {value: 0} repeated_uint64_wrapper: {value: 1}",
    ),
    (
        "RepeatedFloatWrapper",
        r#"{"repeatedFloatWrapper": [0, 1]}"#,
        "repeated_float_wrapper: {value: 0} repeated_float_wrapper: {value: 1}",
    ),
    (
        "RepeatedDoubleWrapper",
        r#"{"repeatedDoubleWrapper": [0, 1]}"#,
        "repeated_double_wrapper: {value: 0} repeated_double_wrapper: {value: 1}",
    ),
    (
        "RepeatedStringWrapper",
        r#"{"repeatedStringWrapper": ["", "AQI="]}"#,
        r#"repeated_string_wrapper: {value: ""} repeated_string_wrapper: {value: "AQI="}"#,
    ),
    (
        "RepeatedBytesWrapper",
        r#"{"repeatedBytesWrapper": ["", "AQI="]}"#,
        r#"repeated_bytes_wrapper: {value: ""} repeated_bytes_wrapper: {value: "\x01\x02"}"#,
    ),
    (
        "WrapperTypesWithNullValue",
        r#"{"optionalBoolWrapper": null, "optionalInt32Wrapper": null,
            "optionalUint32Wrapper": null, "optionalInt64Wrapper": null,
            "optionalUint64Wrapper": null, "optionalFloatWrapper": null,
            "optionalDoubleWrapper": null, "optionalStringWrapper": null,
            "optionalBytesWrapper": null, "repeatedBoolWrapper": null,
            "repeatedInt32Wrapper": null, "repeatedUint32Wrapper": null,
            "repeatedInt64Wrapper": null, "repeatedUint64Wrapper": null,
            "repeatedFloatWrapper": null, "repeatedDoubleWrapper": null,
            "repeatedStringWrapper": null, "repeatedBytesWrapper": null}"#,
        "",
    ),
    (
        "DurationMinValue",
        r#"{"optionalDuration": "-315576000000.999999999s"}"#,
        "optional_duration: {seconds: -315576000000 nanos: -999999999}",
    ),
    (
        "DurationMaxValue",
        r#"{"optionalDuration": "315576000000.999999999s"}"#,
        "optional_duration: {seconds: 315576000000 nanos: 999999999}",
    ),
    (
        "DurationRepeatedValue",
        r#"{"repeatedDuration": ["1.5s", "-1.5s"]}"#,
        "repeated_duration: {seconds: 1 nanos: 500000000} \
         repeated_duration: {seconds: -1 nanos: -500000000}",
    ),
    ("DurationNull", r#"{"optionalDuration": null}"#, ""),
    (
        "DurationNegativeSeconds",
        r#"{"optionalDuration": "-5s"}"#,
        "optional_duration: {seconds: -5}",
    ),
    (
        "DurationNegativeNanos",
        r#"{"optionalDuration": "-0.5s"}"#,
        "optional_duration: {nanos: -500000000}",
    ),
    (
        "TimestampMinValue",
        r#"{"optionalTimestamp": "0001-01-01T00:00:00Z"}"#,
        "optional_timestamp: {seconds: -62135596800}",
    ),
    (
        "TimestampMaxValue",
        r#"{"optionalTimestamp": "9999-12-31T23:59:59.999999999Z"}"#,
        "optional_timestamp: {seconds: 253402300799 nanos: 999999999}",
    ),
    (
        "TimestampRepeatedValue",
        r#"{"repeatedTimestamp": ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"]}"#,
        "repeated_timestamp: {seconds: -62135596800} \
         repeated_timestamp: {seconds: 253402300799 nanos: 999999999}",
    ),
    (
        "TimestampLeap",
        r#"{"optionalTimestamp": "1993-02-10T00:00:00.000Z"}"#,
        "optional_timestamp: {seconds: 729302400}",
    ),
    (
        "TimestampWithPositiveOffset",
        r#"{"optionalTimestamp": "1970-01-01T08:00:01+08:00"}"#,
        "optional_timestamp: {seconds: 1}",
    ),
    (
        "TimestampWithNegativeOffset",
        r#"{"optionalTimestamp": "1969-12-31T16:00:01-08:00"}"#,
        "optional_timestamp: {seconds: 1}",
    ),
    ("TimestampNull", r#"{"optionalTimestamp": null}"#, ""),
    (
        "FieldMask",
        r#"{"optionalFieldMask": "foo,barBaz"}"#,
        r#"optional_field_mask: {paths: "foo" paths: "bar_baz"}"#,
    ),
    ("EmptyFieldMask", r#"{"optionalFieldMask": ""}"#, "optional_field_mask: {}"),
    (
        "Struct",
        r#"{"optionalStruct": {"nullValue": null, "intValue": 1234, "boolValue": true,
            "doubleValue": 1234.5678, "stringValue": "Hello world!",
            "listValue": [1234, "5678"], "objectValue": {"value": 0}}}"#,
        r#"optional_struct: {
            fields: {key: "nullValue" value: {null_value: NULL_VALUE}}
            fields: {key: "intValue" value: {number_value: 1234}}
            fields: {key: "boolValue" value: {bool_value: true}}
            fields: {key: "doubleValue" value: {number_value: 1234.5678}}
            fields: {key: "stringValue" value: {string_value: "Hello world!"}}
            fields: {key: "listValue" value: {list_value: {
                values: {number_value: 1234} values: {string_value: "5678"}}}}
            fields: {key: "objectValue" value: {struct_value: {
                fields: {key: "value" value: {number_value: 0}}}}}
        }"#,
    ),
    (
        "StructWithEmptyListValue",
        r#"{"optionalStruct": {"listValue": []}}"#,
        r#"optional_struct: {fields: {key: "listValue" value: {list_value: {}}}}"#,
    ),
    ("ValueAcceptInteger", r#"{"optionalValue": 1}"#, "optional_value: {number_value: 1}"),
    ("ValueAcceptFloat", r#"{"optionalValue": 1.5}"#, "optional_value: {number_value: 1.5}"),
    ("ValueAcceptBool", r#"{"optionalValue": false}"#, "optional_value: {bool_value: false}"),
    ("ValueAcceptNull", r#"{"optionalValue": null}"#, "optional_value: {null_value: NULL_VALUE}"),
    (
        "ValueAcceptString",
        r#"{"optionalValue": "hello"}"#,
        r#"optional_value: {string_value: "hello"}"#,
    ),
    (
        "ValueAcceptList",
        r#"{"optionalValue": [0, "hello"]}"#,
        r#"optional_value: {list_value: {values: {number_value: 0} values: {string_value: "hello"}}}"#,
    ),
    (
        "ValueAcceptObject",
        r#"{"optionalValue": {"value": 1}}"#,
        r#"optional_value: {struct_value: {fields: {key: "value" value: {number_value: 1}}}}"#,
    ),
    (
        "RepeatedValue",
        r#"{"repeatedValue": [["a"]]}"#,
        r#"repeated_value: [{list_value: {values: [{string_value: "a"}]}}]"#,
    ),
    (
        "RepeatedListValue",
        r#"{"repeatedListValue": [["a"]]}"#,
        r#"repeated_list_value: [{values: [{string_value: "a"}]}]"#,
    ),
    (
        "Any",
        r#"{"optionalAny": {"@type": "type.googleapis.com/malha.conformance.v1.All",
            "optionalInt32": 12345}}"#,
        "optional_any: {[type.googleapis.com/malha.conformance.v1.All] {optional_int32: 12345}}",
    ),
    (
        "AnyNested",
        r#"{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.Any",
            "value": {"@type": "type.googleapis.com/malha.conformance.v1.All",
            "optionalInt32": 12345}}}"#,
        "optional_any: {[type.googleapis.com/google.protobuf.Any] \
         {[type.googleapis.com/malha.conformance.v1.All] {optional_int32: 12345}}}",
    ),
    (
        "AnyUnorderedTypeTag",
        r#"{"optionalAny": {"optionalInt32": 12345,
            "@type": "type.googleapis.com/malha.conformance.v1.All"}}"#,
        "optional_any: {[type.googleapis.com/malha.conformance.v1.All] {optional_int32: 12345}}",
    ),
    (
        "AnyWithInt32ValueWrapper",
        r#"{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.Int32Value",
            "value": 12345}}"#,
        "optional_any: {[type.googleapis.com/google.protobuf.Int32Value] {value: 12345}}",
    ),
    (
        "AnyWithDuration",
        r#"{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.Duration",
            "value": "1.5s"}}"#,
        "optional_any: {[type.googleapis.com/google.protobuf.Duration] \
         {seconds: 1 nanos: 500000000}}",
    ),
    (
        "AnyWithTimestamp",
        r#"{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.Timestamp",
            "value": "1970-01-01T00:00:00Z"}}"#,
        "optional_any: {[type.googleapis.com/google.protobuf.Timestamp] {}}",
    ),
    (
        "AnyWithFieldMask",
        r#"{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.FieldMask",
            "value": "foo,barBaz"}}"#,
        r#"optional_any: {[type.googleapis.com/google.protobuf.FieldMask]
            {paths: ["foo", "bar_baz"]}}"#,
    ),
    (
        "AnyWithStruct",
        r#"{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.Struct",
            "value": {"foo": 1}}}"#,
        r#"optional_any: {[type.googleapis.com/google.protobuf.Struct]
            {fields: {key: "foo" value: {number_value: 1}}}}"#,
    ),
    (
        "AnyWithValueForJsonObject",
        r#"{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.Value",
            "value": {"foo": 1}}}"#,
        r#"optional_any: {[type.googleapis.com/google.protobuf.Value]
            {struct_value: {fields: {key: "foo" value: {number_value: 1}}}}}"#,
    ),
    (
        "AnyWithValueForInteger",
        r#"{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.Value", "value": 1}}"#,
        "optional_any: {[type.googleapis.com/google.protobuf.Value] {number_value: 1}}",
    ),
];

#[test]
fn cases_are_read_and_come_back() {
    for (name, json, text) in READ {
        let expected = of_text(text);
        let message =
            read(json, Settings::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(same(&message, &expected), "{name}: {message}");
        let shown = written(&expected).unwrap_or_else(|error| panic!("{name}: {error}"));
        let back =
            read(&shown, Settings::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(same(&back, &expected), "{name}: {shown}");
    }
}

/// Cases that must not be read.
const REFUSED: &[(&str, &str)] = &[
    ("StringEndsWithEscapeChar", "{\"optionalString\": \"abc\\"),
    ("FieldNameNotQuoted", "{fieldname1: 1}"),
    ("TrailingCommaInAnObject", r#"{"fieldname1":1,}"#),
    ("TrailingCommaInAnObjectWithSpace", r#"{"fieldname1":1 ,}"#),
    ("TrailingCommaInAnObjectWithSpaceCommaSpace", r#"{"fieldname1":1 , }"#),
    ("TrailingCommaInAnObjectWithNewlines", "{\n\"fieldname1\":1,\n}"),
    ("JsonWithComments", "{\n// This is a comment.\n\"fieldname1\": 1\n}"),
    ("MissingCommaOneLine", r#"{ "optionalInt32": 1 "optionalInt64": 2 }"#),
    ("MissingCommaMultiline", "{\n  \"optionalInt32\": 1\n  \"optionalInt64\": 2\n}"),
    ("FieldNameDuplicate", r#"{"optionalNestedMessage": {"a": 1}, "optionalNestedMessage": {}}"#),
    (
        "FieldNameDuplicateDifferentCasing1",
        r#"{"optional_nested_message": {"a": 1}, "optionalNestedMessage": {}}"#,
    ),
    (
        "FieldNameDuplicateDifferentCasing2",
        r#"{"optionalNestedMessage": {"a": 1}, "optional_nested_message": {}}"#,
    ),
    ("Int32FieldTooLarge", r#"{"optionalInt32": 2147483648}"#),
    ("Int32FieldTooSmall", r#"{"optionalInt32": -2147483649}"#),
    ("Uint32FieldTooLarge", r#"{"optionalUint32": 4294967296}"#),
    ("Int64FieldTooLarge", r#"{"optionalInt64": "9223372036854775808"}"#),
    ("Int64FieldTooSmall", r#"{"optionalInt64": "-9223372036854775809"}"#),
    ("Uint64FieldTooLarge", r#"{"optionalUint64": "18446744073709551616"}"#),
    ("Int32FieldNotInteger", r#"{"optionalInt32": 0.5}"#),
    ("Uint32FieldNotInteger", r#"{"optionalUint32": 0.5}"#),
    ("Int64FieldNotInteger", r#"{"optionalInt64": "0.5"}"#),
    ("Uint64FieldNotInteger", r#"{"optionalUint64": "0.5"}"#),
    ("Int32FieldNotNumber", r#"{"optionalInt32": "3x3"}"#),
    ("Uint32FieldNotNumber", r#"{"optionalUint32": "3x3"}"#),
    ("Int64FieldNotNumber", r#"{"optionalInt64": "3x3"}"#),
    ("Uint64FieldNotNumber", r#"{"optionalUint64": "3x3"}"#),
    ("Int32FieldPlusSign", r#"{"optionalInt32": +1}"#),
    ("Int32FieldLeadingZero", r#"{"optionalInt32": 01}"#),
    ("Int32FieldNegativeWithLeadingZero", r#"{"optionalInt32": -01}"#),
    ("Int32FieldLeadingSpace", r#"{"optionalInt32": " 1"}"#),
    ("Int32FieldTrailingSpace", r#"{"optionalInt32": "1 "}"#),
    ("BoolFieldIntegerZero", r#"{"optionalBool":0}"#),
    ("BoolFieldIntegerOne", r#"{"optionalBool":1}"#),
    ("BoolFieldCamelCaseTrue", r#"{"optionalBool":True}"#),
    ("BoolFieldCamelCaseFalse", r#"{"optionalBool":False}"#),
    ("BoolFieldAllCapitalTrue", r#"{"optionalBool":TRUE}"#),
    ("BoolFieldAllCapitalFalse", r#"{"optionalBool":FALSE}"#),
    ("BoolFieldDoubleQuotedTrue", r#"{"optionalBool":"true"}"#),
    ("BoolFieldDoubleQuotedFalse", r#"{"optionalBool":"false"}"#),
    ("FloatFieldNanNotQuoted", r#"{"optionalFloat": NaN}"#),
    ("FloatFieldInfinityNotQuoted", r#"{"optionalFloat": Infinity}"#),
    ("FloatFieldNegativeInfinityNotQuoted", r#"{"optionalFloat": -Infinity}"#),
    ("FloatFieldTooSmall", r#"{"optionalFloat": -3.502823e+38}"#),
    ("FloatFieldTooLarge", r#"{"optionalFloat": 3.502823e+38}"#),
    ("DoubleFieldNanNotQuoted", r#"{"optionalDouble": NaN}"#),
    ("DoubleFieldInfinityNotQuoted", r#"{"optionalDouble": Infinity}"#),
    ("DoubleFieldNegativeInfinityNotQuoted", r#"{"optionalDouble": -Infinity}"#),
    ("DoubleFieldTooSmall", r#"{"optionalDouble": -1.89769e+308}"#),
    ("DoubleFieldTooLarge", r#"{"optionalDouble": +1.89769e+308}"#),
    ("EnumFieldNotQuoted", r#"{"optionalNestedEnum": FOO}"#),
    ("StringFieldUppercaseEscapeLetter", r#"{"optionalString": "\U8C37\U6b4C"}"#),
    ("StringFieldInvalidEscape", r#"{"optionalString": "\uXXXX\u6B4C"}"#),
    ("StringFieldUnterminatedEscape", r#"{"optionalString": "\u8C3"}"#),
    ("StringFieldUnpairedHighSurrogate", r#"{"optionalString": "\uD800"}"#),
    ("StringFieldUnpairedLowSurrogate", r#"{"optionalString": "\uDC00"}"#),
    ("StringFieldSurrogateInWrongOrder", r#"{"optionalString": "\uDE01\uD83D"}"#),
    ("StringFieldNotAString", r#"{"optionalString": 12345}"#),
    ("OneofFieldDuplicate", r#"{"oneofUint32": 1, "oneofString": "test"}"#),
    ("Int32MapFieldKeyNotQuoted", r#"{"mapInt32Int32": {1: 2, 3: 4}}"#),
    ("Uint32MapFieldKeyNotQuoted", r#"{"mapUint32Uint32": {1: 2, 3: 4}}"#),
    ("Int64MapFieldKeyNotQuoted", r#"{"mapInt64Int64": {1: 2, 3: 4}}"#),
    ("Uint64MapFieldKeyNotQuoted", r#"{"mapUint64Uint64": {1: 2, 3: 4}}"#),
    ("BoolMapFieldKeyNotQuoted", r#"{"mapBoolBool": {true: true, false: false}}"#),
    ("StringFieldSingleQuoteKey", r#"{'optionalString': "Hello world!"}"#),
    ("StringFieldSingleQuoteValue", r#"{"optionalString": 'Hello world!'}"#),
    ("StringFieldSingleQuoteBoth", r"{'optionalString': 'Hello world!'}"),
    (
        "RepeatedFieldWrongElementTypeExpectingIntegersGotBool",
        r#"{"repeatedInt32": [1, false, 3, 4]}"#,
    ),
    (
        "RepeatedFieldWrongElementTypeExpectingIntegersGotString",
        r#"{"repeatedInt32": [1, 2, "name", 4]}"#,
    ),
    (
        "RepeatedFieldWrongElementTypeExpectingIntegersGotMessage",
        r#"{"repeatedInt32": [1, 2, 3, {"a": 4}]}"#,
    ),
    (
        "RepeatedFieldWrongElementTypeExpectingStringsGotInt",
        r#"{"repeatedString": ["1", 2, "3", "4"]}"#,
    ),
    (
        "RepeatedFieldWrongElementTypeExpectingStringsGotBool",
        r#"{"repeatedString": ["1", "2", false, "4"]}"#,
    ),
    (
        "RepeatedFieldWrongElementTypeExpectingStringsGotMessage",
        r#"{"repeatedString": ["1", 2, "3", {"a": 4}]}"#,
    ),
    (
        "RepeatedFieldWrongElementTypeExpectingMessagesGotInt",
        r#"{"repeatedNestedMessage": [{"a": 1}, 2]}"#,
    ),
    (
        "RepeatedFieldWrongElementTypeExpectingMessagesGotBool",
        r#"{"repeatedNestedMessage": [{"a": 1}, false]}"#,
    ),
    (
        "RepeatedFieldWrongElementTypeExpectingMessagesGotString",
        r#"{"repeatedNestedMessage": [{"a": 1}, "2"]}"#,
    ),
    ("RepeatedFieldTrailingComma", r#"{"repeatedInt32": [1, 2, 3, 4,]}"#),
    ("RepeatedFieldTrailingCommaWithSpace", r#"{"repeatedInt32": [1, 2, 3, 4 ,]}"#),
    ("RepeatedFieldTrailingCommaWithSpaceCommaSpace", r#"{"repeatedInt32": [1, 2, 3, 4 , ]}"#),
    ("RepeatedFieldTrailingCommaWithNewlines", "{\"repeatedInt32\": [\n  1,\n  2,\n  3,\n  4,\n]}"),
    ("RepeatedFieldPrimitiveElementIsNull", r#"{"repeatedInt32": [1, null, 2]}"#),
    ("RepeatedFieldMessageElementIsNull", r#"{"repeatedNestedMessage": [{"a":1}, null, {"a":2}]}"#),
    ("MapFieldKeyIsNull", r#"{"mapInt32Int32": {null: 1}}"#),
    ("MapFieldValueIsNull", r#"{"mapInt32Int32": {"0": null}}"#),
    ("DurationMissingS", r#"{"optionalDuration": "1"}"#),
    ("DurationJsonInputTooSmall", r#"{"optionalDuration": "-315576000001.000000000s"}"#),
    ("DurationJsonInputTooLarge", r#"{"optionalDuration": "315576000001.000000000s"}"#),
    ("TimestampJsonInputTooSmall", r#"{"optionalTimestamp": "0000-01-01T00:00:00Z"}"#),
    ("TimestampJsonInputTooLarge", r#"{"optionalTimestamp": "10000-01-01T00:00:00Z"}"#),
    ("TimestampJsonInputMissingZ", r#"{"optionalTimestamp": "0001-01-01T00:00:00"}"#),
    ("TimestampJsonInputMissingT", r#"{"optionalTimestamp": "0001-01-01 00:00:00Z"}"#),
    ("TimestampJsonInputLowercaseZ", r#"{"optionalTimestamp": "0001-01-01T00:00:00z"}"#),
    ("TimestampJsonInputLowercaseT", r#"{"optionalTimestamp": "0001-01-01t00:00:00Z"}"#),
    ("FieldMaskInvalidCharacter", r#"{"optionalFieldMask": "foo,bar_bar"}"#),
    ("RejectUnknownEnumStringValueInOptionalField", r#"{"optionalNestedEnum": "UNKNOWN"}"#),
    ("RejectUnknownEnumStringValueInRepeatedField", r#"{"repeatedNestedEnum": ["UNKNOWN"]}"#),
    ("RejectUnknownEnumStringValueInMapValue", r#"{"mapStringNestedEnum": {"key": "UNKNOWN"}}"#),
    ("RejectTopLevelNull", "null"),
];

#[test]
fn cases_are_refused() {
    for (name, json) in REFUSED {
        let message = read(json, Settings::default());
        assert!(message.is_err(), "{name}: {}", message.unwrap());
    }
}

#[test]
fn unknown_names_are_skipped_where_they_may_be() {
    let settings = Settings { ignore_unknown: true, ..Settings::default() };
    for (name, json) in [
        ("IgnoreUnknownJsonNumber", r#"{"unknown": 1}"#),
        ("IgnoreUnknownJsonString", r#"{"unknown": "a"}"#),
        ("IgnoreUnknownJsonTrue", r#"{"unknown": true}"#),
        ("IgnoreUnknownJsonFalse", r#"{"unknown": false}"#),
        ("IgnoreUnknownJsonNull", r#"{"unknown": null}"#),
        ("IgnoreUnknownJsonObject", r#"{"unknown": {"a": 1}}"#),
        ("IgnoreUnknownEnumStringValueInOptionalField", r#"{"optionalNestedEnum": "UNKNOWN"}"#),
        ("IgnoreUnknownEnumStringValueInRepeatedField", r#"{"repeatedNestedEnum": ["UNKNOWN"]}"#),
        (
            "IgnoreUnknownEnumStringValueInMapValue",
            r#"{"mapStringNestedEnum": {"key": "UNKNOWN"}}"#,
        ),
    ] {
        let message = read(json, settings).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(message.encode_to_vec().is_empty(), "{name}: {message}");
    }
}

/// Cases that say how a message is written: name, JSON that makes it, the member and its value.
#[test]
fn messages_are_written_as_the_cases_say() {
    for (name, json, member, expected) in [
        ("FieldNameInLowerCamelCase", r#"{"fieldname1": 1}"#, "fieldname1", "1"),
        ("FieldNameInLowerCamelCase", r#"{"field_name2": 2}"#, "fieldName2", "2"),
        ("FieldNameInLowerCamelCase", r#"{"_field_name3": 3}"#, "FieldName3", "3"),
        ("FieldNameInLowerCamelCase", r#"{"field__name4_": 4}"#, "fieldName4", "4"),
        ("FieldNameWithNumbers", r#"{"field0name5": 5}"#, "field0name5", "5"),
        ("FieldNameWithNumbers", r#"{"field_0_name6": 6}"#, "field0Name6", "6"),
        ("FieldNameWithMixedCases", r#"{"fieldName7": 7}"#, "fieldName7", "7"),
        ("FieldNameWithMixedCases", r#"{"FieldName8": 8}"#, "FieldName8", "8"),
        ("FieldNameWithMixedCases", r#"{"field_Name9": 9}"#, "fieldName9", "9"),
        ("FieldNameWithMixedCases", r#"{"Field_Name10": 10}"#, "FieldName10", "10"),
        ("FieldNameWithMixedCases", r#"{"FIELD_NAME11": 11}"#, "FIELDNAME11", "11"),
        ("FieldNameWithMixedCases", r#"{"FIELD_name12": 12}"#, "FIELDName12", "12"),
        ("FieldNameWithDoubleUnderscores", r#"{"__field_name13": 13}"#, "FieldName13", "13"),
        ("FieldNameWithDoubleUnderscores", r#"{"__Field_name14": 14}"#, "FieldName14", "14"),
        ("FieldNameWithDoubleUnderscores", r#"{"field__name15": 15}"#, "fieldName15", "15"),
        ("FieldNameWithDoubleUnderscores", r#"{"field__Name16": 16}"#, "fieldName16", "16"),
        ("FieldNameWithDoubleUnderscores", r#"{"field_name17__": 17}"#, "fieldName17", "17"),
        ("FieldNameWithDoubleUnderscores", r#"{"Field_name18__": 18}"#, "FieldName18", "18"),
        ("SkipsDefaultPrimitive", r#"{"FieldName13": 0}"#, "FieldName13", ""),
        ("Int64FieldBeString", r#"{"optionalInt64": 1}"#, "optionalInt64", "\"1\""),
        ("Uint64FieldBeString", r#"{"optionalUint64": 1}"#, "optionalUint64", "\"1\""),
        ("EnumFieldUnknownValue", r#"{"optionalNestedEnum": 123}"#, "optionalNestedEnum", "123"),
        (
            "DurationHasZeroFractionalDigit",
            r#"{"optionalDuration": "1.000000000s"}"#,
            "optionalDuration",
            "\"1s\"",
        ),
        (
            "DurationHas3FractionalDigits",
            r#"{"optionalDuration": "1.010000000s"}"#,
            "optionalDuration",
            "\"1.010s\"",
        ),
        (
            "DurationHas6FractionalDigits",
            r#"{"optionalDuration": "1.000010000s"}"#,
            "optionalDuration",
            "\"1.000010s\"",
        ),
        (
            "DurationHas9FractionalDigits",
            r#"{"optionalDuration": "1.000000010s"}"#,
            "optionalDuration",
            "\"1.000000010s\"",
        ),
        (
            "TimestampZeroNormalized",
            r#"{"optionalTimestamp": "1969-12-31T16:00:00-08:00"}"#,
            "optionalTimestamp",
            "\"1970-01-01T00:00:00Z\"",
        ),
        (
            "TimestampHasZeroFractionalDigit",
            r#"{"optionalTimestamp": "1970-01-01T00:00:00.000000000Z"}"#,
            "optionalTimestamp",
            "\"1970-01-01T00:00:00Z\"",
        ),
        (
            "TimestampHas3FractionalDigits",
            r#"{"optionalTimestamp": "1970-01-01T00:00:00.010000000Z"}"#,
            "optionalTimestamp",
            "\"1970-01-01T00:00:00.010Z\"",
        ),
        (
            "TimestampHas6FractionalDigits",
            r#"{"optionalTimestamp": "1970-01-01T00:00:00.000010000Z"}"#,
            "optionalTimestamp",
            "\"1970-01-01T00:00:00.000010Z\"",
        ),
        (
            "TimestampHas9FractionalDigits",
            r#"{"optionalTimestamp": "1970-01-01T00:00:00.000000010Z"}"#,
            "optionalTimestamp",
            "\"1970-01-01T00:00:00.000000010Z\"",
        ),
        (
            "NullValueInOtherOneofOldFormat",
            r#"{"oneofNullValue": "NULL_VALUE"}"#,
            "oneofNullValue",
            "null",
        ),
        ("NullValueInOtherOneofNewFormat", r#"{"oneofNullValue": null}"#, "oneofNullValue", "null"),
        ("NullValueInNormalMessage", r#"{"optionalNullValue": null}"#, "optionalNullValue", ""),
    ] {
        let message =
            read(json, Settings::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let shown: Value = serde_json::from_str(&written(&message).unwrap()).unwrap();
        let value = shown.get(member).map(ToString::to_string).unwrap_or_default();
        assert_eq!(value, expected, "{name}");
    }
}

#[test]
fn what_cannot_be_written_is_not() {
    for (name, text) in [
        ("DurationProtoInputTooSmall", "optional_duration: {seconds: -315576000001}"),
        ("DurationProtoInputTooLarge", "optional_duration: {seconds: 315576000001}"),
        ("TimestampProtoInputTooSmall", "optional_timestamp: {seconds: -62135596801}"),
        ("TimestampProtoInputTooLarge", "optional_timestamp: {seconds: 253402300800}"),
        ("FieldMaskPathsDontRoundTrip", r#"optional_field_mask: {paths: "fooBar"}"#),
        ("FieldMaskNumbersDontRoundTrip", r#"optional_field_mask: {paths: "foo_3_bar"}"#),
        ("FieldMaskTooManyUnderscore", r#"optional_field_mask: {paths: "foo__bar"}"#),
        ("ValueRejectNanNumberValue", "optional_value: {number_value: nan}"),
        ("ValueRejectInfNumberValue", "optional_value: {number_value: inf}"),
    ] {
        assert!(written(&of_text(text)).is_err(), "{name}");
    }
}

/// `FloatFieldNormalizeQuietNan` and its kin: every NaN is written alike.
#[test]
fn every_nan_is_the_same() {
    for bits in [0x7fa1_2345_u32, 0xffb5_4321] {
        let wire = [&[0x5d], bits.to_le_bytes().as_slice()].concat();
        let message = DynamicMessage::decode(descriptor(), &*wire).unwrap();
        assert_eq!(written(&message).unwrap(), r#"{"optionalFloat":"NaN"}"#);
    }
    for bits in [0x7ffa_1234_5678_9abc_u64, 0xfffb_cba9_8765_4321] {
        let wire = [&[0x61], bits.to_le_bytes().as_slice()].concat();
        let message = DynamicMessage::decode(descriptor(), &*wire).unwrap();
        assert_eq!(written(&message).unwrap(), r#"{"optionalDouble":"NaN"}"#);
    }
}
