//! The state of a handle: what it stands for while it is pending, and how it has ended.

use std::sync::Arc;

use mountain_core::effect::{Abort, Submitted};
use mountain_core::value::{Back, Taken};
use pyo3::prelude::*;

use crate::context::level::Shield;
use crate::handle::job_state::JobState;
use crate::observe::call_record::CallRecord;
use crate::observe::watch::Watch;
use crate::port::owned::Owned;
use crate::python::callback::woken_by;

/// How a handle has ended.
pub(crate) enum Phase {
    Value(Py<PyAny>),
    /// A value that goes back to its source, unless the await takes it: a cancel may come before that.
    Untaken(Box<Untaken>),
    Error(Py<PyAny>),
    /// An error that others are given too: each raises it with this traceback, so that it does not grow.
    Shared(Py<PyAny>, Option<Py<PyAny>>),
    Cancelled,
}

/// A value that may go back, as the engine gave it or as code has looked at it.
pub(crate) enum Untaken {
    Native(Taken),
    Shown(Py<PyAny>, Back),
}

/// The work that a pending handle stands for.
pub(crate) enum Backing {
    /// A run that waits for the engine.
    Parked,
    Native(Abort),
    Task(Py<PyAny>),
    Job(Arc<JobState>),
    /// Work of another process: the function that asks it to end. It answers in any case.
    Elsewhere(Py<PyAny>),
    /// One of the calls that become one call of a list.
    Item(Py<PyAny>),
}

/// A callback and the context to call it in; no context for one that does not look at it.
pub(crate) type Callback = (Py<PyAny>, Option<Py<PyAny>>);

/// Small, since a million handles may be pending: what few handles have is in the box `rare`, and what only a pending
/// one has shares its place with the end.
pub(crate) struct State {
    pub(crate) now: Now,
    /// asyncio's `_asyncio_future_blocking`: the handle was yielded, and the task has not taken it yet.
    pub(crate) blocking: bool,
    /// A cancel of a native call was asked for: the handle ends as cancelled, by whatever answer.
    pub(crate) asked: bool,
    /// An error needs no report: code has asked for it, or no runtime owns the handle.
    pub(crate) retrieved: bool,
    /// Of a native call that is no part of a run.
    pub(crate) record: CallRecord,
    /// The place among the calls that `owner` holds, or in a batch.
    pub(crate) place: u32,
    /// The calls of the runtime that owns the handle.
    pub(crate) owner: Option<Arc<Owned>>,
    /// The telemetry of the call, where any is on.
    pub(crate) watch: Option<Box<Watch>>,
    pub(crate) rare: Option<Box<Rare>>,
}

pub(crate) enum Now {
    /// With the first callback: most handles have one.
    Pending(Backing, Option<Callback>),
    Ended(Phase),
}

#[derive(Default)]
pub(crate) struct Rare {
    /// The message of the cancel.
    pub(crate) message: Option<Py<PyAny>>,
    /// The callbacks after the first.
    pub(crate) more: Vec<Callback>,
    /// The submitted work, where its waiters may hold what it waits for.
    pub(crate) work: Option<Arc<Submitted>>,
    /// A cancel was asked for: in its next step each awaiting task enters a shielded scope, if a scope keeps cancelling
    /// it.
    pub(crate) needs_shield: bool,
    /// The shielded scopes that awaiting tasks have entered.
    pub(crate) shields: Vec<Shield>,
}

impl State {
    pub(crate) fn pending(&self) -> bool {
        matches!(self.now, Now::Pending(..))
    }

    pub(crate) fn backing(&self) -> Option<&Backing> {
        match &self.now {
            Now::Pending(backing, _) => Some(backing),
            Now::Ended(_) => None,
        }
    }

    /// Takes from a pending native call the means to end it; later requests find `Abort::Never`.
    pub(crate) fn ask(&mut self) -> Option<Abort> {
        let Now::Pending(Backing::Native(abort), _) = &mut self.now else { return None };
        self.asked = true;
        Some(std::mem::replace(abort, Abort::Never))
    }

    /// Of a native call that has ended and whose value is not taken yet.
    pub(crate) fn untaken(&mut self) -> Option<Untaken> {
        let Now::Ended(phase @ Phase::Untaken(_)) = &mut self.now else { return None };
        match std::mem::replace(phase, Phase::Cancelled) {
            Phase::Untaken(untaken) => Some(*untaken),
            _ => None,
        }
    }

    pub(crate) fn message(&self) -> Option<&Py<PyAny>> {
        self.rare.as_ref()?.message.as_ref()
    }

    pub(crate) fn work(&self) -> Option<&Arc<Submitted>> {
        self.rare.as_ref()?.work.as_ref()
    }

    pub(crate) fn callbacks(&self) -> impl Iterator<Item = &Callback> {
        let first = match &self.now {
            Now::Pending(_, first) => first.as_ref(),
            Now::Ended(_) => None,
        };
        first.into_iter().chain(self.rare.iter().flat_map(|rare| &rare.more))
    }

    pub(crate) fn take_callbacks(&mut self) -> (Option<Callback>, Vec<Callback>) {
        let first = match &mut self.now {
            Now::Pending(_, first) => first.take(),
            Now::Ended(_) => None,
        };
        (first, self.rare.as_mut().map(|rare| std::mem::take(&mut rare.more)).unwrap_or_default())
    }

    /// Takes the callbacks that wake a task without a shielded scope: each task looks for one in its next step.
    pub(crate) fn take_waiters(&mut self, py: Python<'_>) -> Vec<Callback> {
        let (first, more) = self.take_callbacks();
        let rare = self.rare.get_or_insert_default();
        rare.needs_shield = true;
        let waits = |(callback, _): &Callback| {
            woken_by(callback.bind(py)).is_some_and(|task| !rare.shields.iter().any(|shield| shield.is_of(&task)))
        };
        let (waiters, others): (Vec<_>, Vec<_>) = first.into_iter().chain(more).partition(waits);
        for other in others {
            self.add_callback(other);
        }
        waiters
    }

    /// Takes the shielded scope that this task has entered.
    pub(crate) fn take_shield(&mut self, task: &Bound<'_, PyAny>) -> Option<Shield> {
        let shields = &mut self.rare.as_mut()?.shields;
        let at = shields.iter().position(|shield| shield.is_of(task))?;
        Some(shields.swap_remove(at))
    }

    pub(crate) fn has_shields(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.shields.is_empty())
    }

    pub(crate) fn add_callback(&mut self, callback: Callback) {
        match &mut self.now {
            Now::Pending(_, first) if first.is_none() && self.rare.as_ref().is_none_or(|rare| rare.more.is_empty()) => {
                *first = Some(callback);
            }
            _ => self.rare.get_or_insert_default().more.push(callback),
        }
    }
}

/// With the other fields a handle has 144 bytes: nine times the 16 that CPython's allocator counts in.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<mountain_core::sync::Mutex<State>>() <= 80, "a handle is larger than it was");
