//! A lock on a file as a Python object.

use mountain_core::sync::Mutex;
use mountain_providers::fs;
use pyo3::prelude::*;

use crate::convert::provided::Provided;
use crate::effect::{Effect, Work};
use crate::plan::{Plan, plan};
use crate::providers::fs::Given;

/// A lock that is held until it is released, or dropped.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Locked(Mutex<Option<fs::Locked>>);

#[pymethods]
impl Locked {
    fn release(&self) {
        let held = self.0.lock().take();
        drop(held);
    }
}

impl Provided for fs::Locked {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, Locked(Mutex::new(Some(self))))?.into_any())
    }
}

#[pyfunction]
#[pyo3(signature = (path, shared, wait, /))]
pub(crate) fn fs_lock(py: Python<'_>, path: Given, shared: bool, wait: bool) -> PyResult<Bound<'_, Effect>> {
    Effect::of(py, Work::native(fs::Lock::new(path.place, shared, wait)), plan!(py, "fs.lock")?)
}
