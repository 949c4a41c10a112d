//! Recent events, counted in slices of time: a ring that forgets a whole slice at a time, whatever the number of events
//! in it.
//!
//! Slices are numbered from the beginning of the clock. Of `n` of them in force the current one has only begun: an
//! event counts for more than `n - 1` slices of time, and for `n` at most.

#[derive(Debug)]
pub(super) struct Window<T, const N: usize> {
    newest: u64,
    slices: [T; N],
}

impl<T: Copy + Default, const N: usize> Default for Window<T, N> {
    fn default() -> Self {
        Window { newest: 0, slices: [T::default(); N] }
    }
}

impl<T: Copy + Default, const N: usize> Window<T, N> {
    /// The slice to count in. A `number` older than the newest, from a thread that read the clock before another one
    /// did, is the newest.
    pub(super) fn at(&mut self, number: u64) -> &mut T {
        let passed = number.saturating_sub(self.newest).min(N as u64);
        self.newest = self.newest.max(number);
        for i in 0..passed {
            *self.bucket(self.newest - i) = T::default();
        }
        self.bucket(self.newest)
    }

    /// The `most` slices up to the current one, which is `number`; at most `N`.
    pub(super) fn last(&self, most: u64, number: u64) -> impl Iterator<Item = T> {
        let oldest = number.max(self.newest).saturating_sub(most - 1);
        (oldest..=self.newest).map(|n| self.slices[(n % N as u64) as usize])
    }

    fn bucket(&mut self, number: u64) -> &mut T {
        &mut self.slices[(number % N as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of the numbers counted.
        #[test]
        fn agrees_with_a_list(
            steps in proptest::collection::vec(prop_oneof![8 => 0u64..3, 1 => 3u64..30], 1..100),
            first in 0u64..20,
        ) {
            let (mut window, mut list, mut now) = (Window::<u32, 5>::default(), Vec::new(), first);
            for step in steps {
                now += step;
                for most in 1..=5 {
                    let expected = list.iter().filter(|&&n| n + most > now).count();
                    prop_assert_eq!(window.last(most, now).sum::<u32>() as usize, expected);
                }
                *window.at(now) += 1;
                list.push(now);
            }
        }
    }

    #[test]
    fn a_clock_read_late_counts_in_the_newest() {
        let mut window = Window::<u32, 5>::default();
        *window.at(6) += 1;
        *window.at(7) += 1;
        *window.at(6) += 1;
        for number in [6, 7] {
            assert_eq!([1, 2].map(|most| window.last(most, number).sum::<u32>()), [2, 3]);
        }
    }
}
