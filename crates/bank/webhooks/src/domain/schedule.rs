//! When a delivery is attempted again.

use std::time::Duration;

/// Longest wait that an endpoint may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// The waits between attempts: as the specification recommends, over days.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The wait after each attempt; the first attempt is made at once.
    waits: Vec<Duration>,
}

impl Schedule {
    pub(crate) fn new(waits: Vec<Duration>) -> Self {
        Self { waits }
    }

    /// The wait after `failed` attempts, or `None` when there are no more.
    ///
    /// `draw`, from 0 to 1, makes it up to a tenth longer, so that what failed together does not come
    /// again together. It is never shorter than the endpoint asked for, up to a day.
    pub(crate) fn after(
        &self,
        failed: usize,
        draw: f64,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let wait = *self.waits.get(failed.checked_sub(1)?)?;
        let jittered = wait + wait.mul_f64(draw.clamp(0.0, 1.0) / 10.0);
        Some(jittered.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Config;

    const SECOND: u64 = 1;
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3600;

    /// B-20: "Example retry schedule" of the Standard Webhooks specification, attempts at 00:00:00,
    /// 00:00:05, 00:05:05, 00:35:05, 02:35:05, 07:35:05, 17:35:05, 31:35:05, 51:35:05, 75:35:05.
    #[test]
    fn the_default_schedule_is_that_of_the_specification() {
        let schedule = Schedule::new(Config::default().retry_waits);
        let mut since_start = vec![0];
        while let Some(wait) = schedule.after(since_start.len(), 0.0, None) {
            since_start.push(since_start.last().unwrap() + wait.as_secs());
        }

        let at = |hours, minutes, seconds| hours * HOUR + minutes * MINUTE + seconds * SECOND;
        let recommended = [
            0,
            at(0, 0, 5),
            at(0, 5, 5),
            at(0, 35, 5),
            at(2, 35, 5),
            at(7, 35, 5),
            at(17, 35, 5),
            at(31, 35, 5),
            at(51, 35, 5),
            at(75, 35, 5),
        ];
        assert_eq!(since_start, recommended);
    }

    #[test]
    fn a_wait_is_never_shorter_than_planned_or_asked_for() {
        let schedule = Schedule::new(vec![Duration::from_secs(100)]);
        let after = |draw, asked: Option<u64>| {
            schedule.after(1, draw, asked.map(Duration::from_secs)).unwrap().as_secs()
        };
        for (draw, asked, waited) in [
            (0.0, None, 100),
            (1.0, None, 110),
            (0.5, None, 105),
            (0.0, Some(50), 100),
            (0.0, Some(700), 700),
            (1.0, Some(u64::MAX), 24 * HOUR),
        ] {
            assert_eq!(after(draw, asked), waited, "{draw} {asked:?}");
        }
        assert_eq!(schedule.after(2, 0.0, None), None);
    }
}
