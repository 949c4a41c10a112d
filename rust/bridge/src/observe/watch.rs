//! The watch of one call: its entry on the live page and its span. Most calls have neither, and pay one branch for
//! that.
//!
//! 1. A call that begins asks `watchers::any`; if a watcher may be on, `begin` makes its watch.
//! 2. The engine reports the call's events to the watch's observer, on whatever thread polls the call.
//! 3. Around each call of its leaf, `enter` and `leave` set and reset the context variables that make the call the
//!    parent of entries and spans inside.
//! 4. `ended` records the outcome. A watch that is dropped without it leaves no entry and no span.

use std::sync::Arc;

use mountain_core::effect::Deadline;
use mountain_core::observe::{Event, Observer};
use mountain_core::policy::timeout_from_the_start;
use mountain_core::sync::Mutex;
use mountain_core::telemetry::{All, Listed};
use mountain_core::time::Instant;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::context::vars::{get, parent_var};
use crate::globals::{clock, telemetry};
use crate::observe::spans::{self, Span, Tracing};
use crate::observe::watchers::{ASKING, LIVE, TRACING, watchers};
use crate::plan::Plan;

pub(crate) struct Watch {
    entry: Option<Listed>,
    span: Option<Span>,
    observer: Option<Arc<dyn Observer>>,
    /// The tokens of the variables that `enter` set: the parent of entries, and the current span.
    inside: Mutex<[Option<Py<PyAny>>; 2]>,
}

/// The watch of a call that begins, if a watcher is on.
#[inline]
pub(crate) fn begin(py: Python<'_>, plan: &Plan, over: Deadline) -> Option<Box<Watch>> {
    let mut asked = watchers();
    if asked & ASKING != 0 {
        spans::ask(py);
        asked = watchers();
    }
    let tracing = if asked & TRACING == 0 { None } else { spans::kept(py) };
    let listed = asked & LIVE != 0;
    if tracing.is_none() && !listed { None } else { make(py, plan, over, tracing, listed) }
}

#[inline(never)]
fn make(py: Python<'_>, plan: &Plan, over: Deadline, tracing: Option<&'static Tracing>, listed: bool) -> Option<Box<Watch>> {
    let since = clock().now();
    let span = tracing.and_then(|tracing| spans::begin(py, tracing, plan, since));
    let entry = listed.then(|| {
        let parent = parent_var(py).and_then(get::<PyInt>).ok().flatten().and_then(|id| id.extract().ok());
        let until = over.at.min(since.after(timeout_from_the_start(&plan.stack)));
        telemetry().live.begin(plan.labels(py), parent.unwrap_or(0), since, until)
    });
    if span.is_none() && entry.is_none() {
        return None;
    }
    let observers = [
        entry.as_ref().and_then(|entry| match entry {
            Listed::In(entry) => Some(entry.clone() as Arc<dyn Observer>),
            Listed::Beyond(_) => None,
        }),
        span.as_ref().and_then(Span::observer),
    ];
    let observer = match observers {
        [Some(a), Some(b)] => Some(Arc::new(All(vec![a, b])) as Arc<dyn Observer>),
        [a, b] => a.or(b),
    };
    Some(Box::new(Watch { entry, span, observer, inside: Mutex::default() }))
}

impl Watch {
    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    /// Tells an event that the engine does not see.
    pub(crate) fn tell(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer.told(event, clock().now());
        }
    }

    /// The span, which also takes the failures of attempts that are tried again.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// Makes the call the parent of what runs in the current context, which is a flight's own.
    pub(crate) fn set_in(&self, py: Python<'_>) {
        drop(self.be_parent(py));
        drop(self.span.as_ref().and_then(|span| span.attach(py, false)));
    }

    /// Makes its entry the parent of entries in the current context. The token takes that back.
    fn be_parent(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if let Some(Listed::In(listed)) = &self.entry
            && let Ok(var) = parent_var(py)
            && let Ok(id) = listed.id.into_pyobject(py)
        {
            // SAFETY: sets a context variable of ours in the current context. The token is a new reference, or null
            // with an error set.
            let token = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContextVar_Set(var.as_ptr(), id.as_ptr())) };
            return token.ok().map(Bound::unbind);
        }
        None
    }

    /// Called before the leaf, in the task's own context.
    pub(crate) fn enter(&self, py: Python<'_>, retries: bool) {
        let entry = self.be_parent(py);
        let span = self.span.as_ref().and_then(|span| span.attach(py, retries));
        let replaced = std::mem::replace(&mut *self.inside.lock(), [entry, span]);
        drop(replaced);
    }

    /// Called after the leaf. In another context than that of `enter`, where a generator may end, nothing is reset.
    pub(crate) fn leave(&self, py: Python<'_>) {
        let [entry, span] = std::mem::take(&mut *self.inside.lock());
        if let (Some(token), Ok(var)) = (entry, parent_var(py)) {
            // SAFETY: a token of that variable. An error that is set is taken.
            if unsafe { ffi::PyContextVar_Reset(var.as_ptr(), token.as_ptr()) } < 0 {
                drop(PyErr::take(py));
            }
        }
        if let (Some(of), Some(token)) = (&self.span, span) {
            of.detach(py, token);
        }
    }

    /// Records the call's outcome; `error` is what it raises.
    pub(crate) fn ended(&self, py: Python<'_>, error: Option<&Bound<'_, PyAny>>, now: Instant) {
        self.leave(py);
        if let Some(span) = &self.span {
            span.ended(py, error, now);
        }
    }
}
