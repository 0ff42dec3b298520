//! The edge as a product of its own: `malha gateway` beside Envoy, before the same service.
//!
//! Both hold one core (or two), speak plain HTTP to clients and HTTP/2 over mTLS to the service,
//! verify an RS256 token, count against a rate limit and turn JSON into protobuf and back. They are
//! measured in turn, and the middle one of three rounds counts.

mod backend;
mod envoy;
mod idle;
mod load;
mod malha;
mod material;
mod peer;
mod transcode;

use std::path::Path;

use anyhow::Result;

use crate::measure;
use crate::report::Row;
use load::{Measured, Requests};
use material::Material;
use peer::{Gateway, ONE, TWO};

pub(crate) use backend::serve as serve_backend;

const PEER: &str = "Envoy with token cache";

/// Turns of each gateway for each kind of load.
const ROUNDS: usize = 3;

/// Idle connections that memory is read with.
const IDLE: usize = 1_000;

/// Runs it; each load lasts `seconds`.
pub(crate) async fn run(seconds: u32) -> Result<Vec<Row>> {
    let folder = measure::folder()?;
    let material = Material::make(folder.path())?;
    let backend = backend::start(folder.path()).await?;
    let mut rows = one_core(folder.path(), &material, seconds).await?;
    rows.extend(two_cores(folder.path(), &material, seconds).await?);
    drop(backend);
    rows.extend(transcode::run()?);
    Ok(rows)
}

/// Both on one core; the load and the service have the others.
async fn one_core(folder: &Path, material: &Material, seconds: u32) -> Result<Vec<Row>> {
    let ours = malha::start(folder, material, ONE).await?;
    let theirs = envoy::start(folder, material, ONE).await?;
    let idle = idle::resident(&ours, folder, IDLE).await?;
    let peer_idle = idle::resident(&theirs, folder, IDLE).await?;

    let get = in_turn(&ours, &theirs, &material.get(), seconds).await?;
    let post = in_turn(&ours, &theirs, &material.post(), seconds).await?;
    let fresh = in_turn(&ours, &theirs, &material.fresh(), seconds).await?;
    // Six tenths of what the slower one can do: both must keep up.
    let offered = 0.6 * get.peer.per_second.min(get.ours.per_second);
    let steady = load::offered(&ours, &material.token, offered, seconds, folder).await?;
    let peer_steady = load::offered(&theirs, &material.token, offered, seconds, folder).await?;

    ours.stop().await?;
    theirs.stop().await?;

    let row = |metric, value, unit| Row::alone("gateway", metric, value, unit);
    let beside = |metric, unit, ours, theirs| row(metric, ours, unit).beside(PEER, theirs);
    Ok(vec![
        beside("get_rps", "1/s", get.ours.per_second, get.peer.per_second),
        beside("get_cpu_us", "us", get.ours.cpu_us, get.peer.cpu_us),
        beside("post_rps", "1/s", post.ours.per_second, post.peer.per_second),
        beside("post_cpu_us", "us", post.ours.cpu_us, post.peer.cpu_us),
        beside("fresh_token_rps", "1/s", fresh.ours.per_second, fresh.peer.per_second),
        beside("fresh_token_cpu_us", "us", fresh.ours.cpu_us, fresh.peer.cpu_us),
        row("offered_rps", offered, "1/s"),
        beside("get_p50_ms", "ms", steady.p50_ms, peer_steady.p50_ms),
        beside("get_p99_ms", "ms", steady.p99_ms, peer_steady.p99_ms),
        beside("base_rss_mb", "MB", idle.base, peer_idle.base),
        beside("idle_rss_mb", "MB", idle.plain, peer_idle.plain),
        beside("idle_tls_rss_mb", "MB", idle.tls, peer_idle.tls),
    ])
}

/// Both on two cores; the load and the service share the others.
async fn two_cores(folder: &Path, material: &Material, seconds: u32) -> Result<Vec<Row>> {
    let ours = malha::start(folder, material, TWO).await?;
    let theirs = envoy::start(folder, material, TWO).await?;
    let get = in_turn(&ours, &theirs, &material.get(), seconds).await?;
    let row =
        |metric, unit, ours, theirs| Row::alone("gateway", metric, ours, unit).beside(PEER, theirs);
    Ok(vec![
        row("two_core_get_rps", "1/s", get.ours.per_second, get.peer.per_second),
        row("two_core_get_cpu_us", "us", get.ours.cpu_us, get.peer.cpu_us),
    ])
}

/// What both came to.
struct Compared {
    ours: Measured,
    peer: Measured,
}

/// Ours and the peer's, round after round; of each the middle one.
async fn in_turn(
    ours: &Gateway,
    theirs: &Gateway,
    requests: &Requests,
    seconds: u32,
) -> Result<Compared> {
    let (mut own, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(load::closed(ours, requests, seconds).await?);
        peers.push(load::closed(theirs, requests, seconds).await?);
    }
    Ok(Compared { ours: middle(own), peer: middle(peers) })
}

fn middle(mut measured: Vec<Measured>) -> Measured {
    measured.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    measured[measured.len() / 2]
}
