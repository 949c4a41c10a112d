//! A program run to its end, as one operation.

use std::sync::Arc;

use mountain_core::effect::{Abort, Abortable, AtWork, Done, Host, Operation};

use super::child::Child;
use super::command::Command;
use super::outlet::Data;
use super::reactor;
use super::state::State;
use super::whole::Whole;

/// Yields a [`super::Completed`]. Aborted, it kills the group and fails with the output so far.
pub struct Run {
    pub command: Arc<Command>,
    pub input: Option<Data>,
    /// An exit code other than 0 is a failure.
    pub check: bool,
    /// In bytes, of stdout and stderr together; a program that writes more is killed.
    pub max_output: Option<usize>,
}

impl Operation for Run {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let Some((shared, done)) = reactor::current_for(done) else { return Abort::Never };
        let (command, pending) = (self.command.clone(), (done, Some(AtWork::begin())));
        let mut state = State::new(usize::MAX);
        state.whole = Some(Whole { pending, command: command.clone(), check: self.check, most: self.max_output });
        if let Some(input) = &self.input {
            state.talks = true;
            state.stdin.put(input.clone(), None, true);
        }
        let child = Arc::new(Child::new(shared, command, None, state, None));
        shared.start(&child);
        Abort::Shared(Arc::new(Stop(child)))
    }
}

pub(super) struct Stop(pub(super) Arc<Child>);

impl Abortable for Stop {
    fn abort(&self) {
        self.0.stop();
    }
}
