//! The state of a ConcurrencyLimit, and a permit of it on its way to a block of code.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::Keys;
use mountain_core::policy::limit::{Limit, Overflow, Permit, Settings};
use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use pyo3::{PyTraverseError, PyVisit};

use crate::globals::{clock, telemetry};
use crate::policy::keyed;

/// The interval at which unused keys are dropped.
const REST: Duration = Duration::from_secs(1);

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct LimitState {
    pub(crate) limit: Arc<Limit>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) name: Option<String>,
    /// Whether each key has its own permits.
    pub(crate) keyed: bool,
    /// The plan of its blocks that wait. Weak, since a plan refers to its policies.
    pub(crate) plan: Mutex<Option<Py<PyWeakrefReference>>>,
}

#[pymethods]
impl LimitState {
    #[new]
    #[pyo3(signature = (n, max_waiting, shed, name, keyed = false, /))]
    pub(crate) fn new(n: u32, max_waiting: Option<u32>, shed: bool, name: Option<&str>, keyed: bool) -> Self {
        let overflow = if shed { Overflow::Shed } else { Overflow::Reject };
        let limit = Limit::new(Settings { n, most_waiting: max_waiting, overflow });
        let of = limit.clone();
        let keys = keyed::keys(REST, move |key, _| of.rest(key));
        if let Some(name) = name {
            telemetry().policies.limit(&limit, Some(&keys), name);
        }
        LimitState { limit, keys, name: name.map(str::to_owned), keyed, plan: Mutex::default() }
    }

    fn resize(&self, n: u32) {
        self.limit.resize(n, clock().now());
    }

    /// The number in flight, and the numbers waiting by priority from LOW to HIGH.
    fn counts(&self) -> (u32, [u32; 3]) {
        self.limit.counts()
    }

    /// In the child of a fork: forgets the parent's calls.
    fn after_fork(&self) {
        self.limit.forget_parent();
    }

    /// The number of keys that have a state.
    #[getter]
    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        keyed::traverse(&self.keys, &visit)
    }
}

/// A permit on its way to the block of code that waited for it. Its drop returns the permit.
#[pyclass(frozen)]
pub(crate) struct Granted(Mutex<Option<Permit>>);

impl Granted {
    pub(crate) fn new(permit: Permit) -> Self {
        Granted(Mutex::new(Some(permit)))
    }

    pub(crate) fn take(&self) -> Option<Permit> {
        self.0.lock().take()
    }
}
