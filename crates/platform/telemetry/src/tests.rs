#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use serde_json::{Value, json};
use tracing::{debug, error, info, info_span};

use crate::format::Style;
use crate::{Config, TelemetryError, assemble, extract, init, init_for_tests, inject, trace_id};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `body` under telemetry at the given level and returns the text that it logged.
fn logged(log: &str, style: Style, body: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let config = Config { log: log.to_owned(), ..Config::default() };
    let (subscriber, _guard) = assemble(&config, "malha", style, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, body);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn logged_json(log: &str, body: impl FnOnce()) -> Vec<Value> {
    let text = logged(log, Style::Json, body);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// L-69, C-39, B-58, T-47
#[test]
fn line_carries_the_promised_fields() {
    let lines = logged_json("info", || {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", TRACEPARENT.parse().unwrap());
        let span = info_span!(
            "call",
            service = "payments",
            correlationId = "c-1",
            userId = tracing::field::Empty
        );
        extract(&headers, &span);
        span.record("userId", "u-1");
        let _entered = span.enter();
        info!(
            context = "TransactionsService",
            transactionId = %"t-1",
            duration = 245,
            attempts = 2,
            "transaction completed"
        );
    });

    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let timestamp = line["timestamp"].as_str().unwrap();
    assert_eq!(timestamp.len(), "2024-12-14T10:30:00.000Z".len(), "{timestamp}");
    assert!(timestamp.ends_with('Z') && timestamp.as_bytes()[19] == b'.', "{timestamp}");
    let mut rest = line.clone();
    rest.as_object_mut().unwrap().remove("timestamp");
    assert_eq!(
        rest,
        json!({
            "level": "INFO",
            "context": "TransactionsService",
            "message": "transaction completed",
            "correlationId": "c-1",
            "userId": "u-1",
            "transactionId": "t-1",
            "duration": "245ms",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "service_name": "payments",
            "attempts": 2,
        })
    );
}

#[test]
fn line_outside_spans_has_the_crate_and_the_process() {
    let lines = logged_json("info", || info!(duration = 0.4121, "ready"));

    assert_eq!(lines[0]["context"], "telemetry");
    assert_eq!(lines[0]["service_name"], "malha");
    assert_eq!(lines[0]["duration"], "0.412ms");
    assert_eq!(lines[0].get("trace_id"), None);
    assert_eq!(lines[0].get("correlationId"), None);
}

#[test]
fn inner_span_wins_and_the_outer_one_fills_the_gaps() {
    let lines = logged_json("info", || {
        let _outer = info_span!("outer", service = "gateway", correlationId = "c-1").entered();
        let _inner = info_span!("inner", service = "ledger").entered();
        info!("posted");
    });

    assert_eq!(lines[0]["service_name"], "ledger");
    assert_eq!(lines[0]["correlationId"], "c-1");
}

#[test]
fn hostile_text_stays_inside_its_field() {
    let hostile = "x\"}\n{\"level\":\"ERROR\u{1b}[2J";
    let lines = logged_json("info", || {
        let _span = info_span!("call", correlationId = hostile).entered();
        info!(level = "fake", note = hostile, "{hostile}");
    });

    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "INFO");
    assert_eq!(lines[0]["field.level"], "fake");
    for key in ["message", "note", "correlationId"] {
        assert_eq!(lines[0][key], hostile, "{key}");
    }

    let pretty = logged("info", Style::Pretty { colour: true }, || info!(note = hostile, "x\ny"));
    assert_eq!(pretty.lines().count(), 1);
    assert!(!pretty.contains("\u{1b}[2J"), "{pretty:?}");
}

#[test]
fn pretty_line_is_short_and_plain_without_a_terminal() {
    let text = logged("info", Style::Pretty { colour: false }, || {
        let _span = info_span!("call", service = "payments").entered();
        error!(duration = 3, rows = 2, "store failed");
    });

    let rest = text.split_once(' ').unwrap().1;
    let (head, tail) = rest.split_once(" trace_id=").unwrap();
    assert_eq!(head, "ERROR payments/telemetry store failed duration=3ms");
    assert!(tail.ends_with(" rows=2\n"), "{tail:?}");
}

/// L-71
#[test]
fn ids_travel_and_are_inherited_even_when_only_errors_are_logged() {
    let lines = logged_json("error", || {
        let mut incoming = HeaderMap::new();
        incoming.insert("traceparent", TRACEPARENT.parse().unwrap());
        let span = info_span!("call", correlationId = "c-1");
        extract(&incoming, &span);
        let _entered = span.enter();

        let mut outgoing = HeaderMap::new();
        inject(&mut outgoing);
        let sent = outgoing["traceparent"].to_str().unwrap();
        assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{sent}");
        assert!(!sent.contains("b7ad6b7169203331"), "the callee's parent is this span: {sent}");
        assert_eq!(trace_id().as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));

        info!("not logged");
        error!("logged");
    });

    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["correlationId"], "c-1");
    assert_eq!(lines[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[test]
fn forged_traceparent_begins_a_new_trace() {
    logged_json("info", || {
        for forged in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", forged.parse().unwrap());
            let span = info_span!("call");
            extract(&headers, &span);
            let id = span.in_scope(trace_id).unwrap();
            assert!(id.len() == 32 && id.bytes().any(|digit| digit != b'0'), "{forged}: {id}");
        }
    });
    assert_eq!(trace_id(), None);
}

#[test]
fn levels_are_set_by_component() {
    let lines = logged_json("warn,telemetry=debug,other=error", || {
        debug!("heard");
        tracing::warn!(target: "other::deep", "not heard");
        error!(target: "other::deep", "heard");
    });

    let contexts: Vec<_> = lines.iter().map(|line| line["context"].as_str().unwrap()).collect();
    assert_eq!(contexts, ["telemetry", "other"]);
}

/// L-18, L-70, B-57
#[test]
fn metrics_are_rendered_with_latency_buckets() {
    init_for_tests();
    metrics::counter!("probe_requests_total", "method" => "a\"b").increment(2);
    metrics::histogram!("probe_seconds").record(0.15);

    let text = crate::render_metrics();

    assert!(text.contains(r#"probe_requests_total{method="a\"b"} 2"#), "{text}");
    assert!(text.contains(r#"probe_seconds_bucket{le="0.1"} 0"#), "{text}");
    assert!(text.contains(r#"probe_seconds_bucket{le="0.2"} 1"#), "{text}");
    assert!(text.contains("probe_seconds_count 1"), "{text}");
}

#[test]
fn second_start_is_refused_but_tests_may_start_often() {
    init_for_tests();
    init_for_tests();

    assert!(matches!(init(&Config::default(), "malha"), Err(TelemetryError::AlreadyStarted)));
}

#[test]
fn wrong_settings_are_named() {
    let refusal = |config: &Config| init(config, "malha").err().unwrap().to_string();

    let log = refusal(&Config { log: "info,mesh=loud".to_owned(), ..Config::default() });
    assert!(log.contains("telemetry.log"), "{log}");
    let ratio = refusal(&Config { sample_ratio: 1.5, ..Config::default() });
    assert!(ratio.contains("telemetry.sample_ratio"), "{ratio}");
    let endpoint = refusal(&Config { otlp_endpoint: "not a url".to_owned(), ..Config::default() });
    assert!(endpoint.contains("telemetry.otlp_endpoint"), "{endpoint}");
}
