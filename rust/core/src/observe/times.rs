//! Durations in buckets that grow by a quarter octave: quantiles within 19 percent from 1 ns to 18 min.

use std::sync::atomic::{AtomicU64, Ordering};

use super::shard::add;

const BUCKETS: usize = 160;

/// Lock-free, at 1.3 KB. A reader sums up what there is at that moment.
pub struct Times {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Times { buckets: [const { AtomicU64::new(0) }; BUCKETS], nanos: AtomicU64::new(0) }
    }
}

impl Times {
    pub fn record(&self, nanos: u64) {
        self.record_as(nanos, false);
    }

    pub(super) fn record_as(&self, nanos: u64, alone: bool) {
        add(&self.buckets[bucket(nanos)], 1, alone);
        add(&self.nanos, nanos, alone);
    }

    /// Adds what was recorded elsewhere.
    pub(super) fn gain(&self, gained: &Summary, alone: bool) {
        for (bucket, n) in self.buckets.iter().zip(gained.counts).filter(|(_, n)| *n > 0) {
            add(bucket, n, alone);
        }
        add(&self.nanos, gained.nanos, alone);
    }

    pub fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        sum.add(self);
        sum
    }
}

fn bucket(nanos: u64) -> usize {
    let n = nanos.max(4);
    let octave = n.ilog2();
    let quarter = (n >> (octave - 2)) & 3;
    (((octave - 2) * 4) as usize + quarter as usize).min(BUCKETS - 1)
}

/// The recorded durations at one moment.
#[derive(Clone, PartialEq)]
pub struct Summary {
    counts: [u64; BUCKETS],
    pub nanos: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Summary { counts: [0; BUCKETS], nanos: 0 }
    }
}

impl Summary {
    pub const BUCKETS: usize = BUCKETS;

    /// The bounds of exported buckets, as powers of two of nanoseconds: 8.2 us to 2.3 min, finest from half a
    /// millisecond to 2 s. Each costs a line an effect in every scrape.
    pub const BOUNDS: [u32; 19] = [13, 15, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 33, 35, 37];

    /// Durations of so many nanoseconds in all, by bucket. One that is none is left out.
    pub fn of(nanos: u64, buckets: impl IntoIterator<Item = (usize, u64)>) -> Self {
        let mut sum = Summary { nanos, ..Summary::default() };
        for (bucket, n) in buckets {
            if let Some(count) = sum.counts.get_mut(bucket) {
                *count += n;
            }
        }
        sum
    }

    pub fn add(&mut self, times: &Times) {
        for (sum, count) in self.counts.iter_mut().zip(&times.buckets) {
            *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
        }
        self.nanos = self.nanos.wrapping_add(times.nanos.load(Ordering::Relaxed));
    }

    /// The bucket of a duration.
    pub fn bucket(nanos: u64) -> usize {
        bucket(nanos)
    }

    /// By bucket.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The upper edge of a bucket, in seconds.
    pub fn edge(bucket: usize) -> f64 {
        edge(i32::try_from(bucket).unwrap_or(i32::MAX))
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn seconds(&self) -> f64 {
        self.nanos as f64 * 1e-9
    }

    /// The durations recorded since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Summary) -> Summary {
        let mut gained = self.clone();
        for (now, then) in gained.counts.iter_mut().zip(&earlier.counts) {
            *now = now.saturating_sub(*then);
        }
        gained.nanos = self.nanos.wrapping_sub(earlier.nanos);
        gained
    }

    /// The upper edge in seconds of the bucket that holds quantile `q`; `None` when nothing was recorded.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let mut left = (self.count() as f64 * q).ceil().max(1.0) as u64;
        for (i, &n) in (0i32..).zip(&self.counts) {
            if n >= left {
                return Some(edge(i));
            }
            left -= n;
        }
        None
    }

    /// How many took less than each of [`Self::BOUNDS`], without those of the bucket before: the bound in seconds, and
    /// the number. The last bound is infinity.
    pub fn octaves(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounded(Self::BOUNDS.into_iter().map(|octave| ((1u64 << octave) as f64 * 1e-9, octave)))
    }

    /// The same for plain numbers, with the bounds 7, 15 and so on to 2 to the power of `last`, less 1.
    pub fn powers(&self, last: u32) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounded((3..=last).map(|octave| (2f64.powi(octave.cast_signed()) - 1.0, octave)))
    }

    fn bounded<'a>(&'a self, bounds: impl Iterator<Item = (f64, u32)> + 'a) -> impl Iterator<Item = (f64, u64)> + 'a {
        let mut from = 0;
        let bounds = bounds.map(|(bound, octave)| (bound, (octave as usize - 2) * 4));
        bounds.chain(std::iter::once((f64::INFINITY, BUCKETS))).map(move |(bound, to)| {
            let to = to.min(BUCKETS);
            let n = self.counts[from..to].iter().sum();
            from = to;
            (bound, n)
        })
    }
}

fn edge(bucket: i32) -> f64 {
    let (octave, quarter) = (bucket / 4, f64::from(bucket % 4));
    (5.0 + quarter) * 2f64.powi(octave) * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let times = Times::default();
        assert_eq!(times.summary().quantile(0.5), None);
        for ms in 1..=100u64 {
            times.record(ms * 1_000_000);
        }
        for (q, right) in [(0.5, 0.050), (0.99, 0.099)] {
            let found = times.summary().quantile(q);
            assert!(found >= Some(right * 0.99) && found <= Some(right * 1.25), "{q}: {found:?}");
        }
        assert!((times.summary().seconds() - 5.05).abs() < 1e-9);
    }

    #[test]
    fn octaves_hold_everything_once_and_each_below_its_bound() {
        for nanos in [0, 1, 8191, 8192, 8193, 1_000_000, 1 << 39, u64::MAX] {
            let times = Times::default();
            times.record(nanos);
            let found: Vec<(f64, u64)> = times.summary().octaves().filter(|(_, n)| *n == 1).collect();
            let [(bound, 1)] = found[..] else { panic!("{nanos}: {found:?}") };
            assert!((nanos as f64) * 1e-9 < bound, "{nanos} < {bound}");
        }
    }

    #[test]
    fn from_a_millisecond_to_a_second_there_are_buckets_enough() {
        let times = Times::default();
        (1..=1200u64).for_each(|n| times.record(n * 1_000_000));
        assert!(times.summary().octaves().filter(|(_, n)| *n > 0).count() >= 5);
    }
}
