//! Figures of pools of workers, by their names: the calls and workers of each, and what effects have counted within its
//! workers. A worker tells what it has counted since it last did, so that nothing goes down when it ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::{OTHER, shortened};
use crate::observe::Tally;
use crate::sync::Mutex;

/// The ends of a pool's calls, as they are exported.
pub const OUTCOMES: [&str; 5] = ["succeeded", "failed", "cancelled", "lost", "refused"];

/// A pool that has workers now.
#[derive(Debug, Default)]
pub struct PoolNow {
    pub workers: AtomicU64,
    /// Calls that workers have.
    pub running: AtomicU64,
    /// Calls that wait for a worker.
    pub waiting: AtomicU64,
}

#[derive(Default)]
pub struct PoolTally {
    /// Workers that ended unasked, or had to be ended.
    pub lost: AtomicU64,
    /// Workers that were started in place of another.
    pub restarted: AtomicU64,
    /// By [`OUTCOMES`].
    pub calls: [AtomicU64; OUTCOMES.len()],
    /// A pool that is closed and used again has two for a moment.
    now: Mutex<Vec<Weak<PoolNow>>>,
    effects: Mutex<BTreeMap<String, Arc<Tally>>>,
}

impl PoolTally {
    /// A pool of this name begins; it ends when its figures are dropped.
    pub fn open(&self) -> Arc<PoolNow> {
        let new = Arc::<PoolNow>::default();
        let mut now = self.now.lock();
        now.retain(|old| old.strong_count() > 0);
        now.push(Arc::downgrade(&new));
        new
    }

    /// Workers, calls that they have, and calls that wait.
    pub fn now(&self) -> [u64; 3] {
        let now = self.now.lock();
        now.iter().filter_map(Weak::upgrade).fold([0; 3], |[workers, running, waiting], each| {
            [
                workers + each.workers.load(Ordering::Relaxed),
                running + each.running.load(Ordering::Relaxed),
                waiting + each.waiting.load(Ordering::Relaxed),
            ]
        })
    }

    /// The calls that have ended, by [`OUTCOMES`].
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES.into_iter().zip(self.calls.iter().map(|n| n.load(Ordering::Relaxed)))
    }

    /// The figures of its workers' effects, by name.
    pub fn effects(&self) -> Vec<(String, Arc<Tally>)> {
        self.effects.lock().iter().map(|(name, tally)| (name.clone(), tally.clone())).collect()
    }

    /// Those of one effect; of one that is new, and that `more` does not allow, the ones that all others share.
    pub(super) fn effect(&self, name: &str, more: impl FnOnce() -> bool) -> Arc<Tally> {
        let name = shortened(name);
        let mut effects = self.effects.lock();
        if let Some(known) = effects.get(&*name) {
            return known.clone();
        }
        let name = if name == OTHER || more() { &*name } else { OTHER };
        effects.entry(name.to_owned()).or_default().clone()
    }

    /// In the child of a fork: the workers are the parent's.
    pub(super) fn forget_open(&self) {
        if let Some(mut now) = self.now.try_lock() {
            now.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Count, Summary};

    #[test]
    fn a_pool_is_there_as_long_as_its_figures_are() {
        let tally = PoolTally::default();
        let (first, second) = (tally.open(), tally.open());
        first.workers.store(2, Ordering::Relaxed);
        second.workers.store(3, Ordering::Relaxed);
        second.waiting.store(7, Ordering::Relaxed);
        assert_eq!(tally.now(), [5, 0, 7]);
        drop(second);
        assert_eq!(tally.now(), [2, 0, 0]);
        tally.forget_open();
        assert_eq!(tally.now(), [0; 3]);
    }

    #[test]
    fn effects_beyond_the_bound_share_one_name() {
        let tally = PoolTally::default();
        let mut left = 2;
        let mut more = || {
            left -= 1;
            left >= 0
        };
        for name in ["a", "b", "c", "a", "d"] {
            tally.effect(name, &mut more).gain(&[1, 1, 0, 0, 0, 0, 0, 0], &Summary::of(5, [(3, 1)]));
        }
        let found = tally.effects().into_iter().map(|(name, tally)| (name, tally.total(Count::Started)));
        assert!(found.eq([("a".into(), 2), ("b".into(), 1), (OTHER.into(), 2)]));
        let times = tally.effect("a", || false).times();
        assert_eq!((times.count(), times.nanos), (2, 10));
    }
}
