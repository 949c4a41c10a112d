//! A gate that keeps a fork out of the short changes to state that the child goes on with: a lock that another thread
//! holds at that moment would never open in the child.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

static GATE: Mutex<()> = Mutex::new(());

thread_local! {
    static FORKING: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// No fork happens while this is held: for moments only.
pub(super) fn no_fork() -> MutexGuard<'static, ()> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be called before a fork, by the thread that forks.
pub fn before_fork() {
    FORKING.set(Some(no_fork()));
}

/// To be called by that thread after the fork, in both processes.
pub fn after_fork() {
    FORKING.take();
}
