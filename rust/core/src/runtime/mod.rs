//! The native engine on tokio: an operation with its stack is one task, however many steps it takes; only its outcome
//! crosses to Python.

mod flights;
mod queued;

pub use queued::{Gate, Queued, Then};

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

use crate::sync::Mutex;

use self::flights::NativeFlights;
use crate::effect::{
    Abort, Abortable, Call, Deadline, Done, Host, Leaf, NativeLeaf, NativeOn, Operation, Outcome, Retries, Terms, Trace,
};
use crate::error::{Error, Origin, Owner};
use crate::observe::{Count, Doing, Observer, Tally};
use crate::policy::{self, Layer};

/// A native operation with its policies. It is an operation itself, so effects nest.
pub struct Program {
    pub operation: Arc<dyn Operation>,
    pub stack: Arc<[Layer]>,
    /// For each layer that is a retry, the errors on which it calls again.
    pub on: Arc<[NativeOn]>,
    pub inherited: Deadline,
    /// Whether the program itself acts on the inherited deadline.
    pub watched: bool,
    /// Read on the caller's thread.
    pub terms: Arc<Terms>,
    pub tally: Option<Arc<Tally>>,
    /// The observer of the call.
    pub observer: Option<Arc<dyn Observer>>,
    /// The observer of its retries.
    pub retries: Option<Retries>,
    /// Names the call in its failures when it runs inside another call.
    pub origin: Option<Origin>,
    /// Names the source of the inherited deadline.
    pub limit: Option<Origin>,
}

impl Operation for Program {
    fn wants_a_worker(&self) -> bool {
        (!self.is_bare() && self.operation.home().is_none()) || self.operation.wants_a_worker()
    }

    fn home(&self) -> Option<&'static Handle> {
        self.operation.home()
    }

    fn may_repeat(&self) -> bool {
        self.operation.may_repeat()
    }

    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        self.start_under(host, done, Deadline::NONE)
    }

    fn start_under(&self, host: &Arc<Host>, done: Done, over: Deadline) -> Abort {
        if self.is_bare() {
            return self.operation.start_under(host, done, over);
        }
        let root = done.sink();
        let (operation, on, retries) = (self.operation.clone(), self.on.to_vec(), self.retries.clone());
        let mut leaf = NativeLeaf::new(operation, host.clone(), root, on, done.priority, retries);
        if self.stack.iter().any(Layer::flies) {
            leaf = leaf.flying(Box::new(self.flights(host, &done)));
        }
        let leaf = Arc::new(leaf);
        let cancel = Arc::new(Cancel {
            leaf: leaf.clone(),
            trace: Trace::default(),
            asked: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        // The caller acts on the deadline over this call.
        let within = (over.at < self.inherited.at).then_some(over.owner);
        let watch = (self.watched && self.inherited.owner == Owner::Inherited).then_some(self.inherited.at);
        let inherited = if within.is_some() { Deadline { at: over.at, owner: Owner::Inherited } } else { self.inherited };
        let (stack, clock, ours) = (self.stack.clone(), host.clock.clone(), cancel.clone());
        let (terms, tally, observer) = (self.terms.clone(), self.tally.clone(), self.observer.clone());
        let (origin, limit) = (self.origin.clone(), self.limit.clone());
        let engine = async move {
            let trace = &ours.trace;
            let outcome = {
                let call = Call::new(&*leaf, &clock, trace, &terms).observed(observer.as_deref());
                until_cancelled(Box::pin(policy::run(&call, &stack, inherited, watch)), &ours).await
            };
            if let Some(tally) = tally {
                tally.add(Count::Retried, u64::from(trace.attempts().saturating_sub(1)));
            }
            outcome.map_err(|e| match e {
                Error::Cancelled => e,
                e => {
                    let attempts = trace.attempts();
                    let e = if attempts > 1 { Error::Attempted(attempts, Box::new(e)) } else { e };
                    let e = match origin {
                        Some(origin) => Error::Of(origin, Box::new(e)),
                        None => e,
                    };
                    match (within, limit) {
                        (Some(owner), _) => Error::Within(owner, Box::new(e)),
                        (None, Some(limit)) => Error::Under(limit, Box::new(e)),
                        (None, None) => e,
                    }
                }
            })
        };
        let tokio = self.operation.home().unwrap_or(&host.tokio);
        if self.stack.iter().any(Layer::queues) {
            begin_on(tokio, done, engine);
        } else {
            tokio.spawn(async move { done.finish(Contained(engine).await) });
        }
        Abort::Shared(cancel)
    }
}

impl Program {
    /// The operation without policies, under a deadline on which its caller acts.
    pub fn passing(operation: Arc<dyn Operation>, over: Deadline) -> Self {
        Program {
            operation,
            stack: Arc::default(),
            on: Arc::default(),
            inherited: over,
            watched: false,
            terms: Arc::default(),
            tally: None,
            observer: None,
            retries: None,
            origin: None,
            limit: None,
        }
    }

    fn flights(&self, host: &Arc<Host>, done: &Done) -> NativeFlights {
        NativeFlights {
            operation: self.operation.clone(),
            host: host.clone(),
            root: done.sink(),
            on: self.on.clone(),
            priority: done.priority,
            retries: self.retries.clone(),
            stack: self.stack.clone(),
            terms: self.terms.clone(),
            tally: self.tally.clone(),
        }
    }

    fn is_bare(&self) -> bool {
        self.stack.is_empty() && self.inherited.owner == Owner::None
    }
}

/// A cancel from outside: it asks the leaf to stop, wakes the engine, and is answered when the leaf has ended.
struct Cancel {
    leaf: Arc<NativeLeaf>,
    trace: Trace<Error>,
    asked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Abortable for Cancel {
    fn abort(&self) {
        self.asked.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn doing(&self) -> Doing {
        self.trace.now.doing()
    }
}

async fn until_cancelled(engine: impl Future<Output = Outcome> + Send, cancel: &Cancel) -> Outcome {
    let mut engine = std::pin::pin!(engine);
    poll_fn(|cx| {
        *cancel.waker.lock() = Some(cx.waker().clone());
        if !cancel.asked.load(Ordering::SeqCst) {
            return engine.as_mut().poll(cx);
        }
        // Asked to end: no further attempt begins. The running call and the flights are asked to stop, and awaited.
        cancel.leaf.end();
        let awaits = &cancel.trace.awaits;
        awaits.cancel();
        match engine.as_mut().poll(cx) {
            // Checked after the poll: a call that has just failed may have begun a backoff, which is not waited for.
            Poll::Pending if !cancel.leaf.active() && awaits.has_ended() => Poll::Ready(Err(Error::Cancelled)),
            poll => poll,
        }
    })
    .await
}

/// Contains panics: they end the call, not the worker. Written by hand, since an `async fn` would have room for the
/// engine twice, as it is given and as it is pinned.
struct Contained<F>(F);

impl<F: Future<Output = Outcome>> Future for Contained<F> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        // SAFETY: the engine is pinned as long as this is: it is never moved out.
        let engine = unsafe { self.map_unchecked_mut(|me| &mut me.0) };
        match catch_unwind(AssertUnwindSafe(|| engine.poll(cx))) {
            Ok(poll) => poll,
            Err(payload) => {
                let panic = Error::panic(&*payload);
                tracing::error!(target: "effect", "native work panicked, which is a bug: {panic:?}");
                Poll::Ready(Err(panic))
            }
        }
    }
}

/// Runs a future on tokio as an operation's whole body: aborting drops it, and a panic is an outcome.
pub fn spawn(host: &Arc<Host>, done: Done, body: impl Future<Output = Outcome> + Send + 'static) -> Abort {
    let task = host.tokio.spawn(async move { done.finish(Contained(body).await) });
    Abort::Task(task.abort_handle())
}

/// Like [`spawn`], but takes the first step here and now: calls that queue for a permit in it do so in the order in
/// which they begin, whichever worker takes the rest.
pub fn begin(host: &Arc<Host>, done: Done, body: impl Future<Output = Outcome> + Send + 'static) -> Abort {
    begin_on(&host.tokio, done, body)
}

fn begin_on(tokio: &Handle, done: Done, body: impl Future<Output = Outcome> + Send + 'static) -> Abort {
    let mut body = Box::pin(Contained(body));
    // Polled with a waker that does nothing: the task polls again.
    if let Poll::Ready(outcome) = body.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        done.finish(outcome);
        return Abort::Never;
    }
    let task = tokio.spawn(async move { done.finish(body.await) });
    Abort::Task(task.abort_handle())
}
