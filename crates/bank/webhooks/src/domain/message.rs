//! Messages: what is sent, under which id.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// Begins the ids of messages.
const PREFIX: &str = "msg_";

/// Type of the messages by which an endpoint is tried.
pub(crate) const PING: &str = "webhooks.ping";

/// Something that happened, to be told to the endpoints that ask for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence<'a> {
    /// Type of the event.
    pub(crate) kind: &'a str,
    /// When it happened.
    pub(crate) at: DateTime<Utc>,
    /// Data of the event, in JSON.
    pub(crate) data: &'a RawValue,
}

impl Occurrence<'_> {
    /// The payload as the specification recommends it; these bytes are signed and sent.
    pub(crate) fn payload(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Payload<'a> {
            r#type: &'a str,
            timestamp: String,
            data: &'a RawValue,
        }
        let payload = Payload {
            r#type: self.kind,
            timestamp: self.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            data: self.data,
        };
        #[expect(clippy::expect_used, reason = "strings and JSON that was read become JSON")]
        serde_json::to_vec(&payload).expect("a payload becomes JSON")
    }
}

/// The `webhook-id` of a message: the same with every attempt, and without a full stop.
pub(crate) fn shown(id: Uuid) -> String {
    format!("{PREFIX}{}", id.simple())
}

/// Reads what [`shown`] wrote.
pub(crate) fn parse(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text.strip_prefix(PREFIX)?).ok()
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DeliveryState {
    Pending,
    Delivered,
    Failed,
}

impl DeliveryState {
    pub(crate) const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Delivered => "DELIVERED",
            Self::Failed => "FAILED",
        }
    }
}

/// A message on its way to an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) id: Uuid,
    pub(crate) message: Uuid,
    pub(crate) endpoint: Uuid,
    pub(crate) event_type: String,
    pub(crate) state: DeliveryState,
    pub(crate) attempts: i32,
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_minified_and_keeps_the_data_digit_for_digit() {
        let data = RawValue::from_string(r#"{"amount":10.50,"b":1}"#.into()).unwrap();
        let at = DateTime::from_timestamp_micros(1_800_000_000_120_000).unwrap();
        let occurrence = Occurrence { kind: "transaction.completed", at, data: &data };

        assert_eq!(
            String::from_utf8(occurrence.payload()).unwrap(),
            r#"{"type":"transaction.completed","timestamp":"2027-01-15T08:00:00.120Z","data":{"amount":10.50,"b":1}}"#
        );
    }

    #[test]
    fn ids_are_read_as_they_are_shown() {
        let id = Uuid::now_v7();
        assert_eq!(parse(&shown(id)), Some(id));
        assert!(!shown(id).contains('.'));
        assert_eq!(parse("msg_1"), None);
        assert_eq!(parse(&id.to_string()), None);
    }
}
