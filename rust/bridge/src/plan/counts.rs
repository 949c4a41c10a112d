//! Counts of a plan's runs: their failures and retries.

use mountain_core::observe::Count;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;

use crate::globals::telemetry;
use crate::plan::Plan;
use crate::python::api::api;

impl Plan {
    /// Count a run that ended with `error` after `took` nanoseconds.
    pub(crate) fn count_error(&self, py: Python<'_>, error: &PyErr, took: u64) {
        let e = error.value(py);
        let is = |class: &Bound<'_, PyAny>| e.is_instance(class).unwrap_or(false);
        if is(api(py).timed_out.bind(py)) {
            self.tally.ended(Count::TimedOut, took);
        } else if is(api(py).rejected.bind(py)) {
            self.tally.ended(Count::Rejected, took);
        } else if e.is_instance_of::<CancelledError>() {
            self.tally.ended(Count::Cancelled, took);
        } else {
            self.tally.took(took);
            let class = e.get_type().fully_qualified_name().map_or_else(|_| "?".into(), |name| name.to_string());
            telemetry().failed(&self.tally, &class);
            self.told_of_failure(py, error, &class);
        }
    }

    /// Pass the failure on to the live page, if that is on.
    fn told_of_failure(&self, py: Python<'_>, e: &PyErr, class: &str) {
        if !telemetry().live.is_on() {
            return;
        }
        // With its traceback, which CPython 3.11 gives to the exception only when it is caught.
        let value = e.clone_ref(py).into_value(py);
        if let Err(fault) = api(py).failed.bind(py).call1((&self.name, class, value)) {
            fault.write_unraisable(py, None);
        }
    }

    /// Count the attempts of a run after its first.
    pub(crate) fn count_attempts(&self, attempts: u32) {
        if attempts > 1 {
            self.parts.add(Count::Retried, u64::from(attempts - 1));
        }
    }
}
