//! The port: where native completions reach an event loop. A loop has one, made on first use and gone when it is
//! closed.
//!
//!  1. A worker posts a message (`queue.rs`); the one that finds the mailbox idle rings the bell
//!     (`mountain_core::sync::Mailbox` has the protocol and its proof).
//!  2. The loop sees the descriptor readable and calls `_drain` (in `runtime/drain.rs`) as a plain handle, with no
//!     current task.
//!  3. `_drain` opens at most `BOUND` messages, and none after `BUDGET` has passed; if any are left, the bell rings
//!     again, so that timers and sockets get their turn in between.
//!  4. Closing the loop, or collecting one that was not closed, drops every engine that waits on it, inside the loop's
//!     thread, so that what was granted to them is given back. A message that comes later is dropped by the thread that
//!     posts it, and its references go to the graveyard.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::port::owned::Owned;
use crate::port::queue::Shared;
use crate::python::known_loop::KnownLoop;

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct Port {
    pub(crate) shared: Arc<Shared>,
    pub(crate) event_loop: KnownLoop,
    /// The loop's address.
    pub(super) key: usize,
    /// The native calls that are under way.
    pub(crate) native: Owned,
    /// The runs that wait for something native, by address. The port keeps them alive, as a loop keeps its timers.
    pub(crate) parked: Mutex<HashMap<usize, Py<PyAny>>>,
    /// The flights of cached calls whose tasks run on this loop, likewise.
    pub(crate) flying: Mutex<HashMap<usize, Py<PyAny>>>,
    /// The runtime that was entered on this loop.
    pub(crate) scope: Mutex<Option<Py<PyAny>>>,
}

impl Port {
    /// Keeps a run that waits for something native.
    pub(crate) fn park(&self, run: &Bound<'_, PyAny>) {
        if self.parked.lock().insert(run.as_ptr() as usize, run.clone().unbind()).is_none() {
            self.shared.parked.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn unpark(&self, run: &Bound<'_, PyAny>) {
        let gone = self.parked.lock().remove(&(run.as_ptr() as usize));
        if gone.is_some() {
            self.shared.parked.fetch_sub(1, Ordering::Relaxed);
        }
        drop(gone);
    }

    pub(crate) fn take_parked(&self) -> HashMap<usize, Py<PyAny>> {
        let parked = std::mem::take(&mut *self.parked.lock());
        self.shared.parked.fetch_sub(parked.len(), Ordering::Relaxed);
        parked
    }

    /// Keeps a flight until it has landed.
    pub(crate) fn flies(&self, landing: &Bound<'_, PyAny>) {
        self.flying.lock().insert(landing.as_ptr() as usize, landing.clone().unbind());
    }

    pub(crate) fn landed(&self, landing: &Bound<'_, PyAny>) {
        let gone = self.flying.lock().remove(&(landing.as_ptr() as usize));
        drop(gone);
    }

    /// Visits what the collector is to know of; what is locked at the moment is skipped.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.native.traverse(visit)?;
        if let Some(parked) = self.parked.try_lock() {
            for run in parked.values() {
                visit.call(run)?;
            }
        }
        if let Some(flying) = self.flying.try_lock() {
            for landing in flying.values() {
                visit.call(landing)?;
            }
        }
        if let Some(scope) = self.scope.try_lock() {
            visit.call(&*scope)?;
        }
        Ok(())
    }

    /// Breaks the reference cycles through this port, outside of its locks.
    pub(crate) fn clear(&self) {
        let gone = (self.take_parked(), std::mem::take(&mut *self.flying.lock()), self.scope.lock().take());
        drop(gone);
    }
}
