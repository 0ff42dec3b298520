//! `malha gateway`, set up as somebody would who has a service and no mesh.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::backend;
use super::material::{CERTS, Material};
use super::peer::{Cores, Gateway, await_listening};
use crate::mesh::binary;

const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18_181);
const HTTPS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18_544);

/// Starts it on some cores, with a worker for each.
pub(super) async fn start(folder: &Path, material: &Material, cores: Cores) -> Result<Gateway> {
    let settings = folder.join("gateway.toml");
    fs::write(&settings, toml(folder, material, cores))?;
    let process = Command::new("taskset")
        .args(["--cpu-list", cores.gateway])
        .arg(binary()?)
        .args(["gateway", "--config"])
        .arg(&settings)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start `malha gateway`; `cargo xtask bench` builds it first")?;
    await_listening(HTTP).await?;
    Ok(Gateway { process, http: HTTP, https: HTTPS, load_cores: cores.load })
}

fn toml(folder: &Path, material: &Material, cores: Cores) -> String {
    let (certs, workers) = (folder.join(CERTS), cores.gateway.split(',').count());
    let certs = certs.display();
    let (contract, keys) = (material.contract.display(), material.keys.display());
    let backend = backend::ADDRESS.port();
    format!(
        r#"
        [telemetry]
        log = "warn"
        listen = "127.0.0.1:18182"

        [gateway]
        http = "{HTTP}"
        https = "{HTTPS}"
        tls = {{ certificate = "{certs}/edge.pem", key = "{certs}/edge.key" }}
        workers = {workers}
        # As Envoy does unless it is told to.
        access_log = {{ requests = "off" }}
        rate_limits.classes.default = [{{ requests = 1000000, per = "1s" }}]
        contracts.descriptors = "{contract}"

        [[gateway.issuers]]
        issuer = "malha"
        audiences = ["malha"]
        keys.file = "{keys}"

        [gateway.upstreams.orders]
        endpoints = ["https://localhost:{backend}"]
        tls = {{ ca = "{certs}/ca.pem", certificate = "{certs}/gateway.pem", key = "{certs}/gateway.key" }}
        "#
    )
}
