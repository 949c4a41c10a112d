//! A program run to its end, as one operation.

use std::sync::Arc;

use mountain_core::effect::{Abort, Abortable, AtWork, Done, Host, Operation};

use super::child::{Child, Whole};
use super::command::Command;
use super::outlet::Data;
use super::reactor;

/// Yields a [`super::Completed`]. Asked to end, it kills the group and fails with what there was until then.
pub struct Run {
    pub command: Arc<Command>,
    pub input: Option<Data>,
    /// Another code than 0 is a failure.
    pub check: bool,
    /// Of stdout and stderr together; one that writes more is killed.
    pub max_output: Option<usize>,
}

impl Operation for Run {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let Some((reactor, done)) = reactor::current_for(done) else { return Abort::Never };
        let child = Arc::new(Child::new(reactor, self.command.clone(), None, usize::MAX));
        {
            let mut state = child.state.lock();
            state.whole = Some(Whole { pending: (done, Some(AtWork::begin())), check: self.check, most: self.max_output });
            if let Some(input) = &self.input {
                state.talks = true;
                state.stdin.put(input.clone(), None, true);
            }
        }
        reactor.start(&child);
        Abort::Shared(Arc::new(Stop(child)))
    }
}

pub(super) struct Stop(pub(super) Arc<Child>);

impl Abortable for Stop {
    fn abort(&self) {
        self.0.stop();
    }
}
