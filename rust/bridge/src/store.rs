//! The state of a Cache, and that of a RetryBudget.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Keys, Shared};
use mountain_core::policy::cache::{Cache, Settings};
use mountain_core::policy::retry;
use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::context::to_seconds;
use crate::keyed;
use crate::pyref::PyRef;

/// How often keys are looked at that nobody uses.
const REST: Duration = Duration::from_secs(1);

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Store {
    pub(crate) cache: Arc<Cache>,
    pub(crate) keys: Arc<Keys>,
}

/// A value of Python's for all who ask for it.
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

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (ttl, stale, max_size, /))]
    fn new(
        #[pyo3(from_py_with = to_seconds)] ttl: Duration,
        #[pyo3(from_py_with = to_seconds)] stale: Duration,
        max_size: usize,
    ) -> Self {
        // A key that a value stands under is in use.
        Store { cache: Cache::new(Settings { ttl, stale, max_size }), keys: keyed::keys(REST, |_, _| true) }
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
            // SAFETY: the collector holds the interpreter; the reference is only looked at.
            Some(object) => visit.call(&*unsafe { object.as_unbound() }),
            None => Ok(()),
        })
    }

    fn __clear__(&self) {
        self.cache.clear();
    }
}

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Budget(pub(crate) Arc<Mutex<retry::Budget>>);

#[pymethods]
impl Budget {
    #[new]
    #[pyo3(signature = (ratio, min_per_second, /))]
    fn new(ratio: f64, min_per_second: f64) -> Self {
        Budget(Arc::new(Mutex::new(retry::Budget::new(ratio, min_per_second))))
    }
}
