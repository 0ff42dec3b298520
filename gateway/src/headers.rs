//! Headers that every answer carries: what browsers must know, and who may call from a page.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LANGUAGE,
    CONTENT_SECURITY_POLICY, HOST, LAST_MODIFIED, LINK, LOCATION, ORIGIN,
    STRICT_TRANSPORT_SECURITY, VARY,
};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use crate::problem::Problem;

/// Says that an answer repeats the one that the same idempotency key got before.
pub(crate) const IDEMPOTENT_REPLAY: HeaderName = HeaderName::from_static("x-idempotent-replay");

/// What of an upstream's metadata clients of REST are told: headers that HTTP has for the answer
/// itself. All else is between the edge and its services.
pub(crate) const TOLD: [HeaderName; 5] =
    [CONTENT_DISPOSITION, CONTENT_LANGUAGE, LAST_MODIFIED, LINK, LOCATION];

/// Adds to an answer what its upstream says of it.
pub(crate) fn tell(metadata: &HeaderMap, answer: &mut HeaderMap) {
    for (name, value) in metadata.iter().filter(|(name, _)| TOLD.contains(name)) {
        answer.append(name.clone(), value.clone());
    }
}

/// Headers of the class that Helmet sets. An answer that sets one itself keeps its own.
static SECURITY: LazyLock<HeaderMap> = LazyLock::new(|| {
    HeaderMap::from_iter([
        header("x-content-type-options", "nosniff"),
        header("x-frame-options", "DENY"),
        header("x-dns-prefetch-control", "off"),
        header("x-download-options", "noopen"),
        header("x-permitted-cross-domain-policies", "none"),
        header("x-xss-protection", "0"),
        header("referrer-policy", "no-referrer"),
        header("origin-agent-cluster", "?1"),
        header("cross-origin-opener-policy", "same-origin"),
        header("cross-origin-resource-policy", "same-origin"),
        (
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ])
});

const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

const fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// Refuses what HTTP/1.1 does not admit: a request that names no host, or several.
pub(crate) fn check_host(request: &Parts) -> Result<(), Problem> {
    let hosts = request.headers.get_all(HOST).iter().count();
    if request.version == Version::HTTP_11 && hosts != 1 {
        let detail = "an HTTP/1.1 request has one Host header";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "HOST_MISSING", detail));
    }
    Ok(())
}

/// Whether a request is for a name that stands for the client's own machine. Browsers apply HSTS to
/// all ports of a name, so on this one it would lock out whatever else runs here without TLS.
pub(crate) fn is_for_this_machine(request: &Parts) -> bool {
    let given = || request.headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let Some(authority) = request.uri.authority().cloned().or_else(given) else { return false };
    let host = authority.host();
    let ipv6 = host.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>();
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || ipv6.is_ok_and(|address| address.is_loopback())
}

/// What browsers must know, whatever is answered.
pub(crate) fn secure() -> HeaderMap {
    SECURITY.clone()
}

/// Adds the headers that an answer brings itself; with `hsts`, that browsers must come over TLS for a
/// year.
pub(crate) fn complete(headers: &mut HeaderMap, own: &HeaderMap, hsts: bool) {
    for name in own.keys().filter(|name| SECURITY.contains_key(*name)) {
        headers.remove(name);
    }
    for (name, value) in own {
        headers.append(name, value.clone());
    }
    if hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

/// Which pages of other origins may call; `*` admits all.
#[derive(Clone, Copy)]
pub(crate) struct Cors<'a>(pub(crate) &'a [String]);

impl Cors<'_> {
    /// Whether a request asks what a later one may do.
    pub(crate) fn is_preflight(headers: &HeaderMap) -> bool {
        headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Adds to an answer what the request's origin may see of it.
    pub(crate) fn answer(self, request: &HeaderMap, answer: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        answer.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.admitted(request) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = "location, link, content-disposition, x-correlation-id, x-idempotent-replay, retry-after, etag, ratelimit, \
                           ratelimit-policy, ratelimit-limit, ratelimit-remaining, \
                           ratelimit-reset, grpc-status, grpc-message, grpc-status-details-bin";
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
        }
    }

    /// Adds to the answer of a preflight what the later request may be: with the headers that every
    /// method understands, and those that pass on to the service.
    pub(crate) fn answer_preflight(
        self,
        request: &HeaderMap,
        methods: HeaderValue,
        passes: impl Fn(&HeaderName) -> bool,
        answer: &mut HeaderMap,
    ) {
        if self.admitted(request).is_none() {
            return;
        }
        let mut headers = "authorization, content-type, content-encoding, idempotency-key, \
                           if-match, if-none-match, traceparent, x-canary, x-correlation-id, \
                           x-grpc-web, x-user-agent, grpc-timeout"
            .to_owned();
        let asked = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let asked = asked.filter_map(|names| names.to_str().ok()).flat_map(|it| it.split(','));
        let asked = asked.filter_map(|name| name.trim().parse::<HeaderName>().ok());
        for name in asked.filter(passes) {
            headers.extend([", ", name.as_str()]);
        }
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Ok(headers) = HeaderValue::try_from(headers) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }

    fn admitted(self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        let known = |known: &String| known == "*" || known.as_bytes() == origin.as_bytes();
        self.0.iter().any(known).then(|| origin.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L-11.
    #[test]
    fn an_answer_keeps_what_it_says_itself() {
        let own = HeaderMap::from_iter([header("cache-control", "no-cache")]);
        let mut headers = secure();
        complete(&mut headers, &own, false);
        assert_eq!(headers.get_all(CACHE_CONTROL).iter().collect::<Vec<_>>(), ["no-cache"]);
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));

        complete(&mut headers, &own, true);
        assert!(headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn only_names_of_this_machine_stand_for_it() {
        let is_local = |uri: &str, host: &str| {
            let request = http::Request::builder().uri(uri).header(HOST, host);
            request.body(()).is_ok_and(|request| is_for_this_machine(&request.into_parts().0))
        };
        for host in ["localhost", "LocalHost:8443", "127.0.0.1:8443", "[::1]", "[::1]:8443"] {
            assert!(is_local("/", host), "{host}");
            assert!(is_local(&format!("https://{host}/"), "x"), "{host}");
        }
        for host in ["bank.example", "localhost.example:1", "10.0.0.1", "[2001:db8::1]", ""] {
            assert!(!is_local("/", host), "{host}");
        }
    }

    /// RFC 9112 section 3.2.
    #[test]
    fn an_http_1_1_request_names_one_host() {
        let admitted = |version, hosts: usize| {
            let hosts = std::iter::repeat_n("x", hosts);
            let request = http::Request::builder().version(version);
            let request = hosts.fold(request, |request, host| request.header(HOST, host));
            request.body(()).is_ok_and(|request| check_host(&request.into_parts().0).is_ok())
        };
        assert!(admitted(Version::HTTP_11, 1));
        assert!(!admitted(Version::HTTP_11, 0) && !admitted(Version::HTTP_11, 2));
        assert!(admitted(Version::HTTP_2, 0) && admitted(Version::HTTP_10, 0));
    }

    /// L-11.
    #[test]
    fn only_known_origins_see_answers() {
        let allowed = |origins: &[&str], origin: &'static str| {
            let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
            let request = HeaderMap::from_iter([header("origin", origin)]);
            let mut answer = HeaderMap::new();
            Cors(&origins).answer(&request, &mut answer);
            answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
        };
        assert!(allowed(&["https://app.example"], "https://app.example"));
        assert!(!allowed(&["https://app.example"], "https://app.example.evil"));
        assert!(!allowed(&["https://app.example"], "http://app.example"));
        assert!(!allowed(&[], "https://app.example"));
        assert!(allowed(&["*"], "https://any.example"));
    }
}
