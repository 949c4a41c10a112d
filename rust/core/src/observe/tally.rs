//! Counts the outcomes of one effect's runs, and their durations.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batches::{Batched, Batches};
use super::shard::{Sharded, add};
use super::streams::{Streamed, Streams};
use super::times::{Summary, Times};
use crate::sync::Mutex;

/// The events of runs that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Started,
    Succeeded,
    Failed,
    TimedOut,
    Cancelled,
    /// Attempts beyond the first.
    Retried,
    /// Refused before it began.
    Rejected,
    /// Ended with a fallback's value; counted as succeeded, too.
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

/// The counters of the effects of one name.
#[derive(Default)]
pub struct Tally {
    parts: Sharded<Part>,
    /// Failures by the type of the error. Types are few, and failures are slow anyway.
    errors: ByName,
    /// Runs that ended with a fallback's value, by the name of what stood in.
    fallbacks: ByName,
    /// Of a name that is a stream's.
    streams: OnceLock<Box<Streams>>,
    /// Of a name whose calls are batched.
    batches: OnceLock<Box<Batches>>,
}

#[derive(Default)]
struct ByName(Mutex<BTreeMap<String, u64>>);

impl ByName {
    /// Counts one of that name. False: the name is new, and `more` does not allow it.
    fn count(&self, name: &str, more: impl FnOnce() -> bool) -> bool {
        let mut known = self.0.lock();
        if let Some(n) = known.get_mut(name) {
            *n += 1;
        } else if more() {
            known.insert(name.to_owned(), 1);
        } else {
            return false;
        }
        true
    }
}

impl Tally {
    pub fn count(&self, what: Count) {
        self.add(what, 1);
    }

    pub fn add(&self, what: Count, n: u64) {
        let (part, alone) = self.parts.mine();
        add(&part.counts[what as usize], n, alone);
    }

    /// Counts a run that ended in this way after that long.
    pub fn ended(&self, what: Count, nanos: u64) {
        let (part, alone) = self.parts.mine();
        add(&part.counts[what as usize], 1, alone);
        part.times.record_as(nanos, alone);
    }

    /// Counts a run that began and ended. In one go: it is the most frequent thing that is counted.
    pub fn began_and_ended(&self, what: Count, nanos: u64) {
        let (part, alone) = self.parts.mine();
        add(&part.counts[Count::Started as usize], 1, alone);
        add(&part.counts[what as usize], 1, alone);
        part.times.record_as(nanos, alone);
    }

    /// Records the duration of a run whose end is counted elsewhere.
    pub fn took(&self, nanos: u64) {
        let (part, alone) = self.parts.mine();
        part.times.record_as(nanos, alone);
    }

    /// Adds what was counted elsewhere, in the order of [`Count::ALL`].
    pub fn gain(&self, counts: &[u64; Count::ALL.len()], times: &Summary) {
        let (part, alone) = self.parts.mine();
        part.counts.iter().zip(counts).for_each(|(count, n)| add(count, *n, alone));
        part.times.gain(times, alone);
    }

    /// Counts a failure with an error of that type. False: the type is new, and `more` does not allow it.
    pub fn failed_with(&self, error: &str, more: impl FnOnce() -> bool) -> bool {
        self.errors.count(error, more)
    }

    /// Counts a value of the fallback of that name; likewise.
    pub fn stood_in(&self, fallback: &str, more: impl FnOnce() -> bool) -> bool {
        self.fallbacks.count(fallback, more)
    }

    pub(super) fn of_streams(&self) -> &Streams {
        self.streams.get_or_init(Box::default)
    }

    /// Its streams, if any has begun.
    pub fn streams(&self) -> Option<Streamed> {
        self.streams.get().map(|streams| streams.read())
    }

    /// Counts a batch of its calls, which began so many nanoseconds after its first item.
    pub fn batch(&self, items: u64, waited: u64) {
        self.batches.get_or_init(Box::default).began(items, waited);
    }

    /// Its batches, if any has begun.
    pub fn batches(&self) -> Option<Batched> {
        self.batches.get().map(|batches| batches.read())
    }

    /// In the child of a fork: the streams that are open are the parent's.
    pub fn forget_open(&self) {
        if let Some(streams) = self.streams.get() {
            streams.forget_open();
        }
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
        self.errors.0.lock().clone()
    }

    pub fn fallbacks(&self) -> BTreeMap<String, u64> {
        self.fallbacks.0.lock().clone()
    }
}
