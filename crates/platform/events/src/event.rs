//! What happened, in the envelope of CloudEvents 1.0.

use auth::TenantId;
use chrono::{DateTime, Utc};
use contracts::events::{self, EventType};
use http::HeaderMap;
use mesh::Context;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Largest data of an event. The database writes JSON with more spaces, and the envelope comes on top:
/// even so it fits into a record.
const DATA_BYTES_MAX: usize = 512 << 10;

/// One thing that happened, as it travels: CloudEvents 1.0, structured JSON.
///
/// Its data are the proto3 JSON of a message with the option `malha.options.v1.event`. It is
/// delivered at least once and takes effect once: whoever takes it up knows it again by its id.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Event {
    /// Always `1.0`.
    specversion: Version,
    /// Its id, a UUID: the same however often it is delivered.
    pub id: Uuid,
    /// Who tells it: `/payments`.
    pub source: String,
    /// What happened: `transaction.completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to, and its partition key: events of one subject come in their order.
    pub subject: Uuid,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// Always `application/json`.
    datacontenttype: ContentType,
    /// The message of [`data`](Self::data): `proto:malha.payments.v1.TransactionCompleted`.
    pub dataschema: String,
    /// The programme whose data it tells of.
    pub tenant: TenantId,
    /// Names the request that it goes back to, in every log.
    #[serde(rename = "correlationid")]
    pub correlation_id: String,
    /// The span that it was told in, as W3C Trace Context has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    data: Box<RawValue>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Version {
    #[serde(rename = "1.0")]
    One,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum ContentType {
    #[serde(rename = "application/json")]
    Json,
}

/// Why something is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The message has no option `malha.options.v1.event`, or it is not one of this program's.
    #[error("{0} is not registered as an event")]
    NotRegistered(String),
    /// The field that names what it happened to holds no UUID.
    #[error("the key of {0} is not a UUID")]
    Key(&'static str),
    /// Its data are larger than what every bus carries.
    #[error("the data of {kind} have {bytes} bytes, of at most {DATA_BYTES_MAX}")]
    TooLarge {
        /// Name of its type.
        kind: String,
        /// How large they are.
        bytes: usize,
    },
    /// The JSON is not that of the envelope or of the message.
    #[error("the JSON of an event is not what it should be: {0}")]
    Json(#[from] serde_json::Error),
    /// The message does not fit its descriptor.
    #[error("the bytes of a message are not those of its descriptor")]
    Decode(#[from] prost::DecodeError),
}

impl From<EventError> for storage::Error {
    /// A mistake of the program, as a statement that the database refuses is.
    fn from(error: EventError) -> Self {
        sqlx::Error::Encode(error.into()).into()
    }
}

impl Event {
    /// Tells that `message` happened to `tenant` at `time`.
    ///
    /// The id is new. The correlation id is that of the call being served, else the id itself; the
    /// trace is that of the current span.
    ///
    /// # Errors
    /// When the message is no event, or its key is no UUID: both are mistakes of the program.
    pub fn new<M: Message + Name>(
        tenant: TenantId,
        time: DateTime<Utc>,
        message: &M,
    ) -> Result<Self, EventError> {
        let registered = registered::<M>()?;
        let mut data = DynamicMessage::new(registered.message.clone());
        data.transcode_from(message)?;
        let key = registered.key().and_then(|field| data.get_field(&field).as_str().map(parse_id));
        let subject = key.flatten().ok_or(EventError::Key(&registered.name))?;
        let id = Uuid::now_v7();
        let correlation_id = Context::current()
            .map_or_else(|_| id.to_string(), |context| context.correlation_id.as_ref().to_owned());
        Ok(Self {
            specversion: Version::One,
            id,
            source: format!("/{}", registered.producer()),
            kind: registered.name.clone(),
            subject,
            time,
            datacontenttype: ContentType::Json,
            dataschema: format!("proto:{}", registered.message.full_name()),
            tenant,
            correlation_id,
            traceparent: traceparent(),
            data: to_json(&data)?,
        })
    }

    /// Refuses data that no bus might carry.
    pub(crate) fn check_size(&self) -> Result<(), EventError> {
        let bytes = self.data.get().len();
        if bytes > DATA_BYTES_MAX {
            return Err(EventError::TooLarge { kind: self.kind.clone(), bytes });
        }
        Ok(())
    }

    /// The event under an id that whoever tells it again comes to as well. For what is recorded in a
    /// commit that does not wait for the disk, and so may be told twice.
    pub fn with_id(self, id: Uuid) -> Self {
        Self { id, ..self }
    }

    /// The event as what a handler tells because of `cause`: under an id that follows from that event,
    /// its own type and its subject. Whoever takes the cause up again, as a replay does, tells the
    /// same event, and not another.
    pub fn caused_by(self, cause: &Self) -> Self {
        let digest = Sha256::digest(format!("{}|{}|{}", cause.id, self.kind, self.subject));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        self.with_id(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The JSON of its data.
    pub fn data(&self) -> &str {
        self.data.get()
    }

    /// Its data as the message that they are. Fields that this program does not know are left out.
    ///
    /// # Errors
    /// When the data are not that message's.
    pub fn decode<M: Message + Name + Default>(&self) -> Result<M, EventError> {
        let descriptor = registered::<M>()?.message.clone();
        let mut json = serde_json::Deserializer::from_str(self.data.get());
        let options = prost_reflect::DeserializeOptions::new().deny_unknown_fields(false);
        let data = DynamicMessage::deserialize_with_options(descriptor, &mut json, &options)?;
        Ok(data.transcode_to()?)
    }

    /// Reads the envelope.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(json: &str) -> Result<Self, EventError> {
        Ok(serde_json::from_str(json)?)
    }

    /// The envelope with the data, as it travels.
    #[expect(clippy::missing_panics_doc, reason = "strings, ids and JSON that is there already")]
    pub fn to_json(&self) -> String {
        #[expect(clippy::expect_used, reason = "as above")]
        serde_json::to_string(self).expect("an envelope is JSON")
    }

    /// What is registered of its type; `None` for one that this program does not know.
    pub fn event_type(&self) -> Option<&'static EventType> {
        events::by_name(&self.kind)
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        let Parts { id, kind, subject, time, tenant, metadata, data } = parts;
        let Metadata { source, dataschema, correlation_id, traceparent } = metadata;
        let (specversion, datacontenttype) = (Version::One, ContentType::Json);
        Self {
            specversion,
            id,
            source,
            kind,
            subject,
            time,
            datacontenttype,
            dataschema,
            tenant,
            correlation_id,
            traceparent,
            data,
        }
    }

    pub(crate) fn metadata(&self) -> Metadata {
        Metadata {
            source: self.source.clone(),
            dataschema: self.dataschema.clone(),
            correlation_id: self.correlation_id.clone(),
            traceparent: self.traceparent.clone(),
        }
    }
}

/// An event as the outbox keeps it.
pub(crate) struct Parts {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) subject: Uuid,
    pub(crate) time: DateTime<Utc>,
    pub(crate) tenant: TenantId,
    pub(crate) metadata: Metadata,
    pub(crate) data: Box<RawValue>,
}

/// What the outbox keeps beside its columns.
#[derive(Deserialize, Serialize)]
pub(crate) struct Metadata {
    source: String,
    dataschema: String,
    #[serde(rename = "correlationid")]
    correlation_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

fn registered<M: Name>() -> Result<&'static EventType, EventError> {
    let name = M::full_name();
    events::by_message(&name).ok_or(EventError::NotRegistered(name))
}

fn parse_id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

/// All fields, also those that are empty: who reads them need not know the contract.
fn to_json(data: &DynamicMessage) -> Result<Box<RawValue>, serde_json::Error> {
    let mut json = Vec::with_capacity(512);
    let options = SerializeOptions::new().skip_default_fields(false);
    data.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)?;
    serde_json::from_slice(&json)
}

fn traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    telemetry::inject(&mut headers);
    headers.get("traceparent")?.to_str().ok().map(str::to_owned)
}
