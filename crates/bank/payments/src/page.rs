//! The token of the next page: where it begins, bound to the filters of its listing.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::{Kind, Status};
use crate::error::PaymentError;
use crate::store::{Cursor, Filter};

/// Bytes of the filters' digest: enough against mistakes; the token grants nothing.
const DIGEST_BYTES: usize = 8;

/// Microseconds since the Unix epoch, id, digest of the filters.
const TOKEN_BYTES: usize = 8 + 16 + DIGEST_BYTES;

/// Writes a token.
pub(crate) fn token(cursor: Cursor, filter: &Filter) -> String {
    let mut bytes = Vec::with_capacity(TOKEN_BYTES);
    bytes.extend(cursor.created_at.timestamp_micros().to_be_bytes());
    bytes.extend(cursor.id.as_bytes());
    bytes.extend(digest(filter));
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token; an empty one is the first page.
pub(crate) fn cursor(token: &str, filter: &Filter) -> Result<Option<Cursor>, PaymentError> {
    if token.is_empty() {
        return Ok(None);
    }
    read(token, filter).map(Some).ok_or(PaymentError::InvalidPageToken)
}

fn read(token: &str, filter: &Filter) -> Option<Cursor> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (micros, rest) = bytes.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let created_at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    (rest == digest(filter)).then_some(Cursor { created_at, id: Uuid::from_bytes(*id) })
}

fn digest(filter: &Filter) -> [u8; DIGEST_BYTES] {
    let micros = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_micros());
    let text = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        filter.party,
        filter.statuses.iter().copied().map(Status::as_str).collect::<Vec<_>>(),
        filter.kinds.iter().copied().map(Kind::as_str).collect::<Vec<_>>(),
        micros(filter.from),
        micros(filter.before),
    );
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&Sha256::digest(text)[..DIGEST_BYTES]);
    digest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use auth::UserId;

    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place_under_its_own_filters_only() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let place = Cursor { created_at: at, id: Uuid::now_v7() };
        let user = Some(UserId::random());
        let filters = [
            Filter::default(),
            Filter { party: user, ..Filter::default() },
            Filter { statuses: vec![Status::Failed], ..Filter::default() },
            Filter { kinds: vec![Kind::Deposit], ..Filter::default() },
            Filter { from: Some(at), ..Filter::default() },
            Filter { before: Some(at), ..Filter::default() },
        ];
        for (index, written) in filters.iter().enumerate() {
            let token = token(place, written);
            for (other, read) in filters.iter().enumerate() {
                match cursor(&token, read) {
                    Ok(found) => assert!(index == other && found == Some(place)),
                    Err(_) => assert_ne!(index, other),
                }
            }
        }
    }

    #[test]
    fn a_token_of_anybodys_making_is_refused() {
        let real =
            token(Cursor { created_at: DateTime::UNIX_EPOCH, id: Uuid::nil() }, &Filter::default());
        for made in ["x", "AAAA", "not base64!", &real[1..], &format!("{real}AA")] {
            assert!(cursor(made, &Filter::default()).is_err(), "{made}");
        }
        assert!(cursor("", &Filter::default()).unwrap().is_none());
    }
}
