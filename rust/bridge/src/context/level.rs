//! Repeated cancels: a cancelled scope of anyio cancels its task in each turn of the loop, and so keeps the loop awake,
//! until the task is in a shielded scope. Only a step of the task itself can enter one.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{PyTraverseError, PyVisit};

use crate::context::current::current_task;
use crate::python::api::api;

/// A shielded scope that a task is in while it waits for the end of what it has cancelled.
pub(crate) struct Shield {
    task: Py<PyAny>,
    scope: Py<PyAny>,
}

impl Shield {
    /// Called in a step of the task: enters a shielded scope, if a scope cancels the task in each turn.
    pub(crate) fn enter(py: Python<'_>) -> PyResult<Option<Self>> {
        let scope = api(py).shield.bind(py).call0()?;
        if scope.is_none() {
            return Ok(None);
        }
        Ok(Some(Shield { task: current_task(py)?.unbind(), scope: scope.unbind() }))
    }

    /// Called in a step of the task, which goes on: leaves the scope. Does nothing in another task.
    pub(crate) fn exit(self, py: Python<'_>) -> PyResult<()> {
        if current_task(py)?.is(&self.task) {
            let none = py.None();
            self.scope.bind(py).call_method1(intern!(py, "__exit__"), (&none, &none, &none))?;
        }
        Ok(())
    }

    pub(crate) fn is_of(&self, task: &Bound<'_, PyAny>) -> bool {
        self.task.is(task)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.task)?;
        visit.call(&self.scope)
    }
}

/// Whether a cancel is a scope's request once more, by its message: each scope says which it is. `asyncio.gather` hands
/// on a cancel that has come before as if it were a new one.
pub(crate) fn is_again(before: Option<&Bound<'_, PyAny>>, message: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    let (Some(before), Some(message)) = (before, message) else { return Ok(false) };
    let (Ok(before), Ok(message)) = (before.cast::<PyString>(), message.cast::<PyString>()) else { return Ok(false) };
    let message = message.to_cow()?;
    Ok(message.starts_with("Cancelled via cancel scope ") && before.to_cow()? == message)
}

/// Whether there may be such scopes: there are none before anyio's asyncio backend is imported.
pub(crate) fn asks_again(py: Python<'_>) -> PyResult<bool> {
    py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?.contains(intern!(py, "anyio._backends._asyncio"))
}
