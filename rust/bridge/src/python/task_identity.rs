//! Who a task is: it itself, since after its end another one may come to have its address.

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

/// Knows a task without keeping it.
pub(crate) struct KnownTask(Option<Py<PyWeakrefReference>>);

impl KnownTask {
    /// Of None, it knows none.
    pub(crate) fn new(task: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(KnownTask(if task.is_none() { None } else { Some(PyWeakrefReference::new(task)?.unbind()) }))
    }

    pub(crate) fn is(&self, task: &Bound<'_, PyAny>) -> bool {
        self.0.as_ref().and_then(|known| known.bind(task.py()).upgrade()).is_some_and(|known| known.is(task))
    }
}
