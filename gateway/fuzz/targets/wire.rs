//! Any bytes as a message: what is written is JSON, and is read again.

#![no_main]

use gateway_fuzz::everything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|wire: &[u8]| {
    let plan = everything();
    // Its rules are looked at whatever it is.
    let _ = plan.check(wire);
    let mut json = Vec::new();
    if plan.decode(wire, &mut json).is_err() {
        return;
    }
    let document: serde_json::Value = serde_json::from_slice(&json).expect("this is JSON");
    assert!(document.is_object());
    let mut again = Vec::new();
    match plan.encode(&json, &mut again) {
        Ok(()) => {}
        // JSON is read less deep than messages are.
        Err(error) => assert!(error.to_string().ends_with("nests too deep"), "{error}"),
    }
});
