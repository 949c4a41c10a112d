//! The Python leaf: one call of an effect's function, as the engine sees it.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use mountain_core::effect::{
    Around, Begin, Course, Deadline, Flights, Landing, Leaf, PermitContext, Shared, Terms, Trace, Verdict,
};
use mountain_core::error::Owner;
use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::context::inherited_deadline::InheritedDeadline;
use crate::convert::fail::Fail;
use crate::convert::note;
use crate::observe::watch::Watch;
use crate::plan::Plan;
use crate::policy::cache;
use crate::port::flight_guard;
use crate::python::api::api;
use crate::python::attached::Attached;
use crate::run::suspended::Suspended;

pub(crate) struct PyLeaf {
    pub(super) callable: Py<PyAny>,
    pub(super) args: Py<PyTuple>,
    pub(super) kwargs: Option<Py<PyDict>>,
    pub(crate) plan: Py<Plan>,
    pub(crate) trace: Trace<Fail>,
    /// The watch of this call, if it has one: known from its first step on.
    pub(crate) watch: OnceLock<Box<Watch>>,
    /// When it was opened, if it is the call of a stream, which gives many items.
    pub(crate) opened: Option<Instant>,
    /// A policy or a deadline may ask the call to stop, or try it again: then its task must be known.
    pub(crate) may_be_stopped: AtomicBool,
    /// Its task is known.
    pub(super) noted: AtomicBool,
    /// It has waited for a thread's job.
    pub(super) has_job: AtomicBool,
    pub(super) state: Attached<Suspended>,
}

impl PyLeaf {
    pub(crate) fn new(callable: Py<PyAny>, args: Py<PyTuple>, kwargs: Option<Py<PyDict>>, plan: Py<Plan>) -> Self {
        let may_be_stopped = AtomicBool::new(!plan.get().stack.is_empty());
        PyLeaf {
            callable,
            args,
            kwargs,
            plan,
            trace: Trace::default(),
            watch: OnceLock::new(),
            opened: None,
            may_be_stopped,
            noted: AtomicBool::new(false),
            has_job: AtomicBool::new(false),
            state: Attached::default(),
        }
    }

    /// The terms of its call, for the policies.
    pub(crate) fn terms(&self, py: Python<'_>) -> PyResult<Terms> {
        self.plan.get().terms(self.args.bind(py), self.kwargs.as_ref().map(|k| k.bind(py)))
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.callable)?;
        visit.call(&self.args)?;
        visit.call(&self.kwargs)?;
        visit.call(&self.plan)?;
        // SAFETY: the collector runs on attached threads only.
        let py = unsafe { Python::assume_attached() };
        self.state.try_lock(py).map_or(Ok(()), |s| s.traverse(visit))
    }

    pub(crate) fn clear(&self) {
        // SAFETY: as in `traverse`.
        let py = unsafe { Python::assume_attached() };
        let old = self.state.lock(py).take();
        drop(old);
    }
}

impl Leaf for PyLeaf {
    type Ok = Py<PyAny>;
    type Err = Fail;

    fn poll(&self, begin: Option<Begin<'_>>, _cx: &mut Context<'_>) -> Poll<Result<Py<PyAny>, Fail>> {
        // SAFETY: the engine of a Python leaf is polled by its run and by a drain only, both of which are attached.
        let py = unsafe { Python::assume_attached() };
        let Some(watch) = self.watch.get() else { return self.poll_once(py, begin) };
        if begin.is_some() {
            watch.enter(py, self.plan.get().repeats);
        }
        let ended = Ended(py, watch);
        let polled = self.poll_once(py, begin);
        if polled.is_pending() {
            std::mem::forget(ended);
        }
        polled
    }

    fn stop(&self, whose: Owner) -> bool {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        if whose == Owner::Inherited && self.was_enforced(py) {
            return true;
        }
        let mut s = self.state.lock(py);
        if s.pulls.is_some() {
            return s.stop_items();
        }
        s.stop |= s.coroutine.is_some();
        s.coroutine.is_some()
    }

    fn active(&self) -> bool {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let s = self.state.lock(py);
        s.coroutine.is_some() || s.pulls.as_ref().is_some_and(|pulls| pulls.is_open())
    }

    fn waiting(&self) -> Option<Instant> {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        self.state.lock(py).pulls.as_ref().and_then(|pulls| pulls.since)
    }

    fn is_ending(&self) -> bool {
        // SAFETY: as in `poll`.
        self.was_asked(unsafe { Python::assume_attached() })
    }

    fn verdict(&self, layer: usize, fault: &mut Fail) -> Result<Verdict, Fail> {
        // SAFETY: as in `poll`.
        self.judge(unsafe { Python::assume_attached() }, layer, fault)
    }

    fn unaccepted(&self, layer: usize, value: &Py<PyAny>) -> Result<Option<Fail>, Fail> {
        // SAFETY: as in `poll`.
        self.judge_value(unsafe { Python::assume_attached() }, layer, value)
    }

    fn wait(&self, layer: usize, attempt: u32, fault: &mut Fail) -> Result<Duration, Fail> {
        // SAFETY: as in `poll`.
        self.ask_for_wait(unsafe { Python::assume_attached() }, layer, attempt, fault)
    }

    fn retried(&self, layer: usize, attempt: u32, course: Course, fault: &mut Fail) {
        // SAFETY: as in `poll`.
        self.tell_of_retry(unsafe { Python::assume_attached() }, layer, attempt, course, fault);
    }

    fn names(&self, layer: usize, fault: &mut Fail) -> bool {
        // SAFETY: as in `poll`.
        self.is_named(unsafe { Python::assume_attached() }, layer, fault)
    }

    fn instead(&self, layer: usize, fault: Fail) -> Result<(), Fail> {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let replaced = self.state.lock(py).make_rare().fault.replace((layer, fault));
        drop(replaced);
        Ok(())
    }

    fn injected(&self, layer: usize, errno: Option<i32>) -> Fail {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        if let Some(watch) = self.watch.get() {
            // It is an attempt, though its leaf does not begin.
            watch.enter(py, self.plan.get().repeats);
            watch.leave(py);
        }
        self.fault_of_chaos(py, layer, errno)
    }

    fn flights(&self) -> Option<&dyn Flights<Ok = Py<PyAny>, Err = Fail>> {
        Some(self)
    }

    fn is_out(&self) -> bool {
        // SAFETY: as in `poll`.
        self.has_item_out(unsafe { Python::assume_attached() })
    }

    fn follow(&self, items: Py<PyAny>, around: &Around<'_>) {
        // SAFETY: as in `poll`.
        self.follow_items(unsafe { Python::assume_attached() }, items, around);
    }

    fn outlives(&self) -> bool {
        if !self.has_job.load(Ordering::Relaxed) {
            return false;
        }
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        self.state.lock(py).rare().and_then(|rare| rare.job.as_ref()).is_some_and(|job| job.is_left())
    }

    fn keep(&self, what: Box<dyn Any + Send>) {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let job = self.state.lock(py).rare().and_then(|rare| rare.job.clone());
        match job {
            Some(job) => job.keep(what),
            None => drop(what),
        }
    }
}

impl Flights for PyLeaf {
    type Ok = Py<PyAny>;
    type Err = Fail;

    fn shared(&self, value: &Shared) -> Py<PyAny> {
        // SAFETY: as in `poll`.
        cache::shared(unsafe { Python::assume_attached() }, value).unbind()
    }

    fn failed(&self, fault: &Shared) -> Fail {
        // SAFETY: as in `poll`.
        self.shared_fault(unsafe { Python::assume_attached() }, fault)
    }

    fn expect(&self) {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: a new reference, or null with an error set.
        let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) };
        let replaced = std::mem::replace(&mut self.state.lock(py).make_rare().context, context.ok().map(Bound::unbind));
        drop(replaced);
    }

    fn fly(&self, layer: usize, landing: Landing, held: Option<Arc<PermitContext>>, over: Deadline) -> Result<(), Fail> {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let begin = || -> PyResult<()> {
            let landing = self.flown_by(Bound::new(py, flight_guard::Landing::new(landing, held))?);
            let inner = Plan::inside(self.plan.bind(py), layer)?;
            let kwargs = self.kwargs.as_ref().map(|k| k.bind(py));
            let limit = match over.at {
                Instant::NEVER => None,
                // The call closes the stream when it passes, and the flight would cancel the cleanup of that.
                _ if self.opened.is_some() => None,
                at => Some(InheritedDeadline::of(py, at, self.deadline_source(py, over.owner))?),
            };
            let context = self.context_of_flight(py)?;
            let args =
                (self.callable.bind(py), self.args.bind(py), kwargs, inner, landing, limit, context, self.opened.is_some());
            api(py).fly.bind(py).call1(args).map(drop)
        };
        begin().map_err(|e| Fail::raised(py, e))
    }

    fn all_failed(&self, mut first: Fail, others: Vec<Fail>) -> Fail {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let others: Vec<_> = others.into_iter().map(|other| self.error(py, other)).collect();
        if let Some(error) = self.raise(py, &mut first) {
            note::beside(error.value(py), &self.plan.get().name, &others);
        }
        first
    }
}

impl PyLeaf {
    /// The context in which a flight of an expected one begins: the call's own, inside its entry and its span.
    fn context_of_flight<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let expected = self.state.lock(py).rare().and_then(|rare| rare.context.as_ref()).map(|context| context.clone_ref(py));
        let Some(expected) = expected else { return Ok(None) };
        // SAFETY: `expected` is a context. The copy is a new reference, or null with an error set; it is entered and
        // left on this thread.
        unsafe {
            let context = Bound::from_owned_ptr_or_err(py, ffi::PyContext_Copy(expected.as_ptr()))?;
            if let Some(watch) = self.watch.get()
                && ffi::PyContext_Enter(context.as_ptr()) == 0
            {
                watch.set_in(py);
                ffi::PyContext_Exit(context.as_ptr());
            }
            Ok(Some(context))
        }
    }
}

/// The leaf leaves what its watch has entered when this is dropped: as it ends, or as it panics.
struct Ended<'a, 'py>(Python<'py>, &'a Watch);

impl Drop for Ended<'_, '_> {
    fn drop(&mut self) {
        self.1.leave(self.0);
    }
}
