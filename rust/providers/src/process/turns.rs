//! The thread of the processes and forks take turns. A fork in the middle of a birth would give the forked process
//! copies of the new child's ends of its pipes, and their end would not come while that process lives. Nor would the
//! end of pipes whose child is served meanwhile, since the forked process could not take its lock to close its copies.

use std::time::{Duration, Instant};

use mountain_core::sync::{Condvar, Mutex};

/// A fork does not wait longer: the program of a birth may lie on a disk that hangs.
const PATIENCE: Duration = Duration::from_millis(200);

#[derive(Default)]
struct State {
    /// A child is started or served.
    busy: bool,
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
    pub(super) fn begin(&self) {
        let mut state = self.state.lock();
        while state.forks > 0 {
            state = self.change.wait(state);
        }
        state.busy = true;
    }

    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.busy = false;
        if state.forks > 0 {
            self.change.notify_all();
        }
    }

    /// Waits for what the thread is at, for `PATIENCE` at most. It goes on after `end_fork`.
    pub(super) fn begin_fork(&self) {
        let mut state = self.state.lock();
        state.forks += 1;
        let end = Instant::now() + PATIENCE;
        while state.busy && Instant::now() < end {
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
