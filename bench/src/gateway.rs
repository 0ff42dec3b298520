//! The edge as a product of its own: `malha gateway` beside Envoy, before the same service.
//!
//! Both hold one core (or two), speak plain HTTP to clients and HTTP/2 over mTLS to the service,
//! verify an RS256 token, count against a rate limit and turn JSON into protobuf and back. They are
//! measured in turn, and the middle one of three rounds counts.

mod backend;
mod bare;
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
use peer::{Cores, Gateway, ONE, TWO};

pub(crate) use backend::serve as serve_backend;
pub(crate) use bare::{serve_backend as serve_bare_backend, serve_floor};

const PEER: &str = "Envoy with token cache";

/// Turns of each gateway for each kind of load.
const ROUNDS: usize = 3;

/// Idle connections that memory is read with.
const IDLE: usize = 1_000;

/// Runs it; each load lasts `seconds`.
pub(crate) async fn run(seconds: u32) -> Result<Vec<Row>> {
    let folder = measure::folder()?;
    let material = Material::make(folder.path())?;
    let mut backend = backend::start("gateway-backend", folder.path()).await?;
    let mut rows = one_core(folder.path(), &material, seconds).await?;
    rows.extend(two_cores(folder.path(), &material, seconds).await?);
    backend.kill().await?;
    let mut backend = backend::start("gateway-bare-backend", folder.path()).await?;
    rows.extend(speedup(folder.path(), &material, seconds).await?);
    backend.kill().await?;
    rows.push(floor(&material, seconds).await?);
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

    Ok(vec![
        beside("get_rps", "1/s", get.ours.per_second, get.peer.per_second),
        beside("get_cpu_us", "us", get.ours.cpu_us, get.peer.cpu_us),
        beside("post_rps", "1/s", post.ours.per_second, post.peer.per_second),
        beside("post_cpu_us", "us", post.ours.cpu_us, post.peer.cpu_us),
        beside("fresh_token_rps", "1/s", fresh.ours.per_second, fresh.peer.per_second),
        beside("fresh_token_cpu_us", "us", fresh.ours.cpu_us, fresh.peer.cpu_us),
        Row::alone("gateway", "offered_rps", offered, "1/s"),
        beside("get_p50_ms", "ms", steady.p50_ms, peer_steady.p50_ms),
        beside("get_p99_ms", "ms", steady.p99_ms, peer_steady.p99_ms),
        beside("base_rss_mb", "MB", idle.base, peer_idle.base),
        beside("idle_rss_mb", "MB", idle.plain, peer_idle.plain),
        beside("idle_tls_rss_mb", "MB", idle.tls, peer_idle.tls),
    ])
}

/// Both on two cores; the load and the service share the others.
async fn two_cores(folder: &Path, material: &Material, seconds: u32) -> Result<Vec<Row>> {
    let get = gets(folder, material, TWO, seconds).await?;
    Ok(vec![
        beside("two_core_get_rps", "1/s", get.ours.per_second, get.peer.per_second),
        beside("two_core_get_cpu_us", "us", get.ours.cpu_us, get.peer.cpu_us),
    ])
}

/// How much two cores do of what one does, before a service that leaves its cores to the load.
async fn speedup(folder: &Path, material: &Material, seconds: u32) -> Result<Vec<Row>> {
    let one = gets(folder, material, ONE, seconds).await?;
    let two = gets(folder, material, TWO, seconds).await?;
    let ratio = |one: Measured, two: Measured| two.per_second / one.per_second;
    Ok(vec![
        beside("bare_one_core_rps", "1/s", one.ours.per_second, one.peer.per_second),
        beside("bare_two_core_rps", "1/s", two.ours.per_second, two.peer.per_second),
        beside("two_core_speedup", "x", ratio(one.ours, two.ours), ratio(one.peer, two.peer)),
    ])
}

/// What both come to on some cores.
async fn gets(folder: &Path, material: &Material, cores: Cores, seconds: u32) -> Result<Compared> {
    let ours = malha::start(folder, material, cores).await?;
    let theirs = envoy::start(folder, material, cores).await?;
    let compared = in_turn(&ours, &theirs, &material.get(), seconds).await?;
    ours.stop().await?;
    theirs.stop().await?;
    Ok(compared)
}

/// What hyper alone takes for a request: no gateway that is built on it can take less.
async fn floor(material: &Material, seconds: u32) -> Result<Row> {
    let bare = bare::start(ONE).await?;
    let measured = load::closed(&bare, &material.get(), seconds).await?;
    bare.stop().await?;
    Ok(Row::alone("gateway", "bare_server_cpu_us", measured.cpu_us, "us"))
}

fn beside(metric: &'static str, unit: &'static str, ours: f64, theirs: f64) -> Row {
    Row::alone("gateway", metric, ours, unit).beside(PEER, theirs)
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
