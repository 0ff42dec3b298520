//! Settings: whose tokens count, and what becomes of their claims.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AUDIENCE, ISSUER};

/// Longest leeway: beyond it, a lifetime of minutes means nothing.
const LEEWAY_MAX: Duration = Duration::from_mins(5);

/// One issuer whose tokens count.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` of its tokens, to the letter.
    pub issuer: String,
    /// Names of ours, at least one: a token counts when its `aud` holds any of them.
    pub audiences: Vec<String>,
    /// Where its public keys are.
    pub keys: KeysConfig,
    /// Algorithms that its tokens may be signed with. Default: `RS256` alone.
    #[serde(default = "rs256")]
    pub algorithms: Vec<Algorithm>,
    /// How far its clock and ours may stand apart, at most 5 min. Default: 30 s.
    #[serde(default = "leeway", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub leeway: Duration,
    /// What its claims mean.
    #[serde(default)]
    pub claims: ClaimsConfig,
    /// Whether services are shown the token itself. Without it they learn what `claims.metadata`
    /// tells them, and no service can use a user's token elsewhere. Those of the mesh verify tokens
    /// themselves, so that with `keys = "mesh"` they are shown in any case. Default: false.
    #[serde(default)]
    pub forward: bool,
    /// Roles whose holders work here: they see the pages for operators. With `keys = "mesh"` those
    /// are `ADMIN`, `OPERATOR`, `ANALYST` and `VIEWER` in any case. Default: none.
    #[serde(default)]
    pub staff: Vec<String>,
}

/// Where the public keys of an issuer are. `"mesh"`, or a table with `file`, `url` or `provider`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum KeysConfig {
    /// Our own identity service, over the mesh. Its tokens alone make a [`crate::Principal`].
    Mesh,
    /// A file with a JSON Web Key Set (RFC 7517), read again when it changes.
    File(PathBuf),
    /// An address that answers with a JSON Web Key Set.
    Url(JwksUrl),
    /// The address of an `OpenID` provider's metadata, which name that of its key set: such as
    /// `https://issuer.example/.well-known/openid-configuration`. They must name the issuer.
    Provider(JwksUrl),
}

/// An address that answers with a JSON Web Key Set.
///
/// It is asked again before the answer is too old: after its `Cache-Control: max-age`, within 1 min
/// and 1 h, or 5 min when it names none. Redirects are not followed.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwksUrl {
    /// Such as `https://issuer.example/jwks.json`. With `http`, whoever stands between can sign any
    /// token: for one machine or a network that is itself protected.
    pub address: String,
    /// PEM file of the authorities that the server's certificate may come from. Default: those that
    /// the operating system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// A way to sign tokens (RFC 7518, RFC 8037). Those without a signature, or with a shared secret,
/// have no name here.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    RS256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    RS384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    RS512,
    /// RSA, PSS, SHA-256.
    PS256,
    /// RSA, PSS, SHA-384.
    PS384,
    /// RSA, PSS, SHA-512.
    PS512,
    /// ECDSA over P-256, SHA-256.
    ES256,
    /// ECDSA over P-384, SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// What the claims of an issuer mean.
///
/// A claim is named by its path: the name of a member, or names joined by dots, such as
/// `realm_access.roles`. A member that has the whole path as its name comes first, so that
/// `https://bank.example/roles` works.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimsConfig {
    /// The user: a string that every token must have. Default: `sub`.
    pub user: String,
    /// The tenant: a string. Default: `tenant`.
    pub tenant: String,
    /// The tier of the user, by which rate limits may differ: a string. Default: `tier`.
    pub tier: String,
    /// Roles: a list of strings, or a string of names between spaces. Default: `roles`.
    pub roles: String,
    /// Scopes: a list of strings, or a string of names between spaces. Default: `scope`.
    pub scopes: String,
    /// Headers that tell upstreams a claim, by their name: `{ "x-user-email" = "email" }`. Clients
    /// cannot set them. Lists are joined by commas, objects are JSON; what is not printable ASCII,
    /// and `%`, is percent-encoded. Default: none.
    pub metadata: BTreeMap<String, String>,
}

impl Default for ClaimsConfig {
    fn default() -> Self {
        Self {
            user: "sub".to_owned(),
            tenant: "tenant".to_owned(),
            tier: "tier".to_owned(),
            roles: "roles".to_owned(),
            scopes: "scope".to_owned(),
            metadata: BTreeMap::new(),
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConfigError {
    /// The setting, such as `claims.metadata.x-user` or `issuers[1].audiences`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }

    /// The same, seen from the table that holds the setting's.
    pub(crate) fn within(self, table: &str) -> Self {
        Self { field: format!("{table}.{}", self.field), ..self }
    }
}

impl IssuerConfig {
    /// Our own tokens, verified with the keys of the mesh. The leeway is 5 s, less than that of the
    /// services behind, so that a token that was good at the edge stays good on its way.
    pub fn malha() -> Self {
        Self {
            issuer: ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            keys: KeysConfig::Mesh,
            algorithms: rs256(),
            leeway: Duration::from_secs(5),
            claims: ClaimsConfig::default(),
            forward: true,
            staff: Vec::new(),
        }
    }

    /// Checks what can be checked without looking at files and addresses.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.issuer.is_empty() {
            return Err(ConfigError::new("issuer", "must not be empty"));
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(ConfigError::new("audiences", "must hold at least one name, none empty"));
        }
        if self.algorithms.is_empty() {
            return Err(ConfigError::new("algorithms", "must hold at least one"));
        }
        if self.leeway > LEEWAY_MAX {
            return Err(ConfigError::new("leeway", "must be at most 5 min"));
        }
        match &self.keys {
            KeysConfig::Url(url) => {
                url.uri().map_err(|error| error.within("keys.url"))?;
            }
            KeysConfig::Provider(url) => {
                url.uri().map_err(|error| error.within("keys.provider"))?;
            }
            KeysConfig::Mesh | KeysConfig::File(_) => {}
        }
        self.claims.validate().map_err(|error| error.within("claims"))
    }
}

impl JwksUrl {
    /// The address, when it is one that can be asked.
    pub(crate) fn uri(&self) -> Result<Uri, ConfigError> {
        let refuse = |problem: &str| ConfigError::new("address", problem);
        let uri: Uri = self.address.parse().map_err(|_| refuse("is no address"))?;
        if !matches!(uri.scheme_str(), Some("https" | "http")) {
            return Err(refuse("must begin with https:// or http://"));
        }
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if uri.host().is_none_or(str::is_empty) || authority.contains('@') {
            return Err(refuse("must name a host, and no user"));
        }
        Ok(uri)
    }
}

impl ClaimsConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let paths = [
            ("user", &self.user),
            ("tenant", &self.tenant),
            ("tier", &self.tier),
            ("roles", &self.roles),
            ("scopes", &self.scopes),
        ];
        if let Some((field, _)) = paths.into_iter().find(|(_, path)| path.is_empty()) {
            return Err(ConfigError::new(field, "must name a claim"));
        }
        for (name, claim) in &self.metadata {
            let refuse = |problem| ConfigError::new(format!("metadata.{name}"), problem);
            header_name(name).map_err(refuse)?;
            if claim.is_empty() {
                return Err(refuse("must name a claim"));
            }
        }
        Ok(())
    }
}

/// The name of a header that tells a claim; one that says something else already is refused.
pub(crate) fn header_name(name: &str) -> Result<HeaderName, &'static str> {
    // Headers of a connection (RFC 9110 section 7.6.1), of the call itself, and of who calls.
    const TAKEN: [&str; 25] = [
        "accept",
        "accept-encoding",
        "authorization",
        "baggage",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "http2-settings",
        "idempotency-key",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-correlation-id",
    ];
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("must be lower-case");
    }
    // The names that gRPC admits (its HTTP/2 mapping, "Custom-Metadata").
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("must consist of letters, digits, `-`, `_` and `.`");
    }
    if name.starts_with("grpc-") || name.ends_with("-bin") {
        return Err("must not begin with `grpc-` nor end with `-bin`: gRPC has a use for those");
    }
    if name.starts_with("x-malha-") || TAKEN.contains(&name) {
        return Err("is taken: it says something else to upstreams");
    }
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is no name of a header")
}

fn rs256() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}
