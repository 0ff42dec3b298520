//! K-32, C-28, L-60: both signs that open the breaker, and the way back.

use std::num::NonZeroU32;

use tokio::time::advance;

use super::*;

const OPEN_TIME: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(30);

fn number(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap()
}

/// Opens after `in_a_row` failures in a row, or at 50 % of at least `volume` calls in 30 s.
fn breaker(in_a_row: u32, volume: u32) -> Arc<Breaker> {
    let config = BreakerConfig {
        consecutive_failures: number(in_a_row),
        failure_percent: number(50),
        window: WINDOW,
        volume_min: number(volume),
        open_time: OPEN_TIME,
        probes: number(3),
    };
    Breaker::new("ledger".into(), config, Gauge::noop())
}

/// Makes one call per letter: `x` fails, `.` succeeds.
fn calls(breaker: &Arc<Breaker>, outcomes: &str) {
    for outcome in outcomes.chars() {
        breaker.admit().map_err(|_| "refused").unwrap().record(outcome == 'x');
    }
}

#[tokio::test(start_paused = true)]
async fn either_sign_opens_it() {
    use BreakerState::{Closed, Open};
    let table = [
        // Consecutive failures: five in a row.
        (5, 100, "xxxx", Closed),
        (5, 100, "xxxxx", Open),
        (5, 100, "xxxx.xxxx", Closed),
        (5, 100, "xxxx.xxxxx", Open),
        // Failure rate: half of at least ten.
        (100, 10, "xxxxxxxxx", Closed),
        (100, 10, "xxxxxxxxxx", Open),
        (100, 10, "....xxxxx", Closed),
        (100, 10, ".....xxxxx", Open),
        (100, 10, "......xxxxx", Closed),
        (100, 10, "......xxxxxx", Open),
        (100, 10, "x.x.x.x.x.", Closed),
        (100, 10, "x.x.x.x.x.x", Open),
        (1, 1, "..........", Closed),
    ];
    for (in_a_row, volume, outcomes, expected) in table {
        let breaker = breaker(in_a_row, volume);
        calls(&breaker, outcomes);
        assert_eq!(breaker.state(), expected, "{in_a_row} {volume} {outcomes}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_older_than_the_window_no_longer_count() {
    for (pause, expected) in [
        (WINDOW * 9 / 10, BreakerState::Open),
        (WINDOW * 11 / 10, BreakerState::Closed),
        (WINDOW * 1000, BreakerState::Closed),
    ] {
        let breaker = breaker(100, 10);
        calls(&breaker, "xxxxxxxxx");
        advance(pause).await;
        calls(&breaker, "x");
        assert_eq!(breaker.state(), expected, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn open_it_refuses_and_says_how_long() {
    let breaker = breaker(3, 100);
    calls(&breaker, "xxx");
    assert_eq!(breaker.admit().err(), Some(OPEN_TIME));

    advance(OPEN_TIME / 5 * 4).await;
    assert_eq!(breaker.admit().err(), Some(OPEN_TIME / 5));
}

#[tokio::test(start_paused = true)]
async fn half_open_it_admits_three_probes_and_closes_when_all_succeed() {
    let breaker = breaker(3, 100);
    calls(&breaker, "xxx");
    advance(OPEN_TIME).await;

    let probes: Vec<_> = (0..3).map(|_| breaker.admit().ok().unwrap()).collect();
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(breaker.admit().is_err(), "a fourth probe");

    for (done, probe) in probes.into_iter().enumerate() {
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "after {done}");
        probe.record(false);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    calls(&breaker, "xx");
    assert_eq!(breaker.state(), BreakerState::Closed, "it counts from nothing again");
}

#[tokio::test(start_paused = true)]
async fn one_failed_probe_opens_it_again_for_the_whole_time() {
    let breaker = breaker(3, 100);
    calls(&breaker, "xxx");
    advance(OPEN_TIME).await;

    calls(&breaker, "..x");

    assert_eq!(breaker.admit().err(), Some(OPEN_TIME));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_waited_for_gives_its_place_back() {
    let breaker = breaker(3, 100);
    calls(&breaker, "xxx");
    advance(OPEN_TIME).await;
    let probes: Vec<_> = (0..3).map(|_| breaker.admit().ok().unwrap()).collect();

    drop(probes);

    calls(&breaker, "...");
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_it_opened_decides_nothing_after() {
    let breaker = breaker(3, 100);
    let late: Vec<_> = (0..3).map(|_| breaker.admit().ok().unwrap()).collect();
    calls(&breaker, "xxx");
    advance(OPEN_TIME).await;
    let _probe = breaker.admit().ok().unwrap();

    for permit in late {
        permit.record(false);
    }

    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}
