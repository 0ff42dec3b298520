//! Random messages of random schemas: our JSON is prost-reflect's, both ways.

use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::Value;
use transcoder::{Schema, Settings};

use crate::schemas::{self, Seed};

/// Whether two documents mean the same: `5` and `5.0` do. `serde_json` reads the last digit of
/// a float as it likes.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (Some(x), Some(y)) = (a.as_f64(), b.as_f64()) else { return a == b };
            a == b || (x - y).abs() <= (x.abs() * 1e-15).max(f64::MIN_POSITIVE)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Our JSON of a message means what prost-reflect's means, and each reads what the other wrote.
fn agree(schema: &Schema, message: &DynamicMessage, seed: u64) {
    let descriptor = prost_reflect::ReflectMessage::descriptor(message);
    let plan = schema.message(descriptor.full_name()).unwrap();
    let wire = message.encode_to_vec();
    let decoded = DynamicMessage::decode(descriptor.clone(), &*wire).unwrap();

    let theirs = serde_json::to_string(&decoded).unwrap();
    let mut ours = Vec::new();
    plan.decode(&wire, &mut ours).unwrap_or_else(|error| panic!("{error}: {theirs} (seed {seed})"));
    let ours = String::from_utf8(ours).unwrap();
    let (our_value, their_value): (Value, Value) =
        (serde_json::from_str(&ours).unwrap(), serde_json::from_str(&theirs).unwrap());
    assert!(alike(&our_value, &their_value), "{ours}\n{theirs}\nseed {seed}");

    for json in [&ours, &theirs] {
        let mut read = Vec::new();
        plan.encode(json.as_bytes(), &mut read)
            .unwrap_or_else(|error| panic!("{error:?}: {json} (seed {seed})"));
        let read = DynamicMessage::decode(descriptor.clone(), &*read).unwrap();
        assert!(same(&read, &decoded), "{json}\n{read}\n{decoded}\nseed {seed}");
    }
    let mut deserializer = serde_json::Deserializer::from_str(&ours);
    let read = DynamicMessage::deserialize(descriptor, &mut deserializer).unwrap();
    assert!(alike(&in_json(&read), &in_json(&decoded)), "{ours}\n{read}\n{decoded}\nseed {seed}");
}

/// Whether two messages are the same but for the order of entries inside of an `Any`.
fn same(a: &DynamicMessage, b: &DynamicMessage) -> bool {
    a == b || in_json(a) == in_json(b)
}

fn in_json(message: &DynamicMessage) -> Value {
    serde_json::to_value(message).unwrap()
}

#[test]
fn our_json_is_prost_reflects_both_ways() {
    for seed in 0..400 {
        let mut random = Seed(seed);
        let pool = schemas::schema(&mut random);
        let schema = Schema::new(&pool, &(), Settings::default());
        let descriptor = pool.get_message_by_name("random.M0").unwrap();
        for _ in 0..8 {
            let message = schemas::message(&descriptor, &mut random, &|_| false, 0);
            agree(&schema, &message, seed);
        }
    }
}

/// The same message with its fields shuffled, some of them cut in pieces, is the same JSON.
#[test]
fn the_order_of_fields_does_not_matter() {
    for seed in 0..200 {
        let mut random = Seed(seed);
        let pool = schemas::schema(&mut random);
        let schema = Schema::new(&pool, &(), Settings::default());
        let descriptor = pool.get_message_by_name("random.M0").unwrap();
        let plan = schema.message("random.M0").unwrap();
        let message = schemas::message(&descriptor, &mut random, &|_| false, 0);

        let mut fields: Vec<(u32, Vec<u8>)> = Vec::new();
        for (field, value) in message.fields() {
            let mut one = DynamicMessage::new(descriptor.clone());
            one.set_field(&field, value.clone());
            fields.push((field.number(), one.encode_to_vec()));
        }
        let shown = |fields: &[(u32, Vec<u8>)]| {
            let wire: Vec<u8> = fields.iter().flat_map(|(_, wire)| wire.clone()).collect();
            let mut json = Vec::new();
            plan.decode(&wire, &mut json).unwrap();
            String::from_utf8(json).unwrap()
        };
        let ordered = shown(&fields);
        for _ in 0..4 {
            for at in (1..fields.len()).rev() {
                fields.swap(at, random.below(at + 1));
            }
            assert_eq!(shown(&fields), ordered, "seed {seed}");
        }
    }
}
