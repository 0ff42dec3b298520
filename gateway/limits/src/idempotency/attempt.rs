//! A request with a key, and what it is known by.

use sha2::{Digest, Sha256};

/// A request that carries an idempotency key.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The key that the client chose.
    pub key: &'a str,
    /// Who asks: keys of different users never meet. With tenants, the tenant is part of it.
    pub user: &'a str,
    /// The method, such as `POST`.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The query; empty when there is none.
    pub query: &'a str,
    /// The `Content-Type` header; empty when there is none.
    pub content_type: &'a str,
    /// The body, as it was sent.
    pub body: &'a [u8],
}

impl Attempt<'_> {
    /// Under which stores keep it (K-39).
    pub(super) fn storage_key(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.path, ":", self.user, ":", self.key] {
            hash.update(part);
        }
        format!("idempotency:{}", hex::encode(hash.finalize()))
    }

    /// The same for equal requests alone. Colons in its parts could give two requests one storage
    /// key; here each part has its length, so they are told apart, users too.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let Self { key, user, method, path, query, content_type, body } = self;
        let mut hash = Sha256::new();
        for part in [key, user, method, path, query, content_type].map(|part| part.as_bytes()) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(body);
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: Attempt<'static> = Attempt {
        key: "k-1",
        user: "ana",
        method: "POST",
        path: "/api/transactions",
        query: "",
        content_type: "application/json",
        body: b"{}",
    };

    /// K-39: `idempotency:` and the SHA-256 of `/api/transactions:ana:k-1`.
    #[test]
    fn the_storage_key_is_the_hash_of_path_user_and_key() {
        let expected = hex::encode(Sha256::digest("/api/transactions:ana:k-1"));
        assert_eq!(ATTEMPT.storage_key(), format!("idempotency:{expected}"));
    }

    #[test]
    fn every_part_of_a_request_changes_its_fingerprint() {
        for other in [
            Attempt { method: "PATCH", ..ATTEMPT },
            Attempt { query: "a=1", ..ATTEMPT },
            Attempt { content_type: "application/xml", ..ATTEMPT },
            Attempt { body: b"{ }", ..ATTEMPT },
            Attempt { query: "application/json", content_type: "", ..ATTEMPT },
        ] {
            assert_ne!(other.fingerprint(), ATTEMPT.fingerprint(), "{other:?}");
        }
    }

    #[test]
    fn users_whose_names_hold_colons_never_get_each_others_answers() {
        let ana = Attempt { user: "ana", key: "x:k", ..ATTEMPT };
        let other = Attempt { user: "ana:x", key: "k", ..ATTEMPT };
        assert_eq!(ana.storage_key(), other.storage_key(), "so the fingerprint must differ");
        assert_ne!(ana.fingerprint(), other.fingerprint());
    }
}
