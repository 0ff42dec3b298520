//! Policies as the settings write them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Decision, success};

/// What holds for the methods that a pattern matches. What is absent stays as the contract and the
/// rules before this one say.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Methods, as `package.Service/Method`; `*` stands for any run of characters, so that
    /// `shop.v1.*` is a package, `*/Get*` every getter and `*` everything.
    pub methods: String,
    /// `public`, `authenticated` or `internal` (not at the edge at all). Default: authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Roles of which the token must hold one. Default: any token will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Scopes that the token must hold, all of them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Class of the rate limits. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<String>,
    /// Whether an `Idempotency-Key` is honoured. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<bool>,
    /// Longest time of a call. Default: 5 s; streams have none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub deadline: Option<Duration>,
    /// HTTP status of success. Default: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_status: Option<u16>,
    /// Whether a call whose outcome is unknown may be sent again. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_safe: Option<bool>,
    /// Sends a second copy of a call that is not answered after this time. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub hedge_after: Option<Duration>,
    /// Whether answers of a GET carry an `ETag`. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditional: Option<bool>,
    /// Headers of an HTTP request that travel to the upstream as metadata, in lower case; a `*` at the
    /// end stands for any rest. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<Vec<String>>,
    /// Origins whose pages may call. Default: those of the whole edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors_origins: Option<Vec<String>>,
    /// Upstream that answers. Default: the one that offers the service, or the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

impl Rule {
    /// Whether the rule speaks of `method`, given as `package.Service/Method`.
    pub fn matches(&self, method: &str) -> bool {
        matches(self.methods.as_bytes(), method.as_bytes())
    }

    /// Changes what the rule names.
    pub(super) fn apply(&self, decision: &mut Decision) -> Result<(), String> {
        let policy = &mut decision.policy;
        set(&mut policy.access, self.access);
        set(&mut policy.roles, self.roles.clone());
        set(&mut policy.scopes, self.scopes.clone());
        set(&mut policy.rate_limit, self.rate_limit.as_deref().map(Into::into));
        set(&mut policy.idempotency_key, self.idempotency_key);
        set(&mut policy.deadline, self.deadline.map(Some));
        set(&mut policy.success_status, self.success_status.map(success).transpose()?);
        set(&mut policy.retry_safe, self.retry_safe);
        set(&mut policy.hedge_after, self.hedge_after.map(Some));
        set(&mut policy.conditional, self.conditional);
        set(&mut policy.request_headers, self.request_headers.clone());
        set(&mut policy.cors_origins, self.cors_origins.clone().map(Some));
        set(&mut decision.upstream, self.upstream.clone().map(Some));
        Ok(())
    }
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

/// Whether `pattern` fits the whole of `text`; each `*` takes as much as the rest leaves it.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last `*` stands, and how far it has taken.
    let mut star = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((stands, taken)) = star else { return false };
                star = Some((stands, taken + 1));
                (at, read) = (stands + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
