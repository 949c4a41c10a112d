//! Requests that the running call of a leaf ends: by the engine, by the caller's cancel, by the code that set a
//! deadline.

use mountain_core::effect::was_enforced;
use pyo3::exceptions::PyBaseException;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;

use crate::globals::clock;
use crate::run::cancel::Cancels;
use crate::run::leaf::PyLeaf;

impl PyLeaf {
    /// The code that set the deadline which has just passed has already cancelled this task for it, and has not taken
    /// that back.
    pub(super) fn was_enforced(&self, py: Python<'_>) -> bool {
        let (came, cancels) = {
            let s = self.state.lock(py);
            (s.rare().and_then(|rare| rare.cancelled_at), s.cancels.as_ref().map(|cancels| cancels.clone_ref(py)))
        };
        // Of a cancel that has been taken back since, nothing is left to wait for.
        was_enforced(came, clock().now()) && cancels.is_some_and(|cancels| cancels.has_more(py).unwrap_or(false))
    }

    /// The call has ended by a cancel from outside, with that error. Flights beside it may be under way: the cancel
    /// goes on when they have ended.
    pub(super) fn note_end(&self, py: Python<'_>, error: Option<&PyErr>) {
        if let Some(e) = error.filter(|e| self.plan.get().hedges() && e.is_instance_of::<CancelledError>(py)) {
            let replaced = self.state.lock(py).make_rare().ended_by.replace(e.value(py).clone().unbind());
            drop(replaced);
        }
    }

    /// The cancel with which the call of the function ended.
    pub(super) fn ended_by(&self, py: Python<'_>) -> Option<Py<PyBaseException>> {
        self.state.lock(py).rare_mut().and_then(|rare| rare.ended_by.take())
    }

    /// The call was asked to end, or has received a cancel from outside that was not taken back.
    pub(super) fn was_asked(&self, py: Python<'_>) -> bool {
        let cancels = {
            let s = self.state.lock(py);
            if s.coroutine.is_none() || s.stop {
                return s.stop;
            }
            match (s.rare().and_then(|rare| rare.cancelled_at), &s.cancels) {
                (Some(_), Some(cancels)) => cancels.clone_ref(py),
                _ => return false,
            }
        };
        cancels.has_more(py).unwrap_or(false)
    }

    /// The cancel that is due: the engine has asked the call to end, and the task was not cancelled for that yet.
    pub(crate) fn owes_cancel(&self, py: Python<'_>) -> Option<Cancels> {
        self.state.lock(py).owes_cancel(py)
    }
}
