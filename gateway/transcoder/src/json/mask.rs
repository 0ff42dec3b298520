//! Names of a `FieldMask`: `banking_details.agency` in a message, `bankingDetails.agency` in JSON.

/// Appends a path as messages have it; false if it is no path in JSON's form.
pub(crate) fn camel_to_snake(out: &mut Vec<u8>, path: &[u8]) -> bool {
    for &byte in path {
        match byte {
            b'A'..=b'Z' => out.extend_from_slice(&[b'_', byte.to_ascii_lowercase()]),
            b'_' => return false,
            byte => out.push(byte),
        }
    }
    true
}

/// Appends a path as JSON has it; false if it would not come back the same.
pub(crate) fn snake_to_camel(out: &mut Vec<u8>, path: &[u8]) -> bool {
    let mut after_underscore = false;
    for &byte in path {
        match (byte, after_underscore) {
            (b'a'..=b'z', true) => out.push(byte.to_ascii_uppercase()),
            (b'A'..=b'Z', _) | (_, true) => return false,
            (b'_', false) => {}
            (byte, false) => out.push(byte),
        }
        after_underscore = byte == b'_';
    }
    !after_underscore
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_their_spelling_and_back_or_not_at_all() {
        for (snake, camel) in [
            ("name", Some("name")),
            ("banking_details.account_type", Some("bankingDetails.accountType")),
            ("a1_b", Some("a1B")),
            ("_a", Some("A")),
            ("fooBar", None),
            ("foo_3", None),
            ("foo__bar", None),
            ("foo_", None),
        ] {
            let mut shown = Vec::new();
            let fits = snake_to_camel(&mut shown, snake.as_bytes());
            assert_eq!(fits.then_some(shown.as_slice()), camel.map(str::as_bytes), "{snake}");
            if let Some(camel) = camel {
                let mut read = Vec::new();
                assert!(camel_to_snake(&mut read, camel.as_bytes()));
                assert_eq!(read, snake.as_bytes(), "{camel}");
            }
        }
        assert!(!camel_to_snake(&mut Vec::new(), b"foo_bar"));
    }
}
