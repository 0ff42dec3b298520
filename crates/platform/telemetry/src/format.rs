//! The two looks of a log line.

use std::fmt::Write;

use chrono::SecondsFormat;
use serde_json::Value;
use tracing::Level;

use crate::log::Line;

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// One JSON object.
    Json,
    /// Time, level, component and message, then the fields; coloured for a terminal.
    Pretty { colour: bool },
}

impl Style {
    /// The line with its newline.
    pub(crate) fn render(self, line: &Line<'_>) -> String {
        match self {
            Self::Json => json(line),
            Self::Pretty { colour } => pretty(line, colour),
        }
    }
}

/// `(key, value)` of what is known beyond the message, in the order of the line.
fn known<'a>(line: &'a Line<'_>) -> impl Iterator<Item = (&'static str, &'a str)> {
    [
        ("correlationId", &line.ids.correlation),
        ("userId", &line.ids.user),
        ("transactionId", &line.ids.transaction),
        ("duration", &line.duration),
        ("trace_id", &line.trace_id),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value.as_deref()?)))
}

fn service_name<'a>(line: &'a Line<'_>) -> &'a str {
    line.ids.service.as_deref().unwrap_or(line.process)
}

fn json(line: &Line<'_>) -> String {
    let mut text = String::with_capacity(256);
    let timestamp = line.timestamp.to_rfc3339_opts(SecondsFormat::Millis, true);
    put(&mut text, '{', "timestamp", &timestamp.into());
    put(&mut text, ',', "level", &line.level.as_str().into());
    put(&mut text, ',', "context", &line.context.as_str().into());
    put(&mut text, ',', "message", &line.message.as_str().into());
    for (key, value) in known(line) {
        put(&mut text, ',', key, &value.into());
    }
    put(&mut text, ',', "service_name", &service_name(line).into());
    for (key, value) in &line.fields {
        put(&mut text, ',', key, value);
    }
    text.push_str("}\n");
    text
}

/// Appends one member; `Value` prints as JSON, escaped.
fn put(text: &mut String, before: char, key: &str, value: &Value) {
    // Writing to a string does not fail.
    let _ = write!(text, "{before}{}:{value}", Value::from(key));
}

fn pretty(line: &Line<'_>, colour: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let (code, level) = match line.level {
        Level::ERROR => ("31", "ERROR"),
        Level::WARN => ("33", " WARN"),
        Level::INFO => ("32", " INFO"),
        Level::DEBUG => ("34", "DEBUG"),
        Level::TRACE => ("35", "TRACE"),
    };
    let time = line.timestamp.format("%H:%M:%S%.3f").to_string();
    let speaker = match service_name(line) {
        service if service == line.context => service.to_owned(),
        service => format!("{service}/{}", line.context),
    };
    let mut text = format!(
        "{} {} {} {}",
        paint("2", &time),
        paint(code, level),
        paint("1", &speaker),
        one_line(&line.message)
    );
    let known = known(line).map(|(key, value)| (key, one_line(value)));
    let fields = line.fields.iter().map(|(key, value)| match value {
        Value::String(plain) => (key.as_str(), one_line(plain)),
        other => (key.as_str(), other.to_string()),
    });
    for (key, value) in known.chain(fields) {
        text.push(' ');
        text.push_str(&paint("2", &format!("{key}={value}")));
    }
    text.push('\n');
    text
}

/// Escapes control characters: a value can neither forge a line nor drive the terminal.
fn one_line(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}
