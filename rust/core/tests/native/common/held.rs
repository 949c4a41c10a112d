//! Operations that do as they are told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mountain_core::effect::{Abort, Abortable, Done, Host, Operation, Outcome};

/// Does what the closure says, which is told how often it was started before.
pub(crate) struct Does<F> {
    what: F,
    starts: Arc<AtomicUsize>,
}

impl<F: Fn(usize, &Arc<Host>, Done) -> Abort + Send + Sync> Does<F> {
    pub(crate) fn new(what: F) -> Self {
        Does { what, starts: Arc::default() }
    }

    pub(crate) fn starts(&self) -> Arc<AtomicUsize> {
        self.starts.clone()
    }
}

impl<F: Fn(usize, &Arc<Host>, Done) -> Abort + Send + Sync> Operation for Does<F> {
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        (self.what)(self.starts.fetch_add(1, Ordering::SeqCst), host, done)
    }
}

impl Does<()> {
    /// Answers inside `start`.
    pub(crate) fn answers(
        answer: impl Fn(usize) -> Outcome + Send + Sync,
    ) -> Does<impl Fn(usize, &Arc<Host>, Done) -> Abort + Send + Sync> {
        Does::new(move |n, _: &Arc<Host>, done: Done| {
            done.finish(answer(n));
            Abort::Never
        })
    }
}

/// Runs until it is told how to end; counts how often it is asked to.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Inner>);

#[derive(Default)]
struct Inner {
    calls: Mutex<Vec<Done>>,
    starts: AtomicUsize,
    aborts: AtomicUsize,
}

impl Operation for Held {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        self.0.starts.fetch_add(1, Ordering::SeqCst);
        self.0.calls.lock().unwrap().push(done);
        Abort::Shared(self.0.clone())
    }
}

impl Abortable for Inner {
    fn abort(&self) {
        self.aborts.fetch_add(1, Ordering::SeqCst);
    }
}

impl Held {
    /// How often it was started, and how often asked to end.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.0.starts.load(Ordering::SeqCst), self.0.aborts.load(Ordering::SeqCst))
    }

    /// End the call that runs.
    #[track_caller]
    pub(crate) fn finish(&self, outcome: Outcome) {
        let done = self.0.calls.lock().unwrap().pop().expect("a call that runs");
        done.finish(outcome);
    }

    /// Forget the call that runs, as a bug would.
    #[track_caller]
    pub(crate) fn forget(&self) {
        drop(self.0.calls.lock().unwrap().pop().expect("a call that runs"));
    }
}
