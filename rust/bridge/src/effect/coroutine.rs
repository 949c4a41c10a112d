//! The coroutine protocol of an effect: a task, or other code, drives it by `send`, `throw` and `close`.
//!
//!  1. The first `send` begins a run and binds the effect to the task that runs, or to none.
//!  2. Each later step from the same task goes to that run. Another task is refused.
//!  3. When the run ends, by a value or an error, the effect is free: the next `send` begins anew.
//!
//! Race: two tasks on two threads at 1. The second finds the effect bound, and the run that it began is dropped.

use mountain_core::sync::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use crate::context::current::current_task;
use crate::convert::fail::{RAISED_STOP, no_stop};
use crate::python::type_slots;

/// The run of an effect that is driven as a coroutine, and the task that it is bound to, or None.
#[derive(Default)]
pub(super) struct Driven(Mutex<Option<(Py<PyAny>, Py<PyAny>)>>);

impl Driven {
    /// One `send(None)`; `begin` makes the run where there is none.
    pub(super) fn send<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        begin: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.step(py, name, begin, |run| {
            let mut out = std::ptr::null_mut();
            // SAFETY: a live iterator is sent None; `out` is an owned reference unless an error is set.
            unsafe {
                match ffi::PyIter_Send(run.as_ptr(), ffi::Py_None(), &raw mut out) {
                    ffi::PySendResult::PYGEN_NEXT => Ok(Bound::from_owned_ptr(py, out)),
                    ffi::PySendResult::PYGEN_RETURN => type_slots::Step::Return(Bound::from_owned_ptr(py, out)).into_next(),
                    ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
                }
            }
        })
    }

    /// Throw `thrown` into the run. Where none has begun it is the outcome, as with a coroutine.
    pub(super) fn throw<'py>(&self, py: Python<'py>, name: &str, thrown: PyErr) -> PyResult<Bound<'py, PyAny>> {
        let outcome = thrown.clone_ref(py);
        self.step(
            py,
            name,
            || Err(outcome),
            |run| match run.getattr_opt(intern!(py, "throw"))? {
                Some(throw) => throw.call1((thrown.into_value(py),)),
                None => Err(thrown),
            },
        )
    }

    fn step<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        begin: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
        step: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let task = current_task(py)?;
        let known = self.0.lock().as_ref().map(|(run, of)| (run.clone_ref(py), of.is(&task)));
        let run = match known {
            Some((run, true)) => run.into_bound(py),
            Some(_) => return Err(taken(name)),
            None => {
                let run = begin().map_err(|e| no_stop(py, e, RAISED_STOP))?;
                let mut driven = self.0.lock();
                // Another thread's task came first. The run begun here is dropped, outside of the lock.
                if driven.is_some() {
                    drop(driven);
                    return Err(taken(name));
                }
                *driven = Some((run.clone().unbind(), task.unbind()));
                run
            }
        };
        let stepped = step(&run);
        if stepped.is_err() {
            // The run has ended, by a value or an error.
            self.clear();
        }
        stepped
    }

    /// End the run, cleanup included.
    pub(super) fn close(&self, py: Python<'_>) -> PyResult<()> {
        let driven = self.0.lock().take();
        let Some((run, _)) = driven else { return Ok(()) };
        if let Some(close) = run.bind(py).getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        } else {
            run.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(())
    }

    pub(super) fn run(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.0.lock().as_ref().map(|(run, _)| run.clone_ref(py))
    }

    /// An attribute of the run, where a run has begun that has it.
    pub(super) fn of_run(&self, py: Python<'_>, name: &str) -> Option<Py<PyAny>> {
        self.run(py)?.getattr(py, name).ok()
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(driven) = self.0.try_lock()
            && let Some((run, task)) = &*driven
        {
            visit.call(run)?;
            visit.call(task)?;
        }
        Ok(())
    }

    pub(super) fn clear(&self) {
        // The drop may run Python code, so it happens outside of the lock.
        let driven = self.0.lock().take();
        drop(driven);
    }
}

#[cold]
fn taken(name: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "effect '{name}' is being driven by another task: build it anew for each task, or start it once with Runtime.submit"
    ))
}
