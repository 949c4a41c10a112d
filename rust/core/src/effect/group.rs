//! Native operations that run together: all of them (the first failure aborts the rest), or a race (the first success
//! does). The group answers when every child has ended, so that no child outlives it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sync::Mutex;

use super::begin::AT_ONCE;
use super::{Abort, Abortable, Deadline, Done, Host, Operation, Outcome, Sink};
use crate::error::Error;
use crate::time::{Clock, Ticks};
use crate::value::{Memory, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    All,
    Race,
}

/// Called for each child that had begun, with its index, its outcome and its duration in nanoseconds.
pub type Told = Arc<dyn Fn(usize, &Outcome, u64) + Send + Sync>;

/// Operations as one operation.
pub struct Group {
    pub children: Vec<Arc<dyn Operation>>,
    pub mode: Mode,
    pub told: Option<Told>,
}

struct Running {
    mode: Mode,
    left: AtomicUsize,
    decided: AtomicBool,
    /// One lock a child: children end on several workers at once.
    results: Vec<Mutex<Option<Outcome>>>,
    /// The index of the child that decided: the first failure of all, the first success of a race; `UNDECIDED` if none
    /// did.
    winner: AtomicUsize,
    aborts: Mutex<Vec<Abort>>,
    root: Arc<dyn Sink>,
    token: usize,
    told: Option<Told>,
    clock: Arc<Clock>,
    began: Ticks,
}

const UNDECIDED: usize = usize::MAX;

impl Operation for Group {
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        self.start_under(host, done, Deadline::NONE)
    }

    fn start_under(&self, host: &Arc<Host>, done: Done, over: Deadline) -> Abort {
        let n = self.children.len();
        if n == 0 {
            done.finish(Ok(Value::List(Vec::new())));
            return Abort::Never;
        }
        let priority = done.priority;
        let (root, token) = done.into_parts();
        let running = Arc::new(Running {
            mode: self.mode,
            // One more than the children, so that the group does not end before all have begun.
            left: AtomicUsize::new(n + 1),
            decided: AtomicBool::new(false),
            results: (0..n).map(|_| Mutex::new(None)).collect(),
            winner: AtomicUsize::new(UNDECIDED),
            aborts: Mutex::new(Vec::new()),
            root,
            token,
            told: self.told.clone(),
            clock: host.clock.clone(),
            began: host.clock.ticks(),
        });
        let (children, host_) = (self.children.clone(), host.clone());
        let mut beginning = Beginning { running: running.clone(), begun: 0 };
        // Children begin on a worker: what they spawn goes to that worker's own queue, at half the price of the shared
        // one.
        host.tokio.spawn(async move {
            for (i, child) in children.iter().enumerate() {
                if i % AT_ONCE == AT_ONCE - 1 {
                    tokio::task::yield_now().await;
                }
                let ours = &beginning.running;
                // From here on the child answers for itself.
                beginning.begun = i + 1;
                if ours.decided.load(Ordering::Acquire) {
                    ours.ended(i, Err(Error::Cancelled));
                    continue;
                }
                match catch_unwind(AssertUnwindSafe(|| child.start_under(&host_, Done::new(ours.clone(), i).of(priority), over)))
                {
                    Ok(Abort::Never) => {}
                    Ok(abort) => ours.aborts.lock().push(abort),
                    // The panic dropped its `Done`, which answered with a cancel: the panic replaces that answer.
                    Err(payload) => *ours.results[i].lock() = Some(Err(Error::panic(&*payload))),
                }
            }
        });
        Abort::Shared(running)
    }
}

/// The right to begin the children. Dropped with children left, as when the workers end, it counts these as ended.
struct Beginning {
    running: Arc<Running>,
    begun: usize,
}

impl Drop for Beginning {
    fn drop(&mut self) {
        let unbegun = self.running.results.len() - self.begun;
        if unbegun > 0 {
            self.running.decided.store(true, Ordering::Release);
        }
        if self.running.decided.load(Ordering::Acquire) {
            self.running.abort_all();
        }
        (0..=unbegun).for_each(|_| self.running.child_ended());
    }
}

impl Running {
    fn child_ended(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        self.aborts.lock().clear();
        let of = |result: &Mutex<Option<Outcome>>| result.lock().take().unwrap_or(Err(Error::Cancelled));
        let outcome = match (self.winner.load(Ordering::Acquire), self.mode) {
            (UNDECIDED, Mode::All) => all(self.results.iter().map(of)),
            // No child decided: the group was asked to end.
            (UNDECIDED, Mode::Race) => race(self.results.iter().map(of), self.decided.load(Ordering::Acquire)),
            (i, _) => of(&self.results[i]),
        };
        self.root.deliver(self.token, outcome);
    }

    fn abort_all(&self) {
        let aborts = std::mem::take(&mut *self.aborts.lock());
        aborts.iter().for_each(Abort::abort);
    }
}

/// The outcome of a group of all without a first failure: every value or, if the group was asked to end, a failure
/// before the cancels that it asked for.
fn all(outcomes: impl ExactSizeIterator<Item = Outcome>) -> Outcome {
    let (mut values, mut cancelled) = (Vec::with_capacity(outcomes.len()), false);
    for outcome in outcomes {
        match outcome {
            Ok(value) => values.push(value),
            Err(Error::Cancelled) => cancelled = true,
            Err(e) => return Err(e),
        }
    }
    if cancelled { Err(Error::Cancelled) } else { Ok(Value::List(values)) }
}

/// The outcome of a race without a first value. If the race was asked to end, a value that came all the same wins, and
/// a cancel among the failures makes the result a cancel, since the race did not run to its end.
fn race(outcomes: impl ExactSizeIterator<Item = Outcome>, asked: bool) -> Outcome {
    let mut failures = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        match outcome {
            Ok(value) => return Ok(value),
            Err(e) => failures.push(e),
        }
    }
    let cut_short = asked && failures.iter().any(|e| matches!(e, Error::Cancelled));
    Err(if cut_short { Error::Cancelled } else { Error::All(failures) })
}

impl Sink for Running {
    fn deliver(&self, i: usize, outcome: Outcome) {
        if let Some(told) = &self.told {
            told(i, &outcome, self.clock.took(self.began));
        }
        self.ended(i, outcome);
    }

    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        self.root.allocate(sizes, then);
    }

    fn on_host(&self, job: Box<dyn FnOnce() + Send>) {
        self.root.on_host(job);
    }
}

impl Running {
    fn ended(&self, i: usize, outcome: Outcome) {
        let decides = outcome.is_ok() == (self.mode == Mode::Race);
        let first = decides && !self.decided.swap(true, Ordering::AcqRel);
        *self.results[i].lock() = Some(outcome);
        if first {
            self.winner.store(i, Ordering::Release);
            self.abort_all();
        }
        self.child_ended();
    }
}

impl Abortable for Running {
    /// A cancel from outside: no child wins, every child is asked to end, and the group answers with a cancel.
    fn abort(&self) {
        if !self.decided.swap(true, Ordering::AcqRel) {
            self.abort_all();
        }
    }
}
