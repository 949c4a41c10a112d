//! The cost of a binding made with `pyo3-async-runtimes`: the usual bridge between tokio and asyncio, with its default
//! runtime.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::future_into_py;

/// An awaitable of `value`, produced on a tokio worker.
#[pyfunction]
fn noop(py: Python<'_>, value: i64) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move { Ok(value) })
}

/// An awaitable of `None` that is done when tokio's timer says that `seconds` have passed.
#[pyfunction]
fn sleep(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyAny>> {
    let wait = Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
    future_into_py(py, async move {
        tokio::time::sleep(wait).await;
        Ok(())
    })
}

#[pymodule]
fn mountain_bench_peers(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(noop, module)?)?;
    module.add_function(wrap_pyfunction!(sleep, module)?)
}
