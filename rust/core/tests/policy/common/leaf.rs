//! A leaf that follows a script in virtual time, and notes what the engine does to it.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use mountain_core::effect::{Around, Begin, Course, Deadline, Flights, Landing, Leaf, PermitContext, Shared, Verdict};
use mountain_core::error::Owner;
use mountain_core::time::{Clock, Instant, Key};

use super::{Act, End, Fail, Reply, secs};

/// The `on` of every retry over the leaf.
pub(crate) type On = fn(layer: usize, fault: &Fail) -> Result<Verdict, Fail>;

pub(crate) struct Scripted {
    clock: Arc<Clock>,
    script: Vec<Act>,
    on: On,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// When each call began, and the deadline that it was told.
    begun: Vec<(Instant, Deadline)>,
    /// How often the engine asked a running call to stop.
    stops: usize,
    polls: usize,
    /// Its calls go on when their callers are gone, with what they keep.
    outlives: bool,
    kept: Vec<Box<dyn Any + Send>>,
    /// The failures that fallbacks stood in for, by layer.
    instead: Vec<(usize, Fail)>,
    /// The reports of retries about failures: layer, attempt, and course.
    courses: Vec<(usize, u32, Course)>,
    /// Flights that the test lands.
    flights: Vec<(usize, Landing)>,
    /// The limit that each flight was told.
    flown: Vec<Deadline>,
    /// The failures of further attempts that were told beside the first one's.
    beside: Vec<Fail>,
    /// The first item of the running call, of a stream, is out.
    is_out: bool,
    /// The items of flights with which it went on.
    followed: Vec<u32>,
}

struct Running {
    until: Instant,
    end: End,
    reply: Option<Reply>,
    timer: Option<Key>,
}

impl Scripted {
    /// Call number n follows act number n; the last act repeats.
    pub(crate) fn new(clock: Arc<Clock>, script: Vec<Act>, on: On) -> Self {
        assert!(!script.is_empty());
        Scripted { clock, script, on, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn begun(&self) -> Vec<Instant> {
        self.state().begun.iter().map(|b| b.0).collect()
    }

    /// The deadlines that its calls were told.
    pub(crate) fn told(&self) -> Vec<Deadline> {
        self.state().begun.iter().map(|b| b.1).collect()
    }

    pub(crate) fn stops(&self) -> usize {
        self.state().stops
    }

    pub(crate) fn polls(&self) -> usize {
        self.state().polls
    }

    /// From now on its calls go on when their callers are gone.
    pub(crate) fn outlive(&self) {
        self.state().outlives = true;
    }

    /// Drops the work that outlived its call; the number of pieces.
    pub(crate) fn let_go(&self) -> usize {
        let kept = std::mem::take(&mut self.state().kept);
        kept.len()
    }

    pub(crate) fn stood_in_for(&self) -> Vec<(usize, Fail)> {
        std::mem::take(&mut self.state().instead)
    }

    pub(crate) fn courses(&self) -> Vec<(usize, u32, Course)> {
        std::mem::take(&mut self.state().courses)
    }

    pub(crate) fn flights(&self) -> Vec<(usize, Landing)> {
        std::mem::take(&mut self.state().flights)
    }

    pub(crate) fn flown(&self) -> Vec<Deadline> {
        self.state().flown.clone()
    }

    pub(crate) fn told_beside(&self) -> Vec<Fail> {
        std::mem::take(&mut self.state().beside)
    }

    /// The first item of the running call is out: it is a stream.
    pub(crate) fn puts_out(&self) {
        let mut state = self.state();
        assert!(state.running.is_some(), "no call is under way");
        state.is_out = true;
    }

    pub(crate) fn followed(&self) -> Vec<u32> {
        self.state().followed.clone()
    }

    /// Give up a call that its dropped engine left behind, as an owner of a leaf must. True: there was one.
    pub(crate) fn abandon(&self) -> bool {
        let running = self.state().running.take();
        if let Some(key) = running.as_ref().and_then(|r| r.timer) {
            self.clock.disarm(key);
        }
        running.is_some()
    }
}

impl Leaf for Scripted {
    type Ok = u32;
    type Err = Fail;

    fn poll(&self, begin: Option<Begin<'_>>, cx: &mut Context<'_>) -> Poll<Result<u32, Fail>> {
        let now = self.clock.now();
        let mut state = self.state();
        state.polls += 1;
        if let Some(Begin::Call(told) | Begin::Instead(told)) = begin {
            assert!(state.running.is_none(), "begun while a call is under way");
            let act = self.script[state.begun.len().min(self.script.len() - 1)];
            state.begun.push((now, told.over));
            state.running = Some(Running { until: now.after(act.takes), end: act.end, reply: Some(act.reply), timer: None });
        }
        let running = state.running.as_mut().expect("polled on though no call is under way");
        if let Some(key) = running.timer.take() {
            self.clock.disarm(key);
        }
        if now < running.until {
            running.timer = Some(self.clock.arm(running.until, cx.waker().clone()));
            return Poll::Pending;
        }
        let end = running.end;
        state.running = None;
        Poll::Ready(end.result())
    }

    fn stop(&self, _whose: Owner) -> bool {
        let mut state = self.state();
        let Some(running) = state.running.as_mut() else { return false };
        // Asked again, it changes nothing: the cleanup that is under way is not disturbed.
        if let Some(Reply::Ends(cleanup, end)) = running.reply.take() {
            (running.until, running.end) = (self.clock.now().after(cleanup), end);
        }
        state.stops += 1;
        true
    }

    fn active(&self) -> bool {
        self.state().running.is_some()
    }

    fn is_ending(&self) -> bool {
        self.state().running.as_ref().is_some_and(|running| running.reply.is_none())
    }

    fn verdict(&self, layer: usize, fault: &mut Fail) -> Result<Verdict, Fail> {
        (self.on)(layer, fault)
    }

    /// Values from 100 on are not accepted, and of 999 the question itself fails.
    fn unaccepted(&self, _layer: usize, value: &u32) -> Result<Option<Fail>, Fail> {
        match *value {
            999 => Err(Fail::Plain(999)),
            n => Ok((n >= 100).then_some(Fail::Plain(n))),
        }
    }

    /// Ten seconds for each attempt; after failure 13 it fails.
    fn wait(&self, _layer: usize, attempt: u32, fault: &mut Fail) -> Result<Duration, Fail> {
        if matches!(fault, Fail::Plain(13)) { Err(Fail::Plain(14)) } else { Ok(secs(u64::from(attempt) * 10)) }
    }

    fn retried(&self, layer: usize, attempt: u32, course: Course, _fault: &mut Fail) {
        self.state().courses.push((layer, attempt, course));
    }

    fn names(&self, layer: usize, fault: &mut Fail) -> bool {
        matches!((self.on)(layer, fault), Ok(Verdict::Yes))
    }

    fn instead(&self, layer: usize, fault: Fail) -> Result<(), Fail> {
        self.state().instead.push((layer, fault));
        Ok(())
    }

    fn injected(&self, layer: usize, _errno: Option<i32>) -> Fail {
        Fail::Injected(layer)
    }

    fn flights(&self) -> Option<&dyn Flights<Ok = u32, Err = Fail>> {
        Some(self)
    }

    fn is_out(&self) -> bool {
        self.state().is_out
    }

    /// The items of a flight take an hour, and end with their number.
    fn follow(&self, items: u32, _around: &Around<'_>) {
        let mut state = self.state();
        assert!(state.running.is_none(), "it follows while a call is under way");
        let Act { takes, reply, .. } = Act::hangs();
        let until = self.clock.now().after(takes);
        state.running = Some(Running { until, end: End::Value(items), reply: Some(reply), timer: None });
        state.followed.push(items);
    }

    fn outlives(&self) -> bool {
        self.state().outlives
    }

    fn keep(&self, what: Box<dyn Any + Send>) {
        self.state().kept.push(what);
    }
}

impl Flights for Scripted {
    type Ok = u32;
    type Err = Fail;

    fn shared(&self, value: &Shared) -> u32 {
        *value.downcast_ref().expect("a number")
    }

    fn failed(&self, fault: &Shared) -> Fail {
        fault.downcast_ref::<fn() -> Fail>().map_or_else(|| Fail::Plain(*fault.downcast_ref().expect("a number")), |fail| fail())
    }

    fn all_failed(&self, first: Fail, others: Vec<Fail>) -> Fail {
        self.state().beside = others;
        first
    }

    fn fly(&self, layer: usize, landing: Landing, _held: Option<Arc<PermitContext>>, over: Deadline) -> Result<(), Fail> {
        let mut state = self.state();
        state.flights.push((layer, landing));
        state.flown.push(over);
        Ok(())
    }
}
