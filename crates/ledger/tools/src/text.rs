//! How things are written for people and for other programs.

use std::fmt::{self, Debug};

use book::{AccountStatus, TransferStatus};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use proof::{Kind, Timestamp, flag};

const NANOS: u64 = 1_000_000_000;

/// A time as of RFC 3339, to the nanosecond.
pub(crate) fn time(time: Timestamp) -> String {
    // It is within the years 1970 to 2554.
    let (seconds, nanos) = (time.nanos() / NANOS, time.nanos() % NANOS);
    let date = i64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
    let date = date.and_then(|(seconds, nanos)| DateTime::<Utc>::from_timestamp(seconds, nanos));
    date.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// The time of this text as of RFC 3339, or the beginning in UTC of the day of this date.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let time = match text.parse::<NaiveDate>() {
        Ok(date) => date.and_time(chrono::NaiveTime::MIN).and_utc(),
        Err(_) => DateTime::parse_from_rfc3339(text).ok()?.to_utc(),
    };
    let seconds = u64::try_from(time.timestamp()).ok()?.checked_mul(NANOS)?;
    let nanos = seconds.checked_add(time.timestamp_subsec_nanos().into())?;
    // Zero stands for none.
    (nanos > 0).then(|| Timestamp::from_nanos(nanos))
}

/// A number with its thousands told apart.
pub(crate) fn grouped(number: u64) -> impl fmt::Display {
    fmt::from_fn(move |formatter| {
        let digits = number.to_string();
        for (place, digit) in digits.char_indices() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                formatter.write_str(",")?;
            }
            write!(formatter, "{digit}")?;
        }
        Ok(())
    })
}

/// So many things, in words.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// So many entries, in words.
pub(crate) fn entries(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{} entries", grouped(number)) }
}

/// The name of a kind, as in the proofs.
pub(crate) const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Plain => "plain",
        Kind::Pending => "pending",
        Kind::PostPending => "post_pending",
        Kind::VoidPending => "void_pending",
        Kind::Account => "account",
        Kind::Amendment => "amendment",
        Kind::Refusal => "refusal",
        Kind::Expiry => "expiry",
        Kind::Tenant => "tenant",
        Kind::Key => "key",
        Kind::Checkpoint => "checkpoint",
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The names of the flags of a transfer that are set.
pub(crate) fn flags(flags: u8) -> impl Iterator<Item = &'static str> {
    let names = [
        (flag::LINKED, "linked"),
        (flag::BALANCING_DEBIT, "balancing_debit"),
        (flag::BALANCING_CREDIT, "balancing_credit"),
        (flag::CHAIN, "chain"),
    ];
    names.into_iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, name)| name)
}

/// What the limits of accounts are called, by their numbers.
pub(crate) const LIMITS: [&str; 3] = ["none", "debits_within_credits", "credits_within_debits"];

/// The name of a limit.
pub(crate) fn limit(number: u8) -> &'static str {
    LIMITS.get(usize::from(number)).copied().unwrap_or_default()
}

/// The status of a transfer by its name in the contract.
pub(crate) fn transfer_status(number: u16) -> String {
    contract(TransferStatus::from_number(number), number)
}

/// The status of an account by its name in the contract.
pub(crate) fn account_status(number: u16) -> String {
    contract(AccountStatus::from_number(number), number)
}

/// `ExceedsCredits` is `EXCEEDS_CREDITS` there.
fn contract(status: Option<impl Debug>, number: u16) -> String {
    let Some(status) = status else { return number.to_string() };
    let mut name = String::new();
    for letter in format!("{status:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for text in ["1970-01-01T00:00:00.000000001Z", "2554-07-21T23:34:33.709551615Z"] {
            assert_eq!(time(parse_time(text).unwrap()), text);
        }
        let zoned = parse_time("2020-02-29T00:00:00-03:00").unwrap();
        assert_eq!(time(zoned), "2020-02-29T03:00:00.000000000Z");
        assert_eq!(time(parse_time("2020-02-29").unwrap()), "2020-02-29T00:00:00.000000000Z");
        let wrong = ["", "2021-02-29", "1969-12-31", "1970-01-01", "2554-07-22", "yesterday"];
        for text in wrong {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn statuses_have_the_names_of_the_contract() {
        assert_eq!(transfer_status(43), "EXCEEDS_CREDITS");
        assert_eq!(account_status(14), "EXISTS_WITH_DIFFERENT_METADATA");
        assert_eq!(account_status(9_999), "9999");
    }

    #[test]
    fn thousands_are_told_apart() {
        let texts = [0, 999, 1_000, 1_234_567].map(|number| grouped(number).to_string());
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
