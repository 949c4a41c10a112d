//! State of a call that attached threads alone look at. The interpreter's lock is its lock: to look costs no locked instruction. Where there is
//! no interpreter lock it has one of its own.

use pyo3::prelude::*;

#[cfg(Py_GIL_DISABLED)]
use mountain_core::sync::{Mutex as Inner, MutexGuard as Guard};
#[cfg(not(Py_GIL_DISABLED))]
use std::cell::{RefCell as Inner, RefMut as Guard};

#[derive(Default)]
pub(crate) struct Attached<T>(Inner<T>);

// SAFETY: only an attached thread gets at it, and no guard outlives the token that says so: of two such threads one has the interpreter's lock,
// or there is a lock in here. What is taken by one that lets go of the interpreter's lock meanwhile is refused to the next, by a panic.
unsafe impl<T: Send> Sync for Attached<T> {}

impl<T> Attached<T> {
    /// Nothing of Python's may run while it is held.
    pub(crate) fn lock<'a, 'py: 'a>(&'a self, _py: Python<'py>) -> Guard<'a, T> {
        #[cfg(not(Py_GIL_DISABLED))]
        return self.0.borrow_mut();
        #[cfg(Py_GIL_DISABLED)]
        return self.0.lock();
    }

    /// `None`: whoever holds it is interrupted by the collector.
    pub(crate) fn try_lock<'a, 'py: 'a>(&'a self, _py: Python<'py>) -> Option<Guard<'a, T>> {
        #[cfg(not(Py_GIL_DISABLED))]
        return self.0.try_borrow_mut().ok();
        #[cfg(Py_GIL_DISABLED)]
        return self.0.try_lock();
    }
}
