//! A task: the handle of a submitted effect that runs as one, and the task's end carried over to it.

use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::handle::Handle;
use crate::handle::backing::{Backing, Phase};
use crate::plan::Plan;
use crate::port::Port;
use crate::python::api::api;

/// Makes the handle of a task that runs a submitted effect: it ends as the task does.
pub(crate) fn of_task<'py>(port: &Bound<'py, Port>, plan: Py<Plan>, task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Handle>> {
    let handle = Handle::new(port.py(), &port.get().event_loop, Some(plan), Backing::Task(task.clone().unbind()))?;
    let done = Bound::new(port.py(), TaskDone { handle: handle.clone().unbind() })?;
    task.call_method1(intern!(port.py(), "add_done_callback"), (done,))?;
    Ok(handle)
}

/// The task's done callback: ends the handle as the task has ended.
#[pyclass(frozen)]
struct TaskDone {
    handle: Py<Handle>,
}

#[pymethods]
impl TaskDone {
    fn __call__(&self, py: Python<'_>, task: Bound<'_, PyAny>) -> PyResult<()> {
        let handle = self.handle.bind(py);
        let phase = match task.call_method0(intern!(py, "result")) {
            Ok(v) => Phase::Value(v.unbind()),
            // A cancel that no code asked the task for (`is_cut`) is a failure: the task did not end as cancelled.
            Err(e)
                if e.is_instance_of::<CancelledError>(py)
                    && !api(py).is_cut.bind(py).call1((&task, e.value(py)))?.is_truthy()? =>
            {
                let message = e.value(py).getattr("args")?.get_item(0).ok().map(Bound::unbind);
                handle.get().set_message(message);
                Phase::Cancelled
            }
            Err(e) => Phase::Error(e.into_value(py).into_any()),
        };
        Handle::resolve(handle, phase, false)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.handle)
    }
}
