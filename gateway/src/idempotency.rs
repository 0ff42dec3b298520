//! The key under which a repeat of a request has no further effect (K-35).

use std::sync::Arc;

use contracts::policy::MethodPolicy;
use http::HeaderMap;

use crate::problem::{FieldError, Problem};

const HEADER: &str = "idempotency-key";

/// The request's key; `None` when it has none, or the method has no use for it.
pub(crate) fn key(policy: &MethodPolicy, headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    if !policy.idempotency_key {
        return Ok(None);
    }
    let mut given = headers.get_all(HEADER).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let fits = |key: &&str| {
        (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match (key.to_str().ok().filter(fits), given.next()) {
        (Some(key), None) => Ok(Some(Arc::from(key))),
        _ => Err(Problem::invalid_fields(vec![FieldError::new(
            "Idempotency-Key",
            "must be one key of 1 to 255 visible ASCII characters",
        )])),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn policy(method: &str) -> MethodPolicy {
        contracts::policy::method(&format!("/malha.payments.v1.PaymentsService/{method}"))
            .unwrap()
            .clone()
    }

    fn headers(keys: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(HEADER, HeaderValue::from_str(key).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_goes_only_to_methods_that_honour_it() {
        let headers = headers(&["k-1"]);
        assert_eq!(key(&policy("CreateTransaction"), &headers).unwrap().as_deref(), Some("k-1"));
        assert_eq!(key(&policy("ReverseTransaction"), &headers).unwrap(), None);
    }

    #[test]
    fn a_malformed_key_is_refused() {
        let long = "k".repeat(256);
        for keys in [&[""][..], &["two words"], &[long.as_str()], &["a", "b"]] {
            let problem = key(&policy("CreateTransaction"), &headers(keys)).unwrap_err();
            assert_eq!(problem.errors[0].field, "Idempotency-Key", "{keys:?}");
        }
        assert!(key(&policy("CreateTransaction"), &headers(&[&long[..255]])).is_ok());
    }
}
