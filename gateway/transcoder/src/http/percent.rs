//! Percent-encoding (RFC 3986), read strictly.

use std::borrow::Cow;

/// The text is not percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// Decodes a path segment; borrowed if nothing in it is encoded.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, Malformed> {
    if !text.as_bytes().contains(&b'%') {
        return Ok(Cow::Borrowed(text));
    }
    decoded(text, |byte| byte).map(Cow::Owned)
}

/// As [`decode`], but for encoded slashes, which stay as they are.
pub(super) fn decode_keeping_slashes(text: &str, out: &mut String) -> Result<(), Malformed> {
    let mut rest = text;
    while let Some(at) = rest.find("%2F").into_iter().chain(rest.find("%2f")).min() {
        out.push_str(&decode(&rest[..at])?);
        out.push_str(&rest[at..at + 3]);
        rest = &rest[at + 3..];
    }
    out.push_str(&decode(rest)?);
    Ok(())
}

/// Decodes a name or value of a query; a plus sign is a space.
pub(super) fn decode_query(text: &str) -> Result<Cow<'_, str>, Malformed> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    decoded(text, |byte| if byte == b'+' { b' ' } else { byte }).map(Cow::Owned)
}

fn decoded(text: &str, plain: impl Fn(u8) -> u8) -> Result<String, Malformed> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next())? << 4 | hex(bytes.next())?,
            byte => plain(byte),
        });
    }
    String::from_utf8(decoded).map_err(|_| Malformed)
}

fn hex(digit: Option<u8>) -> Result<u8, Malformed> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(Malformed),
    }
}

/// The pairs of a query, still encoded, in their order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_pairs_in_order() {
        let read = |query: &'static str| {
            let decoded = |(name, value)| Ok((decode_query(name)?, decode_query(value)?));
            pairs(query).map(decoded).collect::<Result<Vec<_>, Malformed>>()
        };
        assert_eq!(
            read("a=1&b=x+y%2B&a=2&flag&&c=").unwrap(),
            [("a", "1"), ("b", "x y+"), ("a", "2"), ("flag", ""), ("c", "")]
                .map(|(name, value)| (name.into(), value.into()))
        );
        for malformed in ["a=%ff", "%=1", "a=%4", "a=%zz"] {
            assert_eq!(read(malformed), Err(Malformed), "{malformed}");
        }
    }

    #[test]
    fn encoded_slashes_are_kept_where_asked_for() {
        let mut out = String::new();
        decode_keeping_slashes("a%2Fb%2f%20c", &mut out).unwrap();
        assert_eq!(out, "a%2Fb%2f c");
        assert_eq!(decode("a%2Fb%20c").unwrap(), "a/b c");
    }
}
