//! JSON as text: its tokens, and how each value is spelled. Knows nothing of protobuf messages.

mod mask;
mod number;
mod path;
mod reader;
mod time;
mod write;

pub(crate) use mask::{camel_to_snake, snake_to_camel};
pub(crate) use number::{double, float, integer, is_kept, is_number};
pub(crate) use path::path_to;
pub(crate) use reader::{Reader, Text, Token};
pub(crate) use time::{read_duration, read_timestamp, write_duration, write_timestamp};
pub(crate) use write::{
    write_base64, write_double, write_float, write_integer, write_string, write_text,
};

use std::borrow::Cow;

/// Why a document is not read. The box keeps the results of the hot path small.
#[derive(Debug)]
pub(crate) struct Fault(Box<Place>);

#[derive(Debug)]
struct Place {
    at: usize,
    description: Option<Cow<'static, str>>,
}

pub(crate) type Read<T> = Result<T, Fault>;

impl Fault {
    #[cold]
    pub(crate) fn syntax(at: usize) -> Self {
        Self(Box::new(Place { at, description: None }))
    }

    #[cold]
    pub(crate) fn at(at: usize, description: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Place { at, description: Some(description.into()) }))
    }

    /// The byte of the document from which on it is not read.
    pub(crate) fn place(&self) -> usize {
        self.0.at
    }

    /// What the value there must be; `None` if this is no JSON.
    pub(crate) fn description(self) -> Option<Cow<'static, str>> {
        self.0.description
    }
}

/// The line and column of a byte, as [`crate::InputError::Syntax`] counts them.
pub(crate) fn line_and_column(json: &[u8], at: usize) -> (usize, usize) {
    let before = &json[..at.min(json.len())];
    let line = before.split(|byte| *byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    // The end of the text has no byte of its own.
    (line, before.len() - start + usize::from(at < json.len()))
}
