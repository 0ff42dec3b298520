//! What travels to the upstream with a call: nothing that the client says of itself but its token.

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use upstream::{Route, Sticky};

use super::admission::User;
use super::{Exchange, Worker};
use crate::names::{CORRELATION_ID, TRACEPARENT};
use crate::policy::Policy;
use crate::serve::address_header;
use crate::site::Rpc;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const CANARY: HeaderName = HeaderName::from_static("x-canary");
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const CERTIFICATE_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const CERTIFICATE_NAMES: HeaderName = HeaderName::from_static("x-client-cert-names");

/// Headers that a call has at most, most of the time: so many are made room for.
const USUAL: usize = 8;

impl Worker {
    /// The metadata of a call for `user`.
    pub(crate) fn metadata(&self, exchange: &Exchange, user: Option<&User>) -> HeaderMap {
        let mut metadata = HeaderMap::with_capacity(USUAL);
        let names = &exchange.record.names;
        metadata.insert(CORRELATION_ID, names.correlation_id.clone());
        metadata.insert(TRACEPARENT, names.traceparent.clone());
        let peer = &exchange.peer;
        let is_peer = exchange.address == peer.address;
        let address = if is_peer { peer.shown.clone() } else { address_header(exchange.address) };
        metadata.insert(FORWARDED_FOR, address);
        if let Some(user) = user {
            if let Some(authorization) = &user.authorization {
                metadata.insert(AUTHORIZATION, authorization.clone());
            }
            for (name, value) in &user.verified.metadata {
                metadata.insert(name.clone(), value.clone());
            }
        }
        if let Some(certificate) = &exchange.peer.certificate
            && self.edge.settings.tls.clients_forward
        {
            metadata.insert(CERTIFICATE_SUBJECT, certificate.subject.clone());
            metadata.insert(CERTIFICATE_NAMES, certificate.names.clone());
        }
        metadata
    }

    /// The metadata of a call over REST: with the headers that the policy of the method lets through.
    pub(crate) fn rest_metadata(
        &self,
        exchange: &Exchange,
        user: Option<&User>,
        rpc: &Rpc,
        client: &HeaderMap,
    ) -> HeaderMap {
        let mut metadata = self.metadata(exchange, user);
        forward(&rpc.policy, self.edge.verifier.metadata_names(), client, &mut metadata);
        metadata
    }

    /// What the client says of the endpoint that its call goes to, and how the upstream keeps it.
    pub(crate) fn way(&self, rpc: &Rpc, headers: &HeaderMap) -> (Route, Option<Sticky>) {
        let canary = headers.get(CANARY).is_some_and(|value| value == "true");
        let sticky = self.edge.upstreams.sticky(&rpc.upstream);
        let kept = sticky.as_ref().and_then(|sticky| cookie(headers, &sticky.cookie));
        (Route { canary, sticky: kept.map(Into::into) }, sticky)
    }
}

impl Exchange {
    /// Gives the client the cookie that keeps it at its endpoint, if there is a new one.
    pub(crate) fn keep(&mut self, sticky: Option<&Sticky>, value: Option<&str>) {
        let (Some(Sticky { cookie, max_age }), Some(value)) = (sticky, value) else { return };
        let max_age = max_age.as_secs();
        // Without TLS a browser would not take it back.
        let secure = if self.over_tls { "; Secure" } else { "" };
        let cookie =
            format!("{cookie}={value}; Path=/; Max-Age={max_age}{secure}; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            self.headers.append(SET_COOKIE, cookie);
        }
    }
}

/// Adds those headers of a client that the policy of the method lets through: never one that the
/// edge itself has said, or that tells one of the `claims` of a token, whether this one has it or not.
fn forward(policy: &Policy, claims: &[HeaderName], client: &HeaderMap, metadata: &mut HeaderMap) {
    if policy.request_headers.is_empty() {
        return;
    }
    for name in client.keys().filter(|name| is_let_through(policy, name)) {
        if claims.contains(name) || metadata.contains_key(name) {
            continue;
        }
        for value in client.get_all(name) {
            metadata.append(name.clone(), value.clone());
        }
    }
}

/// Whether the policy of a method lets a header of a client through, over REST: never one that
/// [`is_kept_back`].
pub(super) fn is_let_through(policy: &Policy, name: &HeaderName) -> bool {
    let text = name.as_str();
    let is_named = policy.request_headers.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => text == pattern,
    });
    let is_of_grpc = text.starts_with("grpc-") || text.ends_with("-bin");
    is_named && !is_of_grpc && !is_kept_back(name)
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
        let (key, value) = cookie.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Whether a header of a client, over gRPC, goes no further: it speaks of the connection, of the
/// call, or of who calls, which the edge says itself.
pub(crate) fn is_kept_back(name: &HeaderName) -> bool {
    const NAMES: [&str; 26] = [
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "grpc-timeout",
        "host",
        "http2-settings",
        "idempotency-key",
        "keep-alive",
        "origin",
        "proxy-authorization",
        "proxy-connection",
        "referer",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-canary",
        "x-correlation-id",
        "x-grpc-web",
        "x-real-ip",
    ];
    const BEGINNINGS: [&str; 8] = [
        "x-malha-",
        "x-user-",
        "x-tenant",
        "x-forwarded-",
        "x-client-cert-",
        "x-authenticated-",
        "access-control-",
        "sec-",
    ];
    let name = name.as_str();
    // A browser's client of gRPC-Web names itself so; it is no identity.
    name != "x-user-agent"
        && (NAMES.binary_search(&name).is_ok()
            || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// K-39: who calls is proved by the token alone.
    #[test]
    fn identities_that_clients_claim_are_kept_back() {
        for name in [
            "x-user-id",
            "x-malha-tenant",
            "x-tenant-id",
            "x-forwarded-for",
            "x-forwarded-user",
            "x-client-cert-subject",
            "authorization",
            "x-real-ip",
            "accept-encoding",
            "grpc-timeout",
            "traceparent",
        ] {
            assert!(is_kept_back(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["x-request-kind", "trace-bin", "grpc-encoding", "user-agent", "x-user-agent"] {
            assert!(!is_kept_back(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn only_headers_that_the_policy_names_travel_and_none_that_is_kept_back() {
        let mut client = HeaderMap::new();
        for name in [
            "webhook-id",
            "x-signature",
            "x-said",
            "x-org",
            "x-malha-tenant",
            "x-user-id",
            "x-trace-bin",
            "authorization",
            "grpc-encoding",
            "accept",
        ] {
            client.insert(HeaderName::from_static(name), HeaderValue::from_static("client"));
        }
        client.append("webhook-id", HeaderValue::from_static("second"));
        let edge = ("x-said", "edge");
        let mut metadata = HeaderMap::new();
        metadata.insert(edge.0, HeaderValue::from_static(edge.1));
        let all = ["webhook-id", "x-*", "authorization", "grpc-*"].map(str::to_owned);

        let policy = |names: &[String]| {
            let method = crate::corner::greeter().services().next().unwrap().methods().next();
            let policy = crate::policy::decide(&method.unwrap(), &[]).unwrap().policy;
            Policy { request_headers: names.to_vec(), ..policy }
        };
        let claims = [HeaderName::from_static("x-org")];
        forward(&policy(&all), &claims, &client, &mut metadata);

        let mut names: Vec<_> = metadata.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["webhook-id", "x-said", "x-signature"]);
        assert_eq!(metadata["x-said"], "edge");
        assert_eq!(metadata.get_all("webhook-id").iter().count(), 2);

        let mut none = HeaderMap::new();
        forward(&policy(&[]), &claims, &client, &mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn one_cookie_is_found_among_others() {
        let headers = HeaderMap::from_iter([(
            COOKIE,
            HeaderValue::from_static("a=1; malha-route=xyz; malha-route-old=2"),
        )]);
        assert_eq!(cookie(&headers, "malha-route"), Some("xyz"));
        assert_eq!(cookie(&headers, "route"), None);
    }
}
