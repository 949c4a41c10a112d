//! The state of a Cache, and that of a RetryBudget.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Keys, Shared};
use mountain_core::policy::cache::{Cache, Settings};
use mountain_core::policy::retry;
use mountain_core::sync::Mutex;
use mountain_core::telemetry::shortened;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTraceback, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::globals::telemetry;
use crate::policy::keyed;
use crate::python::pyref::PyRef;
use crate::python::seconds::to_seconds;

/// The interval at which unused keys are dropped.
const REST: Duration = Duration::from_secs(1);

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct CacheState {
    pub(crate) cache: Arc<Cache>,
    pub(crate) keys: Arc<Keys>,
}

/// A Python value, shared by all callers of a flight.
pub(crate) fn share(object: Py<PyAny>) -> Shared {
    Arc::new(PyRef::new(object))
}

pub(crate) fn shared<'py>(py: Python<'py>, shared: &Shared) -> Bound<'py, PyAny> {
    shared.downcast_ref::<PyRef>().map_or_else(
        || py.None().into_bound(py),
        |object| {
            // SAFETY: any object is a `PyAny`.
            unsafe { object.clone_as::<PyAny>(py) }
        },
    )
}

/// An error of a flight, with the traceback that it had when the flight ended.
struct Failure {
    error: PyRef,
    traceback: Option<PyRef>,
}

/// Shares an error among all waiters of a flight. `error` was caught by the flight's own task, whose frame is left out
/// of the traceback.
pub(crate) fn share_error(error: Bound<'_, PyBaseException>) -> Shared {
    let own = error.getattr_opt(intern!(error.py(), "__traceback__")).ok().flatten().filter(|own| !own.is_none());
    let inside = own.and_then(|own| own.getattr(intern!(own.py(), "tb_next")).ok()).filter(|inside| !inside.is_none());
    Arc::new(Failure { traceback: inside.map(|inside| PyRef::new(inside.unbind())), error: PyRef::new(error.unbind()) })
}

/// The shared error for one waiter. Each waiter gets the traceback of the flight, without the frames of the others.
pub(crate) fn shared_error(py: Python<'_>, shared: &Shared) -> PyErr {
    let Some(failure) = shared.downcast_ref::<Failure>() else { return PyErr::from_value(self::shared(py, shared)) };
    // SAFETY: made from an exception and a traceback in `share_error`.
    let (error, traceback) = unsafe {
        (failure.error.clone_as::<PyAny>(py), failure.traceback.as_ref().map(|traceback| traceback.clone_as::<PyTraceback>(py)))
    };
    let error = PyErr::from_value(error);
    error.set_traceback(py, traceback);
    error
}

#[pymethods]
impl CacheState {
    #[new]
    #[pyo3(signature = (ttl, stale, max_size, name, /))]
    fn new(
        #[pyo3(from_py_with = to_seconds)] ttl: Duration,
        #[pyo3(from_py_with = to_seconds)] stale: Duration,
        max_size: usize,
        name: Option<&str>,
    ) -> Self {
        let cache = Cache::new(Settings { ttl, stale, max_size });
        if let Some(name) = name {
            telemetry().policies.cache(&cache, name);
        }
        // A key with a value is in use; all others may go.
        CacheState { cache, keys: keyed::keys(REST, |_, _| true) }
    }

    /// The functions whose calls it has keys of: each key is (function, ...).
    fn functions<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let (mut found, mut known) = (Vec::new(), HashSet::new());
        for key in keyed::all(py, &self.keys) {
            let function = key.cast_into::<PyTuple>()?.get_item(0)?;
            if known.insert(function.as_ptr() as usize) {
                found.push(function);
            }
        }
        Ok(found)
    }

    #[pyo3(signature = (key, /))]
    fn invalidate(&self, key: Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(used) = keyed::find(&self.keys, &key)? {
            self.cache.invalidate(used.number());
        }
        Ok(())
    }

    fn clear(&self) {
        self.cache.clear();
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (counts, size) = self.cache.counts();
        let d = PyDict::new(py);
        d.set_item("hits", counts.hits)?;
        d.set_item("misses", counts.misses)?;
        d.set_item("stale_hits", counts.stale_hits)?;
        d.set_item("evicted", counts.evicted)?;
        d.set_item("size", size)?;
        Ok(d)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        keyed::traverse(&self.keys, &visit)?;
        self.cache.visit(|value| match value.downcast_ref::<PyRef>() {
            // SAFETY: the cache, whose lock is held, owns the reference, which is only looked at.
            Some(object) => visit.call(&*unsafe { object.as_unbound() }),
            None => Ok(()),
        })
    }

    fn __clear__(&self) {
        self.cache.clear();
    }
}

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct BudgetState(pub(crate) Arc<Mutex<retry::Budget>>);

#[pymethods]
impl BudgetState {
    #[new]
    #[pyo3(signature = (ratio, min_per_second, name, /))]
    fn new(ratio: f64, min_per_second: f64, name: Option<&str>) -> Self {
        let mut budget = retry::Budget::new(ratio, min_per_second);
        budget.name = name.map(|name| shortened(name).into());
        let budget = Arc::new(Mutex::new(budget));
        if let Some(name) = name {
            telemetry().policies.budget(&budget, name);
        }
        BudgetState(budget)
    }
}
