//! Reading many files for one wake-up: every seat of the pool stats, the host allocates once, every seat reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mountain_core::effect::{Abort, Abortable, Done, Host, Operation, Outcome, Sink};
use mountain_core::error::Error;
use mountain_core::sync::Mutex;
use mountain_core::value::{Filled, Memory, Value};

use super::failure::failure;
use super::place::Place;
use super::source::Source;
use crate::pool::{self, Grip, Job, Step};

/// Yields the bytes of all the files, in their order. The first failure is the outcome, and what was left is not read.
pub struct ReadMany {
    pub places: Arc<[Place]>,
}

impl ReadMany {
    pub fn new(places: impl IntoIterator<Item = impl Into<Place>>) -> Self {
        ReadMany { places: places.into_iter().map(Into::into).collect() }
    }
}

impl Operation for ReadMany {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        if self.places.is_empty() {
            done.finish(Ok(Value::List(Vec::new())));
            return Abort::Never;
        }
        let many = Arc::new(Many {
            places: self.places.clone(),
            done: Mutex::new(Some(done)),
            stop: AtomicBool::new(false),
            helpers: Mutex::default(),
        });
        let sizes = self.places.iter().map(|_| AtomicUsize::new(0)).collect();
        many.clone().begin(Task::Measure { sizes });
        Abort::Shared(many)
    }
}

struct Many {
    places: Arc<[Place]>,
    done: Mutex<Option<Done>>,
    /// It has been answered: a helper that still works on it may leave.
    stop: AtomicBool,
    helpers: Mutex<Vec<Abort>>,
}

/// One of the two passes over the paths. Its helpers claim one path after another and report here when there is none
/// left.
struct Round {
    many: Arc<Many>,
    task: Task,
    next: AtomicUsize,
    left: AtomicUsize,
}

enum Task {
    Measure { sizes: Vec<AtomicUsize> },
    Fill { memory: Arc<dyn Memory>, lengths: Vec<AtomicUsize>, tails: Mutex<Vec<(usize, Vec<u8>)>> },
}

impl Many {
    fn begin(self: Arc<Self>, task: Task) {
        let count = pool::size().min(self.places.len());
        let round = Arc::new(Round { many: self.clone(), task, next: AtomicUsize::new(0), left: AtomicUsize::new(count) });
        let helper = |i| {
            let ours = round.clone();
            pool::run(Grip::Loose, Done::new(round.clone(), i), move |job| Step::Answer(ours.help(job)))
        };
        let helpers: Vec<Abort> = (0..count).map(helper).collect();
        *self.helpers.lock() = helpers;
        if self.stop.load(Ordering::SeqCst) {
            self.release();
        }
    }

    /// Answer, unless that has been done. The helpers only look at files, so no caller needs to wait for them.
    fn finish(&self, outcome: Outcome) {
        self.stop.store(true, Ordering::SeqCst);
        let done = self.done.lock().take();
        if let Some(done) = done {
            done.finish(outcome);
        }
        self.release();
    }

    fn release(&self) {
        let helpers = std::mem::take(&mut *self.helpers.lock());
        helpers.iter().for_each(Abort::abort);
    }
}

impl Abortable for Many {
    fn abort(&self) {
        self.finish(Err(Error::Cancelled));
    }
}

impl Round {
    fn help(&self, job: &Job) -> Outcome {
        while !self.many.stop.load(Ordering::Relaxed) {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = self.many.places.get(i) else { break };
            self.one(i, place, job)?;
        }
        Ok(Value::Unit)
    }

    fn one(&self, i: usize, place: &Place, job: &Job) -> Result<(), Error> {
        match &self.task {
            Task::Measure { sizes } => {
                let about = place.at(true).and_then(|at| at.metadata()).map_err(|e| failure(&e, place.path()))?;
                if about.is_file() {
                    sizes[i].store(usize::try_from(about.len()).unwrap_or(usize::MAX), Ordering::Relaxed);
                }
            }
            Task::Fill { memory, lengths, tails } => {
                let mut tail = Vec::new();
                let length = Source::open(place, job)?.read_buffer(&**memory, i, &mut tail)?;
                lengths[i].store(length, Ordering::Relaxed);
                if !tail.is_empty() {
                    tails.lock().push((i, tail));
                }
            }
        }
        Ok(())
    }

    fn end(&self) {
        let many = self.many.clone();
        let plain = |numbers: &[AtomicUsize]| numbers.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        match &self.task {
            Task::Measure { sizes } => {
                let sink = many.done.lock().as_ref().map(Done::sink);
                let Some(sink) = sink else { return };
                let waiting = Waiting(Some(many));
                sink.allocate(plain(sizes), Box::new(move |memory| waiting.go_on(memory)));
            }
            Task::Fill { memory, lengths, tails } => {
                let (memory, tails) = (memory.clone(), std::mem::take(&mut *tails.lock()));
                let filled = Filled { memory, lengths: plain(lengths), tails, single: false };
                many.finish(Ok(Value::Filled(Box::new(filled))));
            }
        }
    }
}

impl Sink for Round {
    fn deliver(&self, _helper: usize, outcome: Outcome) {
        if let Err(e) = outcome {
            self.many.finish(Err(e));
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 && !self.many.stop.load(Ordering::SeqCst) {
            self.end();
        }
    }

    /// A helper is handed its buffers and never asks for any: dropping `then` would end it.
    fn allocate(&self, _sizes: Vec<usize>, _then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {}
}

/// Files whose buffers the host is making. Dropped, they are answered as cancelled.
struct Waiting(Option<Arc<Many>>);

impl Waiting {
    fn go_on(mut self, memory: Arc<dyn Memory>) {
        let Some(many) = self.0.take() else { return };
        if !many.stop.load(Ordering::SeqCst) {
            let lengths = many.places.iter().map(|_| AtomicUsize::new(0)).collect();
            many.begin(Task::Fill { memory, lengths, tails: Mutex::default() });
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(many) = self.0.take() {
            many.abort();
        }
    }
}

#[cfg(test)]
#[path = "many_tests.rs"]
mod tests;
