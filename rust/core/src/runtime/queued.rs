//! Native calls that wait for a permit before they begin: no task, no thread, one allocation each.
//!
//! A call is its own waker. Handed a permit, it goes to the starter, and the worker on duty begins it; when it has ended, its permit is
//! handed to the next one. So a chain of calls that end at once is a loop of the starter's, not a recursion.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::effect::{Abort, Abortable, Done, Host, Operation, Outcome, Sink, Starter};
use crate::error::{Error, Refused};
use crate::policy::limit::{Limit, Queue};
use crate::schedule::Priority;
use crate::sync::Mutex;
use crate::value::Memory;

/// An operation that begins under a permit of `limit`.
pub struct Queued {
    pub limit: Arc<Limit>,
    pub priority: Priority,
    pub operation: Arc<dyn Operation>,
}

impl Operation for Queued {
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        let call = Arc::new(Call {
            limit: self.limit.clone(),
            host: host.clone(),
            operation: self.operation.clone(),
            state: Mutex::new(State::Queued(done, None)),
        });
        // Held while it asks: a permit may be handed over before its number is noted.
        let mut state = call.state.lock();
        let go = match self.limit.queue(self.priority, || Waker::from(call.clone())) {
            Queue::Go => true,
            Queue::Wait(number) => {
                if let State::Queued(_, slot) = &mut *state {
                    *slot = Some(number);
                }
                false
            }
            Queue::Refused(why) => {
                let was = std::mem::replace(&mut *state, State::Ended);
                drop(state);
                if let State::Queued(done, _) = was {
                    done.finish(Err(Error::Refused(Refused { layer: 0, why, attempt: 1 })));
                }
                return Abort::Never;
            }
        };
        drop(state);
        if go {
            call.begin();
        }
        Abort::Shared(call)
    }
}

struct Call {
    limit: Arc<Limit>,
    host: Arc<Host>,
    operation: Arc<dyn Operation>,
    state: Mutex<State>,
}

enum State {
    /// With its number in the limit's queue.
    Queued(Done, Option<u32>),
    /// It has a permit, and this to answer to.
    Begun(Done, Abort),
    Ended,
}

impl Call {
    /// It has a permit.
    fn begin(self: &Arc<Self>) {
        let priority = {
            let mut state = self.state.lock();
            match std::mem::replace(&mut *state, State::Ended) {
                State::Queued(done, _) => {
                    let priority = done.priority;
                    *state = State::Begun(done, Abort::Never);
                    priority
                }
                was => {
                    *state = was;
                    return;
                }
            }
        };
        let done = Done::new(self.clone(), 0).of(priority);
        let begun = Starter::begin(&self.host, self.operation.clone(), done);
        if let State::Begun(_, abort) = &mut *self.state.lock() {
            *abort = begun;
        }
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        let number = match &*self.state.lock() {
            State::Queued(_, Some(number)) => *number,
            _ => return,
        };
        match self.limit.look(number, || Waker::from(self.clone())) {
            Some(Ok(())) => self.begin(),
            Some(Err(why)) => {
                let was = std::mem::replace(&mut *self.state.lock(), State::Ended);
                if let State::Queued(done, _) = was {
                    done.finish(Err(Error::Refused(Refused { layer: 0, why, attempt: 1 })));
                }
            }
            None => {}
        }
    }
}

impl Sink for Call {
    fn deliver(&self, _token: usize, outcome: Outcome) {
        let was = std::mem::replace(&mut *self.state.lock(), State::Ended);
        self.limit.give_permit_back(&self.host.clock);
        if let State::Begun(done, _) = was {
            done.finish(outcome);
        }
    }

    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        let root = match &*self.state.lock() {
            State::Begun(done, _) => Some(done.sink()),
            _ => None,
        };
        if let Some(root) = root {
            root.allocate(sizes, then);
        }
    }
}

impl Abortable for Call {
    fn abort(&self) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Ended) {
            State::Queued(done, number) => {
                drop(state);
                if let Some(number) = number {
                    self.limit.leave(number, &self.host.clock);
                }
                // Dropped, it answers with a cancel.
                drop(done);
            }
            State::Begun(done, abort) => {
                *state = State::Begun(done, Abort::Never);
                drop(state);
                abort.abort();
            }
            State::Ended => {}
        }
    }
}
