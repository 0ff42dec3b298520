//! Names of a request: its correlation id and its trace.

use std::cell::RefCell;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// Names the request in logs, from the edge to the last hop.
pub(crate) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// W3C Trace Context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Length of a `traceparent`: `00-<32 digits>-<16 digits>-<2 digits>`.
const TRACEPARENT_BYTES: usize = 55;

/// How a request is named, outside and inside.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The client's own if it is one that logs can show, else new.
    pub(crate) correlation_id: HeaderValue,
    /// The client's own if it is well formed, else that of a new trace that nobody records.
    pub(crate) traceparent: HeaderValue,
}

impl Names {
    /// The correlation id as text.
    pub(crate) fn correlation_id(&self) -> &str {
        self.correlation_id.to_str().unwrap_or_default()
    }

    /// The trace, 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        self.traceparent.to_str().ok().and_then(|parent| parent.get(3..35)).unwrap_or_default()
    }
}

/// Whether the client records the trace that it names; `None` when it names none.
pub(crate) fn recorded(headers: &HeaderMap) -> Option<bool> {
    let parent = headers.get(TRACEPARENT).filter(|parent| is_traceparent(parent.as_bytes()))?;
    let flags = parent.as_bytes().last()?;
    // The last bit of a hexadecimal digit: of letters, `b`, `d` and `f` have it.
    Some(if flags.is_ascii_digit() { flags % 2 == 1 } else { flags % 2 == 0 })
}

/// Makes names; every worker has its own source.
pub(crate) struct Namer(RefCell<SmallRng>);

impl Namer {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(SmallRng::from_rng(&mut rand::rng())))
    }

    /// The names of a request; `trusting` takes a correlation id over from the client.
    pub(crate) fn name(&self, headers: &HeaderMap, trusting: bool) -> Names {
        let given = headers.get(CORRELATION_ID).filter(|id| trusting && is_plain(id.as_bytes()));
        let parent = headers.get(TRACEPARENT).filter(|parent| is_traceparent(parent.as_bytes()));
        if let (Some(id), Some(parent)) = (given, parent) {
            return Names::marked(id.clone(), parent.clone());
        }
        let id = self.draw();
        // A correlation id of ours is the trace's id in other clothes.
        let id = parent.and_then(trace_of).unwrap_or(id);
        // Both share one piece of memory.
        let mut text = BytesMut::with_capacity(Hyphenated::LENGTH + TRACEPARENT_BYTES);
        let correlation_id = given.cloned().unwrap_or_else(|| {
            let mut digits = [0; Hyphenated::LENGTH];
            text.put_slice(id.hyphenated().encode_lower(&mut digits).as_bytes());
            value(text.split())
        });
        let parent = parent.cloned().unwrap_or_else(|| {
            text.put_slice(&self.begin_trace(id));
            value(text.split())
        });
        Names::marked(correlation_id, parent)
    }

    /// A share of all requests, chosen by chance.
    pub(crate) fn chosen(&self, share: f64) -> bool {
        share >= 1.0 || f64::from(self.0.borrow_mut().next_u32()) < share * f64::from(u32::MAX)
    }

    fn draw(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.borrow_mut().fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn begin_trace(&self, id: Uuid) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        id.simple().encode_lower(&mut text[3..35]);
        // An id of zeros is none; one that ends in 1 is never zero.
        let span = self.0.borrow_mut().next_u64() | 1;
        for (place, digit) in text[36..52].iter_mut().enumerate() {
            let nibble = span >> (60 - 4 * place) & 15;
            *digit = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or_default()];
        }
        text
    }
}

impl Names {
    /// Values that differ each time must not crowd the table of compressed headers.
    fn marked(mut correlation_id: HeaderValue, mut traceparent: HeaderValue) -> Self {
        correlation_id.set_sensitive(true);
        traceparent.set_sensitive(true);
        Self { correlation_id, traceparent }
    }
}

fn value(text: BytesMut) -> HeaderValue {
    HeaderValue::from_maybe_shared(text.freeze()).unwrap_or(HeaderValue::from_static("-"))
}

/// Whether logs can show an id as it is.
fn is_plain(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=128).contains(&id.len()) && id.iter().all(plain)
}

fn is_traceparent(text: &[u8]) -> bool {
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let some = |digits: &[u8]| digits.iter().any(|digit| *digit != b'0');
    text.len() == TRACEPARENT_BYTES
        && text.starts_with(b"00-")
        && text[35] == b'-'
        && text[52] == b'-'
        && [3..35, 36..52, 53..55].into_iter().all(|digits| text[digits].iter().all(hex))
        && some(&text[3..35])
        && some(&text[36..52])
}

fn trace_of(parent: &HeaderValue) -> Option<Uuid> {
    Uuid::try_parse_ascii(parent.as_bytes().get(3..35)?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn named(pairs: &[(HeaderName, &'static str)]) -> Names {
        let headers =
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Namer::new().name(&headers.collect(), true)
    }

    #[test]
    fn only_a_well_formed_correlation_id_is_taken_over() {
        let taken = |id: &'static [u8]| {
            let Ok(value) = HeaderValue::from_bytes(id) else { return false };
            let headers = HeaderMap::from_iter([(CORRELATION_ID, value)]);
            Namer::new().name(&headers, true).correlation_id.as_bytes() == id
        };
        assert!(taken(b"7d9f-A.b_c:1"));
        for id in [&b""[..], b"two words", b"quo\"te", b"\xff", &[b'a'; 129]] {
            assert!(!taken(id), "{id:?}");
        }
        let headers = HeaderMap::from_iter([(CORRELATION_ID, HeaderValue::from_static("mine"))]);
        assert_ne!(Namer::new().name(&headers, false).correlation_id(), "mine");
    }

    #[test]
    fn a_new_correlation_id_is_that_of_the_trace() {
        let fresh = named(&[]);
        assert_eq!(fresh.correlation_id().len(), 36, "a UUID");
        assert_eq!(fresh.correlation_id().replace('-', ""), fresh.trace_id());
        assert!(is_traceparent(fresh.traceparent.as_bytes()), "{:?}", fresh.traceparent.to_str());
        assert_ne!(named(&[]).trace_id(), fresh.trace_id());

        let carried = named(&[(TRACEPARENT, PARENT)]);
        assert_eq!(carried.traceparent, PARENT);
        assert_eq!(carried.correlation_id().replace('-', ""), carried.trace_id());
    }

    #[test]
    fn the_client_says_whether_its_trace_is_recorded() {
        let said = |flags: &str| {
            let parent = format!("{}{flags}", &PARENT[..53]);
            let parent = HeaderValue::try_from(parent).unwrap();
            recorded(&HeaderMap::from_iter([(TRACEPARENT, parent)]))
        };
        for flags in ["01", "03", "ff", "0b", "0d"] {
            assert_eq!(said(flags), Some(true), "{flags}");
        }
        for flags in ["00", "02", "fe", "0a", "0c"] {
            assert_eq!(said(flags), Some(false), "{flags}");
        }
        assert_eq!(said("0g"), None);
        assert_eq!(recorded(&HeaderMap::new()), None);
    }

    #[test]
    fn a_malformed_trace_is_not_carried_on() {
        for parent in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "x",
        ] {
            assert_ne!(named(&[(TRACEPARENT, parent)]).traceparent, parent, "{parent}");
        }
    }
}
