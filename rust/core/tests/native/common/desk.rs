//! A desk where operations are started and their answers collected: one thread, which runs only in `settle`, and
//! virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome, Sink};
use mountain_core::time::Clock;
use mountain_core::value::Memory;

#[derive(Default)]
pub(crate) struct Answers(Mutex<Vec<(usize, Outcome)>>);

impl Answers {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn take(&self) -> Vec<(usize, Outcome)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Sink for Answers {
    fn deliver(&self, token: usize, outcome: Outcome) {
        self.0.lock().unwrap().push((token, outcome));
    }

    /// There is no memory here: the call ends as cancelled.
    fn allocate(&self, _sizes: Vec<usize>, _then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {}
}

pub(crate) struct Desk {
    runtime: tokio::runtime::Runtime,
    pub(crate) host: Arc<Host>,
    pub(crate) answers: Arc<Answers>,
    started: AtomicUsize,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let host = Host::new(runtime.handle().clone(), Clock::manual());
        Desk { runtime, host, answers: Arc::default(), started: AtomicUsize::new(0) }
    }

    /// Start, and let everything run that can.
    pub(crate) fn start(&self, operation: &dyn Operation) -> Abort {
        let abort = self.begin(operation);
        self.settle();
        abort
    }

    /// Start, and let nothing run yet.
    pub(crate) fn begin(&self, operation: &dyn Operation) -> Abort {
        let token = self.started.fetch_add(1, Ordering::SeqCst);
        operation.start(&self.host, Done::new(self.answers.clone(), token))
    }

    /// Run until every task waits: each yield lets all that are ready take a step.
    pub(crate) fn settle(&self) {
        self.steps(64);
    }

    /// Let every task that is ready take so many steps.
    pub(crate) fn steps(&self, steps: usize) {
        self.runtime.block_on(async {
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
        });
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.host.clock.advance(super::secs(seconds));
        self.settle();
    }

    /// The one answer to the one call that was started.
    #[track_caller]
    pub(crate) fn answer(&self) -> Outcome {
        let mut answers = self.answers.take();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(self.host.clock.armed(), 0, "armed after the end");
        answers.pop().unwrap().1
    }

    /// Start and let it end at once.
    #[track_caller]
    pub(crate) fn run(&self, operation: &dyn Operation) -> Outcome {
        self.start(operation);
        self.answer()
    }

    /// End the runtime with whatever is still on it.
    pub(crate) fn close(self) -> Arc<Answers> {
        drop(self.runtime);
        self.answers
    }
}
