//! A value that a retry does not accept, until it is an exception.

use pyo3::intern;
use pyo3::prelude::*;

use crate::convert::error;
use crate::plan::Plan;
use crate::python::api::api;

/// The `until` of the retry at `layer` did not accept it, in that attempt of the call.
pub(crate) struct NotAccepted {
    pub(crate) layer: usize,
    pub(crate) attempt: u32,
    pub(crate) value: Py<PyAny>,
}

impl NotAccepted {
    /// The exception of a retry that gives up on it.
    pub(crate) fn into_error(self, py: Python<'_>, plan: &Plan) -> PyErr {
        let (name, policy) = (plan.name.as_str(), plan.policy(py, self.layer));
        let retry = policy.as_deref().unwrap_or("its retry");
        let message = format!("effect '{name}' gave in attempt {} a result that {retry} does not accept", self.attempt);
        let e = error::make(py, &api(py).not_accepted, &message, name, policy.as_deref(), self.attempt.max(1));
        let _ = e.value(py).setattr(intern!(py, "value"), self.value);
        e
    }
}
