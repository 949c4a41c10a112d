//! Cancels a handle's work. A native call is asked to end and a task is cancelled: the handle ends when they have. A
//! handle that a parked run awaits ends at once, an item of a batch too unless it is the last, and so does a thread's
//! job, which cannot be stopped: its call goes on without it. Work of another process is asked to end, and answers.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;

use crate::context::current::current_task;
use crate::context::level;
use crate::globals::clock;
use crate::handle::Handle;
use crate::handle::backing::{Backing, Phase};
use crate::handle::calls::{Calls, Leaves};
use crate::handle::job_state::JobState;
use crate::port::registry;
use crate::python::type_slots;

impl Handle {
    /// Asks the work to end. True if it was pending.
    pub(crate) fn ask_to_end(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        enum Way {
            Abort,
            Task(Py<PyAny>),
            Now(Option<Arc<JobState>>),
            Leave(Py<PyAny>, u32),
            Ask(Py<PyAny>),
        }
        let py = slf.py();
        let me = slf.get();
        let way = {
            let mut s = me.state.lock();
            let asked = s.asked;
            let way = match s.backing() {
                None => return Ok(false),
                Some(Backing::Native(_)) => Way::Abort,
                Some(Backing::Task(task)) => Way::Task(task.clone_ref(py)),
                Some(Backing::Parked) => Way::Now(None),
                Some(Backing::Job(job)) => Way::Now(Some(job.clone())),
                // It was the last one, and waits for the task of its batch.
                Some(Backing::Item(_) | Backing::Elsewhere(_)) if asked => return Ok(true),
                Some(Backing::Item(calls)) => Way::Leave(calls.clone_ref(py), s.place),
                Some(Backing::Elsewhere(ask)) => Way::Ask(ask.clone_ref(py)),
            };
            if let Way::Ask(_) = way {
                s.asked = true;
            }
            way
        };
        match way {
            Way::Task(task) => {
                let before = me.state.lock().message().map(|before| before.clone_ref(py));
                if level::is_again(before.as_ref().map(|before| before.bind(py)), msg.as_ref().map(|msg| msg.bind(py)))? {
                    return Ok(true);
                }
                me.set_message(msg.as_ref().map(|msg| msg.clone_ref(py)));
                let msg = msg.unwrap_or_else(|| py.None());
                let asked = task.call_method1(py, intern!(py, "cancel"), (msg,))?.is_truthy(py)?;
                Self::shield_waiters(slf)?;
                return Ok(asked);
            }
            Way::Abort => {
                let abort = me.state.lock().ask();
                type_slots::track_later(slf);
                me.set_message(msg);
                if let Some(abort) = abort {
                    abort.abort();
                }
                Self::shield_waiters(slf)?;
            }
            Way::Now(job) => {
                me.set_message(msg);
                if let Some(job) = job {
                    job.abandon();
                }
                Self::resolve(slf, Phase::Cancelled, false)?;
            }
            Way::Ask(ask) => {
                me.set_message(msg);
                ask.call0(py)?;
                Self::shield_waiters(slf)?;
            }
            Way::Leave(calls, place) => {
                me.set_message(msg);
                match calls.bind(py).cast::<Calls>()?.get().leave(py, place)? {
                    Leaves::Now => Self::ends(slf, Phase::Cancelled, false, clock().now())?,
                    Leaves::With(task) => {
                        me.state.lock().asked = true;
                        // On a closed loop the task has no end any more.
                        if task.call_method0(py, intern!(py, "cancel")).is_err() {
                            Self::ends(slf, Phase::Cancelled, false, clock().now())?;
                        }
                        Self::shield_waiters(slf)?;
                    }
                }
            }
        }
        Ok(true)
    }

    /// The await of the handle has ended before the work did, other than by a cancel: the coroutine around it was
    /// closed, or an exception was thrown in. Work that no runtime owns is asked to end: nothing waits for it. A value
    /// that a cancel has kept from the caller goes back.
    pub(crate) fn left(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().goes_back();
        let goes_on = {
            let s = slf.get().state.lock();
            s.owner.is_some() || s.asked || matches!(s.backing(), None | Some(Backing::Parked | Backing::Task(_)))
        };
        // In the child of a fork the work is the parent's.
        if goes_on || !slf.get().event_loop.get(slf.py()).is_ok_and(|event_loop| registry::serves(&event_loop)) {
            return Ok(());
        }
        Self::ask_to_end(slf, None).map(drop)
    }

    /// Steps the tasks that await this handle, so that each can enter a shielded scope: a cancelled scope of anyio
    /// would ask a task to cancel in every turn of the loop (`context/level.rs`).
    fn shield_waiters(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, me) = (slf.py(), slf.get());
        if !level::asks_again(py)? {
            return Ok(());
        }
        let waiters = me.state.lock().take_waiters(py);
        if waiters.is_empty() {
            return Ok(());
        }
        let woken = Handle::new(py, &me.event_loop, None, Backing::Parked)?;
        Self::resolve(&woken, Phase::Value(py.None()), false)?;
        for (waiter, context) in waiters {
            me.event_loop.call_soon(waiter.bind(py), woken.as_any(), context.as_ref().map(|context| context.bind(py)))?;
        }
        Ok(())
    }

    /// The current task leaves the shielded scope that it entered for this handle, if it did.
    pub(super) fn leave_shield(&self, py: Python<'_>) -> PyResult<()> {
        if !self.state.lock().has_shields() {
            return Ok(());
        }
        let task = current_task(py)?;
        let shield = self.state.lock().take_shield(&task);
        shield.map_or(Ok(()), |shield| shield.exit(py))
    }
}
