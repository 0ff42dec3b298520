//! Takes a compact JWT (RFC 7519) apart. Nothing that it says is believed yet.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use crate::{Algorithm, TokenError};

/// Longest token that is looked at. Ours have about 800 bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Bytes of the longest signature: RSA with 8192 bits.
const SIGNATURE_BYTES_MAX: usize = 1024;

/// The parts of a token.
pub(super) struct Compact<'t> {
    /// What the signature is about.
    pub(super) signed: &'t [u8],
    pub(super) algorithm: Algorithm,
    /// Names the key. Keys in `jwk`, `jku`, `x5c` and `x5u` are never looked at.
    pub(super) kid: String,
    pub(super) payload: Map<String, Value>,
    signature: [u8; SIGNATURE_BYTES_MAX],
    signature_bytes: usize,
}

impl<'t> Compact<'t> {
    pub(super) fn read(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, encoded) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let (algorithm, kid) = read_header(&object(header)?)?;
        let payload = object(payload)?;
        let mut signature = [0; SIGNATURE_BYTES_MAX];
        let signature_bytes = URL_SAFE_NO_PAD
            .decode_slice(encoded, &mut signature)
            .map_err(|_| TokenError::Malformed)?;
        let signed = signed.as_bytes();
        Ok(Self { signed, algorithm, kid, payload, signature, signature_bytes })
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature[..self.signature_bytes]
    }
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    json::object(&json).ok_or(TokenError::Malformed)
}

fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, String), TokenError> {
    let algorithm = header.get("alg").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    let algorithm = Algorithm::named(algorithm).ok_or(TokenError::Untrusted)?;
    // We understand no extension, and RFC 7515 section 4.1.11 has those in `crit` understood.
    if header.contains_key("crit") {
        return Err(TokenError::Untrusted);
    }
    match header.get("kid") {
        Some(Value::String(kid)) => Ok((algorithm, kid.clone())),
        Some(_) => Err(TokenError::Malformed),
        None => Err(TokenError::Untrusted),
    }
}
