//! How long a message of ten fields takes from JSON to the wire and back, beside its peers.
//!
//! `cargo run --release -p transcoder --example transcode [-- --json]`

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde::{Deserialize, Serialize};
use transcoder::{Schema, Settings};

const BODY: &str = r#"{"id":"0199c0de-0000-7000-8000-000000000001","fromAccount":"0199c0de-0000-7000-8000-00000000000a","toAccount":"0199c0de-0000-7000-8000-00000000000b","amountMinor":"125000","currency":"BRL","status":"STATUS_PENDING","createdAt":"2026-01-31T12:00:00.250Z","instant":true,"attempt":3,"payer":{"name":"Ana Souza","document":"12345678909"}}"#;

/// The message as a generator makes it, with the JSON that it would have.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Transfer {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    from_account: String,
    #[prost(string, tag = "3")]
    to_account: String,
    #[prost(int64, tag = "4")]
    #[serde(with = "text")]
    amount_minor: i64,
    #[prost(string, tag = "5")]
    currency: String,
    #[prost(enumeration = "Status", tag = "6")]
    #[serde(with = "status")]
    status: i32,
    #[prost(message, optional, tag = "7")]
    #[serde(with = "timestamp")]
    created_at: Option<prost_types::Timestamp>,
    #[prost(bool, tag = "8")]
    instant: bool,
    #[prost(uint32, tag = "9")]
    attempt: u32,
    #[prost(message, optional, tag = "10")]
    payer: Option<Party>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Party {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    document: String,
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    prost::Enumeration,
    Serialize,
    Deserialize,
)]
enum Status {
    #[serde(rename = "STATUS_UNSPECIFIED")]
    Unspecified = 0,
    #[serde(rename = "STATUS_PENDING")]
    Pending = 1,
    #[serde(rename = "STATUS_COMPLETED")]
    Completed = 2,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        <&str>::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
mod status {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};

    use super::Status;

    pub(super) fn serialize<S: Serializer>(value: &i32, to: S) -> Result<S::Ok, S::Error> {
        Status::try_from(*value).map_err(S::Error::custom)?.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
        Status::deserialize(from).map(|status| status as i32)
    }
}

mod timestamp {
    use prost_types::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        <&str>::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
    }
}

/// The example's contract and those of Google.
struct Contracts;

impl FileResolver for Contracts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "transfer.proto" => File::from_source(name, include_str!("transfer.proto")),
            name => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn descriptor() -> Result<MessageDescriptor, Box<dyn Error>> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Contracts);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("transfer.proto")?;
    let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice())?;
    pool.get_message_by_name("malha.example.v1.Transfer").ok_or_else(|| "no message".into())
}

/// Nanoseconds of one call, as the median of many batches.
fn measure(mut call: impl FnMut()) -> f64 {
    const BATCH: u32 = 5_000;
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

struct Figures {
    json_to_wire_ns: f64,
    wire_to_json_ns: f64,
}

fn ours(descriptor: &MessageDescriptor) -> Result<Figures, Box<dyn Error>> {
    let schema = Schema::new(descriptor.parent_pool(), &(), Settings::default());
    let plan = schema.message(descriptor.full_name()).ok_or("no plan")?;
    let (mut wire, mut json) = (Vec::new(), Vec::new());
    plan.encode(BODY.as_bytes(), &mut wire)?;
    plan.decode(&wire, &mut json)?;
    if json != BODY.as_bytes() {
        return Err("the message did not come back the same".into());
    }
    let sent = wire.clone();
    Ok(Figures {
        json_to_wire_ns: measure(|| {
            wire.clear();
            let _ = black_box(plan.encode(black_box(BODY.as_bytes()), &mut wire));
        }),
        wire_to_json_ns: measure(|| {
            json.clear();
            let _ = black_box(plan.decode(black_box(&sent), &mut json));
        }),
    })
}

fn dynamic(descriptor: &MessageDescriptor, wire: &[u8]) -> Figures {
    Figures {
        json_to_wire_ns: measure(|| {
            let mut json = serde_json::Deserializer::from_str(black_box(BODY));
            let message = DynamicMessage::deserialize(descriptor.clone(), &mut json);
            black_box(message.map(|message| message.encode_to_vec()).unwrap_or_default());
        }),
        wire_to_json_ns: measure(|| {
            let message = DynamicMessage::decode(descriptor.clone(), black_box(wire));
            black_box(message.ok().and_then(|message| serde_json::to_vec(&message).ok()));
        }),
    }
}

fn generated(wire: &[u8]) -> Figures {
    Figures {
        json_to_wire_ns: measure(|| {
            let message = serde_json::from_str::<Transfer>(black_box(BODY));
            black_box(message.map(|message| message.encode_to_vec()).unwrap_or_default());
        }),
        wire_to_json_ns: measure(|| {
            let message = Transfer::decode(black_box(wire));
            black_box(message.ok().and_then(|message| serde_json::to_vec(&message).ok()));
        }),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let descriptor = descriptor()?;
    let wire = serde_json::from_str::<Transfer>(BODY)?.encode_to_vec();
    let ours = ours(&descriptor)?;
    let peers = [
        ("prost-reflect and serde_json", dynamic(&descriptor, &wire)),
        ("prost and serde, generated", generated(&wire)),
    ];
    if std::env::args().any(|argument| argument == "--json") {
        let Figures { json_to_wire_ns, wire_to_json_ns } = ours;
        println!(
            "{}",
            serde_json::json!({
                "json_to_wire_ns": json_to_wire_ns.round(),
                "wire_to_json_ns": wire_to_json_ns.round(),
                "dynamic_json_to_wire_ns": peers[0].1.json_to_wire_ns.round(),
                "dynamic_wire_to_json_ns": peers[0].1.wire_to_json_ns.round(),
                "generated_json_to_wire_ns": peers[1].1.json_to_wire_ns.round(),
                "generated_wire_to_json_ns": peers[1].1.wire_to_json_ns.round(),
            })
        );
        return Ok(());
    }
    println!("{} bytes of JSON, {} on the wire", BODY.len(), wire.len());
    println!("{:<32}{:>16}{:>16}", "nanoseconds", "JSON to wire", "wire to JSON");
    let Figures { json_to_wire_ns, wire_to_json_ns } = &ours;
    println!("{:<32}{json_to_wire_ns:>16.0}{wire_to_json_ns:>16.0}", "transcoder");
    for (name, peer) in &peers {
        let times =
            (peer.json_to_wire_ns / json_to_wire_ns, peer.wire_to_json_ns / wire_to_json_ns);
        let shown = |ns: f64, times: f64| format!("{ns:.0} ({times:.1}x)");
        println!(
            "{name:<32}{:>16}{:>16}",
            shown(peer.json_to_wire_ns, times.0),
            shown(peer.wire_to_json_ns, times.1)
        );
    }
    Ok(())
}
