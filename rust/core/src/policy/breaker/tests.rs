//! Each rule of the breaker by itself, with time that jumps.

use std::time::Duration;

use super::*;
use crate::policy::backoff::Jitter;

const WAIT: Backoff = Backoff { initial: 30.0, factor: 2.0, max: 100.0, jitter: Jitter::None };
const BY_RATE: Settings = Settings {
    failures: None,
    failure_rate: 0.5,
    minimum_calls: 4,
    slow_call: None,
    slow_rate: 1.0,
    window: Duration::from_mins(1),
    cooldown: WAIT,
    probes: 1,
};
const IN_A_ROW: Settings = Settings { failures: Some(3), ..BY_RATE };
const SLOW: Settings = Settings { slow_call: Some(Duration::from_secs(2)), slow_rate: 0.5, ..BY_RATE };
const MAX: Duration = Duration::MAX;

fn at(s: f64) -> Instant {
    Instant::from_nanos((s * 1e9).round() as u64)
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A call that begins and ends at once.
fn call(b: &mut Breaker, outcome: Outcome, s: f64) {
    let pass = b.admit(0, at(s)).expect("admitted");
    b.record(pass, outcome, at(s), 0.0);
}

fn calls(b: &mut Breaker, outcomes: &str, s: f64) {
    for o in outcomes.chars() {
        call(b, if o == 'x' { Outcome::Failure } else { Outcome::Success }, s);
    }
}

/// Open since 0, half-open from 30 on.
fn opened(settings: Settings) -> Breaker {
    let mut b = Breaker::new(settings);
    b.open_now(0, at(0.0), 0.0);
    assert_eq!(b.state(0, at(29.9)), State::Open);
    assert_eq!(b.state(0, at(30.0)), State::HalfOpen);
    b
}

#[test]
fn failures_in_a_row_open_it() {
    let mut b = Breaker::new(IN_A_ROW);
    calls(&mut b, "xx.xx.", 0.0);
    assert_eq!(b.state(0, at(0.0)), State::Closed);
    // However far apart: the window does not apply to failures in a row.
    calls(&mut b, "x", 0.0);
    calls(&mut b, "x", 1e6);
    calls(&mut b, "x", 2e6);
    assert_eq!(b.state(0, at(2e6)), State::Open);
    assert_eq!(b.peek(0, at(2e6)), Err(secs(30)));
    assert_eq!(b.admit(0, at(2e6 + 20.0)).unwrap_err(), secs(10));
}

#[test]
fn a_rate_opens_it_once_there_are_enough_calls() {
    let mut b = Breaker::new(BY_RATE);
    calls(&mut b, "xxx", 0.0);
    assert_eq!(b.state(0, at(0.0)), State::Closed);
    calls(&mut b, ".", 0.0);
    assert_eq!(b.state(0, at(0.0)), State::Open);

    let mut b = Breaker::new(BY_RATE);
    calls(&mut b, "x...x", 0.0);
    assert_eq!(b.state(0, at(0.0)), State::Closed);
    calls(&mut b, "x", 0.0);
    assert_eq!(b.state(0, at(0.0)), State::Open);
}

#[test]
fn a_rate_that_is_met_exactly_is_reached() {
    for (failed, of) in [(3, 10), (29, 100), (7, 70)] {
        let mut b =
            Breaker::new(Settings { failure_rate: f64::from(failed) / f64::from(of), minimum_calls: of as u32, ..BY_RATE });
        calls(&mut b, &("x".repeat(failed as usize) + &".".repeat((of - failed - 1) as usize)), 0.0);
        assert_eq!(b.state(0, at(0.0)), State::Closed);
        calls(&mut b, ".", 0.0);
        assert_eq!(b.state(0, at(0.0)), State::Open);
    }
}

#[test]
fn rates_at_their_limits() {
    let mut never = Breaker::new(Settings { failure_rate: f64::INFINITY, minimum_calls: 0, ..BY_RATE });
    calls(&mut never, "xxxxxx", 0.0);
    assert_eq!(never.state(0, at(0.0)), State::Closed);
    let mut at_once = Breaker::new(Settings { failure_rate: 0.0, minimum_calls: 0, ..BY_RATE });
    calls(&mut at_once, "......", 0.0);
    assert_eq!(at_once.state(0, at(0.0)), State::Closed);
    calls(&mut at_once, "x", 0.0);
    assert_eq!(at_once.state(0, at(0.0)), State::Open);
}

#[test]
fn a_result_counts_for_nine_tenths_of_the_window_and_never_for_the_whole() {
    for (recorded, judged, counts) in
        [(0.0, 59.9, true), (0.0, 60.0, false), (5.9, 59.9, true), (5.9, 60.0, false), (6.0, 65.9, true)]
    {
        let mut b = Breaker::new(BY_RATE);
        calls(&mut b, "xxx", recorded);
        calls(&mut b, "x", judged);
        assert_eq!(b.state(0, at(judged)) == State::Open, counts, "{recorded} {judged}");
    }
    let mut endless = Breaker::new(Settings { window: MAX, ..BY_RATE });
    calls(&mut endless, "xxx", 0.0);
    calls(&mut endless, "x", 1e9);
    assert_eq!(endless.state(0, at(1e9)), State::Open);
    let mut none = Breaker::new(Settings { window: Duration::ZERO, ..BY_RATE });
    for s in 0..100 {
        calls(&mut none, "x", f64::from(s));
    }
    assert_eq!(none.state(0, at(99.0)), State::Closed);
}

#[test]
fn slow_successes_open_it_and_a_slow_failure_is_one_failure() {
    let slow = |b: &mut Breaker, took: f64, outcome| {
        let pass = b.admit(0, at(0.0)).unwrap();
        b.record(pass, outcome, at(took), 0.0);
    };
    let mut b = Breaker::new(SLOW);
    for took in [2.0, 2.1, 1.0, 2.1] {
        assert_eq!(b.state(0, at(2.0)), State::Closed);
        slow(&mut b, took, Outcome::Success);
    }
    assert_eq!(b.state(0, at(2.1)), State::Open);

    // One failed slowly and one was slow: a quarter each.
    let mut b = Breaker::new(SLOW);
    for (took, outcome) in [(9.0, Outcome::Failure), (9.0, Outcome::Success), (1.0, Outcome::Success), (1.0, Outcome::Success)] {
        slow(&mut b, took, outcome);
    }
    assert_eq!(b.state(0, at(9.0)), State::Closed);

    // With failures in a row, which a slow success ends; there the failure rate is not judged.
    let mut b = Breaker::new(Settings { failures: Some(3), ..SLOW });
    calls(&mut b, "xx", 0.0);
    slow(&mut b, 3.0, Outcome::Success);
    calls(&mut b, "xx", 3.0);
    assert_eq!(b.state(0, at(3.0)), State::Closed);
    for _ in 0..3 {
        slow(&mut b, 3.0, Outcome::Success);
    }
    assert_eq!(b.state(0, at(3.0)), State::Open);
}

/// Case L2 of the hard cases.
#[test]
fn twenty_cancels_are_nothing_and_five_timeouts_open_it() {
    for settings in [Settings { failures: Some(5), ..BY_RATE }, Settings { failure_rate: 1.0, minimum_calls: 5, ..BY_RATE }] {
        let mut b = Breaker::new(settings);
        for _ in 0..20 {
            call(&mut b, Outcome::Nothing, 0.0);
        }
        assert!(b.is_idle(0, at(0.0)));
        for _ in 0..5 {
            assert_eq!(b.state(0, at(0.0)), State::Closed);
            call(&mut b, Outcome::Failure, 0.0);
        }
        assert_eq!(b.state(0, at(0.0)), State::Open);
    }
}

/// Case L1.
#[test]
fn exactly_as_many_probes_as_said_of_a_hundred_callers() {
    for probes in [1, 3, 10] {
        let mut b = opened(Settings { probes, ..BY_RATE });
        let mut passes: Vec<Pass> = (0..100).filter_map(|_| b.admit(0, at(30.0)).ok()).collect();
        assert_eq!(passes.len(), probes as usize);
        assert_eq!(b.peek(0, at(30.0)), Err(secs(1)));
        // A probe that has succeeded keeps its place: so many in total.
        while let Some(pass) = passes.pop() {
            assert_eq!(b.state(0, at(31.0)), State::HalfOpen);
            assert!((0..100).all(|_| b.admit(0, at(31.0)).is_err()));
            b.record(pass, Outcome::Success, at(31.0), 0.0);
        }
        assert_eq!(b.state(0, at(31.0)), State::Closed);
    }
}

#[test]
fn a_probe_that_is_nothing_lets_another_in() {
    let mut b = opened(Settings { probes: 2, ..BY_RATE });
    let (first, second) = (b.admit(0, at(30.0)).unwrap(), b.admit(0, at(30.0)).unwrap());
    b.record(first, Outcome::Nothing, at(31.0), 0.0);
    let third = b.admit(0, at(31.0)).unwrap();
    assert!(b.admit(0, at(31.0)).is_err());
    b.record(second, Outcome::Success, at(32.0), 0.0);
    b.record(third, Outcome::Success, at(32.0), 0.0);
    assert_eq!(b.state(0, at(32.0)), State::Closed);
}

#[test]
fn to_look_takes_no_slot() {
    let mut b = opened(BY_RATE);
    assert!((0..100).all(|_| b.peek(0, at(30.0)).is_ok()));
    let pass = b.admit(0, at(30.0)).unwrap();
    assert!(b.peek(0, at(30.0)).is_err());
    b.record(pass, Outcome::Nothing, at(30.0), 0.0);
    assert!(b.peek(0, at(30.0)).is_ok());
}

#[test]
fn one_probe_that_fails_opens_it_for_longer_until_it_was_closed() {
    let mut b = opened(Settings { probes: 3, ..BY_RATE });
    let mut now = 30.0;
    for wait in [60, 100, 100] {
        let (first, second) = (b.admit(0, at(now)).unwrap(), b.admit(0, at(now)).unwrap());
        b.record(first, Outcome::Success, at(now), 0.0);
        b.record(second, Outcome::Failure, at(now), 0.0);
        assert_eq!(b.peek(0, at(now)), Err(secs(wait)));
        now += wait as f64;
    }
    calls(&mut b, "...", now);
    assert_eq!(b.state(0, at(now)), State::Closed);
    calls(&mut b, "xxxx", now);
    assert_eq!(b.peek(0, at(now)), Err(secs(30)));
}

#[test]
fn slow_probes_are_no_recovery() {
    let probe = |b: &mut Breaker, took: f64| {
        let pass = b.admit(0, at(30.0)).unwrap();
        b.record(pass, Outcome::Success, at(30.0 + took), 0.0);
        b.state(0, at(30.0 + took))
    };
    assert_eq!(probe(&mut opened(SLOW), 2.1), State::Open);
    assert_eq!(probe(&mut opened(SLOW), 2.0), State::Closed);
    let mut b = opened(Settings { probes: 3, ..SLOW });
    assert_eq!(probe(&mut b, 2.1), State::HalfOpen);
    assert_eq!(probe(&mut b, 1.0), State::HalfOpen);
    assert_eq!(probe(&mut b, 1.0), State::Closed);
    let mut b = opened(Settings { probes: 3, ..SLOW });
    assert_eq!(probe(&mut b, 2.1), State::HalfOpen);
    assert_eq!(probe(&mut b, 2.1), State::Open);
    assert_eq!(b.peek(0, at(32.1)), Err(secs(60)));
}

#[test]
fn what_began_in_another_generation_is_nothing() {
    // Before it opened: ends while open, while half-open and when it is closed again.
    let mut b = Breaker::new(IN_A_ROW);
    let mut old: Vec<Pass> = (0..6).map(|_| b.admit(0, at(0.0)).unwrap()).collect();
    calls(&mut b, "xxx", 0.0);
    b.record(old.pop().unwrap(), Outcome::Failure, at(1.0), 0.0);
    assert_eq!(b.peek(0, at(1.0)), Err(secs(29)));
    let probe = b.admit(0, at(30.0)).unwrap();
    b.record(old.pop().unwrap(), Outcome::Success, at(30.0), 0.0);
    b.record(old.pop().unwrap(), Outcome::Nothing, at(30.0), 0.0);
    assert_eq!(b.state(0, at(30.0)), State::HalfOpen);
    assert!(b.admit(0, at(30.0)).is_err());
    b.record(probe, Outcome::Success, at(30.0), 0.0);
    for pass in old {
        b.record(pass, Outcome::Failure, at(30.0), 0.0);
    }
    assert_eq!(b.state(0, at(30.0)), State::Closed);

    // A probe of an earlier half-open state is none of the next.
    let mut b = opened(Settings { probes: 2, ..BY_RATE });
    let (stale, failing) = (b.admit(0, at(30.0)).unwrap(), b.admit(0, at(30.0)).unwrap());
    b.record(failing, Outcome::Failure, at(30.0), 0.0);
    let (one, two) = (b.admit(0, at(90.0)).unwrap(), b.admit(0, at(90.0)).unwrap());
    b.record(one, Outcome::Success, at(91.0), 0.0);
    b.record(stale, Outcome::Success, at(91.0), 0.0);
    assert_eq!(b.state(0, at(91.0)), State::HalfOpen);
    b.record(two, Outcome::Success, at(92.0), 0.0);
    assert_eq!(b.state(0, at(92.0)), State::Closed);
}

#[test]
fn isolated_until_reset() {
    let mut b = Breaker::new(IN_A_ROW);
    let before = b.admit(0, at(0.0)).unwrap();
    b.isolate(0);
    b.record(before, Outcome::Success, at(1.0), 0.0);
    b.open_now(0, at(1.0), 0.0);
    for s in [1.0, 1e9] {
        assert_eq!(b.state(0, at(s)), State::Isolated);
        assert_eq!(b.peek(0, at(s)), Err(MAX));
        assert_eq!(b.admit(0, at(s)).unwrap_err(), MAX);
    }
    assert!(!b.is_idle(0, at(1e9)));
    b.reset(0);
    assert_eq!(b.state(0, at(1e9)), State::Closed);
    assert!(b.is_idle(0, at(1e9)));
}

#[test]
fn reset_forgets_counts_calls_and_the_length_of_the_cooldown() {
    let mut b = opened(IN_A_ROW);
    calls(&mut b, "x", 30.0);
    assert_eq!(b.peek(0, at(30.0)), Err(secs(60)));
    b.reset(0);
    let before = b.admit(0, at(30.0)).unwrap();
    calls(&mut b, "xx", 30.0);
    b.reset(0);
    b.record(before, Outcome::Failure, at(30.0), 0.0);
    calls(&mut b, "xx", 30.0);
    assert_eq!(b.state(0, at(30.0)), State::Closed);
    calls(&mut b, "x", 30.0);
    assert_eq!(b.peek(0, at(30.0)), Err(secs(30)));
}

#[test]
fn cooldowns_of_nothing_without_end_and_with_jitter() {
    let constant =
        |initial, jitter| Settings { cooldown: Backoff { initial, factor: 1.0, max: f64::INFINITY, jitter }, ..IN_A_ROW };
    let mut b = Breaker::new(constant(0.0, Jitter::None));
    calls(&mut b, "xxx", 0.0);
    assert_eq!(b.state(0, at(0.0)), State::HalfOpen);
    let _probe = b.admit(0, at(0.0)).unwrap();
    assert_eq!(b.peek(0, at(0.0)), Err(Duration::ZERO));

    let mut b = Breaker::new(constant(f64::INFINITY, Jitter::None));
    calls(&mut b, "xxx", 0.0);
    assert_eq!(b.state(0, Instant::from_nanos(u64::MAX)), State::Open);
    assert_eq!(b.peek(0, at(1e9)), Err(MAX));

    let mut b = Breaker::new(constant(8.0, Jitter::Full));
    b.open_now(0, at(0.0), 0.25);
    assert_eq!(b.peek(0, at(0.0)), Err(secs(2)));
}

#[test]
fn a_key_is_idle_when_nothing_is_lost_with_it() {
    let mut b = Breaker::new(BY_RATE);
    assert!(b.is_idle(7, at(0.0)));
    calls(&mut b, ".", 0.0);
    assert!(!b.is_idle(0, at(59.9)));
    assert!(b.is_idle(0, at(60.0)));
    b.open_now(0, at(0.0), 0.0);
    assert!(!b.is_idle(0, at(1e9)));

    // A run of failures is kept for as long as it, or the opening it leads up to, could matter.
    for (window, cooldown, until) in [(60, 30.0, 60.0), (60, 90.0, 90.0)] {
        let settings = Settings { window: secs(window), cooldown: Backoff { initial: cooldown, ..WAIT }, ..IN_A_ROW };
        let mut b = Breaker::new(settings);
        calls(&mut b, "x", 0.0);
        assert!(!b.is_idle(0, at(until)));
        assert!(b.is_idle(0, at(until + 0.1)));
        calls(&mut b, ".", until);
        assert!(b.is_idle(0, at(until)));
    }
}

#[test]
fn a_forgotten_key_is_another() {
    let mut b = Breaker::new(IN_A_ROW);
    let before: Vec<Pass> = (0..3).map(|_| b.admit(0, at(0.0)).unwrap()).collect();
    b.forget(0);
    for pass in before {
        b.record(pass, Outcome::Failure, at(0.0), 0.0);
    }
    assert_eq!(b.state(0, at(0.0)), State::Closed);
    assert!(b.is_idle(0, at(0.0)));
}

#[test]
fn keys_know_nothing_of_one_another() {
    let mut b = Breaker::new(IN_A_ROW);
    calls(&mut b, "xxx", 0.0);
    assert_eq!([0, 1, 2].map(|key| b.state(key, at(0.0))), [State::Open, State::Closed, State::Closed]);
    b.isolate(2);
    assert_eq!([0, 1, 2].map(|key| b.state(key, at(30.0))), [State::HalfOpen, State::Closed, State::Isolated]);
}

/// A thread may read the clock, and be overtaken before it calls.
#[test]
fn a_clock_read_early_is_harmless() {
    let mut b = opened(BY_RATE);
    let probe = b.admit(0, at(30.0)).unwrap();
    assert_eq!(b.state(0, at(29.0)), State::HalfOpen);
    b.record(probe, Outcome::Success, at(29.0), 0.0);
    calls(&mut b, "xx", 100.0);
    calls(&mut b, "xx", 90.0);
    assert_eq!(b.state(0, at(100.0)), State::Open);
}
