//! The permits and the flight of the code that waits for a task's end. If the task in turn waited for one of those,
//! neither would ever go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::effect::{Flight, PermitContext};
use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::context::current::current_task;
use crate::context::vars::{get, permit_context_var};
use crate::python::pyref;

/// Set once a `PyPermitContext` was made: until then a call does not pay for looking it up.
static ANY: AtomicBool = AtomicBool::new(false);

/// The permits and the flight that wait for one task, in that task's context. A copy of the context carries the object
/// into other tasks, to which it does not apply: `is_of` tells them apart.
#[pyclass(frozen, name = "PermitContext", module = "mountain_runtime._native")]
pub(crate) struct PyPermitContext {
    pub(super) held: Option<Arc<PermitContext>>,
    pub(super) flight: Option<Arc<Flight>>,
    /// The task itself, since a later one may have its address. None: nothing waits for the task any more, or there was
    /// none.
    task: Mutex<Option<Py<PyAny>>>,
    /// Set for a thread's job until it has ended: it holds outside of any task, for what the job runs on the loop.
    of_job: AtomicBool,
}

#[pymethods]
impl PyPermitContext {
    /// A copy that holds for the current task.
    fn here(&self, py: Python<'_>) -> PyResult<Self> {
        Self::new(py, self.held.clone(), self.flight.clone())
    }

    /// Makes the current task the one for which it holds.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        let task = current_task(py)?.unbind();
        let replaced = self.task.lock().replace(task);
        drop(replaced);
        Ok(())
    }

    /// Nothing waits for the task any more.
    pub(crate) fn over(&self) {
        if let Some(task) = self.end() {
            pyref::drop_outside(task);
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.task.try_lock().map_or(Ok(()), |task| visit.call(&*task))
    }

    fn __clear__(&self) {
        drop(self.end());
    }
}

impl PyPermitContext {
    pub(crate) fn new(py: Python<'_>, held: Option<Arc<PermitContext>>, flight: Option<Arc<Flight>>) -> PyResult<Self> {
        ANY.store(true, Ordering::Relaxed);
        let task = current_task(py)?;
        let task = Mutex::new((!task.is_none()).then(|| task.unbind()));
        Ok(PyPermitContext { held, flight, task, of_job: AtomicBool::new(false) })
    }

    /// For submitted work, whose task does not exist yet: it calls `begin`.
    pub(crate) fn of_work(py: Python<'_>, held: Arc<PermitContext>) -> PyResult<Bound<'_, Self>> {
        ANY.store(true, Ordering::Relaxed);
        let flight = held.work.as_ref().and_then(|work| work.flight()).cloned();
        Bound::new(py, PyPermitContext { held: Some(held), flight, task: Mutex::default(), of_job: AtomicBool::new(false) })
    }

    /// For a thread's job: sets itself in the job's `context`.
    pub(super) fn of_job(
        context: &Bound<'_, PyAny>,
        held: Option<Arc<PermitContext>>,
        flight: Option<Arc<Flight>>,
    ) -> PyResult<Py<Self>> {
        let py = context.py();
        ANY.store(true, Ordering::Relaxed);
        let permit_context =
            Bound::new(py, PyPermitContext { held, flight, task: Mutex::default(), of_job: AtomicBool::new(true) })?;
        context.call_method1(intern!(py, "run"), (permit_context_var(py)?.getattr(intern!(py, "set"))?, &permit_context))?;
        Ok(permit_context.unbind())
    }

    fn end(&self) -> Option<Py<PyAny>> {
        self.of_job.store(false, Ordering::Relaxed);
        self.task.lock().take()
    }

    /// The one in the current context, which may be another task's.
    pub(super) fn find(py: Python<'_>) -> PyResult<Option<Bound<'_, Self>>> {
        if !ANY.load(Ordering::Relaxed) {
            return Ok(None);
        }
        get::<PyPermitContext>(permit_context_var(py)?)
    }

    /// Whether it holds for that task; or outside of any, if `task` is None.
    pub(super) fn is_of(&self, task: &Bound<'_, PyAny>) -> bool {
        if task.is_none() {
            return self.of_job.load(Ordering::Relaxed);
        }
        self.task.lock().as_ref().is_some_and(|of| of.is(task))
    }
}
