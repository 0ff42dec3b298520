//! What providers send, and how they sign it.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Broken;
use super::signature::{self, Forged, Signed, VerifyingKey, check_time, verify};

/// Header of the timestamped scheme when none is named.
const TIMESTAMPED_HEADER: &str = "stripe-signature";
/// Where a timestamped message has its id when no place is named.
const TIMESTAMPED_ID: &str = "/id";

/// Longest id of a provider's message.
const ID_BYTES_MAX: usize = 256;

/// How a provider's signature is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ProviderScheme {
    /// The Standard Webhooks specification.
    Standard,
    /// HMAC-SHA256 of the body in a header.
    Hmac,
    /// `t=<time>,v1=<hex>` in a header: HMAC-SHA256 of `<time>.<body>`.
    Timestamped,
}

impl ProviderScheme {
    pub(crate) const ALL: [Self; 3] = [Self::Standard, Self::Hmac, Self::Timestamped];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::Hmac => "HMAC",
            Self::Timestamped => "TIMESTAMPED",
        }
    }
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoding {
    Hex,
    Base64,
}

impl Encoding {
    pub(crate) const ALL: [Self; 2] = [Self::Hex, Self::Base64];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hex => "HEX",
            Self::Base64 => "BASE64",
        }
    }

    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => hex::decode(text).ok(),
            Self::Base64 => STANDARD.decode(text).ok(),
        }
    }
}

/// Whose webhooks are received.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) scheme: ProviderScheme,
    pub(crate) header: String,
    pub(crate) prefix: String,
    pub(crate) encoding: Encoding,
    pub(crate) id_pointer: String,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Secrets as the provider gave them.
pub(crate) type Secrets = Zeroizing<Vec<String>>;

impl Provider {
    /// Checks what the scheme needs and what it has no use for, and fills in what it is known for.
    pub(crate) fn checked(mut self, secrets: &[String]) -> Result<Self, Broken> {
        let refused = |field, rule| Err(Broken { field, rule });
        self.header.make_ascii_lowercase();
        if secrets.is_empty() {
            return refused("provider.secrets", "must have at least one secret");
        }
        let is_hmac = self.scheme == ProviderScheme::Hmac;
        if !is_hmac && (!self.prefix.is_empty() || self.encoding != Encoding::Hex) {
            return refused("provider.prefix", "prefix and encoding are for HMAC alone");
        }
        match self.scheme {
            ProviderScheme::Standard => {
                if !self.header.is_empty() || !self.id_pointer.is_empty() {
                    return refused("provider.header", "STANDARD has headers of its own");
                }
                if secrets.iter().any(|secret| VerifyingKey::parse(secret).is_none()) {
                    return refused("provider.secrets", "must be whsec_ or whpk_ with its base64");
                }
            }
            ProviderScheme::Hmac if !self.header.starts_with("x-") => {
                return refused("provider.header", "must begin with x-");
            }
            ProviderScheme::Hmac => {}
            ProviderScheme::Timestamped => {
                if self.header.is_empty() {
                    TIMESTAMPED_HEADER.clone_into(&mut self.header);
                }
                if self.id_pointer.is_empty() {
                    TIMESTAMPED_ID.clone_into(&mut self.id_pointer);
                }
            }
        }
        Ok(self)
    }

    /// Verifies a message and returns the id that its provider gave it.
    ///
    /// `header` finds a header that stands there once.
    pub(crate) fn receive<'h>(
        &self,
        secrets: &[String],
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<String, Refused> {
        match self.scheme {
            ProviderScheme::Standard => standard(secrets, header, body, now),
            ProviderScheme::Hmac => {
                let given = header(&self.header).ok_or(Forged::Signature)?;
                self.check_hmac(secrets, given, body)?;
                self.id_of(body)
            }
            ProviderScheme::Timestamped => {
                let given = header(&self.header).ok_or(Forged::Signature)?;
                check_timestamped(secrets, given, body, now)?;
                self.id_of(body)
            }
        }
    }

    fn check_hmac(&self, secrets: &[String], given: &str, body: &[u8]) -> Result<(), Forged> {
        let given = given.strip_prefix(&self.prefix).ok_or(Forged::Signature)?;
        let given = self.encoding.decode(given).ok_or(Forged::Signature)?;
        if is_made(secrets, body, &given) { Ok(()) } else { Err(Forged::Signature) }
    }

    /// The id in the body, which the signature covers; the body's digest when none is named.
    fn id_of(&self, body: &[u8]) -> Result<String, Refused> {
        if self.id_pointer.is_empty() {
            return Ok(hex::encode(Sha256::digest(body)));
        }
        let body: Value = serde_json::from_slice(body).map_err(|_| Refused::NoId)?;
        let id = match body.pointer(&self.id_pointer) {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => return Err(Refused::NoId),
        };
        checked_id(id)
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// It is not the provider's, or too old.
    Forged(Forged),
    /// Its id is not where the provider's messages have it.
    NoId,
}

impl From<Forged> for Refused {
    fn from(forged: Forged) -> Self {
        Self::Forged(forged)
    }
}

fn standard<'h>(
    secrets: &[String],
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<String, Refused> {
    let find = |name| header(name).ok_or(Forged::Signature);
    let signed = Signed {
        id: find(signature::header::ID)?,
        timestamp: find(signature::header::TIMESTAMP)?,
        signatures: find(signature::header::SIGNATURE)?,
    };
    let keys: Vec<_> = secrets.iter().filter_map(|secret| VerifyingKey::parse(secret)).collect();
    verify(&keys, signed, body, now)?;
    checked_id(signed.id.to_owned())
}

/// `t=<Unix seconds>,v1=<hex>`, with several `v1` while the provider changes its secret.
fn check_timestamped(
    secrets: &[String],
    given: &str,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Forged> {
    let parts = || given.split(',').filter_map(|part| part.trim().split_once('='));
    let (_, timestamp) = parts().find(|(name, _)| *name == "t").ok_or(Forged::Signature)?;
    let signed = [timestamp.as_bytes(), b".", body].concat();
    let is_made = parts()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, signature)| hex::decode(signature).ok())
        .any(|signature| is_made(secrets, &signed, &signature));
    if !is_made {
        return Err(Forged::Signature);
    }
    check_time(timestamp, now)
}

/// Whether one of the secrets made this HMAC-SHA256.
fn is_made(secrets: &[String], signed: &[u8], signature: &[u8]) -> bool {
    secrets.iter().any(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hmac::verify(&key, signed, signature).is_ok()
    })
}

fn checked_id(id: String) -> Result<String, Refused> {
    let is_good = !id.is_empty() && id.len() <= ID_BYTES_MAX && !id.contains('\0');
    if is_good { Ok(id) } else { Err(Refused::NoId) }
}

#[cfg(test)]
mod tests;
