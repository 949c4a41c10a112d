//! Polls a stack by hand and moves its clock, checking on the way what holds of every run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use mountain_core::effect::{Call, Deadline, Terms, Trace, Verdict};
use mountain_core::error::Owner;
use mountain_core::policy::{self, Layer};
use mountain_core::time::{Clock, Instant};

use super::{Act, Fail, On, Scripted};

/// More than any script here needs; a run that takes more hangs.
const STEPS: usize = 10_000;

pub(crate) struct Stage {
    pub(crate) clock: Arc<Clock>,
    pub(crate) leaf: Scripted,
    trace: Trace<Fail>,
    pub(crate) terms: Terms,
}

impl Stage {
    /// Every retry goes on from every failure that it is shown.
    pub(crate) fn new(script: impl Into<Vec<Act>>) -> Self {
        Self::on(script, |_, _| Ok(Verdict::Yes))
    }

    /// Beside others.
    pub(crate) fn at(clock: &Arc<Clock>, script: impl Into<Vec<Act>>) -> Self {
        Self::made(clock.clone(), script, |_, _| Ok(Verdict::Yes))
    }

    pub(crate) fn beside(clock: &Arc<Clock>, script: impl Into<Vec<Act>>, on: On) -> Self {
        Self::made(clock.clone(), script, on)
    }

    /// The fallback that gave the value.
    pub(crate) fn stood_in(&self) -> Option<usize> {
        self.trace.stood_in()
    }

    /// A fallback has stood in.
    pub(crate) fn is_degraded(&self) -> bool {
        self.stood_in().is_some()
    }

    pub(crate) fn on(script: impl Into<Vec<Act>>, on: On) -> Self {
        Self::made(Clock::manual(), script, on)
    }

    fn made(clock: Arc<Clock>, script: impl Into<Vec<Act>>, on: On) -> Self {
        Stage { leaf: Scripted::new(clock.clone(), script.into(), on), clock, trace: Trace::default(), terms: Terms::default() }
    }

    pub(crate) fn call(&self) -> Call<'_, Scripted> {
        Call::new(&self.leaf, &self.clock, &self.trace, &self.terms)
    }

    /// Play to the end; the result, and when it came.
    pub(crate) fn play(&self, stack: &[Layer]) -> (Result<u32, Fail>, Instant) {
        self.play_under(stack, Deadline::NONE, true)
    }

    pub(crate) fn play_under(&self, stack: &[Layer], inherited: Deadline, watch: bool) -> (Result<u32, Fail>, Instant) {
        let call = self.call();
        let result = Run::new(self, &call, stack, inherited, watch).finish();
        assert_eq!(self.clock.armed(), 0, "armed after the end");
        (result, self.clock.now())
    }
}

/// One play of a script under a stack with no limit from outside.
pub(crate) fn play(stack: &[Layer], script: impl Into<Vec<Act>>) -> (Result<u32, Fail>, Instant) {
    Stage::new(script).play(stack)
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A stack that is under way.
pub(crate) struct Run<'a> {
    clock: &'a Clock,
    future: Pin<Box<dyn Future<Output = Result<u32, Fail>> + Send + 'a>>,
    woken: Arc<Flag>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        stage: &'a Stage,
        call: &'a Call<'a, Scripted>,
        stack: &'a [Layer],
        inherited: Deadline,
        watch: bool,
    ) -> Self {
        let watch = (watch && inherited.owner == Owner::Inherited).then_some(inherited.at);
        Run { clock: &stage.clock, future: Box::pin(policy::run(call, stack, inherited, watch)), woken: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Poll<Result<u32, Fail>> {
        self.woken.0.store(false, Ordering::SeqCst);
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(self.woken.clone())))
    }

    pub(crate) fn woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }

    /// Jump from deadline to deadline, polling only when woken.
    pub(crate) fn finish(mut self) -> Result<u32, Fail> {
        for _ in 0..STEPS {
            if let Poll::Ready(result) = self.poll() {
                return result;
            }
            if !self.woken() {
                let next = self.clock.first().expect("pending with nothing to wait for");
                self.clock.advance(next.since(self.clock.now()));
                assert!(self.woken(), "a deadline passed and nobody was woken");
            }
        }
        panic!("no end in sight");
    }
}
