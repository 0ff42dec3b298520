//! Public keys and where they come from.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// One RSA public key that verifies RS256 signatures (RFC 7517, RFC 7518 section 6.3).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Jwk {
    /// Key type: `RSA`.
    pub kty: String,
    /// Use: `sig`.
    #[serde(rename = "use")]
    pub key_use: String,
    /// Algorithm: `RS256`.
    pub alg: String,
    /// Key id, named in the header of each token.
    pub kid: String,
    /// Modulus, base64url.
    pub n: String,
    /// Exponent, base64url.
    pub e: String,
}

impl Jwk {
    /// The key with this modulus and exponent (big-endian, no leading zeros); its id is its
    /// RFC 7638 thumbprint.
    pub(crate) fn rs256(modulus: &[u8], exponent: &[u8]) -> Self {
        let n = URL_SAFE_NO_PAD.encode(modulus);
        let e = URL_SAFE_NO_PAD.encode(exponent);
        let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        let thumbprint = digest::digest(&digest::SHA256, canonical.as_bytes());
        Self {
            kty: "RSA".to_owned(),
            key_use: "sig".to_owned(),
            alg: "RS256".to_owned(),
            kid: URL_SAFE_NO_PAD.encode(thumbprint),
            n,
            e,
        }
    }
}

/// The keys could not be read. The message is for logs, without secrets.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot read the verification keys: {0}")]
pub struct KeyError(pub String);

/// Where a verifier reads the keys in use.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// Reads all keys in use. Called from a task of its own, one at a time, at most once a second.
    async fn fetch(&self) -> Result<Vec<Jwk>, KeyError>;
}

/// Keys held in memory: for tests.
#[derive(Debug)]
pub struct StaticKeys(ArcSwap<Vec<Jwk>>);

impl StaticKeys {
    /// A source of exactly these keys.
    pub fn new(keys: Vec<Jwk>) -> Self {
        Self(ArcSwap::from_pointee(keys))
    }

    /// Replaces the keys.
    pub fn set(&self, keys: Vec<Jwk>) {
        self.0.store(Arc::new(keys));
    }
}

#[async_trait]
impl KeySource for StaticKeys {
    async fn fetch(&self) -> Result<Vec<Jwk>, KeyError> {
        Ok(self.0.load().to_vec())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of RFC 7638, section 3.1.
    #[test]
    fn key_id_is_the_rfc_7638_thumbprint() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

        let key = Jwk::rs256(&URL_SAFE_NO_PAD.decode(n).unwrap(), &[1, 0, 1]);

        assert_eq!(key.kid, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(key.e, "AQAB");
    }
}
