//! Key sets as they are published, and keys made ready to verify with.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::{Algorithm, Jwk, KeyError};

/// One key of a set (RFC 7517). Members that we have no use for are not read.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub(crate) struct Published {
    pub(super) kid: String,
    kty: String,
    #[serde(rename = "use")]
    key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a JSON Web Key Set. Those of unknown shapes, and those without a name, are left out,
/// as RFC 7517 section 5 has it.
pub(super) fn read_set(json: &[u8]) -> Result<Vec<Published>, KeyError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set =
        serde_json::from_slice(json).map_err(|_| KeyError("no JSON Web Key Set".to_owned()))?;
    Ok(set.keys.into_iter().filter_map(|key| Published::deserialize(key).ok()).collect())
}

impl From<Jwk> for Published {
    fn from(key: Jwk) -> Self {
        Self {
            kid: key.kid,
            kty: key.kty,
            key_use: Some(key.key_use),
            alg: Some(key.alg),
            n: Some(key.n),
            e: Some(key.e),
            ..Self::default()
        }
    }
}

impl Published {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.key_use.as_deref().is_none_or(|key_use| key_use == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"))
            && self.alg.as_deref().is_none_or(|name| Algorithm::named(name) == Some(algorithm))
    }

    /// The key as `algorithm` takes it; none when it is for something else.
    fn prepare(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        if !self.is_for(algorithm) {
            return None;
        }
        match algorithm {
            Algorithm::RS256 => self.rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => self.rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => self.rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => self.rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => self.rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => self.rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => self.ec("P-256", 32, &ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => self.ec("P-384", 48, &ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => self.ed25519(),
        }
    }

    fn rsa(&self, parameters: &'static RsaParameters) -> Option<ParsedPublicKey> {
        if self.kty != "RSA" {
            return None;
        }
        let (n, e) = (number(self.n.as_ref()?)?, number(self.e.as_ref()?)?);
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        if !(2048..=8192).contains(&bits) {
            return None;
        }
        RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
    }

    fn ec(
        &self,
        curve: &str,
        bytes: usize,
        algorithm: &'static dyn VerificationAlgorithm,
    ) -> Option<ParsedPublicKey> {
        if self.kty != "EC" || self.crv.as_deref() != Some(curve) {
            return None;
        }
        let (x, y) = (decode(self.x.as_ref()?)?, decode(self.y.as_ref()?)?);
        // The uncompressed form of SEC 1, section 2.3.3.
        let fits = x.len() == bytes && y.len() == bytes;
        fits.then(|| ParsedPublicKey::new(algorithm, [&[4], &x[..], &y].concat()).ok())?
    }

    fn ed25519(&self) -> Option<ParsedPublicKey> {
        if self.kty != "OKP" || self.crv.as_deref() != Some("Ed25519") {
            return None;
        }
        ParsedPublicKey::new(&ED25519, decode(self.x.as_ref()?)?).ok()
    }
}

fn decode(base64: &String) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64).ok()
}

/// A number without the zeros that some publishers put in front.
fn number(base64: &String) -> Option<Vec<u8>> {
    let bytes = decode(base64)?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[first..].to_vec())
}

/// A key ready to verify with: made ready again for each token, it would cost microseconds each time.
pub(crate) struct Key {
    pub(super) published: Published,
    prepared: Vec<(Algorithm, ParsedPublicKey)>,
    withdrawn: AtomicBool,
}

impl Key {
    /// The key for those of `algorithms` that it is meant for; none when there are none.
    pub(super) fn new(published: Published, algorithms: &[Algorithm]) -> Option<Self> {
        let prepare = |algorithm: &Algorithm| Some((*algorithm, published.prepare(*algorithm)?));
        let prepared: Vec<_> = algorithms.iter().filter_map(prepare).collect();
        (!prepared.is_empty()).then_some(Self {
            published,
            prepared,
            withdrawn: AtomicBool::new(false),
        })
    }

    #[cfg(test)]
    pub(crate) fn of(key: &Jwk) -> Self {
        Self::new(Published::from(key.clone()), &[Algorithm::RS256]).unwrap()
    }

    pub(super) fn serves(&self, algorithm: Algorithm) -> bool {
        self.prepared.iter().any(|(prepared, _)| *prepared == algorithm)
    }

    /// Whether `signature` is this key's under `message`.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let prepared = self.prepared.iter().find(|(prepared, _)| *prepared == algorithm);
        prepared.is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }

    pub(super) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    /// Whether the issuer took the key back: what it signed no longer counts.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.published.kid).finish_non_exhaustive()
    }
}

impl Algorithm {
    /// The algorithm that tokens and keys call so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "PS256" => Self::PS256,
            "PS384" => Self::PS384,
            "PS512" => Self::PS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "EdDSA" => Self::EdDSA,
            _ => return None,
        })
    }
}
