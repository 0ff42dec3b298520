//! Any bytes as a JSON body: what is read is a message, and comes back as the same one.

#![no_main]

use gateway_fuzz::{CORNER, everything};
use libfuzzer_sys::fuzz_target;
use prost_reflect::DynamicMessage;

fuzz_target!(|body: &[u8]| {
    let plan = everything();
    let mut wire = Vec::new();
    if plan.encode(body, &mut wire).is_err() {
        return;
    }
    assert!(serde_json::from_slice::<&serde_json::value::RawValue>(body).is_ok());
    let descriptor = CORNER.get_message_by_name("malha.corner.v1.Everything").expect("it is there");
    let message = DynamicMessage::decode(descriptor.clone(), &*wire).expect("this is a message");

    let mut json = Vec::new();
    if plan.decode(&wire, &mut json).is_err() {
        // Some masks that are read have no camel case to be written in.
        return;
    }
    let mut again = Vec::new();
    plan.encode(&json, &mut again).expect("what is written is read");
    let back = DynamicMessage::decode(descriptor, &*again).expect("this is a message");
    let text = |message: &DynamicMessage| serde_json::to_value(message).ok();
    assert_eq!(text(&back), text(&message));
});
