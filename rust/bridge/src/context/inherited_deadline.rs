//! The deadline that code carries with it in its context, into the tasks that it makes.

use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::context::current::current_task;
use crate::context::deadline_source::DeadlineSource;
use crate::context::vars::{deadline_var, get};
use crate::globals::clock;
use crate::python::seconds::duration;
use crate::python::task_identity::KnownTask;

/// Set once an `InheritedDeadline` was made: until then a call does not pay for looking it up.
static ANY: AtomicBool = AtomicBool::new(false);

/// A deadline, the task that enforces it already, and where it comes from.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct InheritedDeadline {
    pub(super) at: Instant,
    pub(super) task: KnownTask,
    pub(super) source: Option<DeadlineSource>,
}

#[pymethods]
impl InheritedDeadline {
    /// The deadline of a block of so many seconds, in the code of that name. ValueError: the seconds are negative or no
    /// number.
    #[new]
    #[pyo3(signature = (seconds, name, /))]
    fn new(py: Python<'_>, seconds: f64, name: Bound<'_, PyAny>) -> PyResult<Self> {
        let block = PyTuple::new(py, [PyFloat::new(py, seconds).into_any(), name])?.unbind();
        let at = clock().now().after(duration(seconds)?);
        InheritedDeadline::of(py, at, Some(DeadlineSource::block(block)))
    }

    /// The time has passed.
    fn expired(&self) -> bool {
        clock().now() >= self.at
    }

    /// The seconds that are left: infinite when there is no deadline.
    fn remaining(&self) -> f64 {
        if self.at == Instant::NEVER { f64::INFINITY } else { self.at.since(clock().now()).as_secs_f64() }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.source.as_ref().map_or(Ok(()), |source| source.traverse(&visit))
    }
}

impl InheritedDeadline {
    pub(crate) fn of(py: Python<'_>, at: Instant, source: Option<DeadlineSource>) -> PyResult<Self> {
        ANY.store(true, Ordering::Relaxed);
        Ok(InheritedDeadline { at, task: KnownTask::new(&current_task(py)?)?, source })
    }

    pub(crate) fn is_later(&self, than: &InheritedDeadline) -> bool {
        self.at > than.at
    }

    /// The one in the current context.
    pub(super) fn find(py: Python<'_>) -> PyResult<Option<Bound<'_, Self>>> {
        if !ANY.load(Ordering::Relaxed) {
            return Ok(None);
        }
        get::<InheritedDeadline>(deadline_var(py)?)
    }
}
