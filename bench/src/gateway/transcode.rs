//! How long an order of ten fields takes from JSON to the wire and back, without any network.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use transcoder::{Schema, Settings};

use super::material::{CONTRACT, order};
use crate::report::Row;

const PEER: &str = "prost-reflect with serde_json";

/// Calls between two looks at the clock.
const BATCH: u32 = 5_000;

/// Nanoseconds of one message each way.
struct Figures {
    json_to_wire: f64,
    wire_to_json: f64,
}

/// Measures both ways, beside messages that are made of descriptors as well.
pub(super) fn run() -> Result<Vec<Row>> {
    let pool = DescriptorPool::decode(CONTRACT)?;
    let descriptor = pool.get_message_by_name("shop.v1.Order").context("no orders")?;
    let wire = order("0198c0de-7000-7000-8000-000000000001".to_owned()).encode_to_vec();
    let schema = Schema::new(&pool, &(), Settings::default());
    let plan = schema.message(descriptor.full_name()).context("no plan")?;
    let mut json = Vec::new();
    plan.decode(&wire, &mut json)?;
    let mut again = Vec::new();
    plan.encode(&json, &mut again)?;
    ensure!(again == wire, "the order did not come back the same");

    let (sent, text) = (wire.clone(), json.clone());
    let ours = Figures {
        json_to_wire: nanoseconds(|| {
            again.clear();
            let _ = black_box(plan.encode(black_box(&text), &mut again));
        }),
        wire_to_json: nanoseconds(|| {
            json.clear();
            let _ = black_box(plan.decode(black_box(&sent), &mut json));
        }),
    };
    let peer = dynamic(&descriptor, &wire, &text);
    let row = |metric, ours, peer| Row::alone("gateway", metric, ours, "ns").beside(PEER, peer);
    Ok(vec![
        row("json_to_wire_ns", ours.json_to_wire, peer.json_to_wire),
        row("wire_to_json_ns", ours.wire_to_json, peer.wire_to_json),
    ])
}

fn dynamic(descriptor: &MessageDescriptor, wire: &[u8], json: &[u8]) -> Figures {
    Figures {
        json_to_wire: nanoseconds(|| {
            let mut json = serde_json::Deserializer::from_slice(black_box(json));
            let message = DynamicMessage::deserialize(descriptor.clone(), &mut json);
            black_box(message.map(|message| message.encode_to_vec()).unwrap_or_default());
        }),
        wire_to_json: nanoseconds(|| {
            let message = DynamicMessage::decode(descriptor.clone(), black_box(wire));
            black_box(message.ok().and_then(|message| serde_json::to_vec(&message).ok()));
        }),
    }
}

/// Nanoseconds of one call, as the median of many batches.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let mut batch = || {
        let start = Instant::now();
        (0..BATCH).for_each(|_| call());
        start.elapsed() / BATCH
    };
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        batch();
    }
    let mut times: Vec<_> = (0..101).map(|_| batch()).collect();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e9
}
