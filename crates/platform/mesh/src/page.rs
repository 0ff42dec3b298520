//! Page tokens of listings by time: where the next page begins, bound to the filters of its listing.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Bytes of the filters' digest: enough against mistakes; the token grants nothing.
const DIGEST_BYTES: usize = 8;

/// Microseconds since the Unix epoch, id, digest of the filters.
const TOKEN_BYTES: usize = 8 + 16 + DIGEST_BYTES;

/// Writes the token of the place after this entry. `filters` tells all filters of the listing.
pub fn token(at: DateTime<Utc>, id: Uuid, filters: &str) -> String {
    let mut bytes = Vec::with_capacity(TOKEN_BYTES);
    bytes.extend(at.timestamp_micros().to_be_bytes());
    bytes.extend(id.as_bytes());
    bytes.extend(digest(filters));
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token; `None` if it is none, or one of other filters.
pub fn place(token: &str, filters: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (micros, rest) = bytes.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    (rest == digest(filters)).then_some((at, Uuid::from_bytes(*id)))
}

fn digest(filters: &str) -> [u8; DIGEST_BYTES] {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&Sha256::digest(filters)[..DIGEST_BYTES]);
    digest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place_under_its_own_filters_only() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let id = Uuid::now_v7();
        let token = token(at, id, "failed");
        assert_eq!(place(&token, "failed"), Some((at, id)));
        assert_eq!(place(&token, "all"), None);
    }

    #[test]
    fn a_token_of_anybodys_making_is_refused() {
        let real = token(DateTime::UNIX_EPOCH, Uuid::nil(), "");
        for made in ["", "x", "AAAA", "not base64!", &real[1..], &format!("{real}AA")] {
            assert_eq!(place(made, ""), None, "{made}");
        }
    }
}
