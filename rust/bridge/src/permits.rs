//! The state of a ConcurrencyLimit, and a permit of it that a block of code holds.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Held, Keys};
use mountain_core::policy::limit::{Limit, Overflow, Permit, Settings};
use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::context::{self, Within};
use crate::keyed;
use crate::process::{clock, telemetry};

/// How often keys are looked at that nobody uses.
const REST: Duration = Duration::from_secs(1);

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Permits {
    pub(crate) limit: Arc<Limit>,
    pub(crate) keys: Arc<Keys>,
}

#[pymethods]
impl Permits {
    #[new]
    #[pyo3(signature = (n, max_waiting, shed, name, /))]
    fn new(n: u32, max_waiting: Option<u32>, shed: bool, name: Option<&str>) -> Self {
        let overflow = if shed { Overflow::Shed } else { Overflow::Reject };
        let limit = Limit::new(Settings { n, most_waiting: max_waiting, overflow });
        let of = limit.clone();
        let keys = keyed::keys(REST, move |key, _| of.rest(key));
        if let Some(name) = name {
            telemetry().policies.limit(&limit, Some(&keys), name);
        }
        Permits { limit, keys }
    }

    fn resize(&self, n: u32) {
        self.limit.resize(n, clock().now());
    }

    /// In flight, and waiting by priority from LOW to HIGH.
    fn counts(&self) -> (u32, [u32; 3]) {
        self.limit.counts()
    }

    /// In the child of a fork.
    fn after_fork(&self) {
        self.limit.forget_parent();
    }

    /// How many keys have a state.
    #[getter]
    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        keyed::traverse(&self.keys, &visit)
    }
}

/// A permit that a block of code holds.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Slot {
    permit: Mutex<Option<Permit>>,
    held: Arc<Held>,
    within: Mutex<Option<Py<Within>>>,
}

impl Slot {
    pub(crate) fn new(permit: Permit) -> Self {
        let held = permit.held().clone();
        Slot { permit: Mutex::new(Some(permit)), held, within: Mutex::default() }
    }
}

#[pymethods]
impl Slot {
    /// For the context variable of the current task.
    fn within<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Within>> {
        let (_, flight) = context::within(py)?;
        let within = Bound::new(py, Within::new(py, Some(self.held.clone()), flight)?)?;
        *self.within.lock() = Some(within.clone().unbind());
        Ok(within)
    }

    /// Its block was abandoned.
    fn disown(&self) {
        if let Some(permit) = &*self.permit.lock() {
            permit.disown();
        }
    }

    fn release(&self) {
        let (permit, within) = (self.permit.lock().take(), self.within.lock().take());
        if let Some(within) = within {
            within.get().over();
        }
        drop(permit);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.within.try_lock().map_or(Ok(()), |within| visit.call(&*within))
    }

    fn __clear__(&self) {
        let within = self.within.lock().take();
        drop(within);
    }
}
