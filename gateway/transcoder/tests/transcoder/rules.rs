//! The quick look at rules says of no message that it is valid which the complete validator refuses.

use prost::Message;
use prost_protovalidate::{Error, Validator};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use transcoder::{InputError, Schema, Settings};

use crate::corner::{Options, compile};
use crate::schemas::{self, Seed};

/// What both say of a message: the fields that are refused.
fn agree(schema: &Schema, validator: &Validator, descriptor: &MessageDescriptor, wire: &[u8]) {
    let message = DynamicMessage::decode(descriptor.clone(), wire).unwrap();
    let plan = schema.message(descriptor.full_name()).unwrap();
    let theirs: Vec<_> = match validator.validate(&message) {
        Ok(()) => Vec::new(),
        Err(Error::Validation(broken)) => {
            broken.violations().iter().map(|one| one.rule_id().to_owned()).collect()
        }
        Err(error) => panic!("{error}"),
    };
    let ours: Vec<_> = match plan.check(wire) {
        Ok(()) => Vec::new(),
        Err(InputError::Fields(errors)) => errors.into_iter().map(|error| error.rule).collect(),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(ours, theirs, "{message}");
}

#[test]
fn random_messages_of_the_contracts_are_judged_as_the_validator_does() {
    let (pool, validator) = (contracts::pool(), Validator::new());
    let schema = Schema::new(pool, &Options, Settings::default());
    let mut seed = Seed(7);
    for descriptor in pool.all_messages() {
        if !descriptor.full_name().starts_with("malha.") || descriptor.is_map_entry() {
            continue;
        }
        for _ in 0..20 {
            let message = schemas::message(&descriptor, &mut seed, &|_| false, 0);
            agree(&schema, &validator, &descriptor, &message.encode_to_vec());
        }
        agree(&schema, &validator, &descriptor, &[]);
    }
}

/// Every rule that is known, at its bounds.
#[test]
fn rules_are_kept_to_the_letter() {
    let (pool, validator) = (compile("rules.proto"), Validator::new());
    let schema = Schema::new(&pool, &(), Settings::default());
    let ruled = pool.get_message_by_name("malha.rules.v1.Ruled").unwrap();
    let plan = schema.message("malha.rules.v1.Ruled").unwrap();
    let valid = r#""need":"x","items":["a"]"#;
    for (member, broken) in [
        ("", &[][..]),
        (r#","uuid":"0199c0de-0000-7000-8000-000000000001""#, &[]),
        (r#","uuid":"0199c0de-0000-7000-8000-00000000000g""#, &["string.uuid"]),
        (r#","uuid":"0199c0de00007000800000000000000000001""#, &["string.uuid"]),
        (r#","email":"a@b.c""#, &[]),
        (r#","email":"no""#, &["string.email"]),
        (r#","sized":"áé""#, &[]),
        (r#","sized":"áéíóú""#, &["string.max_len"]),
        (r#","sized":"á""#, &["string.min_len"]),
        (r#","sized":"""#, &[]),
        (r#","pattern":"abc""#, &[]),
        (r#","pattern":"ABC""#, &["string.pattern"]),
        (r#","among":"a""#, &[]),
        (r#","among":"c""#, &["string.in"]),
        (r#","number":1"#, &[]),
        (r#","number":10"#, &[]),
        (r#","number":11"#, &["int32.gte_lte"]),
        (r#","number":-1"#, &["int32.gte_lte"]),
        (r#","above":"1""#, &[]),
        (r#","above":"-5""#, &["int64.gt"]),
        (r#","zigzag":-3"#, &[]),
        (r#","zigzag":-4"#, &["sint32.gt"]),
        (r#","real":0.5"#, &[]),
        (r#","real":1.5"#, &["double.lt"]),
        (r#","real":"NaN""#, &["double.lt"]),
        (r#","colour":"RED""#, &[]),
        (r#","colour":7"#, &["enum.defined_only"]),
        (r#","raw":"AAE=""#, &[]),
        (r#","raw":"AAECAwQ=""#, &["bytes.max_len"]),
        (r#","pairs":{"a":1,"b":2}"#, &[]),
        (r#","pairs":{"a":1,"b":2,"c":3}"#, &["map.max_pairs"]),
        (r#","pairs":{"":1}"#, &["string.min_len"]),
        (r#","took":"5s""#, &[]),
        (r#","took":"61s""#, &["duration.lte"]),
        (r#","below":{"need":"x","items":["a"]}"#, &[]),
        (r#","below":{"need":"","items":["a"]}"#, &["required"]),
        (r#","list":[{"need":"x","items":["a"]}]"#, &[]),
        (r#","list":[{"need":"x"}]"#, &["repeated.min_items"]),
        (r#","ignored":{}"#, &[]),
        (r#","unique":[1,2]"#, &[]),
        (r#","unique":[1,1]"#, &["repeated.unique"]),
        (r#","truth":true"#, &[]),
        (r#","outside":5"#, &["int32.gt_lt_exclusive"]),
        (r#","outside":50"#, &[]),
    ] {
        let json = format!("{{{valid}{member}}}");
        let mut wire = Vec::new();
        plan.encode(json.as_bytes(), &mut wire).unwrap_or_else(|error| panic!("{json}: {error:?}"));
        agree(&schema, &validator, &ruled, &wire);
        let found: Vec<_> = match plan.check(&wire) {
            Ok(()) => Vec::new(),
            Err(InputError::Fields(errors)) => errors.into_iter().map(|error| error.rule).collect(),
            Err(error) => panic!("{json}: {error:?}"),
        };
        assert_eq!(found, broken, "{json}");
    }
    for (json, broken) in [
        (r#"{"items":["a"]}"#, "required"),
        (r#"{"need":"x"}"#, "repeated.min_items"),
        (r#"{"need":"x","items":["a","b","c","d"]}"#, "repeated.max_items"),
        (r#"{"need":"x","items":[""]}"#, "string.min_len"),
    ] {
        let mut wire = Vec::new();
        plan.encode(json.as_bytes(), &mut wire).unwrap();
        let Err(InputError::Fields(errors)) = plan.check(&wire) else { panic!("{json}") };
        assert_eq!(errors[0].rule, broken, "{json}");
    }
}

/// Wire bytes that other senders may make: pieces, repeats, runs packed and unpacked.
#[test]
fn rules_hold_for_whatever_comes_on_the_wire() {
    let (pool, validator) = (compile("rules.proto"), Validator::new());
    let schema = Schema::new(&pool, &(), Settings::default());
    let ruled = pool.get_message_by_name("malha.rules.v1.Ruled").unwrap();
    let valid = [0x0a, 1, b'x', 0x12, 1, b'a'];
    for more in [
        &[][..],
        &[0x0a, 0],
        &[0x0a, 1, b'y'],
        &[0x12, 1, b'b', 0x12, 1, b'c', 0x12, 1, b'd'],
        // Pieces that only make a valid message together.
        &[0x92, 1, 3, 0x0a, 1, b'x', 0x92, 1, 3, 0x12, 1, b'a'],
        // The same key twice.
        &[
            0x7a, 5, 0x0a, 1, b'a', 0x10, 1, 0x7a, 5, 0x0a, 1, b'a', 0x10, 2, 0x7a, 5, 0x0a, 1,
            b'a', 0x10, 3,
        ],
        // A zero that is written out.
        &[0x38, 0],
        // Field 50 is unknown.
        &[0x90, 3, 1],
    ] {
        agree(&schema, &validator, &ruled, &[&valid, more].concat());
        agree(&schema, &validator, &ruled, &[more, &valid].concat());
    }
    assert!(schema.message("malha.rules.v1.Ruled").unwrap().check(b"\xff").is_err());
}

/// Rules that a contract writes in CEL are left to the complete validator.
#[test]
fn rules_in_cel_are_kept() {
    let (pool, validator) = (compile("rules.proto"), Validator::new());
    let schema = Schema::new(&pool, &(), Settings::default());
    let range = pool.get_message_by_name("malha.rules.v1.Range").unwrap();
    let plan = schema.message("malha.rules.v1.Range").unwrap();
    for (json, broken) in [
        (r#"{"low":1,"high":4}"#, &[][..]),
        ("{}", &[]),
        (r#"{"low":5,"high":4}"#, &[("", "range.order", "must keep the rule range.order")]),
        (r#"{"low":1,"high":3}"#, &[("high", "range.even", "must be even")]),
    ] {
        let mut wire = Vec::new();
        plan.encode(json.as_bytes(), &mut wire).unwrap();
        agree(&schema, &validator, &range, &wire);
        let found = match plan.check(&wire) {
            Ok(()) => Vec::new(),
            Err(InputError::Fields(errors)) => errors,
            Err(error) => panic!("{json}: {error:?}"),
        };
        let found: Vec<_> =
            found.iter().map(|one| (&*one.field, &*one.rule, &*one.description)).collect();
        assert_eq!(found, broken, "{json}");
    }
}
