//! The loop of an object, which the object does not keep alive.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

pub(crate) struct KnownLoop(Py<PyWeakrefReference>);

impl KnownLoop {
    pub(crate) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(KnownLoop(PyWeakrefReference::new(event_loop)?.unbind()))
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        KnownLoop(self.0.clone_ref(py))
    }

    pub(crate) fn is(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.0.bind(event_loop.py()).upgrade().is_some_and(|known| known.is(event_loop))
    }

    /// The loop. RuntimeError once it is collected.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.bind(py).upgrade().ok_or_else(|| PyRuntimeError::new_err("the event loop is gone"))
    }

    pub(crate) fn call_soon(
        &self,
        callback: &Bound<'_, PyAny>,
        argument: &Bound<'_, PyAny>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = callback.py();
        let event_loop = self.get(py)?;
        let kwargs = PyDict::new(py);
        if let Some(context) = context {
            kwargs.set_item(intern!(py, "context"), context)?;
        }
        event_loop.call_method(intern!(py, "call_soon"), (callback, argument), Some(&kwargs))?;
        Ok(())
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
