//! A lock for state that only attached threads use. Under a GIL that lock is the GIL itself, and taking it costs no
//! locked instruction; a free-threaded build has a mutex.

use pyo3::prelude::*;

#[cfg(Py_GIL_DISABLED)]
use mountain_core::sync::{Mutex as Inner, MutexGuard as Guard};
#[cfg(not(Py_GIL_DISABLED))]
use std::cell::{RefCell as Inner, RefMut as Guard};

#[derive(Default)]
pub(crate) struct Attached<T>(Inner<T>);

// SAFETY: the state is reached by attached threads only, and no guard outlives the token that says so: under a GIL one
// of two such threads holds it, and without one there is a mutex. A thread that releases the GIL while it has a guard
// makes the next borrow panic.
unsafe impl<T: Send> Sync for Attached<T> {}

impl<T> Attached<T> {
    pub(crate) fn new(state: T) -> Self {
        Attached(Inner::new(state))
    }

    /// No Python code may run while the guard lives.
    pub(crate) fn lock<'a, 'py: 'a>(&'a self, _py: Python<'py>) -> Guard<'a, T> {
        #[cfg(not(Py_GIL_DISABLED))]
        return self.0.borrow_mut();
        #[cfg(Py_GIL_DISABLED)]
        return self.0.lock();
    }

    /// `None` while the lock is held: the collector interrupted the code that holds it.
    pub(crate) fn try_lock<'a, 'py: 'a>(&'a self, _py: Python<'py>) -> Option<Guard<'a, T>> {
        #[cfg(not(Py_GIL_DISABLED))]
        return self.0.try_borrow_mut().ok();
        #[cfg(Py_GIL_DISABLED)]
        return self.0.try_lock();
    }
}
