//! Every error of the edge: a status, a stable reason, a sentence, and what is wrong with which field.

pub(crate) mod code;
mod form;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use transcoder::InputError;

use crate::answer::{Answer, whole};
use crate::config::ErrorForm;
use code::{code_name, http_status, is_fault, is_service, is_unexplained, public_detail};

/// When to come again if nobody said, but a repeat is right.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable name that programs act on, `SCREAMING_SNAKE`.
    pub(crate) reason: Cow<'static, str>,
    detail: Box<str>,
    /// What is wrong with which field.
    pub(crate) errors: Box<[FieldError]>,
    metadata: BTreeMap<String, String>,
    retry_after: Option<Duration>,
    /// Whether a service explains it, in words for users.
    of_service: bool,
    /// The code that the upstream answered.
    code: Option<Code>,
    /// Whether it is not known if the request was carried out.
    is_unsettled: bool,
    /// Methods that the path does admit.
    allow: Option<Box<str>>,
}

/// What is wrong with one field of a request. Never shows the field's value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct FieldError {
    /// Where, as the client wrote it: `bankingDetails.agency`, `items[2].name`.
    pub(crate) field: String,
    /// The rule of the contract that it broke, such as `string.min_len`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rule: String,
    /// What the field must be.
    pub(crate) description: String,
}

impl FieldError {
    /// What is wrong with `field`.
    pub(crate) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), rule: String::new(), description: description.into() }
    }
}

impl Problem {
    /// A problem with nothing but its name and its sentence.
    pub(crate) fn new(
        status: StatusCode,
        reason: &'static str,
        detail: impl Into<Box<str>>,
    ) -> Self {
        Self {
            status,
            reason: Cow::Borrowed(reason),
            detail: detail.into(),
            errors: Box::default(),
            metadata: BTreeMap::new(),
            retry_after: None,
            of_service: false,
            code: None,
            is_unsettled: false,
            allow: None,
        }
    }

    /// The request breaks the contract in these fields.
    pub(crate) fn invalid_fields(errors: Vec<FieldError>) -> Self {
        Self {
            detail: about_fields(&errors),
            errors: errors.into(),
            ..Self::new(StatusCode::BAD_REQUEST, "INVALID_FIELD", "")
        }
    }

    /// Names the fields of an upstream's refusal as the client knows them.
    pub(crate) fn rename_fields(&mut self, shown: impl Fn(&str) -> String) {
        for error in &mut self.errors {
            error.field = shown(&error.field);
        }
        if self.reason == "INVALID_FIELD" && !self.errors.is_empty() {
            self.detail = about_fields(&self.errors);
        }
    }

    /// Something here is broken; the caller learns no more than that.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the request failed inside")
    }

    /// Adds when the request may be sent again.
    pub(crate) fn retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// Adds that the request may be sent again, unless the upstream said when: for calls that
    /// found nobody, or timed out, and that a repeat does not carry out twice.
    pub(crate) fn repeatable(self) -> Self {
        let unanswered =
            matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT);
        if unanswered && self.retry_after.is_none() && !self.of_service {
            return self.retry_after(RETRY_AFTER_DEFAULT);
        }
        self
    }

    /// Adds the methods that the path admits.
    pub(crate) fn allow(self, allow: &str) -> Self {
        Self { allow: Some(allow.into()), ..self }
    }

    /// Whether the upstream says too little to know whether it carried the request out.
    pub(crate) fn is_unexplained(&self) -> bool {
        self.code.is_some_and(|code| is_unexplained(code, self.of_service))
    }

    /// Adds that nobody knows whether the request was carried out.
    pub(crate) fn of_unknown_outcome(self) -> Self {
        Self { is_unsettled: true, ..self }
    }

    /// Whether the request surely was carried out, or surely was not.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_unsettled
    }

    /// The code of gRPC that says the same.
    pub(crate) fn code(&self) -> Code {
        self.code.unwrap_or_else(|| code::of_http(self.status))
    }

    /// The problem as the status of a gRPC call.
    pub(crate) fn status(&self, correlation_id: &str) -> Status {
        form::status(self, correlation_id)
    }

    /// The problem as JSON, in one line, for the request at `path`.
    pub(crate) fn json(&self, form: ErrorForm, path: &str, correlation_id: &str) -> bytes::Bytes {
        match form {
            ErrorForm::Problem => form::problem_json(self, path, correlation_id),
            ErrorForm::Status => form::status_json(self, correlation_id),
        }
    }

    /// The answer, for the request at `path`.
    pub(crate) fn into_answer(self, form: ErrorForm, path: &str, correlation_id: &str) -> Answer {
        let json = self.json(form, path, correlation_id);
        let mut answer = whole(self.status, form.media_type(), json);
        let headers = answer.headers_mut();
        if let Some(retry_after) = self.retry_after {
            headers.insert(RETRY_AFTER, whole_seconds(retry_after).into());
        }
        if let Some(Ok(allow)) = self.allow.map(|allow| HeaderValue::from_str(&allow)) {
            headers.insert(ALLOW, allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, challenge(&self.reason));
        }
        answer
    }
}

impl From<InputError> for Problem {
    /// What is wrong with a request. A contract that cannot be applied is nothing to tell of.
    fn from(error: InputError) -> Self {
        match error {
            InputError::Fields(errors) => {
                Self::invalid_fields(errors.into_iter().map(FieldError::from).collect())
            }
            InputError::Rules(_) => Self::internal(),
            other => Self::new(StatusCode::BAD_REQUEST, other.reason(), other.to_string()),
        }
    }
}

impl From<transcoder::FieldError> for FieldError {
    fn from(error: transcoder::FieldError) -> Self {
        let transcoder::FieldError { field, rule, description } = error;
        Self { field, rule, description }
    }
}

impl From<&Status> for Problem {
    /// What an upstream refused. What it says of its insides stays here.
    fn from(status: &Status) -> Self {
        let code = status.code();
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| !info.reason.is_empty());
        let reason = match info {
            Some(info) if !is_fault(code) => Cow::Owned(info.reason.clone()),
            _ => Cow::Borrowed(code_name(code)),
        };
        let http = if reason == "IDEMPOTENCY_KEY_REUSED" {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            http_status(code)
        };
        let of_service = info.is_some_and(|info| is_service(&info.domain));
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        Self {
            status: http,
            reason,
            detail: public_detail(status, of_service),
            errors: violations.unwrap_or_default().iter().map(FieldError::from).collect(),
            metadata: info
                .filter(|_| !is_fault(code))
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            of_service,
            code: Some(code),
            is_unsettled: false,
            allow: None,
        }
    }
}

impl From<&tonic_types::FieldViolation> for FieldError {
    fn from(violation: &tonic_types::FieldViolation) -> Self {
        Self {
            field: violation.field.clone(),
            rule: violation.reason.clone(),
            description: violation.description.clone(),
        }
    }
}

/// What is wrong with these fields, in a sentence. What is wrong with the whole has no path.
fn about_fields(errors: &[FieldError]) -> Box<str> {
    match errors {
        [one] if one.field.is_empty() => one.description.as_str().into(),
        [one] => format!("{}: {}", one.field, one.description).into(),
        _ => "several fields are not valid".into(),
    }
}

/// What a client must bring (RFC 6750 section 3).
fn challenge(reason: &str) -> HeaderValue {
    HeaderValue::from_static(match reason {
        "TOKEN_MISSING" => "Bearer",
        reason if reason.starts_with("TOKEN_") => "Bearer error=\"invalid_token\"",
        _ => "Bearer",
    })
}

/// Rounded up: a client that waits that long never comes too early.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
