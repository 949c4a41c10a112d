//! How long something took, at the price of two looks at the processor's counter: 10 ns each, where the system's clock takes 25. Every run of
//! every effect is timed so. It is no time of day, and no deadline stands on it.
//!
//! The counter's rate is found on the way, from how far it and the system's clock have come since the clock was made: nobody waits for a
//! calibration. Where the counter is not constant, or time is virtual, the clock itself is read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Clock, Instant};

/// A reading, to be handed to [`Clock::took`].
#[derive(Clone, Copy, Debug)]
pub struct Ticks(u64);

/// In a reading: these are nanoseconds of the clock.
const NANOS: u64 = 1 << 63;
/// From then on the rate is known to a few parts in a million, and kept.
const SETTLED: u64 = 50_000_000;

pub(super) struct Counter {
    base: Option<u64>,
    /// Nanoseconds a tick, as the bits of a float. 0: not settled yet.
    rate: AtomicU64,
}

impl Counter {
    pub(super) fn new() -> Self {
        Counter { base: constant().then(read), rate: AtomicU64::new(0) }
    }

    fn rate(&self, base: u64, elapsed: impl FnOnce() -> u64) -> f64 {
        let rate = f64::from_bits(self.rate.load(Ordering::Relaxed));
        if rate > 0.0 { rate } else { self.settle(base, elapsed) }
    }

    #[cold]
    fn settle(&self, base: u64, elapsed: impl FnOnce() -> u64) -> f64 {
        let before = read();
        let elapsed = elapsed();
        let (between, ticks) = (read().wrapping_sub(before), before.wrapping_sub(base).max(1));
        let rate = elapsed as f64 / ticks as f64;
        // Not where this thread was held up between the two clocks.
        if elapsed > SETTLED && between < ticks / 100_000 {
            self.rate.store(rate.to_bits(), Ordering::Relaxed);
        }
        rate
    }
}

impl Clock {
    pub fn ticks(&self) -> Ticks {
        if self.counter.base.is_some() && !self.is_virtual() { Ticks(read() & !NANOS) } else { Ticks(self.now().nanos() | NANOS) }
    }

    /// Nanoseconds since that reading; 0 if the clock was taken over or handed back in between.
    pub fn took(&self, since: Ticks) -> u64 {
        let (Ticks(now), Ticks(then)) = (self.ticks(), since);
        match (now & NANOS, then & NANOS) {
            (0, 0) => {
                let Some(base) = self.counter.base else { return 0 };
                let ticks = now.saturating_sub(then);
                (ticks as f64 * self.counter.rate(base, || self.elapsed())) as u64
            }
            (NANOS, NANOS) => now.saturating_sub(then),
            _ => 0,
        }
    }

    /// When that reading was taken, on the clock.
    pub fn time_of(&self, ticks: Ticks) -> Instant {
        Instant::from_nanos(self.now().nanos().saturating_sub(self.took(ticks)))
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn constant() -> bool {
    use std::arch::x86_64::__cpuid;
    __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & (1 << 8) != 0
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn read() -> u64 {
    // SAFETY: reads a register that each x86-64 has.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
fn constant() -> bool {
    false
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
fn read() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ticks_agree_with_the_clock() {
        let clock = Clock::real();
        for micros in [200, 5_000, 60_000, 2_000] {
            // Real: two clocks are compared, and this thread may be held up between them, but not each time.
            let compared = (0..20).map(|_| {
                let (ticks, began) = (clock.ticks(), clock.now());
                while clock.now().since(began) < Duration::from_micros(micros) {
                    std::hint::spin_loop();
                }
                (clock.took(ticks), clock.now().since(began).as_nanos() as u64)
            });
            let best = compared.map(|(took, right)| took.abs_diff(right) as f64 / right as f64).fold(1.0, f64::min);
            assert!(best < 0.01, "after {micros} us the counter is {best} away from the clock");
        }
    }

    #[test]
    fn virtual_time_is_what_the_clock_says() {
        let clock = Clock::manual();
        let ticks = clock.ticks();
        clock.advance(Duration::from_secs(3));
        assert_eq!(clock.took(ticks), 3_000_000_000);
        let clock = Clock::real();
        let before = clock.ticks();
        clock.take_over();
        clock.advance(Duration::from_hours(1));
        assert!(clock.took(before) == 0 || clock.took(before) >= 3_600_000_000_000);
    }
}
