//! The jobs that wait for one of the package's threads, the most urgent first.

use mountain_core::schedule::{Lanes, Priority};
use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{PyTraverseError, PyVisit};

use crate::context;
use crate::python::type_slots;

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Jobs(Mutex<Lanes<(usize, Py<PyAny>)>>);

#[pymethods]
impl Jobs {
    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        type_slots::alias(cls, &item)
    }

    #[new]
    fn new() -> Self {
        Jobs(Mutex::default())
    }

    /// Queues a job at that priority, by default at that of the current code.
    #[pyo3(signature = (item, priority = None, /))]
    fn put(&self, py: Python<'_>, item: Py<PyAny>, priority: Option<usize>) -> PyResult<()> {
        let priority = match priority.and_then(|p| Priority::ALL.get(p)) {
            Some(priority) => *priority,
            None => context::priority(py)?,
        };
        self.0.lock().push(priority, (priority as usize, item));
        Ok(())
    }

    /// The next job; None when the queue is empty.
    fn take(&self) -> Option<Py<PyAny>> {
        self.0.lock().take_next().map(|(_, item)| item)
    }

    /// All jobs with their priorities, in the order in which `take` would give them.
    fn take_all(&self) -> Vec<(usize, Py<PyAny>)> {
        let mut lanes = self.0.lock();
        std::iter::from_fn(|| lanes.take_next()).collect()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(lanes) = self.0.try_lock() else { return Ok(()) };
        lanes.items().try_for_each(|(_, item)| visit.call(item))
    }

    fn __clear__(&self) {
        let gone = self.take_all();
        drop(gone);
    }
}
