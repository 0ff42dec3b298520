//! What Prometheus sees of calls.

use mesh::Service;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::world::*;

/// Value of the series `name` whose labels include all of `labels`.
fn value(name: &str, labels: &[&str]) -> Option<f64> {
    let text = telemetry::render_metrics();
    let line = text.lines().find(|line| {
        line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn calls_are_counted_by_method_code_and_tenant_on_both_ends() {
    // Names of its own: the registry belongs to the whole process.
    let world = World::new(&["metered", "identity"]);
    let accounts = Accounts::new(|seen| async move {
        if seen.context.unwrap().idempotency_key.is_some() {
            return Err(Status::failed_precondition("scripted"));
        }
        Ok(())
    });
    let served = serve(&world.join("metered"), Service::new("metered").mount(accounts)).await;
    let caller = world.caller("identity", "metered", &[served.address]);
    let mut client = AccountsClient::new(caller.channel("metered"));

    for _ in 0..3 {
        client.open_account(OpenAccountRequest::default()).await.unwrap();
    }
    let mut failing = Request::new(OpenAccountRequest::default());
    failing.metadata_mut().insert("idempotency-key", "x".parse().unwrap());
    client.open_account(failing).await.unwrap_err();

    let method = "method=\"/malha.accounts.v1.AccountsService/OpenAccount\"";
    let labels = ["service=\"metered\"", method];
    let requests = |code| {
        let tenant = format!("tenant=\"{}\"", auth::TenantId::DEFAULT);
        let labels = [labels[0], labels[1], code, &tenant];
        value("malha_rpc_server_requests_total", &labels)
    };
    assert_eq!(requests("code=\"OK\""), Some(3.0));
    assert_eq!(requests("code=\"FAILED_PRECONDITION\""), Some(1.0));
    assert_eq!(value("malha_rpc_server_duration_seconds_count", &labels), Some(4.0));
    assert_eq!(value("malha_rpc_server_in_flight", &labels), Some(0.0));
    let asked = ["service=\"identity\"", method, "code=\"FAILED_PRECONDITION\""];
    assert_eq!(value("malha_rpc_client_requests_total", &asked), Some(1.0));
    let breaker = ["service=\"identity\"", "upstream=\"metered\""];
    assert_eq!(value("malha_mesh_breaker_state", &breaker), Some(0.0));
}

#[tokio::test]
async fn invented_methods_make_no_metrics_of_their_own() {
    let world = World::new(&["invented", "identity"]);
    let accounts = Accounts::new(|_| async { Ok(()) });
    let served = serve(&world.join("invented"), Service::new("invented").mount(accounts)).await;
    let caller = world.caller("identity", "invented", &[served.address]);

    for path in ["/invented.v1.One/Call", "/invented.v1.Two/Call"] {
        let mut grpc = Grpc::new(caller.channel("invented"));
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<OpenAccountRequest, OpenAccountRequest>::default();
        let request = Request::new(OpenAccountRequest::default());
        let refusal = grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unimplemented);
    }

    let labels = ["service=\"invented\"", "method=\"other\"", "code=\"UNIMPLEMENTED\""];
    assert_eq!(value("malha_rpc_server_requests_total", &labels), Some(2.0));
    assert!(!telemetry::render_metrics().contains("invented.v1"));
}
