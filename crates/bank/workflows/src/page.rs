//! The token of the next page: where it begins, bound to the filters of its listing.

use workflow::{Cursor, Filter};

use crate::error::CallError;

/// Writes a token.
pub(crate) fn token(cursor: Cursor, filter: &Filter) -> String {
    mesh::page::token(cursor.created_at, cursor.id, &text(filter))
}

/// Reads a token; an empty one is the first page.
pub(crate) fn cursor(token: &str, filter: &Filter) -> Result<Option<Cursor>, CallError> {
    if token.is_empty() {
        return Ok(None);
    }
    let (created_at, id) =
        mesh::page::place(token, &text(filter)).ok_or(CallError::InvalidPageToken)?;
    Ok(Some(Cursor { created_at, id }))
}

/// All of a filter.
fn text(filter: &Filter) -> String {
    format!("{filter:?}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;
    use workflow::Status;

    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place_under_its_own_filters_only() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let place = Cursor { created_at: at, id: Uuid::now_v7() };
        let filters = [
            Filter::default(),
            Filter { statuses: vec![Status::Parked], ..Filter::default() },
            Filter { definition: Some("x".into()), ..Filter::default() },
            Filter { owner: Some("x".into()), ..Filter::default() },
            Filter { created_from: Some(at), ..Filter::default() },
            Filter { created_before: Some(at), ..Filter::default() },
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
