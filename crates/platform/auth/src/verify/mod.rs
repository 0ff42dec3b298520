//! Verifies tokens of several issuers.

mod cache;
mod claims;
mod compact;
mod json;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clock::Clock;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::cache::{Cache, Entry};
use self::claims::Mapping;
use self::compact::Compact;
use crate::keys::{Keyring, Lookup, Source};
use crate::{Claims, ConfigError, IssuerConfig, KeySource, KeysConfig, Principal, TokenError};

/// What a token says, once its signature, issuer, audience and times were found to hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Who issued it.
    pub issuer: Arc<str>,
    /// The user, unique within the issuer.
    pub subject: String,
    /// The tenant, when it names one.
    pub tenant: Option<String>,
    /// The tier of the user, when it names one.
    pub tier: Option<String>,
    /// Names of the user's roles.
    pub roles: Vec<String>,
    /// Names of the scopes that the token was issued for.
    pub scopes: Vec<String>,
    /// Headers that tell upstreams the claims that they want.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
    /// The token no longer counts from here on, but for the leeway.
    pub expires_at: DateTime<Utc>,
    /// The user, when the token is one of our own.
    pub principal: Option<Principal>,
    /// Whether services are shown the token itself.
    pub forward: bool,
    /// Whether the user works here, as the issuer's settings say by roles.
    pub is_staff: bool,
}

/// Our own roles that see what is for operators alone.
const STAFF: [&str; 4] = ["ADMIN", "OPERATOR", "ANALYST", "VIEWER"];

/// Verifies tokens of several issuers, and remembers those that it has. Clones share what they know.
///
/// The `iss` of a token chooses the issuer, and with it the keys, the algorithms and the audiences
/// that count. What was verified is known until the token expires or its key is withdrawn.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuers: Vec<Issuer>,
    metadata_names: Vec<HeaderName>,
    clock: Clock,
    cache: Cache,
}

struct Issuer {
    name: Arc<str>,
    config: IssuerConfig,
    keyring: Arc<Keyring>,
    mapping: Mapping,
}

impl Verifier {
    /// A verifier that has read no key yet. `mesh` has the keys of issuers with
    /// [`KeysConfig::Mesh`](crate::KeysConfig::Mesh).
    pub fn new(
        issuers: &[IssuerConfig],
        mesh: Option<Arc<dyn KeySource>>,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        let mut known: Vec<Issuer> = Vec::with_capacity(issuers.len());
        for (place, config) in issuers.iter().enumerate() {
            let within = |error: ConfigError| error.within(&format!("issuers[{place}]"));
            if known.iter().any(|other| *other.name == *config.issuer) {
                return Err(within(ConfigError::new("issuer", "is there twice")));
            }
            config.validate().map_err(within)?;
            let source =
                Source::new(&config.issuer, &config.keys, mesh.as_ref()).map_err(within)?;
            known.push(Issuer::new(config, source).map_err(within)?);
        }
        Ok(Self::of(known, clock))
    }

    /// A verifier of our own tokens alone.
    pub(crate) fn ours(config: &IssuerConfig, keys: Arc<dyn KeySource>, clock: Clock) -> Self {
        let issuer = Issuer {
            name: config.issuer.as_str().into(),
            keyring: Keyring::new(Source::Given(keys), config.algorithms.clone()),
            mapping: Mapping::default(),
            config: config.clone(),
        };
        Self::of(vec![issuer], clock)
    }

    fn of(issuers: Vec<Issuer>, clock: Clock) -> Self {
        let names = issuers.iter().flat_map(|issuer| issuer.mapping.metadata_names());
        let mut metadata_names: Vec<_> = names.cloned().collect();
        metadata_names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        metadata_names.dedup();
        Self(Arc::new(Inner { issuers, metadata_names, clock, cache: Cache::new() }))
    }

    /// Reads the key sets that are in files, as the first token of each issuer will: a file that
    /// cannot be read, or holds no key of the issuer's algorithms, is an error.
    pub async fn check_files(&self) -> Result<(), ConfigError> {
        for (place, issuer) in self.0.issuers.iter().enumerate() {
            let checked = issuer.keyring.check_file().await;
            let setting = || format!("issuers[{place}].keys.file");
            checked.map_err(|error| ConfigError::new(setting(), error))?;
        }
        Ok(())
    }

    /// Names of the headers that tell claims, of all issuers: what a client sends in them must go
    /// no further.
    pub fn metadata_names(&self) -> &[HeaderName] {
        &self.0.metadata_names
    }

    /// What is known of a token that was verified before; `None` when it must be verified (again).
    /// Takes well under a microsecond and never waits. To be called within a tokio runtime, which
    /// then reads keys again when it is time.
    pub fn cached(&self, token: &str) -> Option<Result<Arc<Verified>, TokenError>> {
        let now = self.0.clock.now().timestamp();
        let found = self.0.cache.find(token, now)?;
        let entry = found.as_ref()?;
        if entry.key.is_withdrawn() || !self.0.issuers[entry.issuer].keyring.is_fresh() {
            return None;
        }
        Some(match entry.times.refuse(now) {
            Some(refusal) => Err(refusal),
            None => Ok(Arc::clone(&entry.verified)),
        })
    }

    /// Verifies a compact JWT, without `Bearer`; looks at [`Self::cached`] first. Waits only for keys
    /// that are not at hand.
    pub async fn verify(&self, token: &str) -> Result<Arc<Verified>, TokenError> {
        match self.cached(token) {
            Some(known) => known,
            // Boxed: the future that callers hold stays small on the way that most calls take.
            None => Box::pin(self.verify_fresh(token)).await,
        }
    }

    /// Checks all else before the signature, which costs more than everything else together.
    async fn verify_fresh(&self, token: &str) -> Result<Arc<Verified>, TokenError> {
        let inner = &*self.0;
        let compact = Compact::read(token)?;
        let claims = &compact.payload;
        let name = claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
        let place = inner.issuers.iter().position(|issuer| *issuer.name == *name);
        let place = place.ok_or(TokenError::Untrusted)?;
        let issuer = &inner.issuers[place];
        if !issuer.config.algorithms.contains(&compact.algorithm) {
            return Err(TokenError::Untrusted);
        }
        issuer.check_audience(claims)?;
        let times = Times::read(claims, issuer.config.leeway.as_secs())?;
        if let Some(refusal) = times.refuse(inner.clock.now().timestamp()) {
            return Err(refusal);
        }
        let key = match issuer.keyring.find(&compact.kid, compact.algorithm).await {
            Lookup::Found(key) => key,
            Lookup::Unknown => return Err(TokenError::Untrusted),
            Lookup::Unavailable => return Err(TokenError::KeysUnavailable),
        };
        if !key.verifies(compact.algorithm, compact.signed, compact.signature()) {
            return Err(TokenError::Untrusted);
        }
        let verified = Arc::new(issuer.verified(compact.payload)?);
        let entry = Entry::new(token, Arc::clone(&verified), times, key, place);
        inner.cache.insert(entry, inner.clock.now().timestamp());
        Ok(verified)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.issuers.iter().map(|issuer| &issuer.name);
        f.debug_list().entries(names).finish()
    }
}

impl Issuer {
    fn new(config: &IssuerConfig, source: Source) -> Result<Self, ConfigError> {
        Ok(Self {
            name: config.issuer.as_str().into(),
            keyring: Keyring::new(source, config.algorithms.clone()),
            mapping: Mapping::new(&config.claims)?,
            config: config.clone(),
        })
    }

    /// The token must be for one of our names (RFC 7519 section 4.1.3).
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let is_ours = |name: &str| self.config.audiences.iter().any(|ours| ours == name);
        let meant = match claims.get("aud").ok_or(TokenError::Malformed)? {
            Value::String(name) => is_ours(name),
            Value::Array(names) => names.iter().filter_map(Value::as_str).any(is_ours),
            _ => return Err(TokenError::Malformed),
        };
        if meant { Ok(()) } else { Err(TokenError::Untrusted) }
    }

    fn is_of_staff(&self, role: &str) -> bool {
        let is_own = self.config.keys == KeysConfig::Mesh && STAFF.contains(&role);
        is_own || self.config.staff.iter().any(|staff| staff == role)
    }

    /// What a token whose signature holds says.
    fn verified(&self, claims: Map<String, Value>) -> Result<Verified, TokenError> {
        let exp = claims.get("exp").and_then(seconds).ok_or(TokenError::Malformed)?;
        let roles = self.mapping.roles(&claims);
        Ok(Verified {
            is_staff: roles.iter().any(|role| self.is_of_staff(role)),
            issuer: Arc::clone(&self.name),
            subject: self.mapping.user(&claims).ok_or(TokenError::Malformed)?,
            tenant: self.mapping.tenant(&claims),
            tier: self.mapping.tier(&claims),
            roles,
            scopes: self.mapping.scopes(&claims),
            metadata: self.mapping.metadata(&claims),
            expires_at: DateTime::from_timestamp(exp, 0).unwrap_or(DateTime::<Utc>::MAX_UTC),
            principal: match self.config.keys {
                KeysConfig::Mesh => Some(principal(claims)?),
                KeysConfig::File(_) | KeysConfig::Url(_) | KeysConfig::Provider(_) => None,
            },
            forward: self.config.forward || self.config.keys == KeysConfig::Mesh,
        })
    }
}

/// The user of a token of our own, which has all our claims.
fn principal(claims: Map<String, Value>) -> Result<Principal, TokenError> {
    let claims = Claims::deserialize(Value::Object(claims)).map_err(|_| TokenError::Malformed)?;
    Ok(Principal::from(&claims))
}

/// When a token counts, the leeway included. Seconds since the Unix epoch.
#[derive(Clone, Copy)]
struct Times {
    from: i64,
    until: i64,
}

impl Times {
    fn read(claims: &Map<String, Value>, leeway: u64) -> Result<Self, TokenError> {
        let exp = claims.get("exp").and_then(seconds).ok_or(TokenError::Malformed)?;
        let nbf = match claims.get("nbf") {
            None => i64::MIN,
            Some(nbf) => seconds(nbf).ok_or(TokenError::Malformed)?,
        };
        Ok(Self {
            from: nbf.saturating_sub_unsigned(leeway),
            until: exp.saturating_add_unsigned(leeway),
        })
    }

    /// Why a token does not count at second `now`.
    fn refuse(self, now: i64) -> Option<TokenError> {
        if self.until <= now {
            Some(TokenError::Expired)
        } else if self.from > now {
            Some(TokenError::NotYetValid)
        } else {
            None
        }
    }
}

/// A `NumericDate`, which may have a fraction (RFC 7519 section 2).
fn seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and the fraction is dropped")]
    let whole = |seconds: f64| seconds as i64;
    value.as_i64().or_else(|| value.as_f64().map(whole))
}
