//! The durations of the last 500 to 1000 attempts, in buckets that grow by a quarter octave. Older ones are forgotten
//! by the half: no count is ever rounded, which would thin out the slow ones.

use std::time::Duration;

use crate::observe::Summary;

/// Durations in one half.
const HALF: u16 = 500;
/// Durations without which nothing is known.
const LEAST: u32 = 100;

type Half = [u16; Summary::BUCKETS];

#[derive(Debug)]
pub(super) struct Sketch {
    /// The durations in the newer half.
    new: u16,
    halves: [Half; 2],
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { new: 0, halves: [[0; Summary::BUCKETS]; 2] }
    }
}

impl Sketch {
    pub(super) fn add(&mut self, took: Duration) {
        if self.new == HALF {
            self.halves[1] = std::mem::replace(&mut self.halves[0], [0; Summary::BUCKETS]);
            self.new = 0;
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.halves[0][Summary::bucket(nanos)] += 1;
        self.new += 1;
    }

    /// The time within which the part `q` of the attempts ended: up to a fifth more, never less. `None` until enough of
    /// them were seen.
    pub(super) fn quantile(&self, q: f64) -> Option<Duration> {
        let of = |bucket: usize| u32::from(self.halves[0][bucket]) + u32::from(self.halves[1][bucket]);
        let all: u32 = (0..Summary::BUCKETS).map(of).sum();
        if all < LEAST {
            return None;
        }
        let mut left = (f64::from(all) * q).ceil().max(1.0) as u32;
        let found = (0..Summary::BUCKETS).find(|&bucket| {
            let here = of(bucket);
            let found = here >= left;
            left = left.saturating_sub(here);
            found
        });
        found.map(|bucket| Duration::from_secs_f64(Summary::edge(bucket)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn nothing_is_known_of_fewer_than_a_hundred() {
        let mut sketch = Sketch::default();
        (0..99).for_each(|_| sketch.add(ms(5)));
        assert_eq!(sketch.quantile(0.95), None);
        sketch.add(ms(5));
        assert!(sketch.quantile(0.95).is_some_and(|found| found >= ms(5) && found < ms(6)));
    }

    #[test]
    fn what_is_older_than_a_thousand_is_forgotten() {
        let mut sketch = Sketch::default();
        (0..5000).for_each(|_| sketch.add(ms(1000)));
        (0..1000).for_each(|_| sketch.add(ms(1)));
        assert!(sketch.quantile(0.999).is_some_and(|found| found < ms(2)));
        (0..5_000_000).for_each(|_| sketch.add(ms(7)));
    }

    #[test]
    fn any_duration_has_a_bucket() {
        for took in [Duration::ZERO, Duration::MAX] {
            let mut sketch = Sketch::default();
            (0..100).for_each(|_| sketch.add(took));
            assert!(sketch.quantile(0.5).is_some());
        }
    }

    proptest! {
        /// Against the sorted list of what the sketch may still know.
        #[test]
        fn it_is_the_quantile_and_at_most_a_quarter_more(
            took in proptest::collection::vec(1u64..5_000_000, 100..2500),
            q in 0.01..0.999f64,
        ) {
            let mut sketch = Sketch::default();
            for &micros in &took {
                sketch.add(Duration::from_micros(micros));
            }
            let known = if took.len() <= 1000 { took.len() } else { 500 + (took.len() - 1) % 500 + 1 };
            let mut last: Vec<u64> = took[took.len() - known..].to_vec();
            last.sort_unstable();
            let rank = ((known as f64 * q).ceil() as usize).max(1) - 1;
            let right = last[rank] as f64 * 1e-6;
            let found = sketch.quantile(q).unwrap().as_secs_f64();
            prop_assert!(found >= right * 0.999_999 && found <= right * 1.251, "{found} {right}");
        }
    }
}
