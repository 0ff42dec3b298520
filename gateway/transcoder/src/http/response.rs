//! The bytes of an answer → the body of a response.

use std::borrow::Cow;
use std::sync::Arc;

use prost_reflect::MethodDescriptor;

use super::HTTP_BODY;
use super::rule::RuleError;
use crate::decode::{Decoder, message_of, text_and_bytes};
use crate::error::OutputError;
use crate::schema::{Plans, Schema};

/// What a body is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output<'w> {
    /// JSON.
    Json,
    /// What the upstream sent as it is (`google.api.HttpBody`).
    Raw {
        /// Its `Content-Type`; empty if the upstream names none.
        content_type: Cow<'w, str>,
    },
}

/// Makes the bodies of answers, for one method.
#[derive(Debug)]
pub struct Response {
    plans: Arc<Plans>,
    /// Plan of the answer.
    place: u32,
    /// Place of the field that is the body.
    field: Option<usize>,
    raw: bool,
}

impl Response {
    /// Plans the answers of `method`; `response_body` is that of its rule.
    pub fn new(
        schema: &Schema,
        method: &MethodDescriptor,
        response_body: &str,
    ) -> Result<Self, RuleError> {
        let plans = Arc::clone(&schema.0);
        let output = method.output();
        let faulty =
            |fault: &str| RuleError::new(method, format!("{} {fault}", output.full_name()));
        let place =
            plans.place_of(output.full_name()).ok_or_else(|| faulty("is not in the schema"))?;
        let plan = plans.message(place);
        let field = match response_body {
            "" => None,
            name => Some(
                plan.place(name.as_bytes(), 0)
                    .ok_or_else(|| faulty(&format!("has no field `{name}`")))?,
            ),
        };
        let shown = match field.map(|field| &plan.fields[field]) {
            None => Some(place),
            Some(field) => field.kind.message().filter(|_| field.is_one()),
        };
        let raw = shown.is_some_and(|at| plans.message(at).descriptor.full_name() == HTTP_BODY);
        Ok(Self { plans, place, field, raw })
    }

    /// Whether bodies are what the upstream sends as it is (`google.api.HttpBody`).
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Appends the body of an answer to `body`, and says what it is.
    pub fn decode<'w>(
        &self,
        wire: &'w [u8],
        body: &mut Vec<u8>,
    ) -> Result<Output<'w>, OutputError> {
        let plan = self.plans.message(self.place);
        if self.raw {
            return match self.field {
                None => raw(wire, body),
                Some(field) => match message_of(plan, field, wire)? {
                    Cow::Borrowed(message) => raw(message, body),
                    Cow::Owned(message) => raw(&message, body).map(Output::into_owned),
                },
            };
        }
        let decoder = Decoder::new(&self.plans, body);
        match self.field {
            None => decoder.document(self.place, wire)?,
            Some(field) => decoder.field_document(plan, field, wire)?,
        }
        Ok(Output::Json)
    }
}

impl Output<'_> {
    fn into_owned(self) -> Output<'static> {
        match self {
            Self::Json => Output::Json,
            Self::Raw { content_type } => {
                Output::Raw { content_type: Cow::Owned(content_type.into_owned()) }
            }
        }
    }
}

fn raw<'w>(message: &'w [u8], body: &mut Vec<u8>) -> Result<Output<'w>, OutputError> {
    let (content_type, data) = text_and_bytes(message)?;
    let content_type = std::str::from_utf8(content_type)
        .map_err(|_| OutputError::Unshowable("a string is not UTF-8"))?;
    body.extend_from_slice(data);
    Ok(Output::Raw { content_type: Cow::Borrowed(content_type) })
}
