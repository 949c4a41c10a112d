//! The steps of a run: the first one, those that resume its leaf, and the wakes between them.

use std::sync::atomic::Ordering;
use std::task::{Poll, Wake};

use mountain_core::effect::{Fault, Leaf};
use mountain_core::error::{Owner, TimedOut};
use mountain_core::policy;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::context::level::Shield;
use crate::context::{Inherited, inherited};
use crate::convert::fail::{Fail, RAISED_STOP, no_stop};
use crate::globals::clock;
use crate::handle::Handle;
use crate::handle::backing::{Backing, Phase};
use crate::observe::call_record::CallRecord;
use crate::observe::watch;
use crate::observe::watchers;
use crate::policy::cache;
use crate::port::Port;
use crate::python::type_slots::{Step, Steps};
use crate::run::cancel::Cancels;
use crate::run::run::{Ended, Engine, Leaving, Run, used_up};
use crate::run::slow;
use crate::run::suspended::Resume;
use crate::scope;

/// A run that has not ended.
enum Waits<'py> {
    /// It yields that object, and the cancel is due.
    For(Bound<'py, PyAny>, Option<Cancels>),
    /// For the next pull: the item is out, or the pull was cut.
    Pull(PyResult<Bound<'py, PyAny>>),
}

impl Steps for Run {
    fn step<'py>(slf: &Bound<'py, Self>) -> Step<'py> {
        Self::advance(slf, Resume::Send)
    }
}

impl Run {
    /// The first step: is it admitted, is there time left, is the value there already; then the engine.
    fn begin(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(leaf) = self.leaf.clone() else { return Err(used_up()) };
        self.started = true;
        let plan = leaf.plan.get();
        if let Err(e) = scope::admit(py, plan) {
            CallRecord::refused(plan);
            return Err(e);
        }
        let Inherited { over, enforced_at, source } = inherited(py)?;
        if let Some(source) = source {
            leaf.inherits(py, source);
        }
        self.began = self.step;
        if self.began.is_none() {
            self.record.leave_out();
        }
        if over.owner == Owner::Inherited && clock().now() >= over.at {
            let e = leaf.error(py, Fail::timed_out(TimedOut { owner: Owner::Inherited, attempts: 0, cause: None }));
            self.record.failed_at_once(py, plan, &e);
            return Err(e);
        }
        if enforced_at.is_some() {
            leaf.may_be_stopped.store(true, Ordering::Relaxed);
        }
        let terms = leaf.terms(py).inspect_err(|e| {
            self.record.failed_at_once(py, plan, e);
        })?;
        if !plan.silent
            && watchers::any(|| plan.is_first())
            && let Some(watch) = watch::begin(py, plan, over)
        {
            let _ = leaf.watch.set(watch);
        }
        if plan.caches
            && leaf.watch.get().is_none()
            && let Some(value) = policy::at_hand(&plan.stack, &terms, clock())
        {
            return Ok(Some(cache::shared(py, &value).unbind()));
        }
        if leaf.opened.is_some() {
            leaf.counts_items(py, self.began.map(|_| plan.tally.clone()));
        }
        // No code of the user's has run since then.
        let began = self.step.filter(|_| !plan.stack.is_empty() && !plan.asks_python() && leaf.watch.get().is_none());
        let began = began.map(|began| clock().about(began));
        self.engine = Some(Engine::new(leaf, clock(), terms, over, enforced_at, began));
        Ok(None)
    }

    pub(crate) fn advance<'py>(slf: &Bound<'py, Self>, resume: Resume) -> Step<'py> {
        let py = slf.py();
        let Ok(mut me) = slf.try_borrow_mut() else {
            return Step::Error(PyRuntimeError::new_err("this effect is already being awaited"));
        };
        if me.park.is_some() && matches!(resume, Resume::Send) {
            return Step::Error(PyRuntimeError::new_err(
                "this effect is already being awaited: await the effect itself to run it once more",
            ));
        }
        me.step = watchers::counting().then(|| clock().ticks());
        let park = me.park.take();
        if park.is_some() {
            Self::unpark(&me, slf);
        }
        if !me.started {
            if let Resume::Throw(e) = resume {
                me.leaf = None;
                return Step::Error(no_stop(py, *e, RAISED_STOP));
            }
            match me.begin(py) {
                Ok(None) => {}
                Ok(Some(value)) => return Self::ended(me, slf, Ok(value)),
                Err(e) => {
                    me.leaf = None;
                    return Step::Error(no_stop(py, e, RAISED_STOP));
                }
            }
        } else if me.engine.is_none() {
            return Step::Error(used_up());
        } else if let Some(Resume::Throw(e)) = me.leaf.as_ref().map_or(Some(Resume::No), |l| l.resume(py, resume)) {
            // Nothing of Python's is running: what the engine holds is let go, and the exception goes through.
            // The last waiter of a flight sees the flight's end first.
            let stays = e.is_instance_of::<CancelledError>(py) && me.leaf.as_ref().is_some_and(|l| l.trace.awaits.cancel());
            if !stays {
                return Self::gives_up(me, slf, *e);
            }
            if let Err(e) = me.keep_cancel(e.into_value(py).into_bound(py)) {
                return Self::gives_up(me, slf, e);
            }
        }
        // Of a call that is cancelled no layer goes on: nothing is polled while its flights end.
        let leaves = me.cancelled.is_some();
        let polled = if leaves { Poll::Pending } else { me.poll() };
        if leaves
            && me.leaf.as_ref().is_some_and(|l| l.trace.awaits.has_ended() && l.closes_winner(py).is_ready())
            && let Some(leaving) = me.cancelled.take()
        {
            let Leaving { cancel, shield } = *leaving;
            let step = Self::gives_up(me, slf, PyErr::from_value(cancel.into_bound(py).into_any()));
            return shield.map_or(Ok(()), |shield| shield.exit(py)).map_or_else(Step::Error, |()| step);
        }
        Self::answer(me, slf, polled)
    }

    /// The step that follows a poll in the task's own step.
    #[expect(clippy::inline_always, reason = "a call that ends at once pays for its one step only")]
    #[inline(always)]
    pub(super) fn answer<'py>(mut me: PyRefMut<'py, Self>, slf: &Bound<'py, Self>, polled: Poll<Ended>) -> Step<'py> {
        let py = slf.py();
        match polled {
            Poll::Ready(result) => Self::ended(me, slf, result),
            Poll::Pending => match Self::pending(&mut me, slf) {
                Ok(Waits::Pull(out)) => out.map_or_else(Step::Error, Step::Return),
                Ok(Waits::For(yielded, owed)) => {
                    let took = me.step.map_or(0, |step| clock().took(step));
                    let leaf = if took > slow::NOTICED { me.leaf.clone() } else { None };
                    drop(me);
                    if let Some(leaf) = leaf {
                        slow::step(py, &leaf.plan.get().name, leaf.trace.attempts().max(1), took);
                    }
                    // Its time passed within the task's own step, as with `Timeout(0)`.
                    match owed.map(|cancels| cancels.send(py)) {
                        Some(Err(e)) => Step::Error(e),
                        _ => Step::Yield(yielded),
                    }
                }
                Err(e) => Self::ended(me, slf, Err(Fail::raised(py, e))),
            },
        }
    }

    /// Of several cancels the first that has a message is raised: that of a deadline around this effect has none.
    fn keep_cancel(&mut self, e: Bound<'_, PyBaseException>) -> PyResult<()> {
        let says_why =
            |e: &Bound<'_, PyBaseException>| e.getattr(intern!(e.py(), "args")).and_then(|args| args.len()).is_ok_and(|n| n > 0);
        if let Some(leaving) = &mut self.cancelled
            && leaving.shield.is_none()
        {
            leaving.shield = Shield::enter(e.py())?;
        }
        let earlier = self.leaf.as_ref().and_then(|leaf| leaf.ended_by(e.py()));
        let e =
            earlier.map(|earlier| earlier.into_bound(e.py())).filter(|earlier| says_why(earlier) || !says_why(&e)).unwrap_or(e);
        match &mut self.cancelled {
            Some(leaving) if says_why(leaving.cancel.bind(e.py())) || !says_why(&e) => {}
            Some(leaving) => leaving.cancel = e.unbind(),
            none => *none = Some(Box::new(Leaving { shield: Shield::enter(e.py())?, cancel: e.unbind() })),
        }
        Ok(())
    }

    /// Drops the engine with the permits that it holds, and ends with `e`.
    fn gives_up<'py>(mut me: PyRefMut<'py, Self>, slf: &Bound<'py, Self>, e: PyErr) -> Step<'py> {
        let engine = me.engine.take();
        let step = Self::ended(me, slf, Err(Fail::raised(slf.py(), e)));
        drop(engine);
        step
    }

    /// The object to yield while the engine waits, or an item.
    fn pending<'py>(me: &mut PyRefMut<'py, Self>, slf: &Bound<'py, Self>) -> PyResult<Waits<'py>> {
        let py = slf.py();
        if me.record.in_first_step() {
            let me = &mut **me;
            if let Some(leaf) = &me.leaf {
                me.record.starts(leaf.plan.get());
            }
        }
        if let Some((yielded, owed)) = me.leaf.as_ref().and_then(|l| l.take_yielded(py)) {
            if let Some(wake) = &me.wake {
                // SAFETY: see the drop of `Run`.
                unsafe { wake.waits(slf.as_any()) }?;
            }
            return Ok(Waits::For(yielded.into_bound(py), owed));
        }
        // The attempts beside the one that gave the item end first.
        let leaf = me.leaf.as_ref().filter(|l| l.trace.awaits.is_empty());
        let out = leaf.and_then(|l| l.take_item(py).map(Ok).or_else(|| l.take_cut(py).map(Err)));
        if let Some(out) = out {
            if let (Some(leaf), Some(began), Ok(_)) = (&me.leaf, me.began, &out) {
                leaf.first_item(py, || clock().took(began));
            }
            Self::rests(me, slf)?;
            return Ok(Waits::Pull(out.map(|item| item.into_bound(py))));
        }
        let port = if let Some(port) = &me.port {
            port.bind(py).clone()
        } else {
            let port = Port::current(py)?;
            me.port = Some(port.clone().unbind());
            port
        };
        let park = Handle::new(py, &port.get().event_loop, None, Backing::Parked)?;
        let Step::Yield(yielded) = Handle::step(&park) else { unreachable!("a new handle is pending") };
        me.park = Some(park.unbind());
        port.get().park(slf.as_any());
        match &me.wake {
            // SAFETY: see the drop of `Run`.
            Some(wake) => unsafe { wake.waits(slf.as_any()) }?,
            None => return Err(PyRuntimeError::new_err("an effect waits for nothing: this is a bug in mountain-runtime")),
        }
        Ok(Waits::For(yielded, None))
    }

    pub(super) fn unpark(me: &PyRefMut<'_, Self>, slf: &Bound<'_, Self>) {
        if let Some(port) = &me.port {
            port.get().unpark(slf.as_any());
        }
    }

    /// In a drain: this run was woken.
    pub(crate) fn woken(slf: &Bound<'_, Self>, direct: bool) -> PyResult<()> {
        let py = slf.py();
        let Ok(mut me) = slf.try_borrow_mut() else {
            // Its task is in the middle of a step, which polls again; or a getter reads it: then the drain comes again.
            if let Some(wake) = slf.try_borrow().ok().and_then(|me| me.wake.clone()) {
                wake.wake();
            }
            return Ok(());
        };
        if let Some(park) = me.park.take() {
            Self::unpark(&me, slf);
            drop(me);
            return Handle::resolve(park.bind(py), Phase::Value(py.None()), direct);
        }
        // Unparked a moment ago, by another wake: its task's step is due, and Python's code may only start there.
        if !me.leaf.as_ref().is_some_and(|l| l.active()) {
            return Ok(());
        }
        if me.poll().is_ready() {
            // The engine ends only when its leaf has, and that happens in the task's step.
            return Err(PyRuntimeError::new_err("an effect ended outside its task: this is a bug in mountain-runtime"));
        }
        let leaf = me.leaf.clone();
        drop(me);
        let Some(leaf) = leaf else { return Ok(()) };
        if let Some(cancels) = leaf.owes_cancel(py) {
            cancels.send(py)?;
        }
        if leaf.is_to_close(py) { Self::start_ender(slf, &leaf) } else { Ok(()) }
    }
}
