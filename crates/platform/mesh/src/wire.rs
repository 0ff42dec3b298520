//! Fields of messages as values, and back.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::error::{DOMAIN, detailed};

/// Reads an id that the contract requires to be a UUID.
///
/// # Errors
/// `INVALID_ARGUMENT`, reason `INVALID_FIELD`, with `field` as its violation.
pub fn id<T: From<Uuid>>(field: &str, text: &str) -> Result<T, Status> {
    Uuid::try_parse(text).map(T::from).map_err(|_| not_an_id(field))
}

/// The answer to a field that should be an id.
pub(crate) fn not_an_id(field: &str) -> Status {
    let rule = "must be a UUID";
    let message = format!("{field}: {rule}");
    detailed(Code::InvalidArgument, "INVALID_FIELD", DOMAIN, message).field(field, rule).build()
}

/// Entries of a page: as many as were asked for, or `default` when no number was.
pub fn page_size(asked: i32, default: usize) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => default,
        Ok(size) => size,
    }
}

/// Shows a time.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    SystemTime::from(at).into()
}

/// Reads a time; `None` outside the calendar.
pub fn time(at: &Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use auth::UserId;
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn what_is_no_id_is_refused_by_its_field() {
        let user = UserId::random();
        assert_eq!(id::<UserId>("user_id", &user.to_string()).unwrap(), user);

        for text in ["", "me", &"-".repeat(36)] {
            let status = id::<Uuid>("user_id", text).unwrap_err();
            assert_eq!(crate::error::reason(&status).as_deref(), Some("INVALID_FIELD"));
            let violations = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations[0].field, "user_id");
        }
    }

    #[test]
    fn a_page_has_its_default_size_unless_a_number_is_asked_for() {
        for (asked, size) in [(7, 7), (0, 50), (-1, 50)] {
            assert_eq!(page_size(asked, 50), size);
        }
    }

    #[test]
    fn times_come_back_as_they_were_and_others_are_none() {
        for micros in [0, 1_800_000_000_123_456, -1] {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            assert_eq!(time(&timestamp(at)), Some(at));
        }
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, i32::MAX)] {
            assert_eq!(time(&Timestamp { seconds, nanos }), None);
        }
    }
}
