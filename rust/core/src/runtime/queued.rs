//! Native calls that wait for a permit, to begin under it or to hand it on: no task, no thread, one allocation each.
//!
//! A call is its own waker. Handed a permit, it goes to the starter, and the worker on duty begins it; when it has ended, its permit is
//! handed to the next one. So a chain of calls that end at once is a loop of the starter's, not a recursion.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::effect::{Abort, Abortable, Done, Held, Holder, Host, Operation, Outcome, Sink, Starter, Use};
use crate::error::{Error, Reason, Refused};
use crate::observe::Doing;
use crate::policy::limit::{Limit, Noted, Queue};
use crate::schedule::Priority;
use crate::sync::Mutex;
use crate::value::{Memory, Value};

/// Waits for a permit of `limit`.
pub struct Queued {
    pub limit: Arc<Limit>,
    pub key: Option<Use>,
    pub priority: Priority,
    /// The permits under which the caller runs, who waits for this.
    pub held: Option<Arc<Held>>,
    pub then: Then,
}

/// What becomes of a permit.
#[derive(Clone)]
pub enum Then {
    /// The operation begins under it, and gives it back when it has ended.
    Begin(Arc<dyn Operation>),
    /// It is the value.
    Hand,
}

impl Operation for Queued {
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        let call = Arc::new(Call {
            limit: self.limit.clone(),
            name: self.limit.name(),
            key: self.key.clone(),
            host: host.clone(),
            held: self.held.clone(),
            then: self.then.clone(),
            state: Mutex::new(State::Queued(done, None, None)),
        });
        let holder = self.held.clone().map(Holder::from);
        let queued = {
            // Held while it asks: a permit may be handed over before its number is noted.
            let mut state = call.state.lock();
            let queued = self.limit.queue(call.key(), self.priority, holder.as_ref(), || Waker::from(call.clone()));
            if let (Queue::Wait(number), State::Queued(_, slot, _)) = (&queued, &mut *state) {
                *slot = Some(*number);
            }
            queued
        };
        match queued {
            Queue::Wait(number) => call.note(number),
            Queue::Go => call.granted(),
            Queue::Refused(why) => call.refused(why),
        }
        Abort::Shared(call)
    }
}

struct Call {
    limit: Arc<Limit>,
    /// As it was called then.
    name: usize,
    key: Option<Use>,
    host: Arc<Host>,
    held: Option<Arc<Held>>,
    then: Then,
    state: Mutex<State>,
}

enum State {
    /// With its number in the limit's queue, while it is its own, and where it waits in submitted work.
    Queued(Done, Option<u32>, Option<Box<Noted>>),
    /// It has a permit, and this to answer to.
    Begun(Done, Ask),
    Ended,
}

/// How to ask what has begun to end. Small: many more wait than have begun.
enum Ask {
    /// Not known yet: it is only beginning.
    Later,
    By(Box<Abort>),
    /// It was asked, or shall be as soon as one can.
    Asked,
}

impl Call {
    fn key(&self) -> u32 {
        self.key.as_ref().map_or(0, Use::number)
    }

    /// Out of the state's lock: it may be refused at once.
    fn note(&self, number: u32) {
        let noted = self.limit.note_wait(number, self.held.as_ref());
        if let (Some(noted), State::Queued(_, Some(_), slot)) = (noted, &mut *self.state.lock()) {
            *slot = Some(Box::new(noted));
        }
    }

    fn refused(&self, why: Reason) {
        let was = std::mem::replace(&mut *self.state.lock(), State::Ended);
        if let State::Queued(done, ..) = was {
            // A runtime's limit is none of the effect's policies.
            let layer = if let Then::Hand = self.then { 0 } else { usize::MAX };
            done.finish(Err(Error::Refused(Refused { layer, why, attempt: 1 })));
        }
    }

    /// It has a permit.
    fn granted(self: &Arc<Self>) {
        match &self.then {
            Then::Begin(operation) => self.begin(operation),
            Then::Hand => {
                let permit = self.limit.permit_granted(&self.host.clock, self.key(), self.held.clone());
                let was = std::mem::replace(&mut *self.state.lock(), State::Ended);
                if let State::Queued(done, ..) = was {
                    done.finish(Ok(Value::Other(Box::new(permit))));
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, operation: &Arc<dyn Operation>) {
        let mut state = self.state.lock();
        let done = match std::mem::replace(&mut *state, State::Ended) {
            State::Queued(done, ..) => done,
            was => {
                // Asked to end as its permit came.
                *state = was;
                drop(state);
                return self.limit.give_permit_back(self.name, &self.host.clock, self.key());
            }
        };
        let priority = done.priority;
        *state = State::Begun(done, Ask::Later);
        drop(state);
        let begun = Starter::begin(&self.host, operation.clone(), Done::new(self.clone(), 0).of(priority));
        let mut state = self.state.lock();
        match &mut *state {
            State::Begun(_, ask @ Ask::Later) => *ask = Ask::By(Box::new(begun)),
            State::Begun(..) => {
                drop(state);
                begun.abort();
            }
            _ => {}
        }
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        // Looked for under the lock: a number that was found out about is somebody else's a moment later, and no longer one to leave by.
        let found = match &mut *self.state.lock() {
            State::Queued(_, slot, noted) => {
                let found = slot.and_then(|number| self.limit.look(number, || Waker::from(self.clone())));
                if found.is_some() {
                    (*slot, *noted) = (None, None);
                }
                found
            }
            _ => None,
        };
        match found {
            Some(Ok(())) => self.granted(),
            Some(Err(why)) => self.refused(why),
            None => {}
        }
    }
}

impl Sink for Call {
    fn deliver(&self, _token: usize, outcome: Outcome) {
        let was = std::mem::replace(&mut *self.state.lock(), State::Ended);
        self.limit.give_permit_back(self.name, &self.host.clock, self.key());
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
    /// It waits for its runtime, or does what it has begun.
    fn doing(&self) -> Doing {
        match &*self.state.lock() {
            State::Queued(..) => Doing::Waiting(usize::MAX),
            State::Begun(_, Ask::By(begun)) => begun.doing(),
            _ => Doing::Running,
        }
    }

    fn abort(&self) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Ended) {
            State::Queued(done, number, noted) => {
                drop((state, noted));
                if let Some(number) = number {
                    self.limit.leave(self.name, number, &self.host.clock);
                }
                // Dropped, it answers with a cancel.
                drop(done);
            }
            State::Begun(done, ask) => {
                *state = State::Begun(done, Ask::Asked);
                drop(state);
                if let Ask::By(abort) = ask {
                    abort.abort();
                }
            }
            State::Ended => {}
        }
    }
}
