//! The token of the next page: where it begins, bound to the filters of its listing.

use chrono::{DateTime, Utc};

use crate::domain::{Kind, Status};
use crate::error::PaymentError;
use crate::store::{Cursor, Filter};

/// Writes a token.
pub(crate) fn token(cursor: Cursor, filter: &Filter) -> String {
    mesh::page::token(cursor.created_at, cursor.id, &text(filter))
}

/// Reads a token; an empty one is the first page.
pub(crate) fn cursor(token: &str, filter: &Filter) -> Result<Option<Cursor>, PaymentError> {
    if token.is_empty() {
        return Ok(None);
    }
    let (created_at, id) =
        mesh::page::place(token, &text(filter)).ok_or(PaymentError::InvalidPageToken)?;
    Ok(Some(Cursor { created_at, id }))
}

/// All of a filter.
fn text(filter: &Filter) -> String {
    let micros = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_micros());
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        filter.party,
        filter.statuses.iter().copied().map(Status::as_str).collect::<Vec<_>>(),
        filter.kinds.iter().copied().map(Kind::as_str).collect::<Vec<_>>(),
        micros(filter.from),
        micros(filter.before),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use auth::UserId;
    use uuid::Uuid;

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
}
