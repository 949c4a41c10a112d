//! Effects for tests and benchmarks: each does one thing that no provider does on purpose. Their names begin with
//! `trial_`.

use std::path::PathBuf;
use std::time::Duration;

use mountain_providers::trial;
use pyo3::prelude::*;

use crate::effect::{Effect, Work};
use crate::plan::Plan;
use crate::python::seconds::to_seconds;

/// Runs on a worker and yields `value`.
#[pyfunction]
#[pyo3(name = "trial_noop", signature = (value = 0, /))]
pub(crate) fn noop(py: Python<'_>, value: i64) -> PyResult<Bound<'_, Effect>> {
    static PLAN: pyo3::sync::PyOnceLock<Py<Plan>> = pyo3::sync::PyOnceLock::new();
    let plan = PLAN.get_or_try_init(py, || Plan::bare(py, "noop").map(Bound::unbind))?;
    Effect::of(py, Work::native(trial::Noop(value)), plan.clone_ref(py))
}

/// Sleeps on the deadline heap.
#[pyfunction]
#[pyo3(name = "trial_sleep", signature = (seconds, /))]
pub(crate) fn sleep(py: Python<'_>, #[pyo3(from_py_with = to_seconds)] seconds: Duration) -> PyResult<Bound<'_, Effect>> {
    static PLAN: pyo3::sync::PyOnceLock<Py<Plan>> = pyo3::sync::PyOnceLock::new();
    let plan = PLAN.get_or_try_init(py, || Plan::bare(py, "sleep").map(Bound::unbind))?;
    Effect::of(py, Work::native(trial::Nap(seconds)), plan.clone_ref(py))
}

/// Panics on a worker.
#[pyfunction]
#[pyo3(name = "trial_panic")]
pub(crate) fn panic(py: Python<'_>) -> PyResult<Bound<'_, Effect>> {
    Effect::native(py, "panic", trial::Panic)
}

/// Fails with that errno.
#[pyfunction]
#[pyo3(name = "trial_fail", signature = (errno, /))]
pub(crate) fn fail(py: Python<'_>, errno: i32) -> PyResult<Bound<'_, Effect>> {
    Effect::native(py, "fail", trial::Fail(errno))
}

/// Appends a byte to the file every `seconds`, for ever.
#[pyfunction]
#[pyo3(name = "trial_tick", signature = (path, seconds, /))]
pub(crate) fn tick(
    py: Python<'_>,
    path: PathBuf,
    #[pyo3(from_py_with = to_seconds)] seconds: Duration,
) -> PyResult<Bound<'_, Effect>> {
    Effect::native(py, "tick", trial::Tick { path, every: seconds })
}
