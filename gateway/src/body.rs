//! The body of a request, read within its bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::coding::{Coding, Undecodable};
use crate::config::Limits;
use crate::problem::Problem;

/// Time that every body has before its rate counts.
const RATE_COUNTS_AFTER: Duration = Duration::from_secs(1);

/// Reads a body within the limits of size, time and rate, and decompresses it.
pub(crate) async fn read<B>(headers: &HeaderMap, body: B, limits: &Limits) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let bytes_max = limits.body_bytes_max as usize;
    // A body that says it is too long is not read at all.
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|coding| *coding != "identity")
    else {
        return collect(body, bytes_max, limits).await;
    };
    let coding = encoding.to_str().ok().and_then(Coding::named).ok_or_else(|| {
        let detail = "the body may be compressed with gzip, br or zstd";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_ENCODING", detail)
    })?;
    let compressed = collect(body, bytes_max, limits).await?;
    coding.decode(compressed, bytes_max).await.map_err(|fault| match fault {
        Undecodable::TooLarge => too_large(bytes_max),
        Undecodable::Broken => {
            let detail = "the body is not compressed as it says";
            Problem::new(StatusCode::BAD_REQUEST, "BODY_BROKEN", detail)
        }
    })
}

/// Reads a body of at most `bytes_max` bytes within the limits of time and rate, as it is.
pub(crate) async fn collect<B>(
    mut body: B,
    bytes_max: usize,
    limits: &Limits,
) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let started = Instant::now();
    let mut first = Bytes::new();
    // Most bodies come in one piece, which need not be copied.
    let mut whole = BytesMut::new();
    loop {
        let received = first.len() + whole.len();
        let frame = match timeout_at(started + patience(received, limits), body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => {
                let detail = "the body ended early";
                return Err(Problem::new(StatusCode::BAD_REQUEST, "BODY_BROKEN", detail));
            }
            Ok(None) if whole.is_empty() => return Ok(first),
            Ok(None) => return Ok(whole.freeze()),
            Err(_) => {
                let detail = "the body did not come in time";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", detail));
            }
        };
        // Trailers of a request mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if received + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if received == 0 {
            first = data;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
    }
}

/// How long a body of which so much has come may take for now.
fn patience(received: usize, limits: &Limits) -> Duration {
    let due = received as u64 * 1000 / u64::from(limits.body_rate_min.max(1));
    limits.body_timeout.min(RATE_COUNTS_AFTER + Duration::from_millis(due))
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body has more than {bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail)
}

/// Refuses bodies that say they are something else than JSON.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if is_json(kind) {
        return Ok(());
    }
    let detail = "the body must be application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail))
}

/// Whether a media type is JSON: by name or by suffix (RFC 6839), or a JSON document per line.
fn is_json(kind: &str) -> bool {
    const TYPE: &str = "application/";
    const SUFFIX: &str = "+json";
    let Some((group, subtype)) = kind.split_at_checked(TYPE.len()) else { return false };
    let named = |name: &str| subtype.eq_ignore_ascii_case(name);
    let suffixed = || {
        let (name, suffix) = subtype.split_at_checked(subtype.len().wrapping_sub(SUFFIX.len()))?;
        Some(!name.is_empty() && suffix.eq_ignore_ascii_case(SUFFIX))
    };
    group.eq_ignore_ascii_case(TYPE)
        && (named("json") || named("x-ndjson") || suffixed() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_of_applications_is_read() {
        let admitted = |kind: &'static str| {
            let kind = http::HeaderValue::from_static(kind);
            check_json(&HeaderMap::from_iter([(CONTENT_TYPE, kind)])).is_ok()
        };
        for kind in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
            "application/x-ndjson",
        ] {
            assert!(admitted(kind), "{kind}");
        }
        for kind in ["image/x+json", "+json", "application/+json", "text/json", "multipart/a+json"]
        {
            assert!(!admitted(kind), "{kind}");
        }
        assert!(check_json(&HeaderMap::new()).is_ok());
    }
}
