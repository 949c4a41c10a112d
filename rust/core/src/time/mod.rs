//! Time: the only place that reads a clock or sleeps. Everything above is handed `now` and deadlines.

mod clock;
mod heap;
mod sleep;
mod ticks;

pub use clock::Clock;
pub use heap::Key;
pub use sleep::{Sleep, sleep_until};
pub use ticks::Ticks;

use std::time::Duration;

/// A point on a [`Clock`]: nanoseconds since the clock was made. Monotonic; never wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// Never reached: the deadline that never passes.
    pub const NEVER: Instant = Instant(u64::MAX);

    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Instant(nanos)
    }

    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Saturates at [`Instant::NEVER`], so that huge timeouts never pass.
    #[must_use]
    pub fn after(self, d: Duration) -> Self {
        u64::try_from(d.as_nanos()).map_or(Self::NEVER, |n| Instant(self.0.saturating_add(n)))
    }

    /// Zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Seconds as a duration: infinity and numbers that do not fit are `Duration::MAX`. `None` for NaN and negative
/// numbers.
#[must_use]
pub fn seconds(s: f64) -> Option<Duration> {
    if s.is_nan() || s < 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_is_no_limit_and_zero_is_at_once() {
        let now = Instant::from_nanos(5);
        for s in [1e12, f64::INFINITY, f64::MAX] {
            assert_eq!(now.after(seconds(s).unwrap()), Instant::NEVER);
        }
        assert_eq!(now.after(seconds(0.0).unwrap()), now);
        assert_eq!(seconds(f64::NAN), None);
        assert_eq!(seconds(-1e-9), None);
    }
}
