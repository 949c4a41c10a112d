//! A job: blocking work with one atomic state, which decides every race between its thread, its abort and its commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use mountain_core::effect::{Abortable, AtWork, Done, Outcome};
use mountain_core::error::Error;
use mountain_core::schedule::Priority;
use mountain_core::sync::Mutex;
use mountain_core::value::Memory;

use super::seats::{Pool, Task};

pub type Work = Box<dyn FnOnce(&Job) -> Step + Send>;

/// The result of a step of a job.
pub enum Step {
    Answer(Outcome),
    /// Have the host allocate one buffer a size, then go on with the work that `then` makes of them.
    Buffers {
        sizes: Vec<usize>,
        then: Box<dyn FnOnce(Arc<dyn Memory>) -> Work + Send>,
    },
}

/// The effect of an abort on a job that is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grip {
    /// It is asked, and answers when it has ended: work that changes something, or that looks at [`Job::check`] often.
    Firm,
    /// It is answered at once and its thread counts as abandoned: work that only looks, and may never come back.
    Loose,
}

// From QUEUED a thread goes to FIRM or LOOSE, and whatever happens then, to ENDED. The caller that moves the state to
// ABANDONED, or out of QUEUED or BETWEEN to ENDED, or finds another state than ABANDONED when it ends, answers.
const QUEUED: u8 = 0;
const FIRM: u8 = 1;
const LOOSE: u8 = 2;
/// Loose, and its seat is another thread's.
const STALLED: u8 = 3;
/// Firm, and asked to end.
const ASKED: u8 = 4;
/// Past the point where an abort could still win.
const COMMITTED: u8 = 5;
/// Answered while it ran; its seat is another thread's.
const ABANDONED: u8 = 6;
/// Waits for the host's buffers.
const BETWEEN: u8 = 7;
const ENDED: u8 = 8;

pub struct Job {
    state: AtomicU8,
    grip: Grip,
    priority: Priority,
    pool: &'static Pool<Job>,
    work: Mutex<Option<Work>>,
    /// Until it is answered, virtual time waits for it.
    done: Mutex<Option<(Done, AtWork)>>,
}

impl Job {
    pub(super) fn new(grip: Grip, pool: &'static Pool<Job>, done: Done, work: Work) -> Self {
        let priority = done.priority;
        let done = Mutex::new(Some((done, AtWork::begin())));
        Job { state: AtomicU8::new(QUEUED), grip, priority, pool, work: Mutex::new(Some(work)), done }
    }

    /// Between two chunks: an error when the job should end.
    pub fn check(&self) -> Result<(), Error> {
        match self.state.load(Ordering::Acquire) {
            ASKED | ABANDONED => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// The point of no return: an abort has won before it, or loses after it.
    pub fn commit(&self) -> Result<(), Error> {
        self.step(&[(FIRM, COMMITTED), (LOOSE, COMMITTED)]).map(drop).ok_or(Error::Cancelled)
    }

    /// The work is about to wait for something that may never come: give the seat to another thread.
    pub fn stall(&self) -> Result<(), Error> {
        self.step(&[(FIRM, STALLED), (LOOSE, STALLED)]).ok_or(Error::Cancelled)?;
        self.pool.vacate();
        Ok(())
    }

    /// Move along the one edge that starts at the present state. Yields where it started, or `None` if no edge does.
    fn step(&self, edges: &[(u8, u8)]) -> Option<u8> {
        let along = |now| edges.iter().find(|e| e.0 == now).map(|e| e.1);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, along).ok()
    }

    fn end(&self, outcome: Outcome) -> bool {
        let was = self.state.swap(ENDED, Ordering::AcqRel);
        if was == ABANDONED {
            self.pool.came_back();
        } else {
            self.answer(outcome);
        }
        !matches!(was, ABANDONED | STALLED)
    }

    fn ask_for_buffers(self: &Arc<Self>, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) -> Work + Send>) -> bool {
        let Some(was) = self.step(&[(FIRM, BETWEEN), (LOOSE, BETWEEN), (STALLED, BETWEEN)]) else {
            return self.end(Err(Error::Cancelled));
        };
        let sink = self.done.lock().as_ref().map(|(done, _)| done.sink());
        if let Some(sink) = sink {
            let waiting = Waiting(Some(self.clone()));
            sink.allocate(sizes, Box::new(move |memory| waiting.go_on(then(memory))));
        }
        was != STALLED
    }

    fn answer(&self, outcome: Outcome) {
        let done = self.done.lock().take();
        if let Some((done, _at_work)) = done {
            done.finish(outcome);
        }
    }
}

impl Task for Job {
    fn priority(&self) -> Priority {
        self.priority
    }

    fn run(self: &Arc<Self>) -> bool {
        let grip = if self.grip == Grip::Firm { FIRM } else { LOOSE };
        if self.step(&[(QUEUED, grip)]).is_none() {
            return true;
        }
        let Some(work) = self.work.lock().take() else { return true };
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Step::Answer(outcome)) => self.end(outcome),
            Ok(Step::Buffers { sizes, then }) => self.ask_for_buffers(sizes, then),
            Err(payload) => self.end(Err(Error::panic(&*payload))),
        }
    }

    fn refuse(&self, error: Error) {
        if self.step(&[(QUEUED, ENDED)]).is_some() {
            self.work.lock().take();
            self.answer(Err(error));
        }
    }
}

impl Abortable for Job {
    fn abort(&self) {
        if !self.pool.alive() {
            return;
        }
        let was = self.step(&[(QUEUED, ENDED), (BETWEEN, ENDED), (FIRM, ASKED), (LOOSE, ABANDONED), (STALLED, ABANDONED)]);
        if matches!(was, Some(LOOSE | STALLED)) {
            self.pool.leave_behind();
        }
        if was == Some(LOOSE) {
            self.pool.vacate();
        }
        if matches!(was, Some(QUEUED | BETWEEN | LOOSE | STALLED)) {
            let work = self.work.lock().take();
            drop(work);
            self.answer(Err(Error::Cancelled));
        }
    }
}

/// A job whose buffers the host is making. Dropped, the job ends as cancelled.
struct Waiting(Option<Arc<Job>>);

impl Waiting {
    fn go_on(mut self, work: Work) {
        let Some(job) = self.0.take() else { return };
        *job.work.lock() = Some(work);
        if job.step(&[(BETWEEN, QUEUED)]).is_some() {
            job.pool.push(job.clone());
        } else {
            job.work.lock().take();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(job) = self.0.take() {
            job.abort();
        }
    }
}
