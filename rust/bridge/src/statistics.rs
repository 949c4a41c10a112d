//! What the native side counts, as Python sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use mountain_core::observe::Tally;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::port;
use crate::process::{ABANDONED, begun, clock, graveyard, tallies};

/// Gauges of the process.
#[pyfunction]
pub(crate) fn statistics(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let d = PyDict::new(py);
    let waiting = port::parked() as u64;
    d.set_item("running", begun().saturating_sub(waiting))?;
    d.set_item("waiting", waiting)?;
    d.set_item("abandoned_threads", ABANDONED.load(Ordering::Relaxed) + mountain_providers::pool::abandoned() as u64)?;
    d.set_item("timers", clock().armed())?;
    d.set_item("graveyard", graveyard().lock().len())?;
    Ok(d)
}

type Row = (u64, u64, u64, u64, u64, u64, u64, u64, f64, f64);

/// By name: started, succeeded, failed, timed_out, cancelled, retried, rejected, degraded, p50 and p99 in seconds.
#[pyfunction]
pub(crate) fn effect_statistics() -> BTreeMap<String, Row> {
    let n = |c: &AtomicU64| c.load(Ordering::Relaxed);
    let row = |t: &Tally| {
        let (p50, p99) = (t.times.quantile(0.5), t.times.quantile(0.99));
        let ends = (n(&t.started), n(&t.succeeded), n(&t.failed), n(&t.timed_out), n(&t.cancelled));
        (ends.0, ends.1, ends.2, ends.3, ends.4, n(&t.retried), n(&t.rejected), n(&t.degraded), p50, p99)
    };
    tallies().into_iter().map(|(name, t)| (name, row(&t))).collect()
}
