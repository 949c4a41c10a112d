//! The handle: one piece of work that has started, from its start to its end. It stands for a native call, a task, a
//! thread's job, an item of a batch, or a parked run.
//!
//!  - `future.rs`: the asyncio Future protocol that it speaks.
//!  - `cancel.rs`: what a cancel does to each kind of work.
//!  - `native.rs`, `task.rs`, `job.rs`, `calls.rs`: the kinds of work.
//!  - `untaken.rs`: a value that goes back to its source if a cancel comes before it is taken.
//!  - `unretrieved.rs`: the report of an error that was never retrieved.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::PermitContext;
use mountain_core::sync::{Mutex, MutexGuard};
use mountain_core::time::Instant;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;
use pyo3::types::PyTraceback;
use pyo3::{PyTraverseError, PyVisit};

use crate::globals::clock;
use crate::handle::backing::{Backing, Now, Phase, State};
use crate::handle::job_state::JobState;
use crate::observe::call_record::CallRecord;
use crate::observe::watch::Watch;
use crate::plan::Plan;
use crate::port::owned::Owned;
use crate::python::callback::{call_in, wakes_a_task};
use crate::python::free_list::{Idle, Reused};
use crate::python::known_loop::KnownLoop;
use crate::python::type_slots;

/// Work that has started. All of asyncio takes it for a Future: it can be awaited, gathered, shielded and cancelled.
#[pyclass(frozen, freelist = 16384, weakref, module = "mountain_runtime")]
pub(crate) struct Handle {
    pub(super) event_loop: KnownLoop,
    /// `None` where a parked run awaits the handle.
    pub(super) plan: Option<Py<Plan>>,
    pub(super) created: Instant,
    pub(super) state: Mutex<State>,
}

impl Reused for Handle {
    const MOST: usize = 16384;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

impl Handle {
    pub(crate) fn new<'py>(
        py: Python<'py>,
        event_loop: &KnownLoop,
        plan: Option<Py<Plan>>,
        backing: Backing,
    ) -> PyResult<Bound<'py, Handle>> {
        Self::made(py, event_loop, plan, backing, CallRecord::default(), None)
    }

    pub(super) fn made<'py>(
        py: Python<'py>,
        event_loop: &KnownLoop,
        plan: Option<Py<Plan>>,
        backing: Backing,
        record: CallRecord,
        watch: Option<Box<Watch>>,
    ) -> PyResult<Bound<'py, Handle>> {
        let seen = !matches!(backing, Backing::Native(_)) || plan.as_ref().is_some_and(|plan| plan.get().asks_python());
        let state = State {
            now: Now::Pending(backing, None),
            blocking: false,
            asked: false,
            // An error that is never retrieved is reported of calls that a runtime owns only: `owned` clears this.
            retrieved: true,
            record,
            place: 0,
            owner: None,
            watch,
            rare: None,
        };
        // Reading the clock has a price: a handle without a plan shows its age nowhere.
        let created = if plan.is_some() { clock().now() } else { Instant::from_nanos(0) };
        let handle = Handle { event_loop: event_loop.clone_ref(py), plan, created, state: Mutex::new(state) };
        // A native call starts with no reference cycle through it; what adds one later tracks the handle
        // (`track_later`). Tracking from the start would be a quarter of what queueing a call costs.
        if seen { type_slots::tracked(py, handle) } else { type_slots::untracked(py, handle) }
    }

    /// Gives the call to a runtime: its end is told to `owner`, and an error that is never retrieved is reported.
    pub(crate) fn owned(&self, owner: Arc<Owned>, place: u32, work: Option<Arc<PermitContext>>) {
        let mut s = self.state.lock();
        (s.owner, s.place, s.retrieved) = (Some(owner), place, false);
        if let Some(work) = work.and_then(|held| held.work.clone()) {
            s.rare.get_or_insert_default().work = Some(work);
        }
    }

    /// The progress of a pending thread's job; `None` for anything else.
    pub(crate) fn job(&self) -> Option<Arc<JobState>> {
        match self.state.lock().backing() {
            Some(Backing::Job(job)) => Some(job.clone()),
            _ => None,
        }
    }

    /// Ends a native call for which nothing waits any more, as its loop is closed or its await was left: it gives back
    /// the permits that it holds or waits for, and a value that was not taken.
    pub(crate) fn let_go(&self) {
        self.goes_back();
        let abort = self.state.lock().ask();
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    pub(crate) fn pending(&self) -> bool {
        self.state.lock().pending()
    }

    /// Ends a pending handle and calls its callbacks; one that has ended already keeps its end. `direct`: the caller is
    /// a drain, where a task may be stepped at once instead of by `call_soon`.
    pub(crate) fn resolve(slf: &Bound<'_, Self>, phase: Phase, direct: bool) -> PyResult<()> {
        let py = slf.py();
        let me = slf.get();
        let (was, place, owner, more, work) = {
            let mut s = me.state.lock();
            if !s.pending() {
                drop(s);
                drop(phase);
                return Ok(());
            }
            let phase = if s.asked { Phase::Cancelled } else { phase };
            if let Phase::Error(_) | Phase::Shared(..) = &phase {
                type_slots::track_later(slf);
            }
            let was = std::mem::replace(&mut s.now, Now::Ended(phase));
            let (more, work) = s.rare.as_mut().map(|rare| (std::mem::take(&mut rare.more), rare.work.take())).unwrap_or_default();
            (was, s.place, s.owner.take(), more, work)
        };
        let first = match was {
            Now::Pending(backing, first) => {
                drop(backing);
                first
            }
            Now::Ended(_) => None,
        };
        if let Some(work) = work {
            work.over();
        }
        if let Some(owner) = owner {
            drop(owner.release(py, place));
        }
        let mut result = Ok(());
        for (callback, context) in first.into_iter().chain(more) {
            let callback = callback.into_bound(py);
            let context = context.map(|c| c.into_bound(py));
            let called = match &context {
                Some(context) if direct && wakes_a_task(&callback) => call_in(context, &callback, slf),
                None if direct => callback.call1((slf,)).map(drop),
                context => me.event_loop.call_soon(&callback, slf, context.as_ref()),
            };
            result = result.and(called);
        }
        result
    }

    /// Drops the message that it replaces outside of the lock: its deallocation may run code that looks at this handle.
    pub(super) fn set_message(&self, message: Option<Py<PyAny>>) {
        let replaced = {
            let mut s = self.state.lock();
            match (&mut s.rare, message) {
                (None, None) => None,
                (rare, message) => std::mem::replace(&mut rare.get_or_insert_default().message, message),
            }
        };
        drop(replaced);
    }

    pub(super) fn cancelled_error(&self, py: Python<'_>) -> PyErr {
        match self.state.lock().message() {
            Some(message) => CancelledError::new_err((message.clone_ref(py),)),
            None => CancelledError::new_err(()),
        }
    }

    /// The value, which is taken, or the error that it ended with, under a lock that the caller holds; `None` while it
    /// is pending. Counts as retrieving the error.
    pub(super) fn outcome_of<'a>(&'a self, py: Python<'_>, mut s: MutexGuard<'a, State>) -> Option<PyResult<Py<PyAny>>> {
        if let Some(untaken) = s.untaken() {
            drop(s);
            let phase = untaken.take(py);
            s = self.state.lock();
            s.now = Now::Ended(phase);
        }
        match &s.now {
            Now::Pending(..) => None,
            Now::Ended(Phase::Value(v)) => Some(Ok(v.clone_ref(py))),
            Now::Ended(Phase::Untaken(_)) => unreachable!("it was taken above"),
            Now::Ended(Phase::Error(e)) => {
                let e = e.clone_ref(py);
                s.retrieved = true;
                drop(s);
                Some(Err(PyErr::from_value(e.into_bound(py))))
            }
            Now::Ended(Phase::Shared(e, traceback)) => {
                let (e, traceback) = (e.clone_ref(py), traceback.as_ref().map(|traceback| traceback.clone_ref(py)));
                drop(s);
                let e = PyErr::from_value(e.into_bound(py));
                e.set_traceback(py, traceback.and_then(|traceback| traceback.into_bound(py).cast_into::<PyTraceback>().ok()));
                Some(Err(e))
            }
            Now::Ended(Phase::Cancelled) => {
                drop(s);
                Some(Err(self.cancelled_error(py)))
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        self.plan.as_ref().map_or("effect", |p| p.get().name.as_str())
    }

    /// The text of `repr`: name, state, the start of the value or error, age.
    pub(super) fn text(&self, py: Python<'_>) -> String {
        let s = self.state.lock();
        let (state, detail) = match &s.now {
            Now::Pending(..) if s.asked => ("cancelling", None),
            Now::Pending(..) => ("pending", None),
            Now::Ended(Phase::Value(v)) => ("finished", Some(v.clone_ref(py))),
            Now::Ended(Phase::Untaken(_)) => ("finished", None),
            Now::Ended(Phase::Error(e) | Phase::Shared(e, _)) => ("failed", Some(e.clone_ref(py))),
            Now::Ended(Phase::Cancelled) => ("cancelled", None),
        };
        drop(s);
        let age: Duration = clock().now().since(self.created);
        let detail = detail.map(|d| {
            let text = d.bind(py).repr().map_or_else(|_| "?".into(), |r| r.to_string());
            let short: String = text.chars().take(80).collect();
            format!(" {short}")
        });
        format!("<Handle {} {state}{} age={:.3}s>", self.name(), detail.unwrap_or_default(), age.as_secs_f64())
    }

    /// Visits what the collector is to know of. A lock that is held is skipped: the collector may run under it.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.event_loop.traverse(visit)?;
        visit.call(&self.plan)?;
        let Some(s) = self.state.try_lock() else { return Ok(()) };
        match &s.now {
            Now::Pending(Backing::Task(object) | Backing::Elsewhere(object), _)
            | Now::Ended(Phase::Value(object) | Phase::Error(object)) => {
                visit.call(object)?;
            }
            Now::Pending(Backing::Item(calls), _) => visit.call(calls)?,
            Now::Ended(Phase::Shared(error, traceback)) => {
                visit.call(error)?;
                visit.call(traceback)?;
            }
            _ => {}
        }
        if let Some(message) = s.message() {
            visit.call(message)?;
        }
        s.rare.iter().flat_map(|rare| &rare.shields).try_for_each(|shield| shield.traverse(visit))?;
        for (f, c) in s.callbacks() {
            visit.call(f)?;
            visit.call(c)?;
        }
        Ok(())
    }

    /// Breaks the reference cycles through this handle, outside of the lock. It goes with its loop, and so a native
    /// call is let go.
    pub(super) fn clear(&self) {
        self.let_go();
        let old = {
            let mut s = self.state.lock();
            let cancel = s.rare.as_mut().map(|rare| (rare.message.take(), std::mem::take(&mut rare.shields)));
            let backing = match &mut s.now {
                Now::Pending(backing, _) => Some(std::mem::replace(backing, Backing::Parked)),
                Now::Ended(_) => None,
            };
            (s.take_callbacks(), cancel, backing)
        };
        drop(old);
    }
}
