//! Text messages and pushes: posted to a provider, signed as Standard Webhooks has it.

use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Carrier, ChannelError, Letter};
use crate::config::Provider;
use crate::domain::attempts::{Failure, Outcome};

/// Most bytes of a provider's answer that are looked at.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Most characters of a provider's name for a message.
const REFERENCE_CHARS_MAX: usize = 100;

/// One provider.
pub(super) struct Webhook {
    client: Client,
    url: Url,
    key: hmac::Key,
}

/// What is posted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'l> {
    /// The same for every attempt.
    id: Uuid,
    channel: &'static str,
    /// A telephone number (E.164) for SMS, the user's id for push.
    to: &'l str,
    title: &'l str,
    text: &'l str,
    locale: &'l str,
}

/// What of the answer is kept.
#[derive(Deserialize)]
struct Answer {
    id: String,
}

impl Webhook {
    pub(super) fn new(
        setting: &'static str,
        provider: &Provider,
        timeout: Duration,
    ) -> Result<Self, ChannelError> {
        let invalid = |rule| ChannelError::Setting { setting, rule };
        let url: Url = provider.url.parse().map_err(|_| invalid("must have a `url`"))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(invalid("must have a `url` of https or http"));
        }
        let secret = provider.secret.reveal().strip_prefix("whsec_");
        let secret = secret.and_then(|secret| BASE64_STANDARD.decode(secret).ok());
        let secret = secret.filter(|secret| secret.len() >= 24);
        let secret = secret.ok_or_else(|| {
            invalid("must have a `secret`: `whsec_` and base64 of 24 bytes or more")
        })?;
        // Fails when it is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder().timeout(timeout).redirect(Policy::none()).build()?;
        Ok(Self { client, url, key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    fn signature(&self, id: Uuid, seconds: i64, body: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(tag))
    }

    async fn post(&self, letter: &Letter<'_>) -> Result<Outcome, reqwest::Error> {
        let body = serde_json::json!(Posted {
            id: letter.id,
            channel: letter.channel.as_str(),
            to: letter.address,
            title: &letter.words.title,
            text: &letter.words.short,
            locale: letter.words.locale,
        })
        .to_string();
        let seconds = letter.now.timestamp();
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", letter.id.to_string())
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", self.signature(letter.id, seconds, &body))
            .body(body);
        let answer = request.send().await?;
        if answer.status().is_success() {
            return Ok(Outcome::Sent { reference: reference(answer).await });
        }
        Ok(refused(&answer))
    }
}

#[async_trait]
impl Carrier for Webhook {
    async fn carry(&self, letter: Letter<'_>) -> Outcome {
        let channel = letter.channel.as_str();
        match self.post(&letter).await {
            Ok(outcome) => {
                if !matches!(outcome, Outcome::Sent { .. }) {
                    tracing::warn!(channel, ?outcome, "a provider did not take a message");
                }
                outcome
            }
            Err(error) => {
                let reason = if error.is_timeout() { "TIMED_OUT" } else { "UNREACHABLE" };
                tracing::warn!(channel, error = %error.without_url(), "a provider does not answer");
                Outcome::unsure(reason)
            }
        }
    }
}

/// What an answer other than yes means. What says that this message is wrong is final; what may say
/// that our settings are is not.
fn refused(answer: &Response) -> Outcome {
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = seconds.and_then(|it| it.parse().ok()).map(Duration::from_secs);
    let reason = match answer.status() {
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_FOUND
        | StatusCode::GONE
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => return Outcome::Refused("REJECTED"),
        StatusCode::TOO_MANY_REQUESTS => "RATE_LIMITED",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "NOT_ADMITTED",
        status if status.is_server_error() => "DEFERRED",
        _ => "UNEXPECTED_ANSWER",
    };
    Outcome::Unsure(Failure { reason, retry_after })
}

/// The provider's name for what it took; the message is taken whatever else the answer says.
async fn reference(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return String::new();
        }
    }
    let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
    let id = answer.map(|answer| answer.id).unwrap_or_default();
    id.chars().filter(char::is_ascii_graphic).take(REFERENCE_CHARS_MAX).collect()
}
