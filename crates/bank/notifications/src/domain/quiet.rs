//! Hours in which a user is not to be disturbed.

use chrono::{DateTime, Utc};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Minutes of a day.
const DAY_MINUTES: i16 = 24 * 60;

/// Hours of each day on the clock of the user's wall: from a minute until another, which is on the
/// next day when it is not later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct QuietHours {
    /// Minutes after midnight.
    pub(crate) from: i16,
    /// Minutes after midnight.
    pub(crate) until: i16,
}

impl QuietHours {
    /// Reads `HH:MM` twice.
    pub(crate) fn parse(from: &str, until: &str) -> Option<Self> {
        Some(Self { from: minutes(from)?, until: minutes(until)? })
    }

    /// When the quiet hours end that `now` lies in; `None` outside of them.
    ///
    /// The wall's clock decides. Where it is set forward over the end, they end with the jump; where
    /// it is set back over it, they last until it shows the end again.
    pub(crate) fn end(self, now: DateTime<Utc>, zone: &TimeZone) -> Option<DateTime<Utc>> {
        let wall = zone.to_datetime(timestamp(now)?);
        let time = i16::from(wall.hour()) * 60 + i16::from(wall.minute());
        let is_quiet = if self.from < self.until {
            (self.from..self.until).contains(&time)
        } else {
            time >= self.from || time < self.until
        };
        if !is_quiet {
            return None;
        }
        let day = if self.until > time { wall.date() } else { wall.date().tomorrow().ok()? };
        let end = zone.to_ambiguous_timestamp(day.to_datetime(clock_face(self.until)?));
        let first = match end.offset() {
            AmbiguousOffset::Gap { .. } => zone.following(timestamp(now)?).next()?.timestamp(),
            _ => end.earlier().ok()?,
        };
        let first = utc(first)?;
        if first > now { Some(first) } else { utc(end.later().ok()?) }
    }
}

/// The zone of that IANA name.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// Minutes after midnight as `HH:MM`.
pub(crate) fn shown(minutes: i16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn minutes(text: &str) -> Option<i16> {
    let (hours, minutes) = text.split_once(':')?;
    let total = hours.parse::<i16>().ok()? * 60 + minutes.parse::<i16>().ok()?;
    (0..DAY_MINUTES).contains(&total).then_some(total)
}

fn clock_face(minutes: i16) -> Option<Time> {
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    Time::new(hour, minute, 0, 0).ok()
}

pub(crate) fn timestamp(at: DateTime<Utc>) -> Option<Timestamp> {
    Timestamp::from_microsecond(at.timestamp_micros()).ok()
}

fn utc(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(at.as_microsecond())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// Across midnight and within a day, on both sides of every edge, in zones on both sides of UTC.
    #[test]
    fn quiet_hours_are_those_of_the_users_wall() {
        let sao_paulo = "America/Sao_Paulo"; // UTC-3 all year
        let kathmandu = "Asia/Kathmandu"; // UTC+5:45
        for (zone_name, from, until, now, end) in [
            (sao_paulo, "22:00", "07:00", "2026-06-11T00:59:59Z", None),
            (sao_paulo, "22:00", "07:00", "2026-06-11T01:00:00Z", Some("2026-06-11T10:00:00Z")),
            (sao_paulo, "22:00", "07:00", "2026-06-11T02:59:59Z", Some("2026-06-11T10:00:00Z")),
            (sao_paulo, "22:00", "07:00", "2026-06-11T03:00:00Z", Some("2026-06-11T10:00:00Z")),
            (sao_paulo, "22:00", "07:00", "2026-06-11T09:59:59Z", Some("2026-06-11T10:00:00Z")),
            (sao_paulo, "22:00", "07:00", "2026-06-11T10:00:00Z", None),
            (sao_paulo, "12:00", "14:00", "2026-06-11T14:59:59Z", None),
            (sao_paulo, "12:00", "14:00", "2026-06-11T15:00:00Z", Some("2026-06-11T17:00:00Z")),
            (sao_paulo, "12:00", "14:00", "2026-06-11T17:00:00Z", None),
            // From a minute until the same one: always.
            (sao_paulo, "08:00", "08:00", "2026-06-11T11:00:00Z", Some("2026-06-12T11:00:00Z")),
            (sao_paulo, "08:00", "08:00", "2026-06-11T10:59:00Z", Some("2026-06-11T11:00:00Z")),
            (kathmandu, "22:00", "07:00", "2026-06-11T16:15:00Z", Some("2026-06-12T01:15:00Z")),
            (kathmandu, "22:00", "07:00", "2026-06-11T16:14:59Z", None),
            ("UTC", "22:00", "07:00", "2026-12-31T23:30:00Z", Some("2027-01-01T07:00:00Z")),
        ] {
            let hours = QuietHours::parse(from, until).unwrap();
            let found = hours.end(at(now), &zone(zone_name).unwrap());
            assert_eq!(found, end.map(at), "{zone_name} {from}-{until} {now}");
        }
    }

    /// New York: on 8 March 2026 02:00 becomes 03:00, on 1 November 02:00 becomes 01:00.
    #[test]
    fn a_clock_that_is_set_neither_loses_nor_repeats_the_end() {
        for (from, until, now, end) in [
            // A night of an hour less, and one of an hour more.
            ("22:00", "07:00", "2026-03-08T04:00:00Z", Some("2026-03-08T11:00:00Z")),
            ("22:00", "07:00", "2026-11-01T03:00:00Z", Some("2026-11-01T12:00:00Z")),
            // The end is never shown: they end with the jump.
            ("22:00", "02:30", "2026-03-08T06:30:00Z", Some("2026-03-08T07:00:00Z")),
            ("22:00", "02:30", "2026-03-08T07:00:00Z", None),
            // The end is shown twice: before the first, between the two, and after the second.
            ("22:00", "01:30", "2026-11-01T05:10:00Z", Some("2026-11-01T05:30:00Z")),
            ("22:00", "01:30", "2026-11-01T05:40:00Z", None),
            ("22:00", "01:30", "2026-11-01T06:10:00Z", Some("2026-11-01T06:30:00Z")),
            ("22:00", "01:30", "2026-11-01T06:30:00Z", None),
        ] {
            let hours = QuietHours::parse(from, until).unwrap();
            let found = hours.end(at(now), &zone("America/New_York").unwrap());
            assert_eq!(found, end.map(at), "{from}-{until} {now}");
        }
    }

    #[test]
    fn what_is_no_time_and_no_zone_is_refused() {
        for (from, until) in [("24:00", "07:00"), ("22:00", "7"), ("", "07:00"), ("a:b", "07:00")] {
            assert_eq!(QuietHours::parse(from, until), None, "{from}-{until}");
        }
        assert!(zone("America/Sao_Paulo").is_some());
        for name in ["", "America/Atlantis", "../etc/passwd", "Mars"] {
            assert!(zone(name).is_none(), "{name}");
        }
        assert_eq!((shown(0), shown(7 * 60 + 5)), ("00:00".into(), "07:05".into()));
    }
}
