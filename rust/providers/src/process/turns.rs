//! Births and forks take turns. A fork in the middle of a birth would give the forked process copies of the new child's
//! ends of its pipes, and their end would not come while that process lives.

use std::time::{Duration, Instant};

use mountain_core::sync::{Condvar, Mutex};

/// A fork does not wait longer for a birth: the program may lie on a disk that hangs.
const PATIENCE: Duration = Duration::from_millis(200);

#[derive(Default)]
struct State {
    birth: bool,
    /// How many threads fork now.
    forks: usize,
}

pub(super) struct Turns {
    state: Mutex<State>,
    change: Condvar,
}

impl Turns {
    pub(super) fn new() -> Self {
        Turns { state: Mutex::default(), change: Condvar::new() }
    }

    /// Waits until no thread forks.
    pub(super) fn begin_birth(&self) {
        let mut state = self.state.lock();
        while state.forks > 0 {
            state = self.change.wait(state);
        }
        state.birth = true;
    }

    pub(super) fn end_birth(&self) {
        self.state.lock().birth = false;
        self.change.notify_all();
    }

    /// Waits for the birth that is under way, for `PATIENCE` at most. No further birth begins until `end_fork`.
    pub(super) fn begin_fork(&self) {
        let mut state = self.state.lock();
        state.forks += 1;
        let end = Instant::now() + PATIENCE;
        while state.birth && Instant::now() < end {
            state = self.change.wait_for(state, PATIENCE);
        }
    }

    pub(super) fn end_fork(&self) {
        let mut state = self.state.lock();
        // Saturating: the reactor may have been made after the fork began.
        state.forks = state.forks.saturating_sub(1);
        drop(state);
        self.change.notify_all();
    }
}
