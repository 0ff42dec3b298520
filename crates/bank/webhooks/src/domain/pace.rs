//! How many messages an endpoint may be sent now.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Room for messages under a rate, kept as one instant: up to when the rate is used up.
///
/// A message takes `1 / rate`; up to a second's worth may go at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Messages in a second; 0 means as many as there are.
    pub(crate) rate_per_second: u32,
    /// Up to when the rate is used up.
    pub(crate) until: Option<DateTime<Utc>>,
}

impl Pace {
    /// Messages that may go now, at most `wanted`.
    pub(crate) fn room(self, now: DateTime<Utc>, wanted: usize) -> usize {
        if self.rate_per_second == 0 {
            return wanted;
        }
        let used =
            self.until.map_or(0, |until| (until - now).num_microseconds().unwrap_or(0)).max(0);
        let left = 1_000_000_i64.saturating_sub(used).max(0);
        let room = left * i64::from(self.rate_per_second) / 1_000_000;
        wanted.min(usize::try_from(room).unwrap_or(0))
    }

    /// Up to when the rate is used up once `sent` more have gone.
    pub(crate) fn after(self, now: DateTime<Utc>, sent: usize) -> Option<DateTime<Utc>> {
        if self.rate_per_second == 0 {
            return None;
        }
        let begin = self.until.unwrap_or(now).max(now);
        let each = Duration::from_secs(1) / self.rate_per_second;
        Some(begin + each * u32::try_from(sent).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B-20.
    #[test]
    fn a_second_holds_as_many_as_the_rate_says() {
        let start = DateTime::from_timestamp_nanos(0);
        let mut pace = Pace { rate_per_second: 4, until: None };
        let mut sent = Vec::new();
        for quarter in 0..12 {
            let now = start + Duration::from_millis(250) * quarter;
            let room = pace.room(now, 100);
            pace.until = pace.after(now, room);
            sent.push(room);
        }

        assert_eq!(sent, [4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(pace.room(start + Duration::from_hours(1), 100), 4, "what was not used is gone");
        assert_eq!(pace.room(start + Duration::from_hours(1), 2), 2);
    }

    #[test]
    fn without_a_rate_there_is_always_room() {
        let now = DateTime::from_timestamp_nanos(0);
        let pace = Pace { rate_per_second: 0, until: None };
        assert_eq!(pace.room(now, 7), 7);
        assert_eq!(pace.after(now, 7), None);
    }
}
