//! The Python leaf: a coroutine as the engine's future, stepped inside the task that awaits the effect.
//!
//!  1. `poll(begin)` calls the function and sends the first None; what the coroutine yields is kept for the run to pass up to the task.
//!  2. When it first suspends, the task and its `cancelling()` are noted: the baseline.
//!  3. Asked to stop, it only notes that: the run, or the drain, then cancels the task. That is our own cancel.
//!  4. When the coroutine ends after an own cancel, the cancel is taken back (`uncancel`). A count that is still above the baseline is somebody
//!     else's cancel: then the CancelledError that came is raised on, message and all. Otherwise it is the answer to ours.
//!
//! What races with 3: a cancel from outside, before or after; both are counted by the task, and 4 tells them apart by the count alone.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use mountain_core::effect::{
    Begin, Class, Course, Deadline, GaveUp, Holder, Landing, Leaf, PermitContext, Shared, Terms, Trace, Verdict,
};
use mountain_core::error::Owner;
use mountain_core::time::Instant;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyMemoryError, PyRecursionError, PyRuntimeError, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use crate::context::current::running;
use crate::context::deadline_source::DeadlineSource;
use crate::context::{LAG, Over, under};
use crate::convert::fail::{Fail, answer, no_stop, while_handling, with_frames};
use crate::convert::note;
use crate::globals::clock;
use crate::handle::Handle;
use crate::handle::job_state::Stage;
use crate::observe::retries;
use crate::observe::watch::Watch;
use crate::plan::Plan;
use crate::plan::layer::On;
use crate::policy::cache;
use crate::port::flight_guard;
use crate::python::api::api;
use crate::python::attached::Attached;

/// How the suspended coroutine goes on.
#[derive(Default)]
pub(crate) enum Resume {
    /// It does not: whoever polls is not the task.
    #[default]
    No,
    Send,
    Throw(Box<PyErr>),
}

struct State {
    /// The suspended coroutine, or the iterator of another awaitable.
    coroutine: Option<Py<PyAny>>,
    resume: Resume,
    yielded: Option<Py<PyAny>>,
    /// The limit over the call: what starts within its steps stands under it.
    over: Deadline,
    /// The permits that it holds.
    held: Option<Arc<PermitContext>>,
    stop: bool,
    cancel_sent: bool,
    task: Option<Py<PyAny>>,
    /// The task's loop.
    event_loop: Option<Py<PyAny>>,
    baseline: i64,
    rare: Option<Box<Rare>>,
}

/// What few calls have.
#[derive(Default)]
struct Rare {
    /// Where the limit comes from that the whole run inherited.
    inherits: Option<DeadlineSource>,
    /// The thread's job that it last waited for.
    job: Option<Arc<Stage>>,
    /// What a fallback is to stand in for.
    fault: Option<(usize, Fail)>,
    /// What the coroutine that is being driven stands in for.
    stands_for: Option<Py<PyAny>>,
    /// When a cancel from outside was last thrown in.
    told: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        State {
            coroutine: None,
            resume: Resume::No,
            yielded: None,
            over: Deadline::NONE,
            held: None,
            stop: false,
            cancel_sent: false,
            task: None,
            event_loop: None,
            baseline: 0,
            rare: None,
        }
    }
}

impl State {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn owes_cancel(&mut self, py: Python<'_>) -> Option<Py<PyAny>> {
        if !self.stop || self.cancel_sent || self.coroutine.is_none() {
            return None;
        }
        self.cancel_sent = true;
        self.task.as_ref().map(|t| t.clone_ref(py))
    }
}

pub(crate) struct PyLeaf {
    callable: Py<PyAny>,
    args: Py<PyTuple>,
    kwargs: Option<Py<PyDict>>,
    pub(crate) plan: Py<Plan>,
    pub(crate) trace: Trace<Fail>,
    /// What watches this call, if anything does: known from its first step on.
    pub(crate) watch: OnceLock<Box<Watch>>,
    /// Something may ask it to stop, or try it again: then its task must be known.
    pub(crate) watched: AtomicBool,
    /// Its task is known.
    noted: AtomicBool,
    /// It has waited for a thread's job.
    has_job: AtomicBool,
    state: Attached<State>,
}

impl PyLeaf {
    pub(crate) fn new(callable: Py<PyAny>, args: Py<PyTuple>, kwargs: Option<Py<PyDict>>, plan: Py<Plan>) -> Self {
        let watched = AtomicBool::new(!plan.get().stack.is_empty());
        PyLeaf {
            callable,
            args,
            kwargs,
            plan,
            trace: Trace::default(),
            watch: OnceLock::new(),
            watched,
            noted: AtomicBool::new(false),
            has_job: AtomicBool::new(false),
            state: Attached::default(),
        }
    }

    /// What its call brings to the policies.
    pub(crate) fn terms(&self, py: Python<'_>) -> PyResult<Terms> {
        self.plan.get().terms(self.args.bind(py), self.kwargs.as_ref().map(|k| k.bind(py)))
    }

    /// What the coroutine yielded in the last step, and the task to cancel, as of `owes_cancel`.
    pub(crate) fn take_yielded(&self, py: Python<'_>) -> Option<(Py<PyAny>, Option<Py<PyAny>>)> {
        let mut s = self.state.lock(py);
        let yielded = s.yielded.take()?;
        Some((yielded, s.owes_cancel(py)))
    }

    /// Say how a suspended coroutine goes on. What cannot be delivered, because none is suspended, comes back.
    pub(crate) fn resume(&self, py: Python<'_>, resume: Resume) -> Option<Resume> {
        // Asked before there is a lock to hold: the class may have to be imported.
        let cancels = matches!(&resume, Resume::Throw(e) if e.is_instance_of::<CancelledError>(py));
        let mut s = self.state.lock(py);
        if s.coroutine.is_none() {
            return Some(resume);
        }
        if cancels && !s.cancel_sent && self.watched.load(Ordering::Relaxed) {
            s.rare().told = Some(clock().now());
        }
        s.resume = resume;
        None
    }

    /// The run stands under a limit from there.
    pub(crate) fn inherits(&self, py: Python<'_>, source: DeadlineSource) {
        self.state.lock(py).rare().inherits = Some(source);
    }

    /// Where a limit over the call comes from, for what starts within its steps.
    pub(crate) fn deadline_source(&self, py: Python<'_>, owner: Owner) -> Option<DeadlineSource> {
        match owner {
            Owner::Layer(layer) => Some(DeadlineSource::policy(self.plan.clone_ref(py).into_any(), layer)),
            Owner::Inherited => {
                let s = self.state.lock(py);
                s.rare.as_ref().and_then(|rare| rare.inherits.as_ref()).map(|source| source.clone_ref(py))
            }
            Owner::Nobody => None,
        }
    }

    /// The limit that the run inherited, written out.
    fn inherited(&self, py: Python<'_>) -> Option<String> {
        self.deadline_source(py, Owner::Inherited).map(|source| source.text(py))
    }

    /// A fault as the exception that the caller would see.
    fn raise<'a>(&self, py: Python<'_>, fault: &'a mut Fail) -> Option<&'a PyErr> {
        fault.raise(py, self.plan.get(), &|| self.inherited(py))
    }

    /// What the run ended with, as the exception that the caller sees.
    pub(crate) fn error(&self, py: Python<'_>, fault: Fail) -> PyErr {
        fault.into_error(py, self.plan.get(), &|| self.inherited(py))
    }

    /// Whoever set the limit that has just passed told this task of it, a moment ago.
    fn was_told(&self, py: Python<'_>) -> bool {
        let (told, task, baseline) = {
            let s = self.state.lock(py);
            (s.rare.as_ref().and_then(|rare| rare.told), s.task.as_ref().map(|t| t.clone_ref(py)), s.baseline)
        };
        let lately = told.is_some_and(|told| clock().now() < told.after(LAG * 3));
        // Of a cancel that has been taken back since, nothing is left to wait for.
        let stands = |task: Py<PyAny>| task.call_method0(py, intern!(py, "cancelling"))?.extract::<i64>(py);
        lately && task.is_some_and(|task| stands(task).is_ok_and(|n| n > baseline))
    }

    /// The task to cancel, if the engine asked for it and nobody has done it yet.
    pub(crate) fn owes_cancel(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.lock(py).owes_cancel(py)
    }

    /// The loop of the task that it was suspended in.
    pub(crate) fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.lock(py).event_loop.as_ref().map(|l| l.bind(py).clone())
    }

    pub(crate) fn take_coroutine(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.lock(py).coroutine.take()
    }

    pub(crate) fn coroutine(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.lock(py).coroutine.as_ref().map(|c| c.clone_ref(py))
    }

    /// What is to be driven, or what is there at once.
    fn begin(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let made = self.callable.bind(py).call(self.args.bind(py), self.kwargs.as_ref().map(|k| k.bind(py)));
        let awaitable = match made {
            Ok(a) => a,
            Err(e) => return Err(no_stop(py, e, "an effect's function raised StopIteration")),
        };
        // SAFETY: asks for the type only.
        if unsafe { ffi::PyCoro_CheckExact(awaitable.as_ptr()) } != 0 || is_old_coroutine(&awaitable)? {
            return Ok(awaitable.unbind());
        }
        if let Ok(handle) = awaitable.cast::<Handle>() {
            self.has_job.store(true, Ordering::Relaxed);
            let replaced = std::mem::replace(&mut self.state.lock(py).rare().job, handle.get().stage());
            drop(replaced);
        }
        if !awaitable.hasattr(intern!(py, "__await__"))? {
            let name = self.plan.get().name.as_str();
            let got = awaitable.get_type().name()?;
            return Err(PyTypeError::new_err(format!("the function of effect '{name}' must return an awaitable, not {got}")));
        }
        Ok(awaitable.call_method0(intern!(py, "__await__"))?.unbind())
    }

    /// What a fallback gives: an awaitable is driven, anything else is the value.
    fn begin_instead(&self, py: Python<'_>) -> PyResult<Result<Py<PyAny>, Py<PyAny>>> {
        let fault = self.state.lock(py).rare.as_mut().and_then(|rare| rare.fault.take());
        let Some((layer, mut fault)) = fault else { return Ok(Err(py.None())) };
        let plan = self.plan.get();
        let Some(error) = self.raise(py, &mut fault) else { return Ok(Err(py.None())) };
        let error = &with_frames(py, error);
        let given = plan.stand_in(py, layer, error).map_err(|e| {
            while_handling(&e, error);
            no_stop(py, e, "a fallback raised StopIteration")
        })?;
        // SAFETY: asks for the type only.
        if unsafe { ffi::PyCoro_CheckExact(given.as_ptr()) } != 0 || is_old_coroutine(&given)? {
            self.state.lock(py).rare().stands_for = Some(error.clone().into_any().unbind());
            return Ok(Ok(given.unbind()));
        }
        if !given.hasattr(intern!(py, "__await__"))? {
            return Ok(Err(given.unbind()));
        }
        let driven = given.call_method0(intern!(py, "__await__"))?.unbind();
        self.state.lock(py).rare().stands_for = Some(error.clone().into_any().unbind());
        Ok(Ok(driven))
    }

    /// One step: `Ok(Ok(value))` is the end, `Ok(Err(yielded))` a suspension.
    fn step(py: Python<'_>, coroutine: &Py<PyAny>, resume: Resume) -> PyResult<Result<Py<PyAny>, Py<PyAny>>> {
        if let Resume::Throw(e) = resume {
            // As `yield from` does it: an iterator without `throw` is left, and the exception is the outcome.
            let Some(throw) = coroutine.bind(py).getattr_opt(intern!(py, "throw"))? else { return Err(*e) };
            return match throw.call1((e.into_value(py),)) {
                Ok(yielded) => Ok(Err(yielded.unbind())),
                Err(e) if e.is_instance_of::<PyStopIteration>(py) => Ok(Ok(e.value(py).getattr(intern!(py, "value"))?.unbind())),
                Err(e) => Err(e),
            };
        }
        let mut out = std::ptr::null_mut();
        // SAFETY: a live iterator is sent None; `out` is an owned reference unless an error is set.
        unsafe {
            match ffi::PyIter_Send(coroutine.as_ptr(), ffi::Py_None(), &raw mut out) {
                ffi::PySendResult::PYGEN_NEXT => Ok(Err(Bound::from_owned_ptr(py, out).unbind())),
                ffi::PySendResult::PYGEN_RETURN => Ok(Ok(Bound::from_owned_ptr(py, out).unbind())),
                ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
            }
        }
    }

    /// Note the task at the first suspension: without one there is nobody to be woken or cancelled.
    fn note_task(py: Python<'_>) -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>, i64)> {
        let (event_loop, task) = running(py)?;
        if task.is_none() {
            return Err(PyRuntimeError::new_err("an effect that waits must be awaited inside an asyncio task"));
        }
        let mut baseline = api(py).cancelling(&task)?;
        // A cancel that came in this very step is counted but not yet delivered: it is on its way to us, and from outside.
        if baseline > 0 && task.getattr_opt(intern!(py, "_must_cancel"))?.is_some_and(|m| m.is_truthy().unwrap_or(false)) {
            baseline -= 1;
        }
        Ok((event_loop, task, baseline))
    }

    /// The coroutine has ended: tell own cancels from others.
    fn settle(&self, py: Python<'_>, result: PyResult<Py<PyAny>>) -> Result<Py<PyAny>, Fail> {
        let (own, task, baseline, stands_for) = {
            let mut s = self.state.lock(py);
            s.stop = false;
            let own = std::mem::take(&mut s.cancel_sent);
            let stands_for = s.rare.as_mut().and_then(|rare| rare.stands_for.take());
            if !own && stands_for.is_none() && result.is_ok() {
                return result.map_err(|e| Fail::raised(py, e));
            }
            (own, s.task.as_ref().map(|t| t.clone_ref(py)), s.baseline, stands_for)
        };
        if let (Err(e), Some(error)) = (&result, stands_for) {
            while_handling(e, error.bind(py));
        }
        let Some(task) = task else { return result.map_err(|e| Fail::raised(py, e)) };
        let count =
            |method: &Bound<'_, pyo3::types::PyString>| task.bind(py).call_method0(method).and_then(|n| n.extract::<i64>());
        if own {
            let left = count(intern!(py, "uncancel")).map_err(|e| Fail::raised(py, e))?;
            return match result {
                Ok(v) => Ok(v),
                Err(e) if left <= baseline && e.is_instance_of::<CancelledError>(py) => Err(Fail::Stopped),
                Err(e) if left > baseline => Err(Fail::Raised(e, Class::Passes)),
                Err(e) => Err(Fail::raised(py, e)),
            };
        }
        match result {
            Ok(v) => Ok(v),
            Err(e) => {
                // The caller was cancelled and the coroutine made another error of it: no policy may go on from that.
                let cancelled = count(intern!(py, "cancelling")).map_err(|e| Fail::raised(py, e))? > baseline;
                Err(if cancelled { Fail::Raised(e, Class::Passes) } else { Fail::raised(py, e) })
            }
        }
    }

    fn poll_once(&self, py: Python<'_>, begin: Option<Begin<'_>>) -> Poll<Result<Py<PyAny>, Fail>> {
        let (coroutine, resume, over, held) = if let Some(begin) = begin {
            let (Begin::Call(around) | Begin::Instead(around)) = begin;
            let source = || self.deadline_source(py, around.over.owner);
            let over = Over { at: around.over.at, source: Some(&source) };
            let started = under(py, over, around.held, || match begin {
                Begin::Call(_) => self.begin(py).map(Ok),
                Begin::Instead(_) => self.begin_instead(py),
            });
            match started {
                Ok(Ok(c)) => (c, Resume::Send, around.over, None),
                Ok(Err(value)) => return Poll::Ready(Ok(value)),
                Err(e) => return Poll::Ready(Err(Fail::raised(py, e))),
            }
        } else {
            let mut s = self.state.lock(py);
            if matches!(s.resume, Resume::No) {
                return Poll::Pending;
            }
            match s.coroutine.take() {
                Some(c) => (c, std::mem::take(&mut s.resume), s.over, s.held.clone()),
                None => return Poll::Pending,
            }
        };
        let deeper = match Deeper::new(py) {
            Ok(deeper) => deeper,
            Err(e) => return Poll::Ready(self.settle(py, Err(e))),
        };
        let resumed = held.map(Holder::from);
        let holder = match begin {
            Some(Begin::Call(around) | Begin::Instead(around)) => around.held,
            None => resumed.as_ref(),
        };
        let source = || self.deadline_source(py, over.owner);
        let limit = Over { at: over.at, source: Some(&source) };
        let stepped = under(py, limit, holder, || Self::step(py, &coroutine, resume));
        drop(deeper);
        match stepped {
            Ok(Err(yielded)) => {
                // Without a policy nobody will ever ask it to stop, and what is awaited passes through as it would without us.
                let noted = if self.watched.load(Ordering::Relaxed) && !self.noted.load(Ordering::Relaxed) {
                    match Self::note_task(py) {
                        Ok(noted) => Some(noted),
                        Err(e) => {
                            // Its own cleanup comes first; what that raises is worth less than the reason.
                            let _ = coroutine.call_method0(py, intern!(py, "close"));
                            return Poll::Ready(Err(Fail::Raised(e, Class::Passes)));
                        }
                    }
                } else {
                    None
                };
                let mut s = self.state.lock(py);
                if let Some((event_loop, task, baseline)) = noted {
                    self.noted.store(true, Ordering::Relaxed);
                    (s.event_loop, s.task, s.baseline) = (Some(event_loop.unbind()), Some(task.unbind()), baseline);
                }
                let held = holder.map(Holder::held);
                (s.coroutine, s.yielded, s.over, s.held) = (Some(coroutine), Some(yielded), over, held);
                Poll::Pending
            }
            Ok(Ok(value)) => Poll::Ready(self.settle(py, Ok(value))),
            Err(e) => Poll::Ready(self.settle(py, Err(e))),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.callable)?;
        visit.call(&self.args)?;
        visit.call(&self.kwargs)?;
        visit.call(&self.plan)?;
        // SAFETY: the collector runs on attached threads only.
        let py = unsafe { Python::assume_attached() };
        if let Some(s) = self.state.try_lock(py) {
            visit.call(&s.coroutine)?;
            visit.call(&s.yielded)?;
            visit.call(&s.task)?;
            visit.call(&s.event_loop)?;
            if let Some(rare) = &s.rare {
                visit.call(&rare.stands_for)?;
                rare.inherits.as_ref().map_or(Ok(()), |source| source.traverse(visit))?;
            }
        }
        Ok(())
    }

    pub(crate) fn clear(&self) {
        // SAFETY: as in `traverse`.
        let py = unsafe { Python::assume_attached() };
        let old = {
            let mut s = self.state.lock(py);
            (s.coroutine.take(), s.yielded.take(), s.task.take(), s.event_loop.take(), s.rare.take())
        };
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
            watch.enter(py, self.plan.get().retries);
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
        if whose == Owner::Inherited && self.was_told(py) {
            return true;
        }
        let mut s = self.state.lock(py);
        s.stop |= s.coroutine.is_some();
        s.coroutine.is_some()
    }

    fn active(&self) -> bool {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        self.state.lock(py).coroutine.is_some()
    }

    fn verdict(&self, layer: usize, fault: &mut Fail) -> Result<Verdict, Fail> {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let plan = self.plan.get();
        if let Fail::Raised(e, _) = fault
            && (e.is_instance_of::<PyRecursionError>(py) || e.is_instance_of::<PyMemoryError>(py))
        {
            return Ok(Verdict::No);
        }
        let judged = match (plan.on(layer), &*fault) {
            (On::Classes { .. }, Fail::TimedOut(_) | Fail::Raised(_, Class::TimedOut(_))) => Ok(Verdict::Yes),
            (On::Classes { rejected, .. }, Fail::Refused(..)) => {
                let yes =
                    !rejected.bind(py).is_empty() && self.raise(py, fault).is_some_and(|e| e.is_instance(py, rejected.bind(py)));
                Ok(if yes { Verdict::Yes } else { Verdict::No })
            }
            (On::Classes { named, rejected }, Fail::Raised(e, _)) => {
                let classes = if e.is_instance(py, api(py).rejected.bind(py)) { rejected } else { named };
                Ok(if e.is_instance(py, classes.bind(py)) { Verdict::Yes } else { Verdict::No })
            }
            (On::Function(f), _) => {
                let Some(e) = self.raise(py, fault) else { return Ok(Verdict::No) };
                let error = with_frames(py, e);
                f.bind(py).call1((&error,)).and_then(|said| answer(&said)).map_err(|e| {
                    while_handling(&e, &error);
                    no_stop(py, e, "a retry's on= raised StopIteration")
                })
            }
            (On::Nothing, _) | (_, Fail::Stopped) => Ok(Verdict::No),
        };
        judged.map_err(|e| Fail::raised(py, e))
    }

    fn retried(&self, layer: usize, attempt: u32, course: Course, fault: &mut Fail) {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        if let (Course::Again(_), Fail::Raised(e, _)) = (course, &*fault) {
            // One exception raised again and again would drag the frames of all its attempts along.
            e.set_traceback(py, None);
        }
        let span = self.watch.get().and_then(|watch| watch.span());
        let heard = retries::is_heard(py, course);
        let misfit = match course {
            Course::GivesUp(GaveUp::TooLate(misfit)) => Some(misfit),
            _ => None,
        };
        if span.is_none() && misfit.is_none() && !heard {
            return;
        }
        let Some(error) = self.raise(py, fault) else { return };
        let (plan, error) = (self.plan.get(), error.value(py));
        if let Some(span) = span {
            span.attempt_failed(py, error);
        }
        let limit = misfit.and_then(|m| plan.whose(py, m.owner, || self.inherited(py))).unwrap_or_default();
        if let Some(misfit) = &misfit {
            note::gave_up(error, &plan.name, misfit, &limit);
        }
        if heard {
            let budget = matches!(course, Course::GivesUp(GaveUp::Budget)).then(|| retries::budget(&plan.stack, layer));
            retries::say(py, &plan.name, attempt, course, &budget.unwrap_or(limit), error);
        }
    }

    fn names(&self, layer: usize, fault: &mut Fail) -> bool {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let plan = self.plan.get();
        match (plan.on(layer), self.raise(py, fault)) {
            (On::Classes { named, .. }, Some(e)) => e.is_instance(py, named.bind(py)),
            _ => false,
        }
    }

    fn instead(&self, layer: usize, fault: Fail) {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let replaced = self.state.lock(py).rare().fault.replace((layer, fault));
        drop(replaced);
    }

    fn shared(&self, value: &Shared) -> Py<PyAny> {
        // SAFETY: as in `poll`.
        cache::shared(unsafe { Python::assume_attached() }, value).unbind()
    }

    fn failed(&self, fault: &Shared) -> Fail {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let e = cache::shared_error(py, fault);
        let (whole, around) = self.plan.get().place();
        let by = e.value(py).getattr_opt(intern!(py, "_by")).ok().flatten().and_then(|by| by.extract::<(u64, usize)>().ok());
        match by {
            Some((of, layer)) if of == whole && layer >= around => Fail::Raised(e, Class::TimedOut(Owner::Layer(layer - around))),
            _ => Fail::raised(py, e),
        }
    }

    fn fly(&self, layer: usize, landing: Landing, held: Option<Arc<PermitContext>>) -> Result<(), Fail> {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let begin = || -> PyResult<()> {
            let landing = Bound::new(py, flight_guard::Landing::new(landing, held))?;
            let inner = Plan::inside(self.plan.bind(py), layer)?;
            let kwargs = self.kwargs.as_ref().map(|k| k.bind(py));
            let args = (self.callable.bind(py), self.args.bind(py), kwargs, inner, landing);
            api(py).fly.bind(py).call1(args).map(drop)
        };
        begin().map_err(|e| Fail::raised(py, e))
    }

    fn outlives(&self) -> bool {
        if !self.has_job.load(Ordering::Relaxed) {
            return false;
        }
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        self.state.lock(py).rare.as_ref().and_then(|rare| rare.job.as_ref()).is_some_and(|job| job.is_left())
    }

    fn keep(&self, what: Box<dyn Any + Send>) {
        // SAFETY: as in `poll`.
        let py = unsafe { Python::assume_attached() };
        let job = self.state.lock(py).rare.as_ref().and_then(|rare| rare.job.clone());
        match job {
            Some(job) => job.keep(what),
            None => drop(what),
        }
    }
}

/// One level of recursion more, as long as it lives: a panic leaves it too.
struct Deeper<'py>(PhantomData<Python<'py>>);

impl<'py> Deeper<'py> {
    fn new(py: Python<'py>) -> PyResult<Self> {
        // SAFETY: paired with the leave below; it sets RecursionError when it fails.
        if unsafe { ffi::Py_EnterRecursiveCall(c" while running an effect".as_ptr()) } == 0 {
            Ok(Deeper(PhantomData))
        } else {
            Err(PyErr::fetch(py))
        }
    }
}

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        // SAFETY: paired with the enter above, on the same thread, which `Python` does not leave.
        unsafe { ffi::Py_LeaveRecursiveCall() };
    }
}

/// The leaf leaves what its watch has entered when this is dropped: as it ends, or as it panics.
struct Ended<'a, 'py>(Python<'py>, &'a Watch);

impl Drop for Ended<'_, '_> {
    fn drop(&mut self) {
        self.1.leave(self.0);
    }
}

/// A generator of `types.coroutine`: it can be awaited, though it has no `__await__`.
fn is_old_coroutine(awaitable: &Bound<'_, PyAny>) -> PyResult<bool> {
    const CO_ITERABLE_COROUTINE: u32 = 0x100;
    let py = awaitable.py();
    // SAFETY: asks for the type only.
    if unsafe { ffi::PyGen_CheckExact(awaitable.as_ptr()) } == 0 {
        return Ok(false);
    }
    let flags: u32 = awaitable.getattr(intern!(py, "gi_code"))?.getattr(intern!(py, "co_flags"))?.extract()?;
    Ok(flags & CO_ITERABLE_COROUTINE != 0)
}
