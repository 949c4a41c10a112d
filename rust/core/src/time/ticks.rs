//! Durations, at the price of two looks at the processor's counter: 10 ns each, where the system's clock takes 25.
//! Every run of every effect is timed so. It is no time of day, and no deadline depends on it.
//!
//! The counter's rate is found on the way, from how far it and the system's clock have come since the clock was made:
//! there is no wait for a calibration. Where the counter is not constant, or time is virtual, the clock itself is read.
//!
//! A reading gives the time, too, by the counter's distance from a moment at which both were read. That moment is never
//! long ago, so that neither the rate's error nor a clock that is being corrected comes to more than two microseconds.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Clock, Instant};

/// A reading, to be handed to [`Clock::took`].
#[derive(Clone, Copy, Debug)]
pub struct Ticks(u64);

impl Ticks {
    /// As a number, of which [`Ticks::from_bits`] makes the reading again.
    pub fn bits(self) -> u64 {
        self.0
    }

    pub fn from_bits(bits: u64) -> Self {
        Ticks(bits)
    }
}

/// The bit of a reading that is in nanoseconds of the clock.
const NANOS: u64 = 1 << 63;
/// After so many nanoseconds the rate is known to a few parts in a million, and kept.
const SETTLED: u64 = 50_000_000;

/// Ticks for which a look at both clocks is good, about a millisecond.
const GOOD: u64 = 1 << 21;
/// The most ticks between two looks at the counter with one at the clock between them: with more, this thread was held
/// up there.
const AT_ONCE: u64 = 1 << 12;

pub(super) struct Counter {
    base: Option<u64>,
    /// Nanoseconds a tick, times 2^32. 0: not settled yet.
    rate: AtomicU64,
    /// The last look at both: the counter's reading, and by how much the clock was ahead of the nanoseconds from `base`
    /// to there, modulo 2^64. The second is written first, and read last: with an older `looked` it is as good.
    looked: AtomicU64,
    ahead: AtomicU64,
}

impl Counter {
    pub(super) fn new() -> Self {
        Counter { base: constant().then(read), rate: AtomicU64::new(0), looked: AtomicU64::new(0), ahead: AtomicU64::new(0) }
    }

    fn rate(&self, base: u64, elapsed: impl FnOnce() -> u64) -> u64 {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate > 0 { rate } else { self.settle(base, elapsed) }
    }

    #[cold]
    fn settle(&self, base: u64, elapsed: impl FnOnce() -> u64) -> u64 {
        let before = read();
        let elapsed = elapsed();
        let (between, ticks) = (read().wrapping_sub(before), before.wrapping_sub(base).max(1));
        let rate = ((elapsed as f64 / ticks as f64) * SCALE) as u64;
        // Not if this thread was held up between the two clocks.
        if elapsed > SETTLED && between < ticks / 100_000 {
            self.rate.store(rate, Ordering::Relaxed);
        }
        rate
    }

    /// The clock's time at that reading, if both were looked at lately.
    fn elapsed_at(&self, reading: u64) -> Option<u64> {
        let near = reading.wrapping_sub(self.looked.load(Ordering::Acquire)) < GOOD;
        let ahead = || self.ahead.load(Ordering::Relaxed);
        near.then(|| nanos(reading.wrapping_sub(self.base.unwrap_or(0)), self.rate.load(Ordering::Relaxed)).wrapping_add(ahead()))
    }

    /// Looks at both, and returns the clock's time.
    #[cold]
    fn look(&self, elapsed: impl Fn() -> u64) -> u64 {
        let before = read();
        let now = elapsed();
        let between = read().wrapping_sub(before);
        let Some(base) = self.base else { return now };
        self.rate(base, elapsed);
        let rate = self.rate.load(Ordering::Relaxed);
        if rate > 0 && between < AT_ONCE {
            self.ahead.store(now.wrapping_sub(nanos(before.wrapping_sub(base), rate)), Ordering::Relaxed);
            self.looked.store(before & !NANOS, Ordering::Release);
        }
        now
    }
}

const SCALE: f64 = (1u64 << 32) as f64;

fn nanos(ticks: u64, rate: u64) -> u64 {
    ((u128::from(ticks) * u128::from(rate)) >> 32) as u64
}

impl Clock {
    pub fn ticks(&self) -> Ticks {
        if self.counter.base.is_some() && !self.is_virtual() { Ticks(read() & !NANOS) } else { Ticks(self.now().nanos() | NANOS) }
    }

    /// Nanoseconds since that reading; 0 if the clock was taken over or handed back in between.
    pub fn took(&self, since: Ticks) -> u64 {
        self.between(since, self.ticks())
    }

    /// Nanoseconds from one reading to a later one; 0 if the clock was taken over or handed back in between.
    pub fn between(&self, since: Ticks, until: Ticks) -> u64 {
        let (Ticks(now), Ticks(then)) = (until, since);
        match (now & NANOS, then & NANOS) {
            (0, 0) => {
                let Some(base) = self.counter.base else { return 0 };
                nanos(now.saturating_sub(then), self.counter.rate(base, || self.elapsed()))
            }
            (NANOS, NANOS) => now.saturating_sub(then),
            _ => 0,
        }
    }

    /// When that reading was taken, on the clock.
    pub fn time_of(&self, ticks: Ticks) -> Instant {
        Instant::from_nanos(self.now().nanos().saturating_sub(self.took(ticks)))
    }

    /// When that reading was taken, on the clock, to within two microseconds: cheap if it was taken a moment ago.
    pub fn about(&self, ticks: Ticks) -> Instant {
        let Ticks(reading) = ticks;
        if reading & NANOS != 0 {
            return Instant::from_nanos(reading & !NANOS);
        }
        self.reading(|| self.counter.elapsed_at(reading).unwrap_or_else(|| self.counter.look(|| self.elapsed())))
    }

    /// [`Clock::now`] to within two microseconds, at the price of a look at the counter.
    pub fn about_now(&self) -> Instant {
        self.about(self.ticks())
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
    fn a_reading_says_what_time_it_was() {
        let clock = Clock::real();
        // Real: two clocks are compared.
        let pass = |millis| {
            let began = clock.now();
            while clock.now().since(began) < Duration::from_millis(millis) {
                std::hint::spin_loop();
            }
        };
        // Before that, the rate is not known.
        pass(SETTLED / 1_000_000 + 1);
        let mut worst = 0;
        for pause in [0, 0, 0, 0, 3, 0, 20, 0] {
            pass(pause);
            // This thread may be held up between the looks, but not each time.
            let apart = (0..20).map(|_| {
                let (before, about) = (clock.now(), clock.about(clock.ticks()));
                let after = clock.now();
                before.since(about).max(about.since(after)).as_nanos()
            });
            worst = worst.max(apart.min().unwrap_or(u128::MAX));
        }
        assert!(worst < 2_000, "{worst} ns beside the clock");
    }

    #[test]
    fn a_reading_of_virtual_time_is_that_time() {
        let clock = Clock::manual();
        clock.advance(Duration::from_secs(2));
        let ticks = clock.ticks();
        assert_eq!(clock.about(ticks), clock.now());
        assert_eq!(clock.about_now(), clock.now());
        let real = Clock::real();
        let before = real.ticks();
        real.take_over();
        real.advance(Duration::from_hours(1));
        assert!(real.about(before) <= real.now());
        assert_eq!(real.about_now(), real.now());
        real.hand_back();
        assert!(real.about_now() >= Instant::from_nanos(3_600_000_000_000));
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
