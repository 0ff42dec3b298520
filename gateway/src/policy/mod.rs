//! What the edge asks of callers, method by method.
//!
//! Three sources speak, and a later one wins where both do: the safe default, the options in the
//! contract (`malha.options.v1.method`, of whatever descriptor pool), the rules of the settings.

mod rule;

use std::sync::Arc;
use std::time::Duration;

use contracts::policy as options;
use http::{HeaderName, StatusCode};
use prost_reflect::{DescriptorPool, MethodDescriptor};

pub use rule::Rule;

/// Longest time of a unary call about which nobody says anything.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// Rate-limit class of a method that names none.
const RATE_LIMIT_DEFAULT: &str = "default";

/// Whom the edge lets through to a method.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, schemars::JsonSchema, serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Anybody; tokens are not looked at.
    Public,
    /// Whoever brings a good token, with the roles and scopes that the policy names.
    Authenticated,
    /// Nobody: at the edge the method does not exist.
    Internal,
}

/// Policy of one method at the edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Whom the edge lets through.
    pub access: Access,
    /// Roles of which the token must hold one; none means that any token will do.
    pub roles: Vec<String>,
    /// Scopes that the token must hold, all of them.
    pub scopes: Vec<String>,
    /// Rate-limit class.
    pub rate_limit: Arc<str>,
    /// Whether an `Idempotency-Key` is honoured.
    pub idempotency_key: bool,
    /// Longest time of a call; a stream may have none.
    pub deadline: Option<Duration>,
    /// HTTP status of success.
    pub success_status: StatusCode,
    /// Whether a call whose outcome is unknown may be sent again.
    pub retry_safe: bool,
    /// When a second copy of an unanswered call is sent; only where `retry_safe` holds.
    pub hedge_after: Option<Duration>,
    /// Whether answers of a GET carry an `ETag` that the next GET may name.
    pub conditional: bool,
    /// Headers of an HTTP request that travel to the upstream; a `*` at the end stands for any rest.
    pub request_headers: Vec<String>,
    /// Origins whose pages may call; `None` means those of the whole edge.
    pub cors_origins: Option<Vec<String>>,
}

/// A method's policy and where its calls go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) policy: Policy,
    /// Upstream that a rule names.
    pub(crate) upstream: Option<String>,
}

impl Policy {
    /// Whether a token with `roles` and `scopes` may call the method.
    pub fn admits<R: AsRef<str>, S: AsRef<str>>(&self, roles: &[R], scopes: &[S]) -> bool {
        self.admits_roles(roles) && self.admits_scopes(scopes)
    }

    /// Whether one of `roles` is one that the method asks for.
    pub fn admits_roles<R: AsRef<str>>(&self, roles: &[R]) -> bool {
        self.roles.is_empty()
            || self.roles.iter().any(|role| roles.iter().any(|held| held.as_ref() == role))
    }

    /// Whether `scopes` hold every one that the method asks for.
    pub fn admits_scopes<S: AsRef<str>>(&self, scopes: &[S]) -> bool {
        self.scopes.iter().all(|scope| scopes.iter().any(|held| held.as_ref() == scope))
    }

    /// What holds when nobody says anything: a token is needed.
    fn safe(method: &MethodDescriptor) -> Self {
        let streams = method.is_client_streaming() || method.is_server_streaming();
        Self {
            access: Access::Authenticated,
            roles: Vec::new(),
            scopes: Vec::new(),
            rate_limit: RATE_LIMIT_DEFAULT.into(),
            idempotency_key: false,
            deadline: (!streams).then_some(DEADLINE_DEFAULT),
            success_status: StatusCode::OK,
            retry_safe: false,
            hedge_after: None,
            conditional: false,
            request_headers: Vec::new(),
            cors_origins: None,
        }
    }

    /// What the options of the contract say.
    fn of_options(options: options::MethodPolicy) -> Result<Self, String> {
        let status = options.success_status;
        Ok(Self {
            access: match options.access {
                options::Access::Public => Access::Public,
                options::Access::Authenticated | options::Access::UserOrService => {
                    Access::Authenticated
                }
                options::Access::Internal => Access::Internal,
                options::Access::Unspecified => {
                    return Err("its option malha.options.v1.method names no access".to_owned());
                }
            },
            roles: options.roles.iter().map(|role| auth::role_name(*role).to_owned()).collect(),
            scopes: options.scopes,
            rate_limit: options.rate_limit.into(),
            idempotency_key: options.idempotency_key,
            deadline: Some(options.deadline),
            success_status: success(status)?,
            retry_safe: options.retry_safe,
            hedge_after: options.hedge_after,
            conditional: options.conditional,
            request_headers: options.request_headers,
            cors_origins: None,
        })
    }
}

/// The places of the rules that fit no method of `pool`.
pub(crate) fn idle(pool: &DescriptorPool, rules: &[Rule]) -> Vec<usize> {
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let names: Vec<_> = methods.map(|method| name(&method)).collect();
    let is_idle = |rule: &Rule| !names.iter().any(|name| rule.matches(name));
    rules.iter().zip(0..).filter(|(rule, _)| is_idle(rule)).map(|(_, place)| place).collect()
}

/// A method as rules name it.
fn name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

/// Decides the policy of `method`: its contract's options, else the safe default, then every rule
/// that matches, in their order.
pub(crate) fn decide(method: &MethodDescriptor, rules: &[Rule]) -> Result<Decision, String> {
    let written = options::of_method(method).map(Policy::of_options).transpose()?;
    let policy = written.unwrap_or_else(|| Policy::safe(method));
    let mut decision = Decision { policy, upstream: None };
    let name = name(method);
    // What a contract keeps inside, a rule for many methods does not open.
    let closed = decision.policy.access == Access::Internal;
    let streams = method.is_client_streaming() || method.is_server_streaming();
    if streams {
        check_stream(&decision.policy)?;
    }
    for rule in rules.iter().filter(|rule| rule.matches(&name)) {
        rule.apply(&mut decision)?;
        // What many methods are told streams may overhear; what one is told is meant.
        if streams && rule.methods == name {
            check_stream(&decision.policy)?;
        }
    }
    if closed {
        decision.policy.access = Access::Internal;
    }
    check(&decision.policy)?;
    Ok(decision)
}

/// What no policy may say, since one half of it would be ignored.
fn check(policy: &Policy) -> Result<(), String> {
    let restricted = !policy.roles.is_empty() || !policy.scopes.is_empty();
    if policy.access == Access::Public && restricted {
        return Err("it is public and yet asks for roles or scopes".to_owned());
    }
    if policy.hedge_after.is_some() && !policy.retry_safe {
        return Err("it is hedged, but not retry_safe".to_owned());
    }
    for (name, time) in [("deadline", policy.deadline), ("hedge_after", policy.hedge_after)] {
        if time.is_some_and(|time| time < Duration::from_millis(1)) {
            return Err(format!("its {name} must be at least 1 ms"));
        }
    }
    let is_name = |name: &str| {
        let rest = name.strip_suffix('*').unwrap_or(name);
        // Which refuses upper case, as gRPC does.
        name == "*" || HeaderName::from_lowercase(rest.as_bytes()).is_ok()
    };
    match policy.request_headers.iter().find(|name| !is_name(name)) {
        Some(name) => Err(format!("its request_headers name `{name}`: no header in lower case")),
        None => Ok(()),
    }
}

/// What no stream can be.
fn check_stream(policy: &Policy) -> Result<(), String> {
    let said = [
        ("hedge_after", policy.hedge_after.is_some()),
        ("conditional", policy.conditional),
        ("idempotency_key", policy.idempotency_key),
    ];
    match said.into_iter().find(|(_, is_said)| *is_said) {
        Some((name, _)) => Err(format!("it streams, and {name} is for methods that do not")),
        None => Ok(()),
    }
}

fn success(status: u16) -> Result<StatusCode, String> {
    let status = StatusCode::from_u16(status).ok().filter(StatusCode::is_success);
    status.ok_or_else(|| "its success_status is none of 200 to 299".to_owned())
}

#[cfg(test)]
mod tests;
