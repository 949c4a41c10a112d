//! The wait before the next attempt of a retry, or the next probe of a breaker. The jitters are those of Brooker,
//! "Exponential Backoff And Jitter" (AWS, 2015).

use std::time::Duration;

use crate::time::seconds;

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first wait, in seconds.
    pub initial: f64,
    /// The factor from each wait to the next; 1 is a constant backoff.
    pub factor: f64,
    /// No wait is longer, in seconds.
    pub max: f64,
    pub jitter: Jitter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Anywhere from nothing to the whole wait.
    Full,
    /// At least half of the wait.
    Equal,
    None,
}

impl Backoff {
    /// The wait after failed attempt (or opening) number `attempt`, counted from 1. `dice` is in [0, 1).
    ///
    /// Powers are taken in floating point: they saturate at infinity, which the cap brings down.
    pub fn wait(&self, attempt: u32, dice: f64) -> Duration {
        let power = self.factor.powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX));
        // 0 * inf is NaN: a wait of zero stays zero.
        let whole = if self.initial == 0.0 { 0.0 } else { (self.initial * power).min(self.max) };
        let wait = match self.jitter {
            Jitter::None => whole,
            Jitter::Equal => whole / 2.0 + whole / 2.0 * dice,
            Jitter::Full => whole * dice,
        };
        // An endless wait times a dice of 0 is NaN too, and stays endless.
        seconds(wait).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Backoff = Backoff { initial: 0.1, factor: 2.0, max: 60.0, jitter: Jitter::None };

    #[test]
    fn doubles_to_the_cap() {
        let waits: Vec<f64> = (1..=12).map(|n| PLAIN.wait(n, 0.5).as_secs_f64()).collect();
        assert!((waits[0] - 0.1).abs() < 1e-9 && (waits[3] - 0.8).abs() < 1e-9);
        assert!((waits[11] - 60.0).abs() < 1e-9);
    }

    #[test]
    fn a_much_larger_cap_is_honoured() {
        let b = Backoff { max: 1e7, ..PLAIN };
        assert!((b.wait(1024, 0.0).as_secs_f64() - 1e7).abs() < 1.0);
    }

    #[test]
    fn constant_stays() {
        let b = Backoff { initial: 2.0, factor: 1.0, max: f64::INFINITY, jitter: Jitter::None };
        assert_eq!(b.wait(1, 0.0), b.wait(1_000_000_000, 0.0));
    }

    proptest! {
        #[test]
        fn stays_within_its_bounds(
            attempt in prop_oneof![1u32..64, Just(1024), Just(10_000), Just(1_000_000_000), Just(u32::MAX)],
            dice in 0.0f64..1.0,
            initial in 0.0f64..1e6,
            factor in 0.1f64..1e3,
            max in 0.0f64..60.0,
        ) {
            for jitter in [Jitter::Full, Jitter::Equal, Jitter::None] {
                let wait = Backoff { initial, factor, max, jitter }.wait(attempt, dice).as_secs_f64();
                prop_assert!(wait <= max + 1e-6);
                if jitter == Jitter::Equal {
                    let whole = Backoff { initial, factor, max, jitter: Jitter::None }.wait(attempt, dice).as_secs_f64();
                    prop_assert!(wait >= whole / 2.0 - 1e-6);
                }
            }
        }
    }
}
