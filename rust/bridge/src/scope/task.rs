//! A task that a runtime owns without a handle, as that of `run`'s main.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;

use crate::port::owned::Owned;
use crate::scope::Scope;

impl Scope {
    /// Keeps a task among what it owns until the task ends.
    pub(crate) fn own_task(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = task.py();
        let place = self.owned.keep(py, task.clone().unbind());
        let release = Bound::new(py, Release { owned: self.owned.clone(), place })?;
        task.call_method1(intern!(py, "add_done_callback"), (release,)).map(drop)
    }
}

/// The done callback of an owned task.
#[pyclass(frozen)]
struct Release {
    owned: Arc<Owned>,
    place: u32,
}

#[pymethods]
impl Release {
    #[pyo3(signature = (_task, /))]
    fn __call__(&self, py: Python<'_>, _task: &Bound<'_, PyAny>) {
        drop(self.owned.release(py, self.place));
    }
}
