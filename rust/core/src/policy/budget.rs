//! A budget for attempts beyond the first, retries and hedges, shared by many calls: when a service fails or is slow
//! for all of them, these may add only so much to its load.
//!
//! Over the last ten seconds retries are at most `ratio` times the calls, plus `min_per_second` for each second. The
//! calls and the retries come from one source, so the allowance follows the load by itself; the idea is that of
//! Finagle's retry budget (Twitter, 2015).

use std::sync::Arc;

use crate::policy::window::Window;
use crate::time::Instant;

/// Over how many seconds it holds.
const SECONDS: u64 = 10;
const NANOS: u64 = 1_000_000_000;

/// Counts by whole seconds, and never in favour of a retry: one counts for ten seconds and up to one more, a call for
/// nine and up to one more.
#[derive(Debug)]
pub struct Budget {
    /// Retries for each call; infinite is no limit.
    ratio: f64,
    /// Retries in ten seconds whatever the calls; infinite is no limit.
    floor: f64,
    window: Window<Tally, { SECONDS as usize + 1 }>,
    /// The retries since it was made.
    counts: Counts,
    /// The name that it was made with.
    pub name: Option<Arc<str>>,
}

/// The retries that it allowed and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub granted: u64,
    pub refused: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: u32,
    retries: u32,
}

impl Budget {
    #[must_use]
    pub fn new(ratio: f64, min_per_second: f64) -> Self {
        let floor = min_per_second * SECONDS as f64;
        Budget { ratio, floor, window: Window::default(), counts: Counts::default(), name: None }
    }

    /// Counts a call that makes its first attempt.
    pub fn deposit(&mut self, now: Instant) {
        let slice = self.window.at(now.nanos() / NANOS);
        slice.calls = slice.calls.saturating_add(1);
    }

    /// Whether a call may retry. If so, the retry is counted.
    #[must_use = "without a withdrawal there is no retry"]
    pub fn withdraw(&mut self, now: Instant) -> bool {
        let second = now.nanos() / NANOS;
        let calls: u64 = self.window.last(SECONDS, second).map(|t| u64::from(t.calls)).sum();
        let retries: u64 = self.window.last(SECONDS + 1, second).map(|t| u64::from(t.retries)).sum();
        // Divided, not multiplied: 29 of 100 is 0.29 to the last bit, and a number of no calls is beyond any ratio but
        // an infinite one.
        let above = (retries + 1) as f64 - self.floor;
        let granted = above <= 0.0 || above / calls as f64 <= self.ratio;
        if granted {
            let slice = self.window.at(second);
            slice.retries = slice.retries.saturating_add(1);
        }
        *if granted { &mut self.counts.granted } else { &mut self.counts.refused } += 1;
        granted
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(s: f64) -> Instant {
        Instant::from_nanos((s * 1e9).round() as u64)
    }

    /// How many of `tries` are granted.
    fn granted(budget: &mut Budget, tries: usize, s: f64) -> usize {
        (0..tries).filter(|_| budget.withdraw(at(s))).count()
    }

    fn after(ratio: f64, min_per_second: f64, calls: usize) -> Budget {
        let mut budget = Budget::new(ratio, min_per_second);
        (0..calls).for_each(|_| budget.deposit(at(0.0)));
        budget
    }

    #[test]
    fn so_many_for_the_calls_and_so_many_for_the_seconds() {
        for (ratio, min, calls, most) in [
            (0.1, 0.0, 100, 10),
            (0.1, 0.0, 99, 9),
            (0.29, 0.0, 100, 29),
            (0.1, 1.0, 0, 10),
            (0.1, 1.0, 30, 13),
            (0.1, 0.3, 10, 4),
            (0.0, 0.05, 1000, 0),
            (2.0, 0.0, 7, 14),
            (0.0, 0.0, 1000, 0),
        ] {
            assert_eq!(granted(&mut after(ratio, min, calls), 100, 0.0), most, "{ratio} {min} {calls}");
        }
    }

    #[test]
    fn infinite_is_no_limit() {
        assert_eq!(granted(&mut after(f64::INFINITY, 0.0, 0), 1000, 0.0), 1000);
        assert_eq!(granted(&mut after(0.0, f64::INFINITY, 0), 1000, 0.0), 1000);
    }

    #[test]
    fn a_refusal_costs_nothing() {
        let mut budget = after(0.1, 0.0, 10);
        assert_eq!(granted(&mut budget, 1000, 0.0), 1);
        (0..10).for_each(|_| budget.deposit(at(1.0)));
        assert_eq!(granted(&mut budget, 1000, 1.0), 1);
        assert_eq!(budget.counts(), Counts { granted: 2, refused: 1998 });
    }

    #[test]
    fn calls_go_by_the_second_and_retries_a_second_later() {
        assert_eq!(granted(&mut after(0.1, 0.0, 100), 100, 9.9), 10);
        assert_eq!(granted(&mut after(0.1, 0.0, 100), 100, 10.0), 0);
        let mut budget = Budget::new(0.0, 1.0);
        assert_eq!(granted(&mut budget, 100, 0.9), 10);
        assert_eq!(granted(&mut budget, 100, 10.9), 0);
        assert_eq!(granted(&mut budget, 100, 11.0), 10);
    }

    /// A load of a hundred calls a second that all fail, each of which would be tried four times.
    #[test]
    fn an_outage_adds_a_tenth_to_the_load() {
        let mut budget = Budget::new(0.1, 0.0);
        let mut retries = 0;
        for call in 0..100_000 {
            let s = f64::from(call) / 100.0;
            budget.deposit(at(s));
            retries += granted(&mut budget, 3, s);
        }
        assert!((8_000..=10_000).contains(&retries), "{retries}");
    }

    proptest! {
        /// In the ten seconds up to any retry there are no more retries than those ten seconds' calls allow, to the
        /// nanosecond; and none is refused that the whole seconds allow.
        #[test]
        fn retries_never_exceed_the_bound(
            ratio in prop_oneof![Just(0.0), Just(0.1), Just(1.0), 0.0..3.0f64],
            min in prop_oneof![Just(0.0), Just(0.1), Just(1.0), 0.0..2.0f64],
            steps in proptest::collection::vec(
                (prop_oneof![6 => Just(0), 4 => 0u64..NANOS, 1 => 0..12 * NANOS, 1 => Just(10 * NANOS)], any::<bool>()),
                1..300,
            ),
        ) {
            let mut budget = Budget::new(ratio, min);
            let (mut calls, mut retries, mut now) = (Vec::new(), Vec::new(), 0u64);
            let within = |list: &[u64], now: u64, unit: u64, most: u64| {
                list.iter().filter(|&&t| now / unit - t / unit <= most).count() as f64
            };
            let bound = |calls: f64| ratio * calls + min * 10.0 + 1e-9;
            for (step, call) in steps {
                now += step;
                let instant = Instant::from_nanos(now);
                if call {
                    budget.deposit(instant);
                    calls.push(now);
                } else if budget.withdraw(instant) {
                    retries.push(now);
                    prop_assert!(within(&retries, now, 1, 10 * NANOS) <= bound(within(&calls, now, 1, 10 * NANOS)));
                } else {
                    prop_assert!(within(&retries, now, NANOS, 10) + 1.0 > bound(within(&calls, now, NANOS, 9)) - 2e-9);
                }
            }
        }
    }
}
