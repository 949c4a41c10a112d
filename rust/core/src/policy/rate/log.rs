//! The recent starts of one key with their costs summed, so that the start at which a given cost was reached is found
//! by bisection.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;

/// A cost counts for this much at most; two of them still fit.
pub(super) const CAP: u64 = 1 << 62;

/// A log for this many starts is not worth shrinking.
const KEPT: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Log {
    /// The time, and the cost of all starts up to and with this one. The sums wrap around: only differences count.
    starts: VecDeque<(Instant, u64)>,
    /// The sum before the first of them.
    gone: u64,
}

impl Log {
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub(super) fn last(&self) -> Option<Instant> {
        self.starts.back().map(|&(at, _)| at)
    }

    fn sum(&self) -> u64 {
        self.starts.back().map_or(self.gone, |&(_, sum)| sum)
    }

    /// The cost of all starts in the log.
    pub(super) fn used(&self) -> u64 {
        self.sum().wrapping_sub(self.gone)
    }

    /// `at` is no earlier than the last.
    pub(super) fn push(&mut self, at: Instant, cost: u64) {
        let sum = self.sum().wrapping_add(cost.min(CAP - self.used()));
        match self.starts.back_mut() {
            Some(last) if last.0 == at => last.1 = sum,
            _ => self.starts.push_back((at, sum)),
        }
    }

    /// Drops the starts that the window has left. A start counts in the windows that end before `per` has passed.
    pub(super) fn expire(&mut self, per: Duration, now: Instant) {
        while let Some(&(at, sum)) = self.starts.front()
            && at.after(per) <= now
        {
            self.gone = sum;
            self.starts.pop_front();
        }
        self.shrink();
    }

    /// Takes a cost off the oldest starts: a refund of a later start makes this one count longer than it need, never
    /// shorter.
    pub(super) fn refund(&mut self, cost: u64) {
        let left = self.used() - cost.min(self.used());
        let sum = self.sum();
        self.gone = sum.wrapping_sub(left);
        while self.starts.front().is_some_and(|&(_, up_to)| sum.wrapping_sub(up_to) >= left) {
            self.starts.pop_front();
        }
        self.shrink();
    }

    /// The time of the start that has to leave the window for no more than `kept` to stay; `None` if no more is there.
    pub(super) fn leaves(&self, kept: u64) -> Option<Instant> {
        if self.used() <= kept {
            return None;
        }
        let sum = self.sum();
        let i = self.starts.partition_point(|&(_, up_to)| sum.wrapping_sub(up_to) > kept);
        self.starts.get(i).map(|&(at, _)| at)
    }

    /// Shrinks a log that has emptied. Fewer starts are copied than have left since the log was full.
    fn shrink(&mut self) {
        let capacity = self.starts.capacity();
        if capacity > KEPT && self.starts.len() <= capacity / 4 {
            self.starts.shrink_to(KEPT.max(self.starts.len() * 2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn sums_may_wrap_around() {
        let mut log = Log { starts: VecDeque::new(), gone: u64::MAX - 3 };
        for t in 0..4 {
            log.push(at(t), 2);
        }
        assert_eq!(log.used(), 8);
        assert_eq!([0, 1, 2, 5, 6, 7].map(|kept| log.leaves(kept)), [3, 3, 2, 1, 0, 0].map(|t| Some(at(t))));
        assert_eq!(log.leaves(8), None);
        log.refund(3);
        assert_eq!((log.used(), log.leaves(4), log.leaves(5)), (5, Some(at(1)), None));
        log.expire(Duration::from_nanos(10), at(11));
        assert_eq!((log.used(), log.leaves(0), log.leaves(3)), (4, Some(at(3)), Some(at(2))));
        log.refund(9);
        assert!(log.is_empty() && log.used() == 0);
    }

    #[test]
    fn a_crowd_of_starts_leaves_no_memory_behind() {
        let mut log = Log::default();
        for t in 0..100_000 {
            log.push(at(t), 1);
        }
        for t in 0..100_000 {
            log.expire(Duration::from_nanos(10), at(t + 10));
        }
        assert!(log.is_empty() && log.starts.capacity() <= KEPT);
    }
}
