//! The functions of a retry that are asked of a run: `until`, of a value, and `backoff`, of an attempt.

use std::time::Duration;

use pyo3::prelude::*;

use crate::convert::fail::{Fail, no_stop, while_handling, with_frames};
use crate::convert::not_accepted::NotAccepted;
use crate::run::leaf::PyLeaf;

impl PyLeaf {
    /// The fault that stands for a value which the retry at `layer` does not accept.
    pub(super) fn judge_value(&self, py: Python<'_>, layer: usize, value: &Py<PyAny>) -> Result<Option<Fail>, Fail> {
        let plan = self.plan.get();
        match plan.functions(layer).map_or(Ok(true), |of| of.accepts(py, &plan.name, value)) {
            Ok(true) => Ok(None),
            Ok(false) => {
                let attempt = self.trace.attempts();
                Ok(Some(Fail::NotAccepted(Box::new(NotAccepted { layer, attempt, value: value.clone_ref(py) }))))
            }
            Err(e) => Err(Fail::raised(py, no_stop(py, e, "a retry's until= raised StopIteration"))),
        }
    }

    /// The wait that the retry at `layer` makes after that attempt.
    pub(super) fn ask_for_wait(&self, py: Python<'_>, layer: usize, attempt: u32, fault: &mut Fail) -> Result<Duration, Fail> {
        let plan = self.plan.get();
        let wait = plan.functions(layer).map_or(Ok(Duration::ZERO), |of| of.wait(py, || plan.title(), attempt));
        wait.map_err(|e| {
            if let Some(error) = self.raise(py, fault) {
                while_handling(&e, with_frames(py, error).as_any());
            }
            Fail::raised(py, no_stop(py, e, "a retry's backoff= raised StopIteration"))
        })
    }
}
