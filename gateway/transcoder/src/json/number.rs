//! Numbers as text: JSON has one kind, protobuf many.

use std::str;

use super::reader::number_length;

/// Whether `text` is a number as JSON writes it.
pub(crate) fn is_number(text: &[u8]) -> bool {
    number_length(text) == Ok(text.len())
}

/// The value of a number without a fraction, whatever its spelling: `100`, `1e2`, `100.0`.
/// None if it has a fraction, is no number, or is far beyond 64 bits.
#[inline]
pub(crate) fn integer(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let plain = digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    if !plain || digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return any_integer(text);
    }
    let value = digits.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(i128::from(if negative { -value } else { value }))
}

#[cold]
fn any_integer(text: &[u8]) -> Option<i128> {
    let Decimal { negative, digits, exponent } = Decimal::read(text)?;
    if digits.is_empty() {
        return Some(0);
    }
    // 2^64 has 20 digits.
    let zeros = u32::try_from(exponent).ok().filter(|zeros| {
        digits.len().checked_add(*zeros as usize).is_some_and(|digits| digits <= 20)
    })?;
    let value = digits.iter().fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let value = value * 10_i128.pow(zeros);
    Some(if negative { -value } else { value })
}

/// A number of whatever spelling as `0.ddd × 10ⁿ` has it: no zeros around its digits.
#[derive(Eq, PartialEq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    fn read(text: &[u8]) -> Option<Self> {
        if !is_number(text) {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let negative = whole.starts_with('-');
        let digits: Vec<u8> =
            whole.trim_start_matches('-').bytes().chain(fraction.bytes()).collect();
        let last = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(last);
        if first == last {
            // All zeros are alike.
            return Some(Self { negative: false, digits: Vec::new(), exponent: 0 });
        }
        let places = i64::try_from(fraction.len()).ok()?;
        let zeros = i64::try_from(digits.len() - last).ok()?;
        let exponent = exponent.parse::<i64>().ok()?.checked_sub(places)?.checked_add(zeros)?;
        Some(Self { negative, digits: digits[first..last].to_vec(), exponent })
    }
}

/// A 64-bit float; none beyond its range. `NaN` and `Infinity` are given as text.
#[inline]
pub(crate) fn double(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        text if is_number(text) => {
            str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
        }
        _ => None,
    }
}

/// A 32-bit float, as [`double`].
#[inline]
pub(crate) fn float(text: &[u8]) -> Option<f32> {
    match text {
        b"NaN" => Some(f32::NAN),
        b"Infinity" => Some(f32::INFINITY),
        b"-Infinity" => Some(f32::NEG_INFINITY),
        text if is_number(text) => {
            str::from_utf8(text).ok()?.parse().ok().filter(|value: &f32| value.is_finite())
        }
        _ => None,
    }
}

/// Whether `number`, written out again, is the very number that `text` is.
#[inline]
pub(crate) fn is_kept(text: &[u8], number: f64) -> bool {
    // A float keeps fifteen digits, whatever they are.
    if text.len() <= 15 && !text.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        return true;
    }
    // Of two shortest spellings that are as near, writers choose either: the even one, as we do and
    // browsers, or the larger.
    let (given, mut even) = (Decimal::read(text), zmij::Buffer::new());
    given == Decimal::read(even.format_finite(number).as_bytes())
        || given == Decimal::read(format!("{number:e}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_known_in_every_spelling() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1", Some(1)),
            ("-1", Some(-1)),
            ("100.0", Some(100)),
            ("1e2", Some(100)),
            ("12300e-2", Some(123)),
            ("1.5e1", Some(15)),
            ("0e999999999999", Some(0)),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("-9223372036854775808", Some(i128::from(i64::MIN))),
            ("1.8446744073709551615e19", Some(i128::from(u64::MAX))),
            ("1.5", None),
            ("1e-1", None),
            ("1e999999999", None),
            ("1e99999999999999999999", None),
            ("99999999999999999999999999999999999999999999999999999", None),
            ("100000000000000000000.00000000000000000000000000000000e-18", Some(100)),
            ("", None),
            ("-", None),
            ("+1", None),
            ("01", None),
            ("-01", None),
            (" 1", None),
            ("1 ", None),
            ("1_000", None),
            ("0x1", None),
        ] {
            assert_eq!(integer(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn floats_have_a_range() {
        assert_eq!(double(b"1e308"), Some(1e308));
        assert_eq!(double(b"1e309"), None);
        assert_eq!(float(b"3.4028235e38"), Some(f32::MAX));
        assert_eq!(float(b"3.5e38"), None);
        assert_eq!(float(b"1e-50"), Some(0.0));
        assert_eq!(double(b"inf"), None);
        assert_eq!(double(b"Infinity"), Some(f64::INFINITY));
    }

    #[test]
    fn a_number_is_kept_if_it_comes_back_the_same() {
        for (text, kept) in [
            ("0", true),
            ("-0.0", true),
            ("1.50", true),
            ("1e3", true),
            ("100E-2", true),
            ("9007199254740991", true),
            ("9007199254740993", false),
            ("0.1234567890123456789", false),
            ("1e-400", false),
            ("1e300", true),
        ] {
            let number = double(text.as_bytes()).unwrap_or_default();
            assert_eq!(is_kept(text.as_bytes(), number), kept, "{text}");
        }
    }
}
