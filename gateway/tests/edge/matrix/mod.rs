//! Every corner of the edge, called in every encoding that it has.
//!
//! The tables beside this file are the matrix: read them for what the edge does. [`row`] says how they
//! are written; [`rest`] and [`grpc`] are the encodings; [`service`] says again what it hears.

mod grpc;
mod raw;
mod rest;
mod row;
mod service;

use std::fs;

use bytes::Bytes;
use gateway::Config;
use prost_reflect::{DescriptorPool, DynamicMessage};
use reqwest::Client;
use tempfile::TempDir;

use crate::alone::Alone;
use row::{Calls, Row, canonical};
use service::Corners;

/// Names every request, so that problems are known to the byte.
const CORRELATION_ID: &str = "row";

/// A gateway in front of the service.
struct World {
    corners: Corners,
    alone: Alone,
    http1: Client,
    http2: Client,
    pool: DescriptorPool,
    _folder: TempDir,
}

impl World {
    async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let (corners, address) = Corners::start().await;
        let descriptors = service::descriptors();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("corners.binpb");
        fs::write(&file, &descriptors).unwrap();
        let upstreams = [("corners", format!("http://{address}"))];
        let alone = Alone::start_with(&upstreams, |config| {
            config.contracts.descriptors = Some(file);
            config.compression.bytes_min = 1;
            configure(config);
        });
        let alone = alone.await;
        let http1 = Client::builder().no_proxy().http1_only().build().unwrap();
        let http2 = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
        let pool = DescriptorPool::decode(descriptors.as_slice()).unwrap();
        Self { corners, alone, http1, http2, pool, _folder: folder }
    }

    /// Proves every row of a table in every encoding.
    async fn prove(&self, table: &str) {
        let mut wrong = Vec::new();
        let rows = Row::read(table, &self.pool);
        assert!(!rows.is_empty());
        for row in &rows {
            let mut proofs = rest::proofs(self, row).await;
            if let Some(calls) = &row.calls {
                proofs.extend(grpc::proofs(self, calls).await);
            }
            // One form tells enough of what is wrong with a row.
            let failed = proofs.into_iter().find_map(Result::err);
            wrong.extend(failed.map(|fault| format!("{}, {fault}", row.title)));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }

    /// Whether the service heard the calls, and nothing else; it forgets them.
    fn check_heard(&self, calls: Option<&Calls>) -> Result<(), String> {
        let heard = self.corners.heard().into_iter();
        let heard = heard.map(|(name, bytes)| (self.message(&name, bytes), name));
        let heard: Vec<_> = heard.collect();
        let found = heard.iter().map(|(message, name)| (name.as_str(), canonical(message)));
        let expected = calls.into_iter().flat_map(|calls| {
            calls.messages.iter().map(|message| (calls.method.name(), message.clone()))
        });
        if found.eq(expected) {
            return Ok(());
        }
        let shown =
            heard.iter().map(|(message, name)| format!("{name} {}", message.to_text_format()));
        Err(format!("the service heard {:#?}", shown.collect::<Vec<_>>()))
    }

    /// A message that the service heard by a method.
    fn message(&self, method: &str, bytes: Bytes) -> DynamicMessage {
        let service = self.pool.get_service_by_name("corners.v1.Corners").unwrap();
        let method = service.methods().find(|known| known.name() == method).unwrap();
        DynamicMessage::decode(method.input(), bytes).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths() {
    World::start(|_| {}).await.prove(include_str!("paths.txt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries() {
    World::start(|_| {}).await.prove(include_str!("queries.txt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies() {
    World::start(|_| {}).await.prove(include_str!("bodies.txt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values() {
    World::start(|_| {}).await.prove(include_str!("values.txt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers() {
    World::start(|_| {}).await.prove(include_str!("answers.txt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams() {
    World::start(|_| {}).await.prove(include_str!("streams.txt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_is_skipped_where_a_setting_says_so() {
    let relaxed = |config: &mut Config| {
        config.json.ignore_unknown = true;
        config.json.merge_duplicates = true;
    };
    World::start(relaxed).await.prove(include_str!("relaxed.txt")).await;
}
