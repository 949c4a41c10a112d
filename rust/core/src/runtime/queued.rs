//! Native calls that wait for a permit, to begin under it or to pass it on as their value: no task, no thread, one
//! allocation each.
//!
//! A call is its own waker. When it is handed a permit it goes to the starter, and the consuming worker begins it; when
//! it has ended, its permit goes to the next one. So a chain of calls that end at once is a loop of the starter's, not
//! a recursion.
//!
//! A million of them may wait: a call is 80 bytes with its counts, and fields that only some calls need are in a box.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::effect::{Abort, Abortable, Done, Holder, Host, Operation, Outcome, PermitContext, Sink, Starter, Use};
use crate::error::{Error, Reason, Refused};
use crate::observe::Doing;
use crate::policy::limit::{Limit, Noted, Queue};
use crate::schedule::Priority;
use crate::sync::{Mutex, MutexGuard};
use crate::value::{Memory, Value};

/// A limit, and where calls that get its permits begin: shared by the calls that wait for it.
pub struct Gate {
    limit: Arc<Limit>,
    /// The limit's name when the gate was made.
    name: usize,
    host: Arc<Host>,
}

impl Gate {
    pub fn new(limit: Arc<Limit>, host: Arc<Host>) -> Arc<Self> {
        Arc::new(Gate { name: limit.name(), limit, host })
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Begins `operation` under a permit. The caller runs under `held`, and waits for it.
    pub fn begin(self: &Arc<Self>, operation: Arc<dyn Operation>, held: Option<Arc<PermitContext>>, done: Done) -> Abort {
        let priority = done.priority;
        Call::queue(self.clone(), priority, Next::new(Then::Begin(operation), held), done)
    }
}

/// An operation that waits for a permit of `limit`.
pub struct Queued {
    pub limit: Arc<Limit>,
    pub priority: Priority,
    /// The permits under which the waiting caller runs.
    pub held: Option<Arc<PermitContext>>,
    pub then: Then,
}

/// The use of a permit.
#[derive(Clone)]
pub enum Then {
    /// Begins the operation under the permit, which is given back at its end.
    Begin(Arc<dyn Operation>),
    /// Answers with the permit itself: one of that key, where the limit has keys.
    Hand(Option<Use>),
}

impl Operation for Queued {
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        let gate = Gate::new(self.limit.clone(), host.clone());
        Call::queue(gate, self.priority, Next::new(self.then.clone(), self.held.clone()), done)
    }
}

struct Call {
    gate: Arc<Gate>,
    state: Mutex<State>,
}

enum State {
    /// Waits; the answer has the call's number in the limit's queue.
    Queued(Done, Next),
    /// Has a permit. In a box, since many more wait than have begun.
    Begun(Box<Begun>),
    Ended,
}

/// The answer, and how to ask the begun operation to end.
struct Begun(Done, Ask);

/// The step that follows the permit.
enum Next {
    /// Begins the operation, for a caller without permits.
    Begin(Arc<dyn Operation>),
    More(Box<More>),
}

struct More {
    then: Then,
    held: Option<Arc<PermitContext>>,
    /// The note of this wait in the submitted work around it.
    noted: Option<Noted>,
}

enum Ask {
    /// Not known yet: the operation is about to begin.
    Later,
    By(Abort),
    /// It was asked to end, or will be as soon as possible.
    Asked,
}

impl Next {
    fn new(then: Then, held: Option<Arc<PermitContext>>) -> Self {
        match (then, held) {
            (Then::Begin(operation), None) => Next::Begin(operation),
            (then, held) => Next::More(Box::new(More { then, held, noted: None })),
        }
    }

    fn key(&self) -> u32 {
        match self {
            Next::More(more) => more.then.key(),
            Next::Begin(_) => 0,
        }
    }

    fn held(&self) -> Option<&Arc<PermitContext>> {
        match self {
            Next::More(more) => more.held.as_ref(),
            Next::Begin(_) => None,
        }
    }

    /// Ends the wait.
    fn into_parts(self) -> (Then, Option<Arc<PermitContext>>) {
        match self {
            Next::Begin(operation) => (Then::Begin(operation), None),
            Next::More(more) => (more.then, more.held),
        }
    }
}

impl Then {
    fn key(&self) -> u32 {
        match self {
            Then::Hand(key) => key.as_ref().map_or(0, Use::number),
            Then::Begin(_) => 0,
        }
    }

    fn refused(&self, done: Done, why: Reason) {
        // A runtime's limit is not one of the effect's policies.
        let layer = if let Then::Hand(_) = self { 0 } else { usize::MAX };
        done.finish(Err(Error::Refused(Refused { layer, why, attempt: 1 })));
    }
}

impl Call {
    fn queue(gate: Arc<Gate>, priority: Priority, next: Next, mut done: Done) -> Abort {
        let call = Arc::new(Call { gate, state: Mutex::new(State::Ended) });
        let limit = &call.gate.limit;
        let held = next.held().cloned();
        let holder = held.clone().map(Holder::from);
        // Locked while it asks: a permit may be handed over before its number is noted.
        let mut state = call.state.lock();
        match limit.queue(next.key(), priority, holder.as_ref(), || Waker::from(call.clone())) {
            Queue::Wait(number) => {
                done.number = number;
                *state = State::Queued(done, next);
                drop(state);
                if let Some(held) = held {
                    call.note(number, &held);
                }
            }
            Queue::Go => call.go_on(state, done, next),
            Queue::Refused(why) => {
                drop(state);
                next.into_parts().0.refused(done, why);
            }
        }
        Abort::Shared(call)
    }

    /// Notes the wait. Without the state's lock: the call may be refused at once.
    fn note(&self, number: u32, held: &Arc<PermitContext>) {
        let noted = self.gate.limit.note_wait(number, Some(held));
        if let (Some(noted), State::Queued(_, Next::More(more))) = (noted, &mut *self.state.lock()) {
            more.noted = Some(noted);
        }
    }

    fn give_back(&self) {
        self.gate.limit.give_permit_back(self.gate.name, &self.gate.host.clock, 0);
    }

    /// The call has a permit; the caller passes its locked state.
    fn go_on(self: &Arc<Self>, mut state: MutexGuard<'_, State>, done: Done, next: Next) {
        let (then, held) = next.into_parts();
        let key = then.key();
        match then {
            Then::Begin(operation) => {
                let priority = done.priority;
                *state = State::Begun(Box::new(Begun(done, Ask::Later)));
                drop(state);
                let done = Done::new(self.clone(), 0).of(priority);
                let begun = Starter::begin(&self.gate.host, operation, done);
                let mut state = self.state.lock();
                let State::Begun(answer) = &mut *state else { return };
                if let Ask::Later = answer.1 {
                    answer.1 = Ask::By(begun);
                } else {
                    drop(state);
                    begun.abort();
                }
            }
            Then::Hand(_used) => {
                drop(state);
                let permit = self.gate.limit.permit_granted(&self.gate.host.clock, key, held);
                done.finish(Ok(Value::Other(Box::new(permit))));
            }
        }
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Ended) {
            // Looked up under the lock: once an outcome was taken the number may be another call's, and must not be
            // left by.
            State::Queued(done, next) => match self.gate.limit.look(done.number, || Waker::from(self.clone())) {
                Some(Ok(())) => self.go_on(state, done, next),
                Some(Err(why)) => {
                    drop(state);
                    next.into_parts().0.refused(done, why);
                }
                None => *state = State::Queued(done, next),
            },
            was => *state = was,
        }
    }
}

impl Sink for Call {
    fn deliver(&self, _token: usize, outcome: Outcome) {
        let was = std::mem::replace(&mut *self.state.lock(), State::Ended);
        self.give_back();
        if let State::Begun(begun) = was {
            begun.0.finish(outcome);
        }
    }

    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        if let Some(root) = self.root() {
            root.allocate(sizes, then);
        }
    }

    fn on_host(&self, job: Box<dyn FnOnce() + Send>) {
        if let Some(root) = self.root() {
            root.on_host(job);
        }
    }
}

impl Call {
    /// The receiver of the outcome, once the operation has begun.
    fn root(&self) -> Option<Arc<dyn Sink>> {
        match &*self.state.lock() {
            State::Begun(begun) => Some(begun.0.sink()),
            _ => None,
        }
    }
}

impl Abortable for Call {
    /// Waits for its runtime, or does what the begun operation does.
    fn doing(&self) -> Doing {
        match &*self.state.lock() {
            State::Queued(..) => Doing::Waiting(usize::MAX),
            State::Begun(begun) => match &begun.1 {
                Ask::By(abort) => abort.doing(),
                _ => Doing::Running,
            },
            State::Ended => Doing::Running,
        }
    }

    fn abort(&self) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Ended) {
            State::Queued(done, next) => {
                drop(state);
                let used = next.into_parts();
                self.gate.limit.leave(self.gate.name, done.number, &self.gate.host.clock);
                // Dropping the `Done` answers with a cancel.
                drop((done, used));
            }
            State::Begun(mut begun) => {
                let ask = std::mem::replace(&mut begun.1, Ask::Asked);
                *state = State::Begun(begun);
                drop(state);
                if let Ask::By(abort) = ask {
                    abort.abort();
                }
            }
            State::Ended => {}
        }
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    /// 64 bytes and the two counts are one size class of the allocator; one word more, and a call takes 96.
    #[test]
    fn one_that_waits_is_small() {
        assert_eq!(size_of::<Call>(), 64);
    }
}
