//! Verifies access tokens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::Clock;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use moka::future::Cache;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::keyring::{Keyring, Lookup};
use crate::{AUDIENCE, Claims, ISSUER, KeySource, Principal};

/// Longest token that is looked at. Ours have about 800 bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Tokens whose signature need not be checked again.
const CACHED_TOKENS_MAX: u64 = 10_000;

/// How long a signature need not be checked again.
const CACHED_FOR: Duration = Duration::from_mins(5);

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
    /// Signature, key, algorithm, issuer or audience is not ours.
    #[error("the access token is not trusted")]
    Untrusted,
    /// Its key is not at hand and identity cannot be asked. May be tried again.
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

/// Verifies access tokens against the keys of a [`KeySource`]. Clones share their caches.
///
/// Keys are read at the first token, again when a token names an unknown one (at most every
/// 5 s) and every 5 min beside the calls; the old ones stay while the source is down.
#[derive(Clone)]
pub struct TokenVerifier {
    keyring: Arc<Keyring>,
    validation: Arc<Validation>,
    leeway_seconds: i64,
    clock: Clock,
    /// Claims by SHA-256 of the whole token; times are checked at every look.
    verified: Cache<[u8; 32], Arc<Claims>>,
}

impl TokenVerifier {
    /// A verifier that has read no key yet.
    pub fn new(source: Arc<dyn KeySource>, config: VerifierConfig, clock: Clock) -> Self {
        let verified =
            Cache::builder().max_capacity(CACHED_TOKENS_MAX).time_to_live(CACHED_FOR).build();
        // What a withdrawn key signed no longer counts.
        let outdated = verified.clone();
        Self {
            keyring: Keyring::new(source, move || outdated.invalidate_all()),
            leeway_seconds: i64::try_from(config.leeway.as_secs()).unwrap_or(i64::MAX),
            validation: Arc::new(validation(&config)),
            clock,
            verified,
        }
    }

    /// Verifies a compact JWT, without `Bearer`.
    pub async fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let digest = sha256(token);
        let claims = match self.verified.get(&digest).await {
            Some(claims) => claims,
            None => self.verify_signature(token, digest).await?,
        };
        self.check_times(&claims)?;
        Ok(Principal::from(&*claims))
    }

    async fn verify_signature(
        &self,
        token: &str,
        digest: [u8; 32],
    ) -> Result<Arc<Claims>, TokenError> {
        let kid = key_id(token)?;
        let key = match self.keyring.find(&kid).await {
            Lookup::Found(key) => key,
            Lookup::Unknown => return Err(TokenError::Untrusted),
            Lookup::Unavailable => return Err(TokenError::KeysUnavailable),
        };
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &self.validation)
            .map_err(|error| refusal(error.kind()))?;
        let claims = Arc::new(decoded.claims);
        self.verified.insert(digest, Arc::clone(&claims)).await;
        Ok(claims)
    }

    fn check_times(&self, claims: &Claims) -> Result<(), TokenError> {
        let now = self.clock.now().timestamp();
        if claims.exp.saturating_add(self.leeway_seconds) <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf.saturating_sub(self.leeway_seconds) > now {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier").finish_non_exhaustive()
    }
}

/// Signature, issuer and audience; the times are checked against our clock instead.
fn validation(config: &VerifierConfig) -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[&config.issuer]);
    validation.set_audience(&[&config.audience]);
    validation.set_required_spec_claims(&["iss", "aud"]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

/// The members of a token's header that decide; keys in `jwk`, `jku`, `x5c` are never looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// The key that an RS256 token names.
fn key_id(token: &str) -> Result<String, TokenError> {
    let (header, _) = token.split_once('.').ok_or(TokenError::Malformed)?;
    let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
    let header: Header = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
    // We understand no extension, and RFC 7515 section 4.1.11 has those in `crit` understood.
    if header.alg != "RS256" || header.crit.is_some() {
        return Err(TokenError::Untrusted);
    }
    header.kid.ok_or(TokenError::Untrusted)
}

fn refusal(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::InvalidToken
        | ErrorKind::Base64(_)
        | ErrorKind::Json(_)
        | ErrorKind::Utf8(_) => TokenError::Malformed,
        _ => TokenError::Untrusted,
    }
}

fn sha256(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}
