//! Conditional requests: the client's copy may still be the right one.

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use xxhash_rust::xxh3::xxh3_128;

use crate::answer::{Answer, AnswerBody};
use crate::coding::Coding;
use crate::problem::Problem;

/// A client may keep the answer, if it asks each time whether it still is the same.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Names the body of `answer`, and leaves it out when the client has it already. A client that wants
/// none but that which it has, by `If-Match`, is refused another one (RFC 9110 section 13.2.2).
///
/// The compressed forms of a body have names of their own, as a strong `ETag` demands; they are
/// told apart by their ends.
pub(crate) fn apply(request: &HeaderMap, answer: &mut Answer) -> Result<(), Problem> {
    let AnswerBody::Whole(body) = answer.body() else { return Ok(()) };
    let name = format!("{:032x}", xxh3_128(body));
    if request.contains_key(IF_MATCH) && !names(request, &IF_MATCH, &name) {
        let detail = "what is here is not what the client has";
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED", detail));
    }
    answer.headers_mut().insert(CACHE_CONTROL, ASK_EACH_TIME);
    let tag = HeaderValue::try_from(format!("\"{name}\"")).map_err(|_| Problem::internal())?;
    if names(request, &IF_NONE_MATCH, &name) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = AnswerBody::Done;
        answer.headers_mut().remove(CONTENT_TYPE);
        answer.headers_mut().remove(CONTENT_LENGTH);
    }
    answer.headers_mut().insert(ETAG, tag);
    Ok(())
}

/// The name of a body after it was compressed.
pub(crate) fn compressed(headers: &mut HeaderMap, coding: Coding) {
    let Some(tag) = headers.get(ETAG).and_then(|tag| tag.to_str().ok()) else { return };
    let name = tag.trim_end_matches('"');
    if let Ok(tag) = HeaderValue::try_from(format!("{name}-{}\"", coding.name())) {
        headers.insert(ETAG, tag);
    }
}

/// Whether a header of the client names that body, compressed or not. To `If-None-Match` a weak name
/// is as good as a strong one, to `If-Match` it is none (RFC 9110 section 13.1).
fn names(request: &HeaderMap, header: &HeaderName, name: &str) -> bool {
    request.get_all(header).iter().filter_map(|held| held.to_str().ok()).any(|held| {
        held.split(',').map(str::trim).any(|held| {
            let held = match held.strip_prefix("W/") {
                Some(_) if header == IF_MATCH => return false,
                weak => weak.unwrap_or(held).trim_matches('"'),
            };
            let plain = held.rsplit_once('-').map_or(held, |(plain, _)| plain);
            held == "*" || plain == name
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::answer::whole;

    fn asked_by(header: HeaderName, held: &str) -> Result<Answer, Problem> {
        let headers = HeaderMap::from_iter([(header, held.parse().unwrap())]);
        let mut answer = whole(StatusCode::OK, "application/json", Bytes::from_static(b"{}"));
        apply(&headers, &mut answer).map(|()| answer)
    }

    fn asked(held: &str) -> Answer {
        asked_by(IF_NONE_MATCH, held).unwrap()
    }

    #[test]
    fn who_wants_only_what_it_has_gets_no_other() {
        let tag = asked("").headers()[ETAG].to_str().unwrap().to_owned();
        for held in [&tag, "*", &format!("\"x\", {tag}")] {
            assert_eq!(asked_by(IF_MATCH, held).unwrap().status(), StatusCode::OK, "{held}");
        }
        for held in ["", "\"x\"", &format!("W/{tag}")] {
            let refused = asked_by(IF_MATCH, held).err().unwrap();
            assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{held}");
        }
    }

    #[test]
    fn a_client_that_has_the_body_gets_none() {
        let first = asked("\"other\"");
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let plain = tag.trim_matches('"');
        for held in
            [&tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*", &format!("\"{plain}-gzip\"")]
        {
            let again = asked(held);
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{held}");
            assert_eq!(again.headers()[ETAG], tag);
            assert!(matches!(again.body(), AnswerBody::Done));
        }
        assert_eq!(asked(&tag[..tag.len() - 3]).status(), StatusCode::OK);
    }

    #[test]
    fn a_compressed_body_has_a_name_of_its_own() {
        let mut answer = asked("");
        let tag = answer.headers()[ETAG].to_str().unwrap().to_owned();
        compressed(answer.headers_mut(), Coding::Brotli);
        assert_eq!(answer.headers()[ETAG], format!("{}-br\"", tag.trim_end_matches('"')));
    }
}
