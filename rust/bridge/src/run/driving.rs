//! Driving a coroutine: its steps, inside the task that awaits the effect.
//!
//!  1. `poll_once(begin)` calls the function and sends the first None. The leaf keeps what the coroutine yields for the
//!     run, which passes it up to the task.
//!  2. When it first suspends, its task is noted, with the cancels that the task has received so far.
//!  3. Asked to stop, the leaf notes that; the run, or the drain, then cancels the task. That is our own cancel.
//!  4. When the coroutine ends after an own cancel, the cancel is taken back (`uncancel`). If the task has received a
//!     cancel from outside too, the CancelledError that came is raised on, with its message. Otherwise it is the answer
//!     to ours.
//!
//! A cancel from outside races with 3, before or after it. The task counts both, and 4 goes by the count alone.

use std::sync::atomic::Ordering;
use std::task::Poll;

use mountain_core::effect::{Asked, Begin, Class, Holder};
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::{ffi, intern};

use crate::context::current::running;
use crate::context::{Over, under};
use crate::convert::fail::{Fail, no_stop, while_handling, with_frames};
use crate::globals::clock;
use crate::handle::Handle;
use crate::run::cancel::Cancels;
use crate::run::deeper::Deeper;
use crate::run::leaf::PyLeaf;
use crate::run::suspended::Resume;

impl PyLeaf {
    /// Takes the object that the coroutine yielded in the last step, and the cancel that is due, as of `owes_cancel`.
    pub(crate) fn take_yielded(&self, py: Python<'_>) -> Option<(Py<PyAny>, Option<Cancels>)> {
        let mut s = self.state.lock(py);
        let yielded = s.yielded.take()?;
        Some((yielded, s.owes_cancel(py)))
    }

    /// Says how a suspended coroutine goes on. Where none is suspended, `resume` comes back.
    pub(crate) fn resume(&self, py: Python<'_>, resume: Resume) -> Option<Resume> {
        // Asked before there is a lock to hold: the class may have to be imported.
        let cancels = matches!(&resume, Resume::Throw(e) if e.is_instance_of::<CancelledError>(py));
        let mut s = self.state.lock(py);
        if s.coroutine.is_none() {
            return Some(resume);
        }
        if cancels && !s.cancel_sent && self.may_be_stopped.load(Ordering::Relaxed) {
            s.make_rare().cancelled_at = Some(clock().now());
        }
        s.resume = resume;
        None
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

    /// Calls the function, and gives the awaitable to drive.
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
            let replaced = std::mem::replace(&mut self.state.lock(py).make_rare().job, handle.get().job());
            drop(replaced);
        }
        if !awaitable.hasattr(intern!(py, "__await__"))? {
            let name = self.plan.get().name.as_str();
            let got = awaitable.get_type().name()?;
            return Err(PyTypeError::new_err(format!("the function of effect '{name}' must return an awaitable, not {got}")));
        }
        Ok(awaitable.call_method0(intern!(py, "__await__"))?.unbind())
    }

    /// The fallback's place, its answer, and the error that it stands in for.
    pub(super) fn instead<'py>(&self, py: Python<'py>) -> PyResult<Option<Instead<'py>>> {
        let fault = self.state.lock(py).rare_mut().and_then(|rare| rare.fault.take());
        let Some((layer, mut fault)) = fault else { return Ok(None) };
        let Some(error) = self.raise(py, &mut fault) else { return Ok(None) };
        let error = with_frames(py, error);
        let kwargs = self.kwargs.as_ref().map(|kwargs| kwargs.bind(py));
        let given = self.plan.get().stand_in(layer, error.as_any(), self.args.bind(py), kwargs).map_err(|e| {
            while_handling(&e, &error);
            no_stop(py, e, "a fallback raised StopIteration")
        })?;
        Ok(Some((layer, given, error)))
    }

    /// Calls the fallback. `Ok`: an awaitable, which is to be driven. `Err`: the value.
    fn begin_instead(&self, py: Python<'_>) -> PyResult<Result<Py<PyAny>, Py<PyAny>>> {
        let Some((_, given, error)) = self.instead(py)? else { return Ok(Err(py.None())) };
        // SAFETY: asks for the type only.
        if unsafe { ffi::PyCoro_CheckExact(given.as_ptr()) } != 0 || is_old_coroutine(&given)? {
            self.state.lock(py).make_rare().stands_for = Some(error.into_any().unbind());
            return Ok(Ok(given.unbind()));
        }
        if !given.hasattr(intern!(py, "__await__"))? {
            return Ok(Err(given.unbind()));
        }
        let driven = given.call_method0(intern!(py, "__await__"))?.unbind();
        self.state.lock(py).make_rare().stands_for = Some(error.into_any().unbind());
        Ok(Ok(driven))
    }

    /// One step: `Ok(Ok(value))` is the end, `Ok(Err(yielded))` a suspension.
    pub(super) fn step(py: Python<'_>, coroutine: &Py<PyAny>, resume: Resume) -> PyResult<Result<Py<PyAny>, Py<PyAny>>> {
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

    /// The first suspension: the loop, and the task's cancels. Without a task nothing can be woken or cancelled.
    pub(super) fn note_task(py: Python<'_>) -> PyResult<(Py<PyAny>, Cancels)> {
        let (event_loop, task) = running(py)?;
        if task.is_none() {
            return Err(PyRuntimeError::new_err("an effect that waits must be awaited inside an asyncio task"));
        }
        let cancels = Cancels::of(&task)?;
        Ok((event_loop.unbind(), cancels))
    }

    /// The coroutine has ended: its result as a fault's class, by whether the task's cancels are ours.
    pub(super) fn settle(&self, py: Python<'_>, result: PyResult<Py<PyAny>>) -> Result<Py<PyAny>, Fail> {
        let (sent, cancels, stands_for) = {
            let mut s = self.state.lock(py);
            s.stop = false;
            let sent = std::mem::take(&mut s.cancel_sent);
            let stands_for = s.rare_mut().and_then(|rare| rare.stands_for.take());
            if !sent && stands_for.is_none() && result.is_ok() {
                return result.map_err(|e| Fail::raised(py, e));
            }
            (sent, s.cancels.as_ref().map(|cancels| cancels.clone_ref(py)), stands_for)
        };
        if let (Err(e), Some(error)) = (&result, stands_for) {
            while_handling(e, error.bind(py));
        }
        let Some(cancels) = cancels.filter(|_| sent || result.is_err()) else { return result.map_err(|e| Fail::raised(py, e)) };
        let error = result.as_ref().err().map(|e| e.value(py).as_any());
        let asked = cancels.settle(py, sent, error).map_err(|e| Fail::raised(py, e))?;
        if asked == Asked::Outside {
            self.note_end(py, result.as_ref().err());
        }
        result.map_err(|e| match asked {
            Asked::Ours => Fail::Stopped,
            // Also where the coroutine made another error of the caller's cancel: no policy may go on from that.
            Asked::Outside => Fail::Raised(e, Class::Passes),
            Asked::Nothing => Fail::raised(py, e),
        })
    }

    pub(super) fn poll_once(&self, py: Python<'_>, begin: Option<Begin<'_>>) -> Poll<Result<Py<PyAny>, Fail>> {
        if self.opened.is_some() {
            return self.poll_items(py, begin);
        }
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
            Err(e) => {
                // Suppresses the never-awaited warning of a coroutine that has not begun.
                let _ = coroutine.call_method0(py, intern!(py, "close"));
                return Poll::Ready(self.settle(py, Err(e)));
            }
        };
        let resumed = held.map(Holder::from);
        let holder = match begin {
            Some(Begin::Call(around) | Begin::Instead(around)) => around.held,
            None => resumed.as_ref(),
        };
        let source = || self.deadline_source(py, over.owner);
        let inherits = Over { at: over.at, source: Some(&source) };
        let stepped = under(py, inherits, holder, || Self::step(py, &coroutine, resume));
        drop(deeper);
        match stepped {
            Ok(Err(yielded)) => {
                // Without a policy the call is never asked to stop: it may await anything, also outside of a task.
                let noted = if self.may_be_stopped.load(Ordering::Relaxed) && !self.noted.load(Ordering::Relaxed) {
                    match Self::note_task(py) {
                        Ok(noted) => Some(noted),
                        Err(e) => {
                            // The coroutine cleans up first. An error of that is dropped: `e` is the reason.
                            let _ = coroutine.call_method0(py, intern!(py, "close"));
                            return Poll::Ready(Err(Fail::Raised(e, Class::Passes)));
                        }
                    }
                } else {
                    None
                };
                let mut s = self.state.lock(py);
                if let Some((event_loop, cancels)) = noted {
                    self.noted.store(true, Ordering::Relaxed);
                    (s.event_loop, s.cancels) = (Some(event_loop), Some(cancels));
                }
                let held = holder.map(Holder::held);
                (s.coroutine, s.yielded, s.over, s.held) = (Some(coroutine), Some(yielded), over, held);
                Poll::Pending
            }
            Ok(Ok(value)) => Poll::Ready(self.settle(py, Ok(value))),
            Err(e) => Poll::Ready(self.settle(py, Err(e))),
        }
    }
}

/// The place of a fallback, its answer, and the error that it stands in for.
type Instead<'py> = (usize, Bound<'py, PyAny>, Bound<'py, PyBaseException>);

/// A generator of `types.coroutine`: it can be awaited, though it has no `__await__`.
pub(super) fn is_old_coroutine(awaitable: &Bound<'_, PyAny>) -> PyResult<bool> {
    const CO_ITERABLE_COROUTINE: u32 = 0x100;
    let py = awaitable.py();
    // SAFETY: asks for the type only.
    if unsafe { ffi::PyGen_CheckExact(awaitable.as_ptr()) } == 0 {
        return Ok(false);
    }
    let flags: u32 = awaitable.getattr(intern!(py, "gi_code"))?.getattr(intern!(py, "co_flags"))?.extract()?;
    Ok(flags & CO_ITERABLE_COROUTINE != 0)
}
