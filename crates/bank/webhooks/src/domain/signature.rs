//! Signatures of the Standard Webhooks specification 1.0.0: `v1` (HMAC-SHA256) and `v1a` (Ed25519).

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use sealing::SealError;
use zeroize::Zeroizing;

/// Names of the headers.
pub(crate) mod header {
    pub(crate) const ID: &str = "webhook-id";
    pub(crate) const TIMESTAMP: &str = "webhook-timestamp";
    pub(crate) const SIGNATURE: &str = "webhook-signature";
}

/// Prefix of HMAC secrets.
const HMAC_SECRET: &str = "whsec_";
/// Prefix of Ed25519 public keys.
const PUBLIC_KEY: &str = "whpk_";

/// Length of an HMAC secret, where the specification asks for 24 to 64 bytes.
const HMAC_SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// How far the timestamp of a message may be from now: against replays, for clocks that differ.
pub(crate) const TOLERANCE: Duration = Duration::from_mins(5);

/// How an endpoint's messages are signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    Hmac,
    Ed25519,
}

impl Scheme {
    pub(crate) const ALL: [Self; 2] = [Self::Hmac, Self::Ed25519];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hmac => "HMAC",
            Self::Ed25519 => "ED25519",
        }
    }
}

/// A secret that signs.
pub(crate) struct Secret {
    scheme: Scheme,
    bytes: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// A new one: 32 random bytes, of Ed25519 the seed of the key.
    pub(crate) fn generate(scheme: Scheme) -> Result<Self, SealError> {
        Ok(Self { scheme, bytes: Zeroizing::new(sealing::random::<32>()?.to_vec()) })
    }

    /// The secret that was kept.
    pub(crate) fn restore(scheme: Scheme, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { scheme, bytes }
    }

    /// What is kept of it, encrypted.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What its receiver verifies with: the secret itself, `whsec_...`, or the public key, `whpk_...`.
    pub(crate) fn shown(&self) -> Result<String, SealError> {
        Ok(match self.scheme {
            Scheme::Hmac => format!("{HMAC_SECRET}{}", STANDARD.encode(&*self.bytes)),
            Scheme::Ed25519 => {
                format!("{PUBLIC_KEY}{}", STANDARD.encode(self.key_pair()?.public_key()))
            }
        })
    }

    /// Signs a message, as one entry of the header.
    pub(crate) fn sign(&self, id: &str, at: i64, body: &[u8]) -> Result<String, SealError> {
        let signed = content(id, &at.to_string(), body);
        Ok(match self.scheme {
            Scheme::Hmac => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.bytes);
                format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)))
            }
            Scheme::Ed25519 => {
                format!("v1a,{}", STANDARD.encode(self.key_pair()?.sign(&signed)))
            }
        })
    }

    fn key_pair(&self) -> Result<Ed25519KeyPair, SealError> {
        Ed25519KeyPair::from_seed_unchecked(&self.bytes).map_err(|_| SealError)
    }
}

/// What a message was signed with, seen from its receiver.
pub(crate) enum VerifyingKey {
    Hmac(Box<hmac::Key>),
    Ed25519(Vec<u8>),
}

impl VerifyingKey {
    /// Reads `whsec_...` or `whpk_...`; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(secret) = text.strip_prefix(HMAC_SECRET) {
            let secret = Zeroizing::new(decode(secret)?);
            HMAC_SECRET_BYTES
                .contains(&secret.len())
                .then(|| Self::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret))))
        } else {
            let key = decode(text.strip_prefix(PUBLIC_KEY)?)?;
            (key.len() == 32).then_some(Self::Ed25519(key))
        }
    }

    /// Whether this key made one entry of the header. The time does not tell how wrong it is.
    fn made(&self, entry: &str, signed: &[u8]) -> bool {
        let Some((version, signature)) = entry.split_once(',') else { return false };
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        match (self, version) {
            (Self::Hmac(key), "v1") => hmac::verify(key, signed, &signature).is_ok(),
            (Self::Ed25519(key), "v1a") => {
                UnparsedPublicKey::new(&ED25519, key).verify(signed, &signature).is_ok()
            }
            _ => false,
        }
    }
}

/// Why a message is not taken for its sender's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Forged {
    /// A header is missing or malformed, or no secret made any of the signatures.
    Signature,
    /// It is too old or too new.
    Timestamp,
}

/// What the sender says of a message, in its headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) id: &'a str,
    pub(crate) timestamp: &'a str,
    /// Entries with spaces between.
    pub(crate) signatures: &'a str,
}

/// Checks that one of `keys` signed the message, within the tolerance around `now`.
pub(crate) fn verify(
    keys: &[VerifyingKey],
    signed: Signed<'_>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Forged> {
    let Signed { id, timestamp, signatures } = signed;
    check_time(timestamp, now)?;
    // An id with a full stop could be read as an id and the begin of a timestamp.
    if id.is_empty() || id.contains('.') {
        return Err(Forged::Signature);
    }
    let content = content(id, timestamp, body);
    let is_made =
        signatures.split(' ').any(|entry| keys.iter().any(|key| key.made(entry, &content)));
    if is_made { Ok(()) } else { Err(Forged::Signature) }
}

/// Checks that a time in Unix seconds is within the tolerance around `now`.
pub(crate) fn check_time(timestamp: &str, now: DateTime<Utc>) -> Result<(), Forged> {
    let at: i64 = timestamp.parse().map_err(|_| Forged::Signature)?;
    let apart = Duration::from_secs(at.abs_diff(now.timestamp()));
    if apart > TOLERANCE { Err(Forged::Timestamp) } else { Ok(()) }
}

fn content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

/// Base64 with or without its padding: some providers show secrets without.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests;
