//! A native call: its start on the engine, and its end by the answer that the loop's port brings.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome, Starter};
use mountain_core::error::Error;
use mountain_core::schedule::Priority;
use mountain_core::time::Instant;
use mountain_core::value::Value;
use pyo3::prelude::*;

use crate::convert::error;
use crate::convert::value;
use crate::handle::Handle;
use crate::handle::backing::{Backing, Now, Phase, Untaken};
use crate::observe::call_record::CallRecord;
use crate::observe::watch::Watch;
use crate::plan::Plan;
use crate::port::Port;

impl Handle {
    /// Starts a native operation. `counts`: the statistics count the call; not so for a part of a run, which counts
    /// itself.
    pub(crate) fn start<'py>(
        port: &Bound<'py, Port>,
        plan: &Bound<'py, Plan>,
        host: &Arc<Host>,
        operation: Arc<dyn Operation>,
        priority: Priority,
        counts: bool,
        watch: Option<Box<Watch>>,
    ) -> PyResult<Bound<'py, Handle>> {
        Self::begin(port, plan, priority, counts, watch, |done| {
            if operation.wants_a_worker() { Starter::begin(host, operation, done) } else { operation.start(host, done) }
        })
    }

    /// Starts a native call by `starts`, which keeps the `Done` until the call ends.
    pub(crate) fn begin<'py>(
        port: &Bound<'py, Port>,
        plan: &Bound<'py, Plan>,
        priority: Priority,
        counts: bool,
        watch: Option<Box<Watch>>,
        starts: impl FnOnce(Done) -> Abort,
    ) -> PyResult<Bound<'py, Handle>> {
        let mut record = CallRecord::default();
        if counts {
            record = CallRecord::begins();
            record.starts(plan.get());
        }
        let handle = Self::made(
            plan.py(),
            &port.get().event_loop,
            Some(plan.clone().unbind()),
            Backing::Native(Abort::Never),
            record,
            watch,
        )?;
        let place = port.get().native.keep(plan.py(), handle.clone().into_any().unbind());
        let done = Done::new(port.get().shared.clone(), place as usize).of(priority);
        // A panic drops the `Done`, which then answers with a failure.
        let abort = catch_unwind(AssertUnwindSafe(|| starts(done))).unwrap_or(Abort::Never);
        if let Now::Pending(backing, _) = &mut handle.get().state.lock().now {
            *backing = Backing::Native(abort);
        }
        Ok(handle)
    }

    /// Ends the handle of a native call with its answer: converts it, and ends the record of the call. After a cancel
    /// the answer is not looked at.
    pub(crate) fn ended(slf: &Bound<'_, Self>, outcome: Outcome, direct: bool, now: Instant) -> PyResult<()> {
        let py = slf.py();
        let me = slf.get();
        let phase = match outcome {
            outcome if me.state.lock().asked => {
                // A value that goes back is there for the caller's next call.
                drop(outcome);
                Phase::Cancelled
            }
            Ok(Value::Taken(taken)) => Phase::Untaken(Box::new(Untaken::Native(*taken))),
            Err(Error::Cancelled) => Phase::Cancelled,
            Ok(v) => match value::to_python(py, v) {
                Ok(v) => Phase::Value(v.unbind()),
                Err(e) => Phase::Error(e.into_value(py).into_any()),
            },
            Err(e) => Phase::Error(error::to_python(py, e, me.plan.as_ref().map(pyo3::Py::get)).into_value(py).into_any()),
        };
        Self::ends(slf, phase, direct, now)
    }

    /// Has the handle end the record and the watch of its call.
    pub(crate) fn counts(&self, record: CallRecord, watch: Option<Box<Watch>>) {
        let mut s = self.state.lock();
        (s.record, s.watch) = (record, watch);
    }

    /// Ends a pending handle that has a record, and the record with it.
    pub(super) fn ends(slf: &Bound<'_, Self>, phase: Phase, direct: bool, now: Instant) -> PyResult<()> {
        let (py, me) = (slf.py(), slf.get());
        let (phase, record, watch) = {
            let mut s = me.state.lock();
            let phase = if s.asked { Phase::Cancelled } else { phase };
            (phase, std::mem::take(&mut s.record), s.watch.take())
        };
        if let Some(plan) = &me.plan {
            let (plan, took) = (plan.get(), now.since(me.created).as_nanos() as u64);
            let watched = watch.as_deref().map(|watch| (watch, now));
            match &phase {
                Phase::Value(_) | Phase::Untaken(_) => record.succeeded(py, plan, took, watched),
                Phase::Cancelled => record.cancelled(py, plan, took, watched),
                Phase::Error(e) | Phase::Shared(e, _) => {
                    record.failed(py, plan, &PyErr::from_value(e.bind(py).clone()), took, watched);
                }
            }
        }
        Self::resolve(slf, phase, direct)
    }
}
