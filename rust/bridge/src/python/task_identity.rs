//! The identity of a task: a weak reference, since another task may have its address after its end.

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

/// Identifies a task without keeping it alive.
pub(crate) struct KnownTask(Option<Py<PyWeakrefReference>>);

impl KnownTask {
    /// None matches no task.
    pub(crate) fn new(task: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(KnownTask(if task.is_none() { None } else { Some(PyWeakrefReference::new(task)?.unbind()) }))
    }

    pub(crate) fn is(&self, task: &Bound<'_, PyAny>) -> bool {
        self.0.as_ref().and_then(|known| known.bind(task.py()).upgrade()).is_some_and(|known| known.is(task))
    }
}
