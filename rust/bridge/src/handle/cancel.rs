//! Cancels a handle's work. A native call is asked to end and a task is cancelled: the handle ends when they have. A
//! handle that a parked run awaits ends at once, and so does a thread's job, which cannot be stopped: its call goes on
//! without it.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;

use crate::context::level;
use crate::handle::Handle;
use crate::handle::backing::{Backing, Phase};
use crate::handle::job_state::JobState;
use crate::python::callback::wakes_a_task;
use crate::python::type_slots;

impl Handle {
    /// Asks the work to end. True if it was pending.
    pub(crate) fn ask_to_end(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        enum Way {
            Abort,
            Task(Py<PyAny>),
            Now(Option<Arc<JobState>>),
        }
        let py = slf.py();
        let me = slf.get();
        let way = {
            match me.state.lock().backing() {
                None => return Ok(false),
                Some(Backing::Native(_)) => Way::Abort,
                Some(Backing::Task(task)) => Way::Task(task.clone_ref(py)),
                Some(Backing::Parked) => Way::Now(None),
                Some(Backing::Job(job)) => Way::Now(Some(job.clone())),
            }
        };
        match way {
            Way::Task(task) => {
                let msg = msg.unwrap_or_else(|| py.None());
                let asked = task.call_method1(py, intern!(py, "cancel"), (msg,))?.is_truthy(py)?;
                Self::shield_waiter(slf)?;
                return Ok(asked);
            }
            Way::Abort => {
                let abort = me.state.lock().ask();
                type_slots::track_later(slf);
                me.set_message(msg);
                if let Some(abort) = abort {
                    abort.abort();
                }
                Self::shield_waiter(slf)?;
            }
            Way::Now(job) => {
                me.set_message(msg);
                if let Some(job) = job {
                    job.abandon();
                }
                Self::resolve(slf, Phase::Cancelled, false)?;
            }
        }
        Ok(true)
    }

    /// Steps the one task that awaits this handle, if there is one, so that it can enter a shielded scope: a cancelled
    /// scope of anyio would ask the same task to cancel in every turn of the loop (`context/level.rs`).
    fn shield_waiter(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, me) = (slf.py(), slf.get());
        if !level::asks_again(py)? {
            return Ok(());
        }
        let waiter = me.state.lock().take_only_waiter(|callback| wakes_a_task(callback.bind(py)));
        let Some((waiter, context)) = waiter else { return Ok(()) };
        let woken = Handle::new(py, &me.event_loop, None, Backing::Parked)?;
        Self::resolve(&woken, Phase::Value(py.None()), false)?;
        me.event_loop.call_soon(waiter.bind(py), woken.as_any(), context.as_ref().map(|context| context.bind(py)))
    }
}
