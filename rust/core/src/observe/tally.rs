//! How the runs of one effect ended, and how long they took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::shard::{Sharded, add};
use super::times::{Summary, Times};
use crate::sync::Mutex;

/// What is counted of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Started,
    Succeeded,
    Failed,
    TimedOut,
    Cancelled,
    /// Attempts beyond the first.
    Retried,
    /// Never begun.
    Rejected,
    /// Ended with a value of a fallback's; counted as succeeded, too.
    Degraded,
}

impl Count {
    pub const ALL: [Count; 8] = [
        Count::Started,
        Count::Succeeded,
        Count::Failed,
        Count::TimedOut,
        Count::Cancelled,
        Count::Retried,
        Count::Rejected,
        Count::Degraded,
    ];
}

#[derive(Default)]
#[repr(align(64))]
struct Part {
    counts: [AtomicU64; Count::ALL.len()],
    times: Times,
}

/// The counters of one effect's name.
#[derive(Default)]
pub struct Tally {
    parts: Sharded<Part>,
    /// Failures by the type of the error; there are few of them, and they are slow anyway.
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    pub fn count(&self, what: Count) {
        self.add(what, 1);
    }

    pub fn add(&self, what: Count, n: u64) {
        let (part, alone) = self.parts.mine();
        add(&part.counts[what as usize], n, alone);
    }

    /// A run has ended so, after so long.
    pub fn ended(&self, what: Count, nanos: u64) {
        let (part, alone) = self.parts.mine();
        add(&part.counts[what as usize], 1, alone);
        part.times.record_as(nanos, alone);
    }

    /// A run has begun, and ended so after so long. In one go: it is the most frequent thing that is counted.
    pub fn began_and_ended(&self, what: Count, nanos: u64) {
        let (part, alone) = self.parts.mine();
        add(&part.counts[Count::Started as usize], 1, alone);
        add(&part.counts[what as usize], 1, alone);
        part.times.record_as(nanos, alone);
    }

    /// How long a run took whose end is counted elsewhere.
    pub fn took(&self, nanos: u64) {
        let (part, alone) = self.parts.mine();
        part.times.record_as(nanos, alone);
    }

    /// One failed with an error of that type. False: it is a new one, and `more` does not allow it.
    pub fn failed_with(&self, error: &str, more: impl FnOnce() -> bool) -> bool {
        let mut errors = self.errors.lock();
        if let Some(n) = errors.get_mut(error) {
            *n += 1;
        } else if more() {
            errors.insert(error.to_owned(), 1);
        } else {
            return false;
        }
        true
    }

    pub fn total(&self, what: Count) -> u64 {
        self.parts.parts().map(|part| part.counts[what as usize].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    pub fn times(&self) -> Summary {
        let mut sum = Summary::default();
        self.parts.parts().for_each(|part| sum.add(&part.times));
        sum
    }

    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }
}
