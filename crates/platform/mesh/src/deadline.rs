//! The time a call may take, in this process and on the wire.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// When the call is given up. Travels with the request from layer to layer, as an extension.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Deadline(pub(crate) Instant);

/// Time that the caller still gives the call: at most eight digits and a unit.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const VALUE_MAX: u128 = 99_999_999;

/// Reads the header; `None` when it is absent or malformed.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// Writes the header.
pub(crate) fn write(headers: &mut HeaderMap, timeout: Duration) {
    headers.insert(GRPC_TIMEOUT, value(timeout));
}

/// The header in the finest unit that fits: never longer than `timeout`, and off by less than a
/// hundred-thousandth of it.
///
/// It is marked sensitive: no two are the same, so that none belongs into the compression table.
pub fn value(timeout: Duration) -> HeaderValue {
    let units = [
        (timeout.as_nanos(), b'n'),
        (timeout.as_micros(), b'u'),
        (timeout.as_millis(), b'm'),
        (u128::from(timeout.as_secs()), b'S'),
    ];
    let fits = units.into_iter().find(|(value, _)| *value <= VALUE_MAX);
    let (mut value, unit) = fits.unwrap_or((VALUE_MAX, b'S'));
    let mut text = [b'0'; 9];
    let mut start = text.len() - 1;
    text[start] = unit;
    loop {
        start -= 1;
        // A digit; it fits.
        text[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    let written = HeaderValue::from_bytes(&text[start..]);
    let mut value = written.unwrap_or(HeaderValue::from_static("0n"));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_never_longer() {
        for nanos in [0, 1, 99_999_999, 100_000_001, 5_000_000_000, 86_400_000_000_000] {
            let timeout = Duration::from_nanos(nanos);
            let mut headers = HeaderMap::new();
            write(&mut headers, timeout);
            let read = read(&headers).unwrap();
            assert!(
                read <= timeout && timeout.saturating_sub(read) <= timeout / 100_000,
                "{timeout:?} {read:?}"
            );
        }
    }

    #[test]
    fn malformed_headers_are_ignored() {
        for text in ["", "5", "S", "5s", "-5S", "+5S", "123456789S", "5 S", "é"] {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            assert_eq!(read(&headers), None, "{text}");
        }
    }
}
