//! Messages of the contract as values, and back.

use chrono::{DateTime, Utc};
use contracts::webhooks::v1 as pb;
use prost_types::Timestamp;
use tonic::Status;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::domain::Broken;
use crate::domain::answer::Outcome;
use crate::domain::endpoint::{Changes, DisabledReason, Endpoint, SigningKey, Target};
use crate::domain::inbound::{Encoding, Provider, ProviderScheme, Secrets};
use crate::domain::message::{self, Delivery, DeliveryState};
use crate::domain::signature::Scheme;
use crate::error::WebhookError;
use crate::store::{Attempt, Filter, Kept};

/// How messages are signed when it is not said.
pub(crate) const SCHEME_DEFAULT: Scheme = Scheme::Hmac;

/// Fields of an endpoint that an update may name.
const CHANGEABLE: [&str; 4] = ["url", "description", "event_types", "rate_per_second"];

pub(crate) fn scheme(scheme: pb::SignatureScheme) -> Option<Scheme> {
    match scheme {
        pb::SignatureScheme::Unspecified => None,
        pb::SignatureScheme::Hmac => Some(Scheme::Hmac),
        pb::SignatureScheme::Ed25519 => Some(Scheme::Ed25519),
    }
}

/// An endpoint as it begins; its URL is not read yet.
pub(crate) fn new_endpoint(
    given: pb::Endpoint,
    now: DateTime<Utc>,
) -> Result<Endpoint, WebhookError> {
    Ok(Endpoint {
        id: Uuid::now_v7(),
        url: given.url,
        description: checked_text("endpoint.description", given.description)?,
        event_types: given.event_types,
        rate_per_second: given.rate_per_second,
        disabled: None,
        paused_until: None,
        created_at: now,
        updated_at: now,
        keys: Vec::new(),
    })
}

/// What an update changes: the fields that it names, or those that are not empty when it names none.
pub(crate) fn changes(
    given: pb::Endpoint,
    paths: &[String],
    read: impl Fn(&str) -> Result<Target, Broken>,
) -> Result<Changes, WebhookError> {
    let is_known = |path: &String| path == "*" || CHANGEABLE.contains(&path.as_str());
    if !paths.iter().all(is_known) {
        let rule = "may name url, description, event_types and rate_per_second";
        return Err(Broken { field: "update_mask", rule }.into());
    }
    let names = |field: &str, is_given: bool| match paths {
        [] => is_given,
        paths => paths.iter().any(|path| path == "*" || path == field),
    };
    let description = checked_text("endpoint.description", given.description)?;
    Ok(Changes {
        target: names("url", !given.url.is_empty()).then(|| read(&given.url)).transpose()?,
        description: names("description", !description.is_empty()).then_some(description),
        event_types: names("event_types", !given.event_types.is_empty())
            .then_some(given.event_types),
        rate_per_second: names("rate_per_second", given.rate_per_second != 0)
            .then_some(given.rate_per_second),
    })
}

/// PostgreSQL keeps no U+0000.
fn checked_text(field: &'static str, text: String) -> Result<String, Broken> {
    if text.contains('\0') {
        return Err(Broken { field, rule: "must not contain U+0000" });
    }
    Ok(text)
}

pub(crate) fn endpoint(endpoint: Endpoint) -> pb::Endpoint {
    let state = match endpoint.disabled {
        None => pb::EndpointState::Enabled,
        Some(_) => pb::EndpointState::Disabled,
    };
    let reason = endpoint.disabled.map_or(pb::DisabledReason::Unspecified, disabled_reason);
    pb::Endpoint {
        id: endpoint.id.to_string(),
        url: endpoint.url,
        description: endpoint.description,
        event_types: endpoint.event_types,
        rate_per_second: endpoint.rate_per_second,
        state: state.into(),
        disabled_reason: reason.into(),
        paused_until: endpoint.paused_until.map(mesh::wire::timestamp),
        signing_keys: endpoint.keys.into_iter().map(signing_key).collect(),
        created_at: Some(mesh::wire::timestamp(endpoint.created_at)),
        updated_at: Some(mesh::wire::timestamp(endpoint.updated_at)),
    }
}

pub(crate) fn disabled_reason(reason: DisabledReason) -> pb::DisabledReason {
    match reason {
        DisabledReason::Requested => pb::DisabledReason::Requested,
        DisabledReason::Gone => pb::DisabledReason::Gone,
        DisabledReason::Failing => pb::DisabledReason::Failing,
    }
}

fn signing_key(key: SigningKey) -> pb::SigningKey {
    let scheme = match key.scheme {
        Scheme::Hmac => pb::SignatureScheme::Hmac,
        Scheme::Ed25519 => pb::SignatureScheme::Ed25519,
    };
    pb::SigningKey {
        id: key.id.to_string(),
        scheme: scheme.into(),
        public_key: key.public_key.unwrap_or_default(),
        created_at: Some(mesh::wire::timestamp(key.created_at)),
        expires_at: key.expires_at.map(mesh::wire::timestamp),
    }
}

pub(crate) fn delivery(delivery: Delivery) -> pb::Delivery {
    let state = match delivery.state {
        DeliveryState::Pending => pb::DeliveryState::Pending,
        DeliveryState::Delivered => pb::DeliveryState::Delivered,
        DeliveryState::Failed => pb::DeliveryState::Failed,
    };
    pb::Delivery {
        id: delivery.id.to_string(),
        message_id: message::shown(delivery.message),
        endpoint_id: delivery.endpoint.to_string(),
        event_type: delivery.event_type,
        state: state.into(),
        attempts: delivery.attempts,
        next_attempt_at: delivery.next_attempt_at.map(mesh::wire::timestamp),
        created_at: Some(mesh::wire::timestamp(delivery.created_at)),
        finished_at: delivery.finished_at.map(mesh::wire::timestamp),
    }
}

pub(crate) fn attempt(attempt: Attempt) -> pb::Attempt {
    let outcome = match attempt.outcome {
        Outcome::Delivered => pb::AttemptOutcome::Delivered,
        Outcome::Refused => pb::AttemptOutcome::Refused,
        Outcome::Timeout => pb::AttemptOutcome::Timeout,
        Outcome::Unreachable => pb::AttemptOutcome::Unreachable,
        Outcome::AddressRefused => pb::AttemptOutcome::AddressRefused,
    };
    pb::Attempt {
        number: attempt.number,
        started_at: Some(mesh::wire::timestamp(attempt.started_at)),
        outcome: outcome.into(),
        status: attempt.status.unwrap_or_default(),
        latency_ms: attempt.latency_ms,
        response: attempt.response,
    }
}

pub(crate) fn filter(request: &pb::ListDeliveriesRequest) -> Result<Filter, Status> {
    let message = match &*request.message_id {
        "" => None,
        id => Some(message_id("message_id", id)?),
    };
    let state = match request.state() {
        pb::DeliveryState::Unspecified => None,
        pb::DeliveryState::Pending => Some(DeliveryState::Pending),
        pb::DeliveryState::Delivered => Some(DeliveryState::Delivered),
        pb::DeliveryState::Failed => Some(DeliveryState::Failed),
    };
    let endpoint = optional_id("endpoint_id", &request.endpoint_id)?;
    Ok(Filter { endpoint, message, state })
}

/// A provider as it is given, its rules unchecked, and its secrets.
pub(crate) fn new_provider(
    name: String,
    given: pb::Provider,
    now: DateTime<Utc>,
) -> Result<(Provider, Secrets), WebhookError> {
    let scheme = match given.scheme() {
        pb::ProviderScheme::Hmac => ProviderScheme::Hmac,
        pb::ProviderScheme::Timestamped => ProviderScheme::Timestamped,
        // The contract refuses what is not said.
        pb::ProviderScheme::Standard | pb::ProviderScheme::Unspecified => ProviderScheme::Standard,
    };
    let encoding = match given.encoding() {
        pb::Encoding::Base64 => Encoding::Base64,
        pb::Encoding::Hex | pb::Encoding::Unspecified => Encoding::Hex,
    };
    let provider = Provider {
        name,
        scheme,
        header: given.header,
        prefix: checked_text("provider.prefix", given.prefix)?,
        encoding,
        id_pointer: checked_text("provider.id_pointer", given.id_pointer)?,
        updated_at: now,
    };
    Ok((provider, Zeroizing::new(given.secrets)))
}

pub(crate) fn provider(provider: Provider) -> pb::Provider {
    let scheme = match provider.scheme {
        ProviderScheme::Standard => pb::ProviderScheme::Standard,
        ProviderScheme::Hmac => pb::ProviderScheme::Hmac,
        ProviderScheme::Timestamped => pb::ProviderScheme::Timestamped,
    };
    let encoding = match (provider.scheme, provider.encoding) {
        (ProviderScheme::Hmac, Encoding::Hex) => pb::Encoding::Hex,
        (ProviderScheme::Hmac, Encoding::Base64) => pb::Encoding::Base64,
        _ => pb::Encoding::Unspecified,
    };
    pb::Provider {
        name: provider.name,
        scheme: scheme.into(),
        header: provider.header,
        prefix: provider.prefix,
        encoding: encoding.into(),
        id_pointer: provider.id_pointer,
        secrets: Vec::new(),
        updated_at: Some(mesh::wire::timestamp(provider.updated_at)),
    }
}

/// Reads a time.
pub(crate) fn time(
    field: &'static str,
    at: Option<&Timestamp>,
) -> Result<DateTime<Utc>, WebhookError> {
    let at = at.and_then(mesh::wire::time);
    at.ok_or_else(|| Broken { field, rule: "must be a time of the calendar" }.into())
}

/// Reads the id of a message.
pub(crate) fn message_id(field: &'static str, text: &str) -> Result<Uuid, WebhookError> {
    message::parse(text).ok_or_else(|| Broken { field, rule: "must be msg_ with its id" }.into())
}

/// Reads an id that may be empty.
pub(crate) fn optional_id(field: &str, text: &str) -> Result<Option<Uuid>, Status> {
    if text.is_empty() { Ok(None) } else { mesh::wire::id(field, text).map(Some) }
}

/// Reads where a page begins: after the id of the last entry before it.
pub(crate) fn page(token: &str) -> Result<Option<Uuid>, Status> {
    optional_id("page_token", token)
}

/// Entries to ask for: one more than the page has tells whether there is another page.
pub(crate) fn limit(size: usize) -> i64 {
    i64::try_from(size).map_or(i64::MAX, |size| size.saturating_add(1))
}

/// Cuts what was found to a page, and makes the token of the next one.
pub(crate) fn cut<T>(mut found: Vec<T>, size: usize, id: impl Fn(&T) -> Uuid) -> (Vec<T>, String) {
    if found.len() <= size {
        return (found, String::new());
    }
    found.truncate(size);
    let token = found.last().map(|last| id(last).to_string()).unwrap_or_default();
    (found, token)
}

pub(crate) fn count(of: i64) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

pub(crate) fn received(kept: Kept) -> pb::Received {
    pb::Received {
        id: kept.id.to_string(),
        provider: kept.provider,
        provider_id: kept.provider_id,
        content_type: kept.content_type,
        body: kept.body,
        received_at: Some(mesh::wire::timestamp(kept.received_at)),
    }
}
