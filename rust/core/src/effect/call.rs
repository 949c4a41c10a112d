//! One call of an effect, as its layers share it: the leaf, the clock, the deadline over a layer, and a trace of the
//! call.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;

use crate::sync::Mutex;

use super::{Awaits, Begin, Fault, Holder, Leaf, Terms};
use crate::error::{Owner, Reason, Refused};
use crate::observe::{Event, Now, Observer, Times};
use crate::time::{Clock, Instant};

/// The earliest deadline over a point of the stack.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    pub owner: Owner,
}

impl Deadline {
    pub const NONE: Deadline = Deadline { at: Instant::NEVER, owner: Owner::None };

    #[must_use]
    pub fn earliest(self, other: Deadline) -> Self {
        if other.at < self.at { other } else { self }
    }
}

/// The events of a call so far. It outlives the layers, so that the report of the end can say how many attempts there
/// were.
pub struct Trace<E> {
    attempts: AtomicU32,
    /// The call's present state.
    pub now: Now,
    /// The place of the fallback that gave the value.
    stood_in: AtomicU32,
    /// The flights that the call waits for.
    pub awaits: Awaits,
    /// The last failure that was retried, with the place of the retry.
    last: Mutex<Option<Box<(usize, E)>>>,
}

/// No place in a stack.
const NONE: u32 = u32::MAX;

impl<E> Default for Trace<E> {
    fn default() -> Self {
        Trace {
            attempts: AtomicU32::new(0),
            now: Now::default(),
            stood_in: AtomicU32::new(NONE),
            awaits: Awaits::default(),
            last: Mutex::new(None),
        }
    }
}

impl<E> Trace<E> {
    /// How many calls of the leaf have begun.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Waits for what holds up an attempt before its leaf begins. The attempt counts while it is held up, and so if it
    /// never begins.
    pub async fn held_up(&self, by: impl Future<Output = ()>) {
        // Only the thread that polls the call writes it.
        self.attempts.store(self.attempts().saturating_add(1), Ordering::Relaxed);
        by.await;
        self.attempts.store(self.attempts() - 1, Ordering::Relaxed);
    }

    /// The place of the fallback that gave the value; `None` where the value is the leaf's own.
    pub fn stood_in(&self) -> Option<usize> {
        match self.stood_in.load(Ordering::Relaxed) {
            NONE => None,
            layer => Some(layer as usize),
        }
    }

    /// Keep which fallback gave the value.
    pub fn stand_in(&self, layer: Option<usize>) {
        self.stood_in.store(layer.map_or(NONE, |layer| layer as u32), Ordering::Relaxed);
    }

    /// Keep the failure that the retry at `layer` goes on from.
    pub fn failed(&self, layer: usize, e: E) {
        *self.last.lock() = Some(Box::new((layer, e)));
    }

    /// Take the last failure that a retry inside `owner` went on from.
    pub fn take_last(&self, owner: Owner) -> Option<E> {
        let mut last = self.last.lock();
        let inside = last.as_ref().is_some_and(|last| Owner::Layer(last.0).within(owner));
        if inside { last.take().map(|last| last.1) } else { None }
    }
}

/// The deadline, gates and permits around a point of the stack.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The earliest deadline.
    pub over: Deadline,
    pub gate: Option<&'a Gate<'a>>,
    /// The permits that the call holds.
    pub held: Option<&'a Holder<'a>>,
}

impl<'a> Around<'a> {
    /// Around a whole stack: a deadline, and the permits of the caller.
    pub fn call(terms: &'a Terms, over: Deadline) -> Self {
        Around { over, gate: None, held: terms.held.as_ref() }
    }

    /// Whether every gate around lets the call in; asked last, when all policies inside have let it in.
    pub fn admit(&self) -> Result<(), Refused> {
        std::iter::successors(self.gate, |gate| gate.out).try_for_each(|gate| (gate.admit)())
    }
}

/// Admits or refuses a call at the last moment: all policies inside have let it in, and the leaf is about to begin.
pub struct Gate<'a> {
    pub admit: &'a (dyn Fn() -> Result<(), Refused> + Send + Sync),
    /// The next one, further out.
    pub out: Option<&'a Gate<'a>>,
}

pub struct Call<'a, L: Leaf> {
    pub leaf: &'a L,
    pub clock: &'a Arc<Clock>,
    pub trace: &'a Trace<L::Err>,
    pub terms: &'a Terms,
    /// Hears of each event of the call.
    pub observer: Option<&'a dyn Observer>,
    /// When it was opened, if it is that of a stream, which begins with its first pull.
    pub opened: Option<Instant>,
    /// The time last read, 0 if the call has waited or the leaf has run since: layers that begin together read
    /// the clock once.
    now: AtomicU64,
}

impl<'a, L: Leaf> Call<'a, L> {
    pub fn new(leaf: &'a L, clock: &'a Arc<Clock>, trace: &'a Trace<L::Err>, terms: &'a Terms) -> Self {
        Call { leaf, clock, trace, terms, observer: None, opened: None, now: AtomicU64::new(0) }
    }

    #[must_use]
    pub fn observed(self, observer: Option<&'a dyn Observer>) -> Self {
        Call { observer, ..self }
    }

    /// The call is that of a stream, opened at that time.
    #[must_use]
    pub fn opened(self, opened: Option<Instant>) -> Self {
        Call { opened, ..self }
    }

    /// The call began at `now`: its first layers need not read the clock.
    #[must_use]
    pub fn began(self, now: Option<Instant>) -> Self {
        Call { now: AtomicU64::new(now.map_or(0, Instant::nanos)), ..self }
    }

    /// Note an event, and tell the observer.
    pub fn tell(&self, event: Event) {
        self.trace.now.told(event);
        if let Some(observer) = self.observer {
            observer.told(event, self.clock.now());
        }
    }

    /// The time at which the layers that are being entered begin.
    pub fn entered(&self) -> Instant {
        match self.now.load(Ordering::Relaxed) {
            0 => {
                let now = self.clock.now();
                self.now.store(now.nanos(), Ordering::Relaxed);
                now
            }
            n => Instant::from_nanos(n),
        }
    }

    /// Ask the inside of `whose` to end, be it the running leaf, flights, or both; the engine polls on until they have
    /// ended. False: there is nothing to wait for.
    pub fn stop(&self, whose: Owner) -> bool {
        let waits = self.trace.awaits.stop(whose);
        self.leaf.stop(whose) || waits
    }

    /// Whether inside `whose` the leaf or a flight that was asked to stop is still under way.
    pub fn stopping(&self, whose: Owner) -> bool {
        self.trace.awaits.leaves(whose) || self.leaf.active()
    }

    /// The refusal of the call by the policy at `layer`.
    pub fn refused(&self, layer: usize, why: Reason) -> Refused {
        self.tell(Event::Refused(layer));
        Refused { layer, why, attempt: self.trace.attempts().saturating_add(1) }
    }

    /// Wait for `what` before the inside of `layer` begins, and record in `times` how long. After a wait the clock is
    /// read afresh.
    pub fn wait<F: Future + Unpin>(&self, layer: usize, times: &Times, mut what: F) -> impl Future<Output = F::Output> {
        let mut since = None;
        poll_fn(move |cx| {
            let polled = Pin::new(&mut what).poll(cx);
            match (polled.is_pending(), since) {
                (true, None) => {
                    since = Some(self.now());
                    self.tell(Event::Waits(layer));
                }
                (true, Some(_)) => self.now.store(0, Ordering::Relaxed),
                (false, None) => {}
                (false, Some(since)) => {
                    times.record(self.now().since(since).as_nanos() as u64);
                    self.tell(Event::Waited(layer));
                }
            }
            polled
        })
    }

    /// Count an attempt: the leaf begins for this call, or the call joins a flight.
    pub fn attempt(&self) {
        let attempt = self.one_more();
        self.tell(Event::Attempt(attempt));
    }

    /// Count an attempt that the hedge at `layer` begins beside another. Its number.
    pub fn hedged(&self, layer: usize) -> u32 {
        let attempt = self.one_more();
        self.tell(Event::Hedged(layer, attempt));
        attempt
    }

    fn one_more(&self) -> u32 {
        self.now.store(0, Ordering::Relaxed);
        // Only the thread that polls the call writes it.
        let attempt = self.trace.attempts() + 1;
        self.trace.attempts.store(attempt, Ordering::Relaxed);
        attempt
    }

    /// The time, read afresh.
    pub fn now(&self) -> Instant {
        self.now.store(0, Ordering::Relaxed);
        self.clock.now()
    }
}

/// Begin the leaf, if the gates around let it, and follow it to its end.
pub fn call_leaf<'a, L: Leaf>(
    call: &'a Call<'a, L>,
    around: Around<'a>,
) -> impl Future<Output = Result<L::Ok, L::Err>> + Send + Unpin + 'a {
    let mut begin = true;
    poll_fn(move |cx| {
        let begin = std::mem::replace(&mut begin, false);
        if begin {
            if let Err(refused) = around.admit() {
                return Poll::Ready(Err(L::Err::refused(refused)));
            }
            call.attempt();
        }
        call.leaf.poll(begin.then_some(Begin::Call(&around)), cx)
    })
}

/// Run the fallback whose fault [`Leaf::instead`] stored, and follow it to its end.
pub fn call_instead<'a, L: Leaf>(
    call: &'a Call<'a, L>,
    around: Around<'a>,
) -> impl Future<Output = Result<L::Ok, L::Err>> + Send + 'a {
    let mut begin = true;
    poll_fn(move |cx| {
        let begin = std::mem::replace(&mut begin, false);
        call.leaf.poll(begin.then_some(Begin::Instead(&around)), cx)
    })
}
