//! Figures of pools of workers, and the counts of a worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mountain_core::observe::{Count, Summary};
use mountain_core::sync::Mutex;
use mountain_core::telemetry::{OUTCOMES, PoolNow, PoolTally};
use pyo3::prelude::*;

use crate::globals::telemetry;

/// By effect: what was counted in the order of [`Count::ALL`], and durations: nanoseconds in all, and how many are in
/// which bucket.
type Gained = (String, [u64; Count::ALL.len()], u64, Vec<(usize, u64)>);

type Told = ([u64; Count::ALL.len()], Summary);

/// By effect: what `counts_gained` has given.
static TOLD: Mutex<BTreeMap<String, Told>> = Mutex::new(BTreeMap::new());

/// The counts that the effects of this process have gained since the last call.
#[pyfunction]
pub(crate) fn counts_gained() -> Vec<Gained> {
    let mut told = TOLD.lock();
    let mut gained = Vec::new();
    for (name, tally) in telemetry().effects.all() {
        let counts = Count::ALL.map(|what| tally.total(what));
        if counts == told.get(&name).map_or([0; Count::ALL.len()], |(counts, _)| *counts) {
            continue;
        }
        let times = tally.times();
        let before = told.insert(name.clone(), (counts, times.clone())).unwrap_or_default();
        let mut more = counts;
        more.iter_mut().zip(before.0).for_each(|(now, then)| *now = now.saturating_sub(then));
        let times = times.since(&before.1);
        let buckets = times.counts().iter().copied().enumerate().filter(|(_, n)| *n > 0).collect();
        gained.push((name, more, times.nanos, buckets));
    }
    gained
}

/// The figures of one pool, from its first worker to its last.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct PoolFigures {
    tally: Arc<PoolTally>,
    now: Arc<PoolNow>,
}

#[pymethods]
impl PoolFigures {
    #[new]
    #[pyo3(signature = (name, /))]
    fn new(name: &str) -> Self {
        let tally = telemetry().pools.of(name);
        let now = tally.open();
        PoolFigures { tally, now }
    }

    /// Workers, calls that they have, and calls that wait.
    #[pyo3(signature = (workers, running, waiting, /))]
    fn now(&self, workers: u64, running: u64, waiting: u64) {
        self.now.workers.store(workers, Ordering::Relaxed);
        self.now.running.store(running, Ordering::Relaxed);
        self.now.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Adds workers that were lost, and restarted, and calls that have ended, by outcome.
    #[pyo3(signature = (lost, restarted, calls, /))]
    fn add(&self, lost: u64, restarted: u64, calls: [u64; OUTCOMES.len()]) {
        self.tally.lost.fetch_add(lost, Ordering::Relaxed);
        self.tally.restarted.fetch_add(restarted, Ordering::Relaxed);
        self.tally.calls.iter().zip(calls).for_each(|(all, n)| {
            all.fetch_add(n, Ordering::Relaxed);
        });
    }

    /// Adds what the effects of a worker have counted, as its `counts_gained` gave it.
    #[pyo3(signature = (gained, /))]
    fn effects(&self, gained: Vec<Gained>) {
        for (name, counts, nanos, buckets) in gained {
            telemetry().of_worker(&self.tally, &name).gain(&counts, &Summary::of(nanos, buckets));
        }
    }
}
