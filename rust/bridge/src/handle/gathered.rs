//! Handles that a permit holder awaits by `asyncio.gather`: the task awaits gather's own future, which knows of no
//! permits.

use std::sync::Arc;

use mountain_core::effect::{Flight, PermitContext, Submitted};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::context;
use crate::context::current::current_task;
use crate::convert::error::circle;
use crate::python::known_loop::KnownLoop;

/// Checks in the loop's next turn whether the task awaits what it gathered (it may have started it only), and fails the
/// gather where the wait would be a deadlock.
#[pyclass(frozen)]
struct Gathered {
    work: Arc<Submitted>,
    held: Option<Arc<PermitContext>>,
    flight: Option<Arc<Flight>>,
    task: Py<PyAny>,
    callback: Py<PyAny>,
    name: String,
}

#[pymethods]
impl Gathered {
    #[pyo3(signature = (*_args))]
    fn __call__(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        let awaits = self.task.bind(py).getattr_opt(intern!(py, "_fut_waiter"))?;
        let Some(outer) = outer(self.callback.bind(py))?.filter(|outer| awaits.is_some_and(|awaits| awaits.is(outer))) else {
            return Ok(());
        };
        let can_go_on = self.work.awaited_by(self.held.as_ref(), self.flight.as_ref());
        if !can_go_on && !outer.call_method0(intern!(py, "done"))?.is_truthy()? {
            outer.call_method1(intern!(py, "set_exception"), (circle(py, &self.name),))?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.task)?;
        visit.call(&self.callback)
    }
}

/// The future that `asyncio.gather` returns, read from the closure of the callback that it leaves on each child.
fn outer<'py>(callback: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = callback.py();
    let names = callback.getattr(intern!(py, "__code__"))?.getattr(intern!(py, "co_freevars"))?;
    let Ok(at) = names.call_method1(intern!(py, "index"), (intern!(py, "outer"),)) else { return Ok(None) };
    let cell = callback.getattr(intern!(py, "__closure__"))?.get_item(at)?;
    cell.getattr_opt(intern!(py, "cell_contents"))
}

/// Schedules the check for `callback`, which a gather has left on the handle of `work`.
pub(crate) fn look_later(event_loop: &KnownLoop, work: Arc<Submitted>, name: &str, callback: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = callback.py();
    let (held, flight) = context::held_and_flight(py)?;
    let task = current_task(py)?;
    if (held.is_none() && flight.is_none()) || task.is_none() {
        return Ok(());
    }
    let (task, callback) = (task.unbind(), callback.clone().unbind());
    let look = Bound::new(py, Gathered { work, held, flight, task, callback, name: name.to_owned() })?;
    event_loop.call_soon(look.as_any(), &py.None().into_bound(py), None)
}
