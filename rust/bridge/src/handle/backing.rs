//! What a handle stands for while it is pending, and how it has ended.

use std::sync::Arc;

use mountain_core::effect::{Abort, Submitted};
use pyo3::prelude::*;

use crate::context::level::Shield;
use crate::globals::Begun;
use crate::handle::job_state::Stage;
use crate::observe::watch::Watch;
use crate::scope::owned::Owned;

/// How it has ended.
pub(crate) enum Phase {
    Value(Py<PyAny>),
    Error(Py<PyAny>),
    Cancelled,
}

/// What a handle stands for while it is pending.
pub(crate) enum Backing {
    /// A run that waits for its engine.
    Parked,
    Native(Abort),
    Task(Py<PyAny>),
    Job(Arc<Stage>),
}

/// With the context to call it in; none for what needs none.
pub(crate) type Callback = (Py<PyAny>, Option<Py<PyAny>>);

/// A million of them may be pending: what only some have is in a box, and what a pending one has lies where the end will.
pub(crate) struct State {
    pub(crate) now: Now,
    pub(crate) blocking: bool,
    /// A cancel was asked for: whatever comes back now, the handle is cancelled.
    pub(crate) asked: bool,
    /// Somebody has looked at the error.
    pub(crate) retrieved: bool,
    /// It is a native call that counts.
    pub(crate) begun: Option<Begun>,
    /// Among the calls of the runtime that owns it: its place there.
    pub(crate) place: u32,
    pub(crate) owner: Option<Arc<Owned>>,
    /// What watches it, if anything does.
    pub(crate) watch: Option<Box<Watch>>,
    pub(crate) rare: Option<Box<Rare>>,
}

pub(crate) enum Now {
    /// Most have one callback.
    Pending(Backing, Option<Callback>),
    Ended(Phase),
}

#[derive(Default)]
pub(crate) struct Rare {
    pub(crate) message: Option<Py<PyAny>>,
    /// Callbacks after the first.
    pub(crate) more: Vec<Callback>,
    /// What it is to those who await it, where that matters.
    pub(crate) work: Option<Arc<Submitted>>,
    /// A cancel was asked for: the task that awaits it is to look, in its next step, whether a scope asks again and again.
    pub(crate) looks: bool,
    /// That of the task which has looked.
    pub(crate) shield: Option<Shield>,
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

    /// Of a native call that is pending: how to ask it to end. It is not asked again.
    pub(crate) fn ask(&mut self) -> Option<Abort> {
        let Now::Pending(Backing::Native(abort), _) = &mut self.now else { return None };
        self.asked = true;
        Some(std::mem::replace(abort, Abort::Never))
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

    /// The only callback there is, if it `wakes` a task that has not looked yet: now it is to look.
    pub(crate) fn take_only_waiter(&mut self, wakes: impl Fn(&Py<PyAny>) -> bool) -> Option<Callback> {
        let Now::Pending(_, first) = &mut self.now else { return None };
        if self.rare.as_ref().is_some_and(|rare| !rare.more.is_empty() || rare.shield.is_some()) {
            return None;
        }
        let waiter = first.take_if(|(callback, _)| wakes(callback))?;
        self.rare.get_or_insert_default().looks = true;
        Some(waiter)
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

/// With what else a handle is made of, 144 bytes: a size of CPython's allocator, which gives nine times 16.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<mountain_core::sync::Mutex<State>>() <= 80, "a handle is larger than it was");
