//! The record of one call, which is the only place that counts the start and the end of a call and ends its span.
//!
//! A start that is counted has exactly one end that is counted, however the call ends: counting may be switched while
//! the call runs, and the call may be let go of half-way. A call is counted if counting is on as it begins. The owner
//! of a record (a run, a handle) hands it the plan and the watch, and calls [`CallRecord::let_go`] where it is dropped
//! before its end.

#![expect(clippy::inline_always, reason = "an inline call pays for nothing but its count")]

use std::sync::Arc;

use mountain_core::effect::{Outcome, Told};
use mountain_core::error::Error;
use mountain_core::observe::{Count, Tally};
use mountain_core::time::Instant;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;

use crate::convert::class::class;
use crate::globals::{Begun, telemetry};
use crate::observe::watch::Watch;
use crate::observe::watchers;
use crate::plan::Plan;
use crate::python::api::api;
use crate::python::os_error::know_classes;

/// The watch of a call that has one, and the time of its end.
pub(crate) type Watched<'a> = Option<(&'a Watch, Instant)>;

/// One byte: a million handles may be pending.
#[derive(Default)]
pub(crate) enum CallRecord {
    /// The call has ended, or is a part of a call that has a record.
    #[default]
    Blank,
    /// The call has not waited yet: one that never waits cannot be seen running, so its start is counted with its end.
    First,
    /// The same for a call that began while counting was off: neither its start nor its end is counted.
    FirstUncounted,
    /// The start is counted.
    Running(Begun),
    RunningUncounted(Begun),
}

const _: () = assert!(size_of::<CallRecord>() == 1, "a record is larger than it was");

impl CallRecord {
    /// Of a call that begins now.
    pub(crate) fn begins() -> Self {
        if watchers::counting() { CallRecord::First } else { CallRecord::FirstUncounted }
    }

    /// Whether the call has not waited yet.
    #[inline]
    pub(crate) fn in_first_step(&self) -> bool {
        matches!(self, CallRecord::First | CallRecord::FirstUncounted)
    }

    /// The call waits for the first time: it is running from now on, and its start is counted.
    #[inline]
    pub(crate) fn starts(&mut self, plan: &Plan) {
        match self {
            CallRecord::First => {
                *self = CallRecord::Running(Begun::now());
                plan.tally.count(Count::Started);
            }
            CallRecord::FirstUncounted => *self = CallRecord::RunningUncounted(Begun::now()),
            CallRecord::Blank | CallRecord::Running(_) | CallRecord::RunningUncounted(_) => {}
        }
    }

    /// Counting is off as the call begins.
    #[inline]
    pub(crate) fn leave_out(&mut self) {
        *self = CallRecord::FirstUncounted;
    }

    /// The call gives a value, `took` nanoseconds after it began.
    #[inline(always)]
    pub(crate) fn succeeded(self, py: Python<'_>, plan: &Plan, took: u64, watched: Watched<'_>) {
        self.ends(&plan.tally, Count::Succeeded, took);
        if let Some((watch, now)) = watched {
            watch.ended(py, None, now);
        }
    }

    /// The call raises `error`: a failure, a refusal, the end of its time or a cancel.
    #[inline(never)]
    pub(crate) fn failed(self, py: Python<'_>, plan: &Plan, error: &PyErr, took: u64, watched: Watched<'_>) {
        let e = error.value(py);
        let is = |class: &Bound<'_, PyAny>| e.is_instance(class).unwrap_or(false);
        if self.counted() {
            let how = if is(api(py).timed_out.bind(py)) {
                Count::TimedOut
            } else if is(api(py).rejected.bind(py)) {
                Count::Rejected
            } else if e.is_instance_of::<CancelledError>() {
                Count::Cancelled
            } else {
                Count::Failed
            };
            if how == Count::Failed {
                let class = e.get_type().fully_qualified_name().map_or_else(|_| "?".into(), |name| name.to_string());
                self.fails(&plan.tally, &class, took);
                shown(py, plan, error, &class);
            } else {
                self.ends(&plan.tally, how, took);
            }
        }
        if let Some((watch, now)) = watched {
            watch.ended(py, Some(e), now);
        }
    }

    /// The call was cancelled, or closed.
    #[inline(never)]
    pub(crate) fn cancelled(self, py: Python<'_>, plan: &Plan, took: u64, watched: Watched<'_>) {
        self.ends(&plan.tally, Count::Cancelled, took);
        if let Some((watch, now)) = watched {
            watch.ended(py, Some(CancelledError::new_err(()).value(py)), now);
        }
    }

    /// The call will never end, since its owner is dropped or its loop is closed: it counts as cancelled, and leaves no
    /// span. For a call that [is running](Self::is_running).
    #[cold]
    #[inline(never)]
    pub(crate) fn let_go(&mut self, plan: &Plan, took: u64) {
        std::mem::take(self).ends(&plan.tally, Count::Cancelled, took);
    }

    /// Whether the call has waited and not ended.
    #[inline(always)]
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, CallRecord::Running(_) | CallRecord::RunningUncounted(_))
    }

    /// The call raises `error` as it begins.
    #[cold]
    #[inline(never)]
    pub(crate) fn failed_at_once(&mut self, py: Python<'_>, plan: &Plan, error: &PyErr) {
        std::mem::take(self).failed(py, plan, error, 0, None);
    }

    /// A runtime that shuts down refuses a call, which does not begin.
    pub(crate) fn refused(plan: &Plan) {
        plan.parts.count(Count::Rejected);
    }

    /// Counts the parts of a native group, each at the tally of its place and on the worker where it ends, since Python
    /// sees the whole group only. `None` while counting is off.
    pub(crate) fn of_parts(py: Python<'_>, tallies: impl FnOnce() -> Vec<Arc<Tally>>) -> PyResult<Option<Told>> {
        if !watchers::counting() {
            return Ok(None);
        }
        know_classes(py)?;
        let tallies = tallies();
        Ok(Some(Arc::new(move |part, outcome: &Outcome, nanos| {
            CallRecord::First.part_ended(&tallies[part], outcome.as_ref().err(), nanos);
        })))
    }

    fn part_ended(self, tally: &Tally, error: Option<&Error>, nanos: u64) {
        let how = match error {
            None => Count::Succeeded,
            Some(Error::Cancelled) => Count::Cancelled,
            Some(Error::TimedOut(_)) => Count::TimedOut,
            Some(Error::Refused(_)) => Count::Rejected,
            Some(Error::Attempted(_, e) | Error::Of(_, e) | Error::Under(_, e) | Error::Within(_, e) | Error::Injected(_, e)) => {
                return self.part_ended(tally, Some(e), nanos);
            }
            Some(Error::GaveUp(gave_up)) => return self.part_ended(tally, Some(&gave_up.1), nanos),
            Some(Error::Beside(all)) => return self.part_ended(tally, Some(&all.0), nanos),
            Some(e) => return self.fails(tally, class(e), nanos),
        };
        self.ends(tally, how, nanos);
    }

    fn counted(&self) -> bool {
        matches!(self, CallRecord::First | CallRecord::Running(_))
    }

    #[inline(always)]
    fn ends(self, tally: &Tally, how: Count, took: u64) {
        match self {
            CallRecord::First => tally.began_and_ended(how, took),
            CallRecord::Running(_) => tally.ended(how, took),
            CallRecord::Blank | CallRecord::FirstUncounted | CallRecord::RunningUncounted(_) => {}
        }
    }

    /// Ends with an error of that class, which is counted by its name too.
    fn fails(self, tally: &Tally, class: &str, took: u64) {
        if let CallRecord::First = self {
            tally.count(Count::Started);
        }
        if self.counted() {
            tally.took(took);
            telemetry().failed(tally, class);
        }
    }
}

/// Passes a failure on to the live page, if that is on.
fn shown(py: Python<'_>, plan: &Plan, error: &PyErr, class: &str) {
    if !telemetry().live.is_on() {
        return;
    }
    // With its traceback, which CPython 3.11 gives to the exception only when it is caught.
    let value = error.clone_ref(py).into_value(py);
    if let Err(fault) = api(py).failed.bind(py).call1((&plan.name, class, value)) {
        fault.write_unraisable(py, None);
    }
}
