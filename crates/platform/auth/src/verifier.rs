//! Verifies our own access tokens.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;

use crate::{AUDIENCE, ISSUER, IssuerConfig, KeySource, Principal, Verifier};

/// Why a token does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of our shape.
    #[error("the access token is malformed")]
    Malformed,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// Signature, key, algorithm, issuer or audience is none that counts.
    #[error("the access token is not trusted")]
    Untrusted,
    /// Its key is not at hand and its issuer cannot be asked. May be tried again.
    #[error("the keys that verify access tokens are unavailable")]
    KeysUnavailable,
}

impl TokenError {
    /// Stable name of the refusal.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "TOKEN_MALFORMED",
            Self::Expired => "TOKEN_EXPIRED",
            Self::NotYetValid => "TOKEN_NOT_YET_VALID",
            Self::Untrusted => "TOKEN_UNTRUSTED",
            Self::KeysUnavailable => "KEYS_UNAVAILABLE",
        }
    }
}

/// What a verifier expects of a token.
#[derive(Clone, Debug)]
pub struct VerifierConfig {
    /// The only `iss` that counts. Default: [`ISSUER`].
    pub issuer: String,
    /// The only `aud` that counts. Default: [`AUDIENCE`].
    pub audience: String,
    /// How far clocks of the mesh may stand apart. Default: 30 s.
    pub leeway: Duration,
}

impl Default for VerifierConfig {
    fn default() -> Self {
        Self {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            leeway: Duration::from_secs(30),
        }
    }
}

/// Verifies our own access tokens: a [`Verifier`] of one issuer. Clones share their caches.
///
/// Keys are read at the first token, again when a token names an unknown one (at most once a
/// second) and every 5 min beside the calls; the old ones stay while the source is down.
#[derive(Clone, Debug)]
pub struct TokenVerifier(Verifier);

impl TokenVerifier {
    /// A verifier that has read no key yet.
    pub fn new(source: Arc<dyn KeySource>, config: VerifierConfig, clock: Clock) -> Self {
        let VerifierConfig { issuer, audience, leeway } = config;
        let audiences = vec![audience];
        let config = IssuerConfig { issuer, audiences, leeway, ..IssuerConfig::malha() };
        Self(Verifier::ours(&config, source, clock))
    }

    /// Verifies a compact JWT, without `Bearer`. One that was verified before costs well under a
    /// microsecond, and does not wait.
    pub async fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let verified = self.0.verify(token).await?;
        // All tokens of a verifier of our own have one.
        verified.principal.clone().ok_or(TokenError::Untrusted)
    }
}
