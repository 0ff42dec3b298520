//! Where in a document a byte stands, in words: found anew when there is an error, so that reading
//! a document keeps no account of it.

use std::fmt::Write;

use super::{Reader, Text, Token};

/// Most characters of a client's own name that are shown.
const SHOWN_MAX: usize = 64;

/// The path of the name or value that begins at byte `at`: `items[2].name`.
pub(crate) fn path_to(json: &[u8], at: usize) -> String {
    let mut path = String::new();
    let mut reader = Reader::new(json);
    descend(&mut reader, at, &mut path);
    path
}

/// Follows the document down to `at`. What comes before has been read, so it has no errors.
fn descend(reader: &mut Reader<'_>, at: usize, path: &mut String) -> Option<()> {
    loop {
        let token = reader.token().ok()?;
        if reader.at() >= at {
            return Some(());
        }
        reader.open();
        let mut first = true;
        match token {
            Token::Object => loop {
                let name = reader.name(&mut first).ok()??;
                if holds(*reader, at) {
                    push_name(path, reader, name);
                    break;
                }
                reader.skip().ok()?;
            },
            Token::Array => {
                let mut index = 0;
                while reader.element(&mut first).ok()? {
                    if holds(*reader, at) {
                        let _ = write!(path, "[{index}]");
                        break;
                    }
                    reader.skip().ok()?;
                    index += 1;
                }
            }
            _ => return Some(()),
        }
        // A name, not its value.
        if reader.at() > at {
            return Some(());
        }
    }
}

/// Whether `at` is at the end of what follows or before it.
fn holds(mut reader: Reader<'_>, at: usize) -> bool {
    reader.at() > at || reader.skip().is_err() || reader.at() > at
}

fn push_name(path: &mut String, reader: &Reader<'_>, name: Text) {
    if !path.is_empty() {
        path.push('.');
    }
    // What is no Unicode is shown as it is spelled.
    let text = reader.resolved(name).unwrap_or_else(|_| reader.raw(name).into());
    path.extend(String::from_utf8_lossy(&text).chars().take(SHOWN_MAX));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_found_by_their_first_byte() {
        let json = r#" {"a" : {"b\n": [0, {"c": 7, "d": []} ]}, "e": "f"} "#;
        for (mark, path) in [
            ("{\"a\"", ""),
            ("\"a\"", "a"),
            ("{\"b", "a"),
            ("\"b", "a.b\n"),
            ("[0", "a.b\n"),
            ("0", "a.b\n[0]"),
            ("{\"c", "a.b\n[1]"),
            ("7", "a.b\n[1].c"),
            ("\"d\"", "a.b\n[1].d"),
            ("[]", "a.b\n[1].d"),
            ("\"e\"", "e"),
            ("\"f\"", "e"),
        ] {
            assert_eq!(path_to(json.as_bytes(), json.find(mark).unwrap()), path, "{mark}");
        }
    }
}
