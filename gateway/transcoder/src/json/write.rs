//! How values are spelled in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::reader::plain_length;

#[inline]
pub(crate) fn write_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A float; whole ones without a fraction, so that `5` comes back as `5`.
pub(crate) fn write_double(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return write_special(out, value);
    }
    let mut buffer = zmij::Buffer::new();
    write_finite(out, buffer.format_finite(value));
}

/// As [`write_double`], with the digits that a 32-bit float needs.
pub(crate) fn write_float(out: &mut Vec<u8>, value: f32) {
    if !value.is_finite() {
        return write_special(out, f64::from(value));
    }
    let mut buffer = zmij::Buffer::new();
    write_finite(out, buffer.format_finite(value));
}

fn write_finite(out: &mut Vec<u8>, text: &str) {
    // The sign of a zero would be lost on those who read `-0` as an integer.
    let whole = text.strip_suffix(".0").filter(|whole| *whole != "-0");
    out.extend_from_slice(whole.unwrap_or(text).as_bytes());
}

fn write_special(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(match value {
        value if value.is_nan() => b"\"NaN\"",
        value if value > 0.0 => b"\"Infinity\"",
        _ => b"\"-Infinity\"",
    });
}

/// Writes a string; false if it is no UTF-8.
#[inline]
pub(crate) fn write_string(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    out.push(b'"');
    let high = write_escaped(out, bytes);
    out.push(b'"');
    high & 0x80 == 0 || std::str::from_utf8(bytes).is_ok()
}

/// As [`write_string`], of text.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Writes what is in the quotes; the bits of all bytes are returned.
#[inline]
fn write_escaped(out: &mut Vec<u8>, mut bytes: &[u8]) -> u8 {
    let mut high = 0;
    loop {
        let length = plain_length(bytes, &mut high);
        out.extend_from_slice(&bytes[..length]);
        let Some(special) = bytes.get(length) else { return high };
        write_escape(out, *special);
        bytes = &bytes[length + 1..];
    }
}

#[cold]
fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Writes bytes in base64, with padding, in quotes.
pub(crate) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly what padded base64 takes.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or_default();
    out.truncate(start + written);
    out.push(b'"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_where_json_asks_for_it() {
        let all: String =
            (0..0x80_u8).map(char::from).chain("é€\u{1f30e}\u{2028}".chars()).collect();
        let mut out = Vec::new();
        assert!(write_string(&mut out, all.as_bytes()));
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), all);
        assert!(!write_string(&mut out, b"a\xff"));
    }

    #[test]
    fn floats_are_short_and_come_back() {
        let double = |value| {
            let mut out = Vec::new();
            write_double(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        let float = |value| {
            let mut out = Vec::new();
            write_float(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        for (value, shown) in [
            (0.0, "0"),
            (-0.0, "-0.0"),
            (5.0, "5"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e300, "1e+300"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(double(value), shown);
        }
        assert_eq!(float(0.1), "0.1");
        assert_eq!(float(1e20), "1e+20");
        assert_eq!(float(16_777_216.0), "16777216");
    }
}
