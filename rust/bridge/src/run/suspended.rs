//! The state of a leaf between two steps of its coroutine.

use std::sync::Arc;

use mountain_core::effect::{Deadline, PermitContext};
use mountain_core::time::Instant;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::context::deadline_source::DeadlineSource;
use crate::convert::fail::Fail;
use crate::handle::job_state::JobState;
use crate::run::cancel::Cancels;
use crate::run::pulls::Closing;
use crate::run::pulls::Pulls;

/// How the suspended coroutine goes on.
#[derive(Default)]
pub(crate) enum Resume {
    /// It stays suspended: the poll comes from a drain, not from the task's own step.
    #[default]
    No,
    Send,
    Throw(Box<PyErr>),
}

pub(super) struct Suspended {
    /// The suspended coroutine, or the iterator of another awaitable.
    pub(super) coroutine: Option<Py<PyAny>>,
    pub(super) resume: Resume,
    pub(super) yielded: Option<Py<PyAny>>,
    /// The deadline over the call: what starts within its steps stands under it.
    pub(super) over: Deadline,
    /// The permits that it holds.
    pub(super) held: Option<Arc<PermitContext>>,
    /// The engine has asked the call to end.
    pub(super) stop: bool,
    /// The task was cancelled for that.
    pub(super) cancel_sent: bool,
    /// The task's cancels, from the first suspension on, where the engine may ask the call to end.
    pub(super) cancels: Option<Cancels>,
    /// The task's loop.
    pub(super) event_loop: Option<Py<PyAny>>,
    /// Of the call of a stream.
    pub(super) pulls: Option<Box<Pulls>>,
    rare: Option<Box<Rare>>,
}

/// State that few calls have.
#[derive(Default)]
pub(super) struct Rare {
    /// Where the deadline comes from that the whole run inherited.
    pub(super) inherits: Option<DeadlineSource>,
    /// The thread's job for which the call waited last.
    pub(super) job: Option<Arc<JobState>>,
    /// The fault for which a fallback is to stand in.
    pub(super) fault: Option<(usize, Fail)>,
    /// The error for which the coroutine that is being driven stands in.
    pub(super) stands_for: Option<Py<PyAny>>,
    /// When a cancel from outside was last thrown in.
    pub(super) cancelled_at: Option<Instant>,
    /// The cancel with which the call of the function ended, while flights beside it may be under way.
    pub(super) ended_by: Option<Py<PyBaseException>>,
    /// The task's context, as flights may begin later in a step that is not the task's.
    pub(super) context: Option<Py<PyAny>>,
}

impl Default for Suspended {
    fn default() -> Self {
        Suspended {
            coroutine: None,
            resume: Resume::No,
            yielded: None,
            over: Deadline::NONE,
            held: None,
            stop: false,
            cancel_sent: false,
            cancels: None,
            event_loop: None,
            pulls: None,
            rare: None,
        }
    }
}

impl Suspended {
    /// Asked to stop: between two pulls the generator is to be closed. A closing for an earlier limit goes on
    /// undisturbed.
    pub(super) fn stop_items(&mut self) -> bool {
        let Some(pulls) = &self.pulls else { return false };
        let open = self.coroutine.is_some() || pulls.is_open();
        self.stop |= open && pulls.closing != Closing::Stopped;
        open
    }

    /// Made on the first use.
    pub(super) fn make_rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    pub(super) fn rare_mut(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }

    /// The cancel that is due: the engine has asked the call to end, and the task was not cancelled for that yet.
    pub(super) fn owes_cancel(&mut self, py: Python<'_>) -> Option<Cancels> {
        if !self.stop || self.cancel_sent || self.coroutine.is_none() {
            return None;
        }
        self.cancel_sent = true;
        self.cancels.as_ref().map(|cancels| cancels.clone_ref(py))
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.coroutine)?;
        visit.call(&self.yielded)?;
        visit.call(&self.event_loop)?;
        if let Some(cancels) = &self.cancels {
            cancels.traverse(visit)?;
        }
        if let Some(pulls) = &self.pulls {
            pulls.traverse(visit)?;
        }
        if let Some(rare) = &self.rare {
            visit.call(&rare.stands_for)?;
            visit.call(&rare.context)?;
            visit.call(&rare.ended_by)?;
            rare.inherits.as_ref().map_or(Ok(()), |source| source.traverse(visit))?;
        }
        Ok(())
    }

    /// Takes the references by which the collector breaks a cycle. They are to be dropped outside of the lock.
    pub(super) fn take(&mut self) -> impl Sized + use<> {
        let pulls = self.pulls.as_mut().map(|pulls| pulls.take());
        (self.coroutine.take(), self.yielded.take(), self.cancels.take(), self.event_loop.take(), pulls, self.rare.take())
    }
}
