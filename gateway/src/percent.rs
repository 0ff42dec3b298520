//! Percent-encoding (RFC 3986), read strictly.

/// The text is not percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// Decodes a path segment.
pub(crate) fn decode(text: &str) -> Result<String, Malformed> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next())? << 4 | hex(bytes.next())?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| Malformed)
}

/// Decodes the pairs of a query string; a plus sign is a space.
pub(crate) fn decode_query(query: &str) -> Result<Vec<(String, String)>, Malformed> {
    let decoded = |text: &str| decode(&text.replace('+', " "));
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn hex(digit: Option<u8>) -> Result<u8, Malformed> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_pairs_in_order() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            decode_query("a=1&b=x+y%2B&a=2&flag&&c="),
            Ok(vec![
                pair("a", "1"),
                pair("b", "x y+"),
                pair("a", "2"),
                pair("flag", ""),
                pair("c", "")
            ])
        );
        assert_eq!(decode_query("a=%ff"), Err(Malformed));
        assert_eq!(decode_query("%=1"), Err(Malformed));
    }
}
