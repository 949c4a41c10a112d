//! The native side's figures for Python.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use mountain_core::observe::{Count, Streamed, Tally};
use mountain_core::telemetry::{CATALOGUE, Kind, openmetrics, prometheus};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::globals::{clock, graveyard, telemetry};
use crate::observe::watchers;

/// The gauges of the process.
#[pyfunction]
pub(crate) fn statistics(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let d = PyDict::new(py);
    let now = telemetry().gauges();
    d.set_item("running", now.running)?;
    d.set_item("waiting", now.waiting)?;
    d.set_item("abandoned_threads", now.threads_abandoned)?;
    d.set_item("spans_dropped", telemetry().spans_dropped.load(Ordering::Relaxed))?;
    d.set_item("timers", clock().armed())?;
    let dead = graveyard().lock().len();
    d.set_item("graveyard", dead)?;
    Ok(d)
}

type Row = (u64, u64, u64, u64, u64, u64, u64, u64, f64, f64);

/// By name: started, succeeded, failed, timed_out, cancelled, retried, rejected, degraded, p50 and p99 in seconds. The
/// last two are NaN while no call has ended.
#[pyfunction]
pub(crate) fn effect_statistics() -> BTreeMap<String, Row> {
    let row = |t: &Tally| {
        let [started, succeeded, failed, timed_out, cancelled, retried, rejected, degraded] =
            Count::ALL.map(|what| t.total(what));
        let times = t.times();
        let [p50, p99] = [0.5, 0.99].map(|q| times.quantile(q).unwrap_or(f64::NAN));
        (started, succeeded, failed, timed_out, cancelled, retried, rejected, degraded, p50, p99)
    };
    telemetry().effects.all().into_iter().map(|(name, t)| (name, row(&t))).collect()
}

/// By name: the runs that ended with a value of a fallback, by the name of what stood in.
#[pyfunction]
pub(crate) fn fallback_statistics() -> BTreeMap<String, BTreeMap<String, u64>> {
    telemetry().effects.all().into_iter().map(|(name, t)| (name, t.fallbacks())).filter(|(_, n)| !n.is_empty()).collect()
}

/// By name: streams that are open, items, and the p50 in seconds of the time to the first item, which is NaN while none
/// has come.
#[pyfunction]
pub(crate) fn stream_statistics() -> BTreeMap<String, (u64, u64, f64)> {
    let row = |now: Streamed| (now.open, now.items, now.first.quantile(0.5).unwrap_or(f64::NAN));
    telemetry().effects.all().into_iter().filter_map(|(name, t)| Some((name, row(t.streams()?)))).collect()
}

/// Turns the counting and timing of effects on or off; benchmarks measure the difference.
#[pyfunction]
#[pyo3(signature = (on, /))]
pub(crate) fn count_effects(on: bool) {
    watchers::set(watchers::COUNTING, on);
}

/// Drops the figures of effects that are gone, so that tests of figures begin with few names.
#[pyfunction]
pub(crate) fn forget_unused_names() {
    telemetry().effects.forget_unused();
}

/// All figures, in the text of a scrape.
#[pyfunction]
#[pyo3(signature = (*, openmetrics))]
pub(crate) fn metrics_text(py: Python<'_>, openmetrics: bool) -> String {
    py.detach(|| if openmetrics { self::openmetrics(telemetry()) } else { prometheus(telemetry()) })
}

/// The name, kind, labels and meaning of each metric.
#[pyfunction]
pub(crate) fn metrics_catalogue() -> Vec<(&'static str, &'static str, Vec<&'static str>, &'static str)> {
    let kind = |kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    CATALOGUE.iter().map(|m| (m.name, kind(m.kind), m.labels.to_vec(), m.help)).collect()
}
