//! Traces reach a collector. One test: telemetry starts once in a process.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tracing::{error, info_span};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

struct Collector(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).await.unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// L-71, T-49, C-39
#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_the_collector_under_the_callers_trace() {
    let (sender, mut received) = mpsc::channel(8);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = telemetry::Config {
        otlp_endpoint: format!("http://{}", listener.local_addr().unwrap()),
        ..telemetry::Config::default()
    };
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Collector(sender)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);

    let guard = telemetry::init(&config, "payments").unwrap();
    call(&format!("00-{TRACE}-{PARENT}-01"));
    call("00-11111111111111111111111111111111-2222222222222222-00");
    drop(guard);

    let export = tokio::time::timeout(Duration::from_secs(5), received.recv()).await;
    let export = export.unwrap().unwrap();
    let [resource] = export.resource_spans.as_slice() else { panic!("{export:?}") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    let name = name.value.as_ref().unwrap().value.as_ref().unwrap();
    assert_eq!(*name, any_value::Value::StringValue("payments".to_owned()));

    let spans: Vec<_> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["store", "GetTransaction"], "the unsampled call is not exported");
    let [store, call] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(hex(&call.trace_id), TRACE);
    assert_eq!(hex(&call.parent_span_id), PARENT);
    assert_eq!(store.trace_id, call.trace_id);
    assert_eq!(store.parent_span_id, call.span_id);
    assert_eq!(store.status.as_ref().unwrap().code, 2, "an error event marks its span");
}

fn call(traceparent: &str) {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", traceparent.parse().unwrap());
    let span = info_span!("call", otel.name = "GetTransaction", otel.kind = "server");
    telemetry::extract(&headers, &span);
    let _call = span.enter();
    let _store = info_span!("store").entered();
    error!("store failed");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
