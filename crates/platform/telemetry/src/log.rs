//! Collects each log line: what the event says, and what the spans around it know.

use std::fmt;
use std::io::Write;

use chrono::{DateTime, Utc};
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Number, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::format::Style;

/// One line, ready to be written in any style.
pub(crate) struct Line<'a> {
    pub(crate) timestamp: DateTime<Utc>,
    pub(crate) level: Level,
    /// Component that speaks: the crate, or what the event's `context` field says.
    pub(crate) context: String,
    pub(crate) message: String,
    pub(crate) ids: Ids,
    /// Time that the thing took, such as `245ms`.
    pub(crate) duration: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) process: &'a str,
    /// Fields of the event that have no place of their own.
    pub(crate) fields: Map<String, Value>,
}

/// What a span passes on to the lines inside it.
#[derive(Clone, Default)]
pub(crate) struct Ids {
    pub(crate) correlation: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) transaction: Option<String>,
    pub(crate) service: Option<String>,
}

impl Ids {
    /// The place of the field `name`, if it is one of those inherited.
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "correlationId" => Some(&mut self.correlation),
            "userId" => Some(&mut self.user),
            "transactionId" => Some(&mut self.transaction),
            "service" => Some(&mut self.service),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        [&self.correlation, &self.user, &self.transaction, &self.service]
            .iter()
            .all(|id| id.is_none())
    }

    /// Takes from `outer` whatever is not known here.
    fn inherit(&mut self, outer: &Self) {
        for (own, outer) in [
            (&mut self.correlation, &outer.correlation),
            (&mut self.user, &outer.user),
            (&mut self.transaction, &outer.transaction),
            (&mut self.service, &outer.service),
        ] {
            if own.is_none() {
                own.clone_from(outer);
            }
        }
    }
}

impl Visit for Ids {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(slot) = self.slot(field.name()) {
            *slot = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(slot) = self.slot(field.name()) {
            *slot = Some(format!("{value:?}"));
        }
    }
}

/// Writes one line for each event.
pub(crate) struct LogLayer<W> {
    process: String,
    style: Style,
    writer: W,
}

impl<W> LogLayer<W> {
    pub(crate) fn new(process: &str, style: Style, writer: W) -> Self {
        Self { process: process.to_owned(), style, writer }
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut ids = Ids::default();
        attributes.record(&mut ids);
        if let Some(span) = context.span(id).filter(|_| !ids.is_empty()) {
            span.extensions_mut().insert(ids);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(ids) = extensions.get_mut::<Ids>() {
            values.record(ids);
        } else {
            let mut ids = Ids::default();
            values.record(&mut ids);
            extensions.insert(ids);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Ids>() {
                fields.ids.inherit(outer);
            }
        }
        let line = fields.into_line(event, &self.process);
        let text = self.style.render(&line);
        // Nobody is left to tell when stdout is gone.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(text.as_bytes());
    }
}

/// The fields of one event, sorted into their places.
#[derive(Default)]
struct EventFields {
    context: Option<String>,
    message: String,
    ids: Ids,
    duration: Option<String>,
    rest: Map<String, Value>,
}

impl EventFields {
    fn into_line<'a>(self, event: &Event<'_>, process: &'a str) -> Line<'a> {
        let target = event.metadata().target();
        let trace = opentelemetry::Context::current();
        let trace_id = trace.span().span_context().trace_id();
        Line {
            timestamp: Utc::now(),
            level: *event.metadata().level(),
            context: self.context.unwrap_or_else(|| component(target).to_owned()),
            message: self.message,
            ids: self.ids,
            duration: self.duration,
            trace_id: trace.has_active_span().then(|| trace_id.to_string()),
            process,
            fields: self.rest,
        }
    }

    fn put(&mut self, name: &str, value: Value) {
        let text = |value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        if let Some(slot) = self.ids.slot(name) {
            *slot = Some(text(value));
            return;
        }
        match name {
            "message" => self.message = text(value),
            "context" => self.context = Some(text(value)),
            "duration" => self.duration = Some(duration(value)),
            // Records of the `log` crate carry their origin in fields.
            "log.target" => self.context = Some(component(&text(value)).to_owned()),
            _ if name.starts_with("log.") => {}
            // A line has each key once, and these are not the event's to set.
            "timestamp" | "level" | "trace_id" | "service_name" => {
                self.rest.insert(format!("field.{name}"), value);
            }
            _ => {
                self.rest.insert(name.trim_start_matches("r#").to_owned(), value);
            }
        }
    }
}

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), Number::from_f64(value).map_or(Value::Null, Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field.name(), value.to_string().into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }
}

/// The crate of a target such as `payments::service`.
fn component(target: &str) -> &str {
    target.split("::").next().unwrap_or(target)
}

/// A number is taken as milliseconds and rounded to the microsecond: `245ms`, `0.412ms`.
fn duration(value: Value) -> String {
    match (value.as_f64(), value) {
        (Some(milliseconds), _) => format!("{}ms", (milliseconds * 1e3).round() / 1e3),
        (None, Value::String(text)) => text,
        (None, other) => other.to_string(),
    }
}
