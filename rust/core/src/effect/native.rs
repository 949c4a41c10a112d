//! A native operation as a leaf, for the engine that runs on tokio: its outcome lands in an answer, which wakes the
//! engine. It has no fallbacks: a policy whose values are the host's runs over the host's own leaf.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;

use super::{Abort, Begin, Class, Course, Done, Fault, Flights, GaveUp, Host, Leaf, Operation, Outcome, Sink, Verdict};
use crate::error::{Error, OsError, Owner, Refused, TimedOut};
use crate::schedule::Priority;
use crate::value::{Memory, Value};

/// The native failures that a policy acts on.
#[derive(Clone, Debug)]
pub enum NativeOn {
    /// Every OS error.
    All,
    /// By errno.
    Errnos(Vec<i32>),
    /// As a provider judges its own failures. A timeout counts where the operation may run again.
    Judged(Judge),
}

/// The verdict on a failure, whatever the call.
pub type Judge = fn(&Error) -> Verdict;

/// Hears how retries go on: the place of the retry, the number of the failed attempt, the course, and the failure.
pub type Retries = Arc<dyn Fn(usize, u32, Course, &Error) + Send + Sync>;

pub struct NativeLeaf {
    operation: Arc<dyn Operation>,
    host: Arc<Host>,
    answer: Arc<Answer>,
    on: Vec<NativeOn>,
    priority: Priority,
    /// `None` where no log or watch hears of retries.
    retries: Option<Retries>,
    flights: Option<Box<dyn Flights<Ok = Value, Err = Error>>>,
}

struct Answer {
    state: Mutex<State>,
    /// Allocates the buffers.
    root: Arc<dyn Sink>,
}

#[derive(Default)]
struct State {
    running: bool,
    /// No further call may begin.
    ended: bool,
    abort: Option<Abort>,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

impl Sink for Answer {
    fn deliver(&self, _token: usize, outcome: Outcome) {
        let waker = {
            let mut state = self.state.lock();
            state.outcome = Some(outcome);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        self.root.allocate(sizes, then);
    }

    fn on_host(&self, job: Box<dyn FnOnce() + Send>) {
        self.root.on_host(job);
    }
}

impl NativeLeaf {
    /// `on` holds, for each layer of the stack, what a retry standing there goes on from.
    pub fn new(
        operation: Arc<dyn Operation>,
        host: Arc<Host>,
        root: Arc<dyn Sink>,
        on: Vec<NativeOn>,
        priority: Priority,
        retries: Option<Retries>,
    ) -> Self {
        let answer = Arc::new(Answer { state: Mutex::default(), root });
        NativeLeaf { operation, host, answer, on, priority, retries, flights: None }
    }

    #[must_use]
    pub fn flying(mut self, flights: Box<dyn Flights<Ok = Value, Err = Error>>) -> Self {
        self.flights = Some(flights);
        self
    }

    /// Begin no further call, and ask a running one to end.
    pub fn end(&self) {
        self.answer.state.lock().ended = true;
        self.abort();
    }

    /// False: no call is running.
    fn abort(&self) -> bool {
        let mut state = self.answer.state.lock();
        if !state.running {
            return false;
        }
        let abort = state.abort.take();
        drop(state);
        if let Some(abort) = abort {
            abort.abort();
        }
        true
    }
}

impl Leaf for NativeLeaf {
    type Ok = Value;
    type Err = Error;

    fn poll(&self, begin: Option<Begin<'_>>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Some(Begin::Call(around) | Begin::Instead(around)) = begin {
            {
                let mut state = self.answer.state.lock();
                if state.ended {
                    return Poll::Ready(Err(Error::Cancelled));
                }
                (state.running, state.waker) = (true, Some(cx.waker().clone()));
            }
            let done = Done::new(self.answer.clone(), 0).of(self.priority);
            let abort = self.operation.start_under(&self.host, done, around.over);
            self.answer.state.lock().abort = Some(abort);
        }
        let mut state = self.answer.state.lock();
        if let Some(outcome) = state.outcome.take() {
            (state.running, state.abort, state.waker) = (false, None, None);
            Poll::Ready(outcome)
        } else {
            let old = state.waker.replace(cx.waker().clone());
            drop(state);
            drop(old);
            Poll::Pending
        }
    }

    fn stop(&self, _whose: Owner) -> bool {
        self.abort()
    }

    fn active(&self) -> bool {
        self.answer.state.lock().running
    }

    fn is_ending(&self) -> bool {
        let state = self.answer.state.lock();
        state.ended || (state.running && state.abort.is_none())
    }

    fn verdict(&self, layer: usize, fault: &mut Error) -> Result<Verdict, Error> {
        let yes = match (self.on.get(layer), fault.itself()) {
            (Some(NativeOn::Judged(_)), Error::TimedOut(t)) => t.owner.inside(layer) && self.operation.may_repeat(),
            (Some(NativeOn::Judged(judge)), e) => return Ok(judge(e)),
            (_, Error::TimedOut(t)) => t.owner.inside(layer),
            (Some(on), e) => on.names(e),
            (None, e) => NativeOn::All.names(e),
        };
        Ok(if yes { Verdict::Yes } else { Verdict::No })
    }

    fn retried(&self, layer: usize, attempt: u32, course: Course, fault: &mut Error) {
        if let Some(heard) = &self.retries {
            heard(layer, attempt, course, fault);
        }
        if let Course::GivesUp(GaveUp::TooLate(misfit)) = course {
            let failed = std::mem::replace(fault, Error::Cancelled);
            *fault = Error::GaveUp(Box::new((misfit, failed)));
        }
    }

    fn injected(&self, layer: usize, errno: Option<i32>) -> Error {
        // One that only the host can make keeps an effect from running natively.
        const EIO: i32 = 5;
        let failed = OsError { errno: errno.unwrap_or(EIO), path: None, path2: None, advice: None };
        Error::Injected(layer, Box::new(Error::Os(Box::new(failed))))
    }

    fn names(&self, layer: usize, fault: &mut Error) -> bool {
        match self.on.get(layer) {
            Some(NativeOn::All) => true,
            on => on.unwrap_or(&NativeOn::All).names(fault),
        }
    }

    fn flights(&self) -> Option<&dyn Flights<Ok = Value, Err = Error>> {
        self.flights.as_deref()
    }
}

impl NativeOn {
    /// Whether it names a failure. A timeout of a call inside, which had a stack of its own, is an OS error with
    /// ETIMEDOUT, as in Python.
    fn names(&self, e: &Error) -> bool {
        const ETIMEDOUT: i32 = if cfg!(target_os = "linux") { 110 } else { 60 };
        let has = |errno: i32| match self {
            NativeOn::All => true,
            NativeOn::Errnos(on) => on.contains(&errno),
            NativeOn::Judged(_) => false,
        };
        match (self, e) {
            (NativeOn::Judged(judge), e) => judge(e) != Verdict::No,
            (_, Error::Os(e)) => has(e.errno),
            (_, Error::TimedOut(_)) => has(ETIMEDOUT),
            (_, Error::Other(e)) => e.errno().is_some_and(has),
            (_, Error::Attempted(_, e) | Error::Of(_, e) | Error::Under(_, e) | Error::Within(_, e) | Error::Injected(_, e)) => {
                self.names(e)
            }
            (_, Error::GaveUp(gave_up)) => self.names(&gave_up.1),
            (_, Error::Beside(all)) => self.names(&all.0),
            _ => false,
        }
    }
}

impl Drop for NativeLeaf {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Fault for Error {
    fn timed_out(t: TimedOut<Self>) -> Self {
        Error::TimedOut(Box::new(t))
    }

    fn refused(r: Refused) -> Self {
        Error::Refused(r)
    }

    fn stopped() -> Self {
        Error::Cancelled
    }

    fn class(&self) -> Class {
        match self.itself() {
            Error::Cancelled => Class::Stopped,
            Error::TimedOut(t) => Class::TimedOut(t.owner),
            Error::Refused(r) => Class::Refused(Some(r.layer)),
            Error::Panic(_) => Class::Passes,
            // From a call inside, with a stack of its own: its layers are not layers of this stack.
            Error::Attempted(_, e) | Error::Of(_, e) | Error::Under(_, e) | Error::Within(_, e) => match e.class() {
                Class::TimedOut(_) => Class::Failure,
                Class::Refused(_) => Class::Refused(None),
                class => class,
            },
            _ => Class::Failure,
        }
    }
}
