//! A limiter that callers share, on any thread: one timer wakes the waiters, however many there are.
//!
//! A turn that has come is an offer until its caller looks: the call starts then, and its start counts from that
//! moment; dropped before, it gives the offer back. Wakers are called without the lock.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{Answer, Limiter, Offer, Settings, Ticket, Turn};
use crate::observe::Times;
use crate::schedule::Priority;
use crate::sync::Mutex;
use crate::time::{Clock, Instant, Key};

pub struct Rate {
    state: Mutex<State>,
    /// The waits of calls that had to wait.
    pub waits: Times,
}

struct State {
    limiter: Limiter,
    /// `n` and `per`.
    settings: (f64, Duration),
    waiting: HashMap<Ticket, Waiting>,
    /// The timer, while calls wait: its clock and its time. It may be early, never late.
    armed: Option<(Arc<Clock>, Instant, Key)>,
}

enum Waiting {
    Asleep(Waker),
    Ended(Result<Offer, Duration>),
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rate")
    }
}

impl Rate {
    pub fn new(settings: &Settings) -> Arc<Self> {
        let state =
            State { limiter: Limiter::new(settings), settings: (settings.n, settings.per), waiting: HashMap::new(), armed: None };
        Arc::new(Rate { state: Mutex::new(state), waits: Times::default() })
    }

    /// Waits for a turn. A call whose turn cannot come by `until` is refused at once, with the time after which there
    /// may be room.
    pub fn acquire<'a>(
        self: &'a Arc<Self>,
        clock: &'a Arc<Clock>,
        key: u32,
        priority: Priority,
        cost: f64,
        until: Instant,
    ) -> Acquire<'a> {
        Acquire { rate: self, clock, key, priority, cost, until, ticket: None }
    }

    /// Changes the limiter's state, then lets the calls go whose turn has come.
    fn change(self: &Arc<Self>, clock: &Arc<Clock>, change: impl FnOnce(&mut Limiter, Instant, &mut Vec<Turn>)) {
        let now = clock.now();
        let mut turns = Vec::new();
        let mut state = self.state.lock();
        change(&mut state.limiter, now, &mut turns);
        let woken = state.settle(turns);
        self.arm(&mut state, clock);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Corrects what a call cost, after the fact.
    pub fn charge(self: &Arc<Self>, clock: &Arc<Clock>, key: u32, cost: f64) {
        self.change(clock, |limiter, now, _| limiter.charge(key, cost, now));
    }

    /// Starts nothing for that long.
    pub fn pause(self: &Arc<Self>, clock: &Arc<Clock>, key: u32, time: Duration) {
        self.change(clock, |limiter, now, _| limiter.pause(key, now.after(time)));
    }

    /// Changes the limits from now on.
    pub fn set(self: &Arc<Self>, clock: &Arc<Clock>, n: f64, per: Duration) {
        self.state.lock().settings = (n, per);
        self.change(clock, |limiter, now, turns| limiter.change(n, per, now, turns));
    }

    pub fn settings(&self) -> (f64, Duration) {
        self.state.lock().settings
    }

    pub fn waiting(&self) -> usize {
        self.state.lock().limiter.waiting()
    }

    /// Calls `read` with the keys that are not forgotten: a number, and how many wait.
    pub fn by_key<T>(&self, read: impl FnOnce(&mut dyn Iterator<Item = (u32, usize)>) -> T) -> T {
        read(&mut self.state.lock().limiter.by_key())
    }

    /// In the child of a fork, before anything else runs there: drops the waits, none of which continues here. The
    /// wakers are leaked, as they may not run here.
    pub fn forget_parent(&self) {
        let mut state = self.state.lock();
        std::mem::forget(std::mem::take(&mut state.waiting));
        std::mem::forget(state.armed.take());
        state.limiter.forget_waiters();
    }

    /// Whether the key is at rest; if so, drops its state.
    pub fn rest(&self, key: u32, now: Instant) -> bool {
        let mut state = self.state.lock();
        let idle = state.limiter.is_idle(key, now);
        if idle {
            state.limiter.forget(key);
        }
        idle
    }

    fn arm(self: &Arc<Self>, state: &mut State, clock: &Arc<Clock>) {
        let next = state.limiter.next();
        if let Some((on, at, key)) = &state.armed {
            // In the child of a fork the clock is another one, and the parent's never fires.
            if Arc::ptr_eq(on, clock) && *at <= next && next != Instant::NEVER {
                return;
            }
            on.disarm(*key);
            state.armed = None;
        }
        if next != Instant::NEVER {
            let key = clock.arm(next, Waker::from(self.clone()));
            state.armed = Some((clock.clone(), next, key));
        }
    }

    fn leave(self: &Arc<Self>, clock: &Arc<Clock>, ticket: Ticket) {
        let now = clock.now();
        let mut state = self.state.lock();
        match state.waiting.remove(&ticket) {
            Some(Waiting::Ended(Ok(offer))) => state.limiter.withdraw(offer, now),
            Some(Waiting::Ended(Err(_))) => {}
            Some(Waiting::Asleep(_)) | None => state.limiter.leave(ticket),
        }
        self.arm(&mut state, clock);
    }
}

impl State {
    /// The wakers of the calls whose turn has come.
    fn settle(&mut self, turns: Vec<Turn>) -> Vec<Waker> {
        let mut woken = Vec::with_capacity(turns.len());
        for (ticket, end) in turns {
            if let Some(Waiting::Asleep(waker)) = self.waiting.insert(ticket, Waiting::Ended(end)) {
                woken.push(waker);
            }
        }
        woken
    }
}

/// The timer.
impl Wake for Rate {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.lock();
        let Some((clock, ..)) = state.armed.take() else { return };
        let mut turns = Vec::new();
        state.limiter.due(clock.now(), &mut turns);
        let woken = state.settle(turns);
        self.arm(&mut state, &clock);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

pub struct Acquire<'a> {
    rate: &'a Arc<Rate>,
    clock: &'a Arc<Clock>,
    key: u32,
    priority: Priority,
    cost: f64,
    until: Instant,
    ticket: Option<Ticket>,
}

impl Future for Acquire<'_> {
    type Output = Result<(), Duration>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = &mut *self;
        let now = me.clock.now();
        let mut guard = me.rate.state.lock();
        let state = &mut *guard;
        let end = if let Some(ticket) = me.ticket {
            match state.waiting.get_mut(&ticket) {
                Some(Waiting::Asleep(waker)) => {
                    let old = std::mem::replace(waker, cx.waker().clone());
                    drop(guard);
                    drop(old);
                    return Poll::Pending;
                }
                _ => match state.waiting.remove(&ticket) {
                    Some(Waiting::Ended(end)) => end,
                    _ => return Poll::Pending,
                },
            }
        } else {
            match state.limiter.ask(me.key, me.priority, me.cost, now, me.until) {
                Answer::Go(offer) => Ok(offer),
                Answer::Refused { retry_after } => Err(retry_after),
                Answer::Wait(ticket) => {
                    me.ticket = Some(ticket);
                    state.waiting.insert(ticket, Waiting::Asleep(cx.waker().clone()));
                    me.rate.arm(state, me.clock);
                    return Poll::Pending;
                }
            }
        };
        let waited = me.ticket.take().is_some();
        let end = end.map(|offer| state.limiter.started(offer, now));
        // A call that did not wait has none before it: the times of others are no earlier now.
        if waited {
            me.rate.arm(state, me.clock);
        }
        Poll::Ready(end)
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.rate.leave(self.clock, ticket);
        }
    }
}
