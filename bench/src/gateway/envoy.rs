//! Envoy, set up to do the same work: token with cache, rate limit, transcoding, mTLS upstream.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::process::Command;

use super::backend;
use super::material::{CERTS, Material, REMEMBERED};
use super::peer::{Cores, Gateway, await_listening};

const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18_180);
const HTTPS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18_543);

/// Starts it on some cores, with a worker for each.
pub(super) async fn start(folder: &Path, material: &Material, cores: Cores) -> Result<Gateway> {
    let settings = folder.join("envoy.json");
    fs::write(&settings, bootstrap(folder, material).to_string())?;
    let workers = cores.gateway.split(',').count().to_string();
    let process = Command::new("taskset")
        .args(["--cpu-list", cores.gateway])
        .arg(binary()?)
        .args(["--log-level", "error", "--concurrency", &workers, "--use-dynamic-base-id"])
        .arg("--config-path")
        .arg(&settings)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start Envoy; `cargo xtask bench gateway` installs it")?;
    await_listening(HTTP).await?;
    Ok(Gateway { process, http: HTTP, https: HTTPS, load_cores: cores.load })
}

/// Where `cargo xtask bench` puts it.
fn binary() -> Result<PathBuf> {
    let home = std::env::home_dir().context("no home folder to find Envoy in")?;
    Ok(home.join(".cache/malha/envoy/envoy/_bin/envoy"))
}

fn bootstrap(folder: &Path, material: &Material) -> Value {
    let certs = folder.join(CERTS);
    let file = |name: &str| json!({"filename": certs.join(name)});
    let certificate = |name: &str| {
        json!([{
            "certificate_chain": file(&format!("{name}.pem")),
            "private_key": file(&format!("{name}.key")),
        }])
    };
    let server_tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": type_url("transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": {"tls_certificates": certificate("edge")},
        },
    });
    let client_tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": type_url("transport_sockets.tls.v3.UpstreamTlsContext"),
            "sni": "localhost",
            "common_tls_context": {
                "tls_certificates": certificate("gateway"),
                "validation_context": {"trusted_ca": file("ca.pem")},
                "alpn_protocols": ["h2"],
            },
        },
    });
    let http2 = json!({
        "@type": type_url("upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    json!({"static_resources": {
        "listeners": [
            listener("http", HTTP, &Value::Null, material),
            listener("https", HTTPS, &server_tls, material),
        ],
        "clusters": [{
            "name": "orders",
            "type": "STATIC",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2,
            },
            "load_assignment": {
                "cluster_name": "orders",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(backend::ADDRESS)}}]}],
            },
            "transport_socket": client_tls,
        }],
    }})
}

fn listener(name: &str, address: SocketAddr, tls: &Value, material: &Material) -> Value {
    let route = json!({"name": "all", "virtual_hosts": [{
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "orders", "timeout": "5s"}}],
    }]});
    let manager = json!({
        "@type": type_url("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
        "route_config": route,
        "http_filters": [
            filter("jwt_authn", "jwt_authn.v3.JwtAuthentication", jwt(material)),
            filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", rate_limit()),
            filter("grpc_json_transcoder", "grpc_json_transcoder.v3.GrpcJsonTranscoder", json!({
                "proto_descriptor": material.contract,
                "services": ["shop.v1.Orders"],
                "request_validation_options": {
                    "reject_unknown_method": true,
                    "reject_unknown_query_parameters": true,
                },
            })),
            filter("router", "router.v3.Router", json!({})),
        ],
    });
    let mut chain = json!({"filters": [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
    ]});
    if !tls.is_null() {
        chain["transport_socket"] = tls.clone();
    }
    json!({"name": name, "address": socket(address), "filter_chains": [chain]})
}

fn jwt(material: &Material) -> Value {
    json!({
        "providers": {"malha": {
            "issuer": "malha",
            "audiences": ["malha"],
            "local_jwks": {"filename": material.keys},
            "jwt_cache_config": {"jwt_cache_size": REMEMBERED},
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "malha"}}],
    })
}

/// Counts every request and refuses none.
fn rate_limit() -> Value {
    let always = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    json!({
        "stat_prefix": "limit",
        "token_bucket": {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "1s"},
        "filter_enabled": always,
        "filter_enforced": always,
    })
}

fn filter(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(type_url(&format!("filters.http.{kind}")));
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": config})
}

fn type_url(kind: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{kind}")
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
