//! Times and durations as text (RFC 3339, and seconds with an `s`).

use super::write_integer;

/// `0001-01-01T00:00:00Z`.
const SECONDS_MIN: i64 = -62_135_596_800;
/// `9999-12-31T23:59:59Z`.
const SECONDS_MAX: i64 = 253_402_300_799;
/// About ten thousand years.
const DURATION_MAX: i64 = 315_576_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Reads seconds and nanoseconds since 1970.
pub(crate) fn read_timestamp(text: &[u8]) -> Option<(i64, i32)> {
    let (date, mut rest) = text.split_first_chunk::<19>()?;
    let digits = |from: usize, count: usize| number(&date[from..from + count]);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| date[*at] != *mark) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = fraction(&mut rest)?;
    let seconds =
        days_since_1970(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
            - offset(rest)?;
    (SECONDS_MIN..=SECONDS_MAX).contains(&seconds).then_some((seconds, nanos))
}

/// Seconds that a local time is ahead.
fn offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', tens, ones] if hours.len() == 2 => {
            let (hours, minutes) = (number(hours)?, number(&[*tens, *ones])?);
            let ahead = (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)?;
            Some(if *sign == b'+' { ahead } else { -ahead })
        }
        _ => None,
    }
}

/// Takes a fraction of a second, as nanoseconds; zero if there is none.
fn fraction(text: &mut &[u8]) -> Option<i32> {
    let Some(rest) = text.strip_prefix(b".") else { return Some(0) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || length > 9 {
        return None;
    }
    let (digits, rest) = rest.split_at(length);
    *text = rest;
    let value = i32::try_from(number(digits)?).ok()?;
    Some(value * 10_i32.pow(9 - u32::try_from(length).ok()?))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
    })
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Years count from March, so that the leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// The inverse of [`days_since_1970`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Writes a time in quotes; false if it is beyond what RFC 3339 can say.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, seconds: i64, nanos: i64) -> bool {
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) || !(0..=999_999_999).contains(&nanos) {
        return false;
    }
    let (year, month, day) = date(seconds.div_euclid(SECONDS_PER_DAY));
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    let mut text = *b"\"0000-00-00T00:00:00";
    pair(&mut text, 1, year / 100);
    pair(&mut text, 3, year % 100);
    pair(&mut text, 6, month);
    pair(&mut text, 9, day);
    pair(&mut text, 12, second / 3600);
    pair(&mut text, 15, second / 60 % 60);
    pair(&mut text, 18, second % 60);
    out.extend_from_slice(&text);
    write_fraction(out, nanos);
    out.extend_from_slice(b"Z\"");
    true
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two digits")]
fn pair(text: &mut [u8; 20], at: usize, value: i64) {
    text[at] = b'0' + (value / 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

/// Three, six or nine digits, as many as are needed.
fn write_fraction(out: &mut Vec<u8>, nanos: i64) {
    if nanos == 0 {
        return;
    }
    let mut digits = *b".000000000";
    let mut rest = nanos;
    for digit in digits[1..].iter_mut().rev() {
        #[expect(clippy::cast_sign_loss, reason = "one digit")]
        let value = (rest % 10) as u8;
        *digit = b'0' + value;
        rest /= 10;
    }
    let length = match (nanos % 1_000_000, nanos % 1_000) {
        (0, _) => 4,
        (_, 0) => 7,
        _ => 10,
    };
    out.extend_from_slice(&digits[..length]);
}

/// Reads seconds and nanoseconds of the same sign.
pub(crate) fn read_duration(text: &[u8]) -> Option<(i64, i32)> {
    let text = text.strip_suffix(b"s")?;
    let (negative, mut rest) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || length > 12 {
        return None;
    }
    let seconds = number(&rest[..length]).filter(|seconds| *seconds <= DURATION_MAX)?;
    rest = &rest[length..];
    let nanos = fraction(&mut rest)?;
    if !rest.is_empty() {
        return None;
    }
    Some(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

/// Writes a duration in quotes; false if it is out of range or of two signs.
pub(crate) fn write_duration(out: &mut Vec<u8>, seconds: i64, nanos: i64) -> bool {
    let signs = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if signs || seconds.unsigned_abs() > DURATION_MAX.unsigned_abs() || nanos.abs() > 999_999_999 {
        return false;
    }
    out.push(b'"');
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    write_integer(out, seconds.unsigned_abs());
    write_fraction(out, nanos.abs());
    out.extend_from_slice(b"s\"");
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_rfc_3339_says() {
        for (text, shown) in [
            ("1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00Z")),
            ("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z")),
            ("9999-12-31T23:59:59.999999999Z", Some("9999-12-31T23:59:59.999999999Z")),
            ("2024-02-29T23:59:59.5+01:00", Some("2024-02-29T22:59:59.500Z")),
            ("2000-02-29T00:00:00-00:30", Some("2000-02-29T00:30:00Z")),
            ("2026-01-31T12:00:00.000001Z", Some("2026-01-31T12:00:00.000001Z")),
            ("2026-01-31T12:00:00.0000000010Z", None),
            ("2023-02-29T00:00:00Z", None),
            ("1900-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("2026-01-00T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T23:60:00Z", None),
            ("2026-01-01T23:59:60Z", None),
            ("2026-01-01t00:00:00Z", None),
            ("2026-01-01T00:00:00z", None),
            ("2026-01-01 00:00:00Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-01-01T00:00:00+1:00", None),
            ("2026-01-01T00:00:00+0100", None),
            ("2026-01-01T00:00:00+24:00", None),
            ("2026-01-01T00:00:00ZZ", None),
            ("0000-01-01T00:00:00Z", None),
            ("0001-01-01T00:00:00+00:01", None),
            ("9999-12-31T23:59:59-00:01", None),
            ("2026-01-01", None),
            ("", None),
        ] {
            let read = read_timestamp(text.as_bytes());
            let mut out = Vec::new();
            let written = read.map(|(seconds, nanos)| {
                assert!(write_timestamp(&mut out, seconds, i64::from(nanos)), "{text}");
                String::from_utf8(out).unwrap()
            });
            assert_eq!(written, shown.map(|shown| format!("\"{shown}\"")), "{text}");
        }
    }

    #[test]
    fn every_day_comes_back_from_its_number() {
        for day in (SECONDS_MIN / SECONDS_PER_DAY)..=(SECONDS_MAX / SECONDS_PER_DAY) {
            let (year, month, of_month) = date(day);
            assert_eq!(days_since_1970(year, month, of_month), day);
        }
    }

    #[test]
    fn durations_have_one_sign_and_a_range() {
        for (text, read) in [
            ("0s", Some((0, 0))),
            ("1.5s", Some((1, 500_000_000))),
            ("-1.5s", Some((-1, -500_000_000))),
            ("-0.000000001s", Some((0, -1))),
            ("315576000000s", Some((DURATION_MAX, 0))),
            ("315576000001s", None),
            ("315576000000.999999999s", Some((DURATION_MAX, 999_999_999))),
            ("1", None),
            ("s", None),
            ("-s", None),
            (".5s", None),
            ("1.s", None),
            ("+1s", None),
            ("1 s", None),
            ("1e2s", None),
        ] {
            assert_eq!(read_duration(text.as_bytes()), read, "{text}");
        }
        let mut out = Vec::new();
        assert!(write_duration(&mut out, 0, -1) && out == b"\"-0.000000001s\"");
        assert!(!write_duration(&mut out, 1, -1));
        assert!(!write_duration(&mut out, DURATION_MAX + 1, 0));
        assert!(!write_duration(&mut out, i64::MIN, 0));
        assert!(!write_timestamp(&mut out, SECONDS_MAX + 1, 0));
        assert!(!write_timestamp(&mut out, 0, -1));
    }
}
