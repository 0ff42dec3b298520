//! Clients that behave.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use super::judge::Judge;
use super::world::Site;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(20);

/// HTTP/2 over TLS.
pub(super) async fn over_tls(site: Arc<Site>, judge: Arc<Judge>) {
    loop {
        let name = Uuid::new_v4().to_string();
        let request = site.client.get(site.https(&format!("/v1/hello/{name}")));
        judge.steady(&name, request.send().await).await;
        sleep(PAUSE).await;
    }
}

/// HTTP/1.1 without TLS, with a body.
pub(super) async fn in_the_clear(site: Arc<Site>, judge: Arc<Judge>) {
    loop {
        let name = Uuid::new_v4().to_string();
        let request = site.client.post(site.http("/v1/hello")).json(&json!({"name": name}));
        judge.steady(&name, request.send().await).await;
        sleep(PAUSE).await;
    }
}

/// Three answers to one request.
pub(super) async fn streams(site: Arc<Site>, judge: Arc<Judge>) {
    loop {
        let name = Uuid::new_v4().to_string();
        let request = site.client.get(site.https(&format!("/v1/hellos/{name}?times=3")));
        judge.steady(&name, request.send().await).await;
        sleep(PAUSE).await;
    }
}

/// The service that cannot be relied upon.
pub(super) async fn of_the_erratic(site: Arc<Site>, judge: Arc<Judge>, number: usize) {
    loop {
        let name = Uuid::new_v4().to_string();
        let request = match number % 3 {
            0 => site.client.get(site.https(&format!("/erratic/hello/{name}"))),
            1 => site.client.post(site.http("/erratic/hello")).json(&json!({"name": name})),
            _ => site.client.get(site.http(&format!("/erratic/hellos/{name}"))),
        };
        judge.erratic(&name, request.send().await).await;
        sleep(PAUSE).await;
    }
}
