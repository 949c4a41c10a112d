//! A limit that callers share, on any thread, and the wait for one of its permits.
//!
//! A permit that was handed to a waiter is an offer until the waiter looks: one that is dropped before gives it back,
//! and the next gets it. Wakers are called without the lock.
//!
//! In the child of a fork no holder and no waiter comes back: the limit begins anew under another name, and permits of
//! its old name give nothing back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::Settings;
use super::machine::{Asked, Caller, Machine};
use crate::effect::{Awaited, Holder, PermitContext, Submitted};
use crate::error::Reason;
use crate::observe::Times;
use crate::schedule::Priority;
#[cfg(loom)]
use crate::sync::Modelled as Mutex;
#[cfg(not(loom))]
use crate::sync::Mutex;
use crate::time::{Clock, Instant};

pub struct Limit {
    machine: Mutex<Machine<Waker>>,
    /// How many forks this process is from the one that made the limit.
    forks: AtomicUsize,
    /// The waits of calls that had to wait.
    pub waits: Times,
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limit")
    }
}

impl Limit {
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Limit { machine: Mutex::new(Machine::new(settings)), forks: AtomicUsize::new(0), waits: Times::default() })
    }

    /// The name: its address plus the number of forks. Two limits are further apart than there can be forks in a line.
    pub fn name(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize + self.forks.load(Ordering::Relaxed) % size_of::<Self>()
    }

    /// Begins anew in the child of a fork, before anything else runs there.
    pub fn forget_parent(&self) {
        self.forks.fetch_add(1, Ordering::Relaxed);
        self.machine.lock().forget_all();
    }

    /// A permit, if one is free and no caller waits.
    pub fn try_permit(self: &Arc<Self>, clock: &Arc<Clock>, key: u32, up: Option<Arc<PermitContext>>) -> Option<Permit> {
        self.machine.lock().take(key).then(|| Permit::new(self, clock, key, up))
    }

    /// Whether a call that runs under `held` would be refused because it would wait for itself.
    pub fn reenters(self: &Arc<Self>, key: u32, held: &Arc<PermitContext>) -> bool {
        self.machine.lock().reenters(self.name(), key, held)
    }

    pub(super) fn acquire<'a>(self: &'a Arc<Self>, clock: &'a Arc<Clock>, caller: Caller<'a>) -> Acquire<'a> {
        Acquire { limit: self, clock, caller, name: self.name(), number: None, noted: None }
    }

    /// Asks for a permit without a future: `wake` makes the waker of a caller that has to wait and then look.
    pub fn queue(
        self: &Arc<Self>,
        key: u32,
        priority: Priority,
        held: Option<&Holder<'_>>,
        wake: impl FnOnce() -> Waker,
    ) -> Queue {
        let caller = Caller { key, priority, until: Instant::NEVER, held };
        let asked = self.machine.lock().ask(self.name(), &caller, wake);
        match asked {
            Asked::Go => Queue::Go,
            Asked::Refused(why) => Queue::Refused(why),
            Asked::Wait(number, sent) => {
                if let Some(sent) = sent {
                    sent.wake();
                }
                Queue::Wait(number)
            }
        }
    }

    /// Notes that `number` waits in submitted work, if `held` is of such work. The note lasts until it is dropped.
    pub fn note_wait(self: &Arc<Self>, number: u32, held: Option<&Arc<PermitContext>>) -> Option<Noted> {
        let work = held?.work.as_ref()?;
        let (place, is_awaited) = work.waits(self.clone(), number);
        let noted = Noted { work: work.clone(), place };
        if is_awaited {
            self.clone().look_again(number, work, None);
        }
        Some(noted)
    }

    /// The outcome of a wait; `None`: the caller waits on. Once an outcome was returned, the number is free.
    pub fn look(&self, number: u32, wake: impl FnOnce() -> Waker) -> Option<Result<(), Reason>> {
        self.machine.lock().look(number, wake)
    }

    pub fn leave(self: &Arc<Self>, name: usize, number: u32, clock: &Clock) {
        if name != self.name() {
            return;
        }
        let next = self.machine.lock().leave(self.name(), number, || clock.now());
        if let Some(next) = next {
            next.wake();
        }
    }

    /// The permit of a caller that was granted one by `queue`, as a value.
    pub fn permit_granted(self: &Arc<Self>, clock: &Arc<Clock>, key: u32, up: Option<Arc<PermitContext>>) -> Permit {
        Permit::new(self, clock, key, up)
    }

    /// Gives back a permit of a caller that was granted one by `queue`.
    pub fn give_permit_back(self: &Arc<Self>, name: usize, clock: &Clock, key: u32) {
        self.give_back(name, key, None, clock);
    }

    /// Refuses all waiters, because nothing begins any more.
    pub fn refuse_all(self: &Arc<Self>) {
        let woken = self.machine.lock().refuse_all(self.name());
        woken.into_iter().for_each(Waker::wake);
    }

    /// Sets the number of permits. If more are out, they come back first.
    pub fn resize(self: &Arc<Self>, n: u32, now: Instant) {
        let mut woken = Vec::new();
        {
            let mut machine = self.machine.lock();
            machine.settings.n = n;
            for key in machine.keys() {
                woken.extend(std::iter::from_fn(|| machine.grant(self.name(), key, || now)));
            }
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Permits of each key.
    pub fn capacity(&self) -> u32 {
        self.machine.lock().settings.n
    }

    /// Permits that are out, and how many callers wait, by priority from Low to High.
    pub fn counts(&self) -> (u32, [u32; 3]) {
        let machine = self.machine.lock();
        (machine.in_flight, machine.waiting)
    }

    /// Calls `read` with the keys that are not at rest: a number, the permits that are out, and how many wait.
    pub fn by_key<T>(&self, read: impl FnOnce(&mut dyn Iterator<Item = (u32, u32, u32)>) -> T) -> T {
        read(&mut self.machine.lock().by_key())
    }

    /// Whether the key is at rest; if so, drops its state.
    pub fn rest(&self, key: u32) -> bool {
        self.machine.lock().rest(key)
    }

    pub(super) fn give_back(self: &Arc<Self>, name: usize, key: u32, held: Option<&PermitContext>, clock: &Clock) {
        if name != self.name() {
            return;
        }
        let next = self.machine.lock().give_back(self.name(), key, held, || clock.now());
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Awaited for Limit {
    fn look_again(self: Arc<Self>, number: u32, work: &Arc<Submitted>, changed: Option<&[Arc<PermitContext>]>) {
        let sent = self.machine.lock().look_again(self.name(), number, work, changed);
        if let Some(sent) = sent {
            sent.wake();
        }
    }
}

/// The note of a wait in the submitted work around it, until it is dropped.
pub struct Noted {
    work: Arc<Submitted>,
    place: u32,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.work.waits_no_more(self.place);
    }
}

/// The answer to a caller that asks without a future.
pub enum Queue {
    /// The caller has a permit.
    Go,
    /// The caller waits, under that number.
    Wait(u32),
    Refused(Reason),
}

/// A permit, given back when it is dropped.
pub struct Permit {
    limit: Arc<Limit>,
    clock: Arc<Clock>,
    held: Arc<PermitContext>,
}

impl Permit {
    fn new(limit: &Arc<Limit>, clock: &Arc<Clock>, key: u32, up: Option<Arc<PermitContext>>) -> Self {
        Self::of(limit, clock, PermitContext::of_block(limit.name(), key, up))
    }

    pub(super) fn of(limit: &Arc<Limit>, clock: &Arc<Clock>, held: Arc<PermitContext>) -> Self {
        Permit { limit: limit.clone(), clock: clock.clone(), held }
    }

    /// The permit as the code that runs inside knows it.
    pub fn held(&self) -> &Arc<PermitContext> {
        &self.held
    }

    /// Notes that the block was abandoned, and will be left by other code than entered it: the code that runs there
    /// does not hold the permit.
    pub fn disown(&self) {
        if self.held.limit == self.limit.name() {
            self.limit.machine.lock().disown(self.held.key, &self.held);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limit.give_back(self.held.limit, self.held.key, Some(&self.held), &self.clock);
    }
}

/// Ready when the caller has a permit, which it must then give back.
pub(super) struct Acquire<'a> {
    limit: &'a Arc<Limit>,
    clock: &'a Arc<Clock>,
    caller: Caller<'a>,
    name: usize,
    number: Option<u32>,
    noted: Option<Noted>,
}

impl Future for Acquire<'_> {
    type Output = Result<(), Reason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = &mut *self;
        let wake = || cx.waker().clone();
        let found = if let Some(number) = me.number {
            me.limit.machine.lock().look(number, wake)
        } else {
            let asked = me.limit.machine.lock().ask(me.name, &me.caller, wake);
            match asked {
                Asked::Go => Some(Ok(())),
                Asked::Refused(why) => Some(Err(why)),
                Asked::Wait(number, sent) => {
                    me.number = Some(number);
                    if let Some(sent) = sent {
                        sent.wake();
                    }
                    me.noted = me.limit.note_wait(number, me.caller.held.map(Holder::held).as_ref());
                    me.noted.as_ref().and_then(|_| me.limit.machine.lock().look(number, wake))
                }
            }
        };
        let Some(found) = found else { return Poll::Pending };
        (me.number, me.noted) = (None, None);
        Poll::Ready(found)
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.limit.leave(self.name, number, self.clock);
        }
    }
}
