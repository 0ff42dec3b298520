//! Spans of the edge reach a collector. One test: telemetry starts once in a process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use clock::Clock;
use gateway::{Access, Config, Gateway, Rule};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use testkit::greeter::{Greeter, anywhere};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use upstream::UpstreamConfig;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

struct Collector(mpsc::Sender<Vec<Span>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|it| it.scope_spans);
        self.0.send(spans.flat_map(|scope| scope.spans).collect()).await.unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector, and the spans that reach it.
async fn collector() -> (String, mpsc::Receiver<Vec<Span>>) {
    let (sender, spans) = mpsc::channel(8);
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (endpoint, spans)
}

/// L-71, T-49, C-39.
#[tokio::test(flavor = "multi_thread")]
async fn spans_of_the_edge_reach_the_collector_under_the_clients_trace() {
    let (otlp_endpoint, mut spans) = collector().await;
    let telemetry = telemetry::Config {
        otlp_endpoint,
        sample_ratio: 0.0,
        log: "off".to_owned(),
        ..telemetry::Config::default()
    };
    let guard = telemetry::init(&telemetry, "gateway").unwrap();
    let greeter = Greeter::start().await;
    let upstream =
        UpstreamConfig { endpoints: vec![greeter.endpoint()], ..UpstreamConfig::default() };
    let public = Rule { methods: "*".to_owned(), access: Some(Access::Public), ..Rule::default() };
    let config = Config {
        http: Some(anywhere()),
        upstreams: [("greeter".to_owned(), upstream)].into(),
        policies: vec![public],
        ..Config::alone()
    };
    let gateway = Gateway::bind(config, None, Clock::system()).await.unwrap();
    let (address, stop) = (gateway.http().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(gateway.serve(stop.clone()));

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str, flags: &str| {
        let request = client.get(format!("http://{address}{path}"));
        let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"));
        request.header("x-correlation-id", "mine-1").send().await.unwrap().status().as_u16()
    };
    assert_eq!(get("/v1/hello/ana", "01").await, 200);
    assert_eq!(get("/v1/hello/nobody", "01").await, 404);
    assert_eq!(get("/v1/hello/eva", "00").await, 200, "the client does not record it");
    drop(client);
    stop.cancel();
    serving.await.unwrap();
    tokio::task::spawn_blocking(|| drop(guard)).await.unwrap();

    let exported = timeout(Duration::from_secs(5), spans.recv()).await.unwrap().unwrap();
    let exported: Vec<_> = exported.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    assert_eq!(exported.len(), 2, "{exported:#?}");
    for span in exported {
        assert_eq!(hex(&span.parent_span_id), PARENT);
        assert_eq!(span.name, "greeter.v1.GreeterService.SayHello");
        assert_eq!(span.kind(), SpanKind::Server);
        let correlation = span.attributes.iter().find(|it| it.key == "correlationId").unwrap();
        assert!(format!("{:?}", correlation.value).contains("mine-1"), "{correlation:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
