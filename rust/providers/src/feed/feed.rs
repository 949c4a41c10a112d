//! Items that threads find and a consumer takes in batches. Their queue is bounded: when its consumer slows down, the
//! threads wait.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::effect::{Abort, Abortable, AtWork, Done, Host, Operation};
use mountain_core::error::Error;
use mountain_core::sync::{Condvar, Mutex};

use super::state::{Note, ROOM, State, finish};

/// The work that fills a feed, on a thread of its own.
type Fill<T> = Box<dyn FnOnce(&Shared<T>) + Send>;
/// A call that wakes the feed's thread, by each request and by the end.
pub(super) type Wake = Box<dyn Fn() + Send>;

/// A feed. Its thread begins with the first batch that is asked for, and stops when the feed is closed or dropped.
pub struct Feed<T>(pub(crate) Arc<Shared<T>>);

/// The side of a feed that its threads see.
pub(crate) struct Shared<T> {
    /// Its name in errors, and that of its threads.
    what: &'static str,
    thread: &'static str,
    process: u32,
    closed: AtomicBool,
    /// Its items are events of the world around: virtual time goes on while none is under way.
    pub(super) expects: bool,
    pub(super) wake: Mutex<Option<Wake>>,
    /// Until the first batch is asked for.
    fill: Mutex<Option<Fill<T>>>,
    pub(super) state: Mutex<State<T>>,
    room: Condvar,
}

impl<T: Send + 'static> Feed<T> {
    pub(crate) fn new(what: &'static str, thread: &'static str, fill: impl FnOnce(&Shared<T>) + Send + 'static) -> Self {
        Self::of(what, thread, false, Box::new(fill))
    }

    /// A feed of what happens, not of work that comes to an end. A request counts as work from its beginning on, until
    /// the thread [rests](Shared::rests).
    pub(crate) fn expecting(what: &'static str, thread: &'static str, fill: impl FnOnce(&Shared<T>) + Send + 'static) -> Self {
        Self::of(what, thread, true, Box::new(fill))
    }

    fn of(what: &'static str, thread: &'static str, expects: bool, fill: Fill<T>) -> Self {
        Feed(Arc::new(Shared {
            what,
            thread,
            expects,
            process: std::process::id(),
            closed: AtomicBool::new(false),
            wake: Mutex::default(),
            fill: Mutex::new(Some(fill)),
            state: Mutex::default(),
            room: Condvar::new(),
        }))
    }
}

/// A feed whose items have any type.
pub trait Batches: Send + Sync {
    /// The next batch: `Value::Other(Box<Vec<T>>)`, or `Value::Unit` at the end. One request at a time. A batch is
    /// empty if there are notes to take first.
    fn next(&self, done: Done) -> Abort;

    /// The notes since the last call.
    fn take_notes(&self) -> Vec<Note>;

    /// Stop. A request that waits is answered as cancelled, later ones with the end.
    fn close(&self);
}

impl<T: Send + 'static> Batches for Feed<T> {
    fn next(&self, done: Done) -> Abort {
        let (shared, what) = (&self.0, self.0.what);
        if shared.elsewhere() {
            let why = format!("a {what} cannot go on in a forked process: begin another one there");
            done.finish(Err(Error::Invalid(why)));
            return Abort::Never;
        }
        let mut state = shared.state.lock();
        if state.asked.is_some() {
            drop(state);
            let why = format!("a {what} yields one batch at a time: await the one before");
            done.finish(Err(Error::Invalid(why)));
            return Abort::Never;
        }
        let fill = shared.fill.lock().take();
        if let Some(fill) = fill
            && let Err(e) = shared.clone().spawn(fill)
        {
            state.failed = Some(Error::io(&e, None));
            state.ended = true;
        }
        state.asked = Some((done, Some(AtWork::begin())));
        state.requests += 1;
        let number = state.requests;
        let answer = state.answer();
        if state.weight <= ROOM / 2 {
            shared.room.notify_all();
        }
        drop(state);
        shared.wake();
        match answer {
            Some(((done, _at_work), outcome)) => {
                done.finish(outcome);
                Abort::Never
            }
            None => Abort::Shared(Arc::new(Request { shared: shared.clone(), number })),
        }
    }

    fn take_notes(&self) -> Vec<Note> {
        if self.0.elsewhere() {
            return Vec::new();
        }
        let notes = std::mem::take(&mut self.0.state.lock().notes);
        if notes.len() >= ROOM {
            self.0.room.notify_all();
        }
        notes
    }

    fn close(&self) {
        self.0.close();
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The next batch of a feed, as an operation. Started again, it yields the batch after.
pub struct NextBatch(pub Arc<dyn Batches>);

impl Operation for NextBatch {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        self.0.next(done)
    }
}

struct Request<T> {
    shared: Arc<Shared<T>>,
    number: u64,
}

impl<T: Send> Abortable for Request<T> {
    fn abort(&self) {
        if self.shared.elsewhere() {
            return;
        }
        let asked = {
            let mut state = self.shared.state.lock();
            if state.requests == self.number { state.asked.take() } else { None }
        };
        drop(asked);
    }
}

impl<T> Shared<T> {
    /// In a forked child: the feed's threads do not exist, and its lock may be held for ever.
    fn elsewhere(&self) -> bool {
        std::process::id() != self.process
    }

    /// No more items are taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn close(&self) {
        if self.elsewhere() {
            return;
        }
        let (asked, fill, ready) = {
            let mut state = self.state.lock();
            self.closed.store(true, Ordering::Relaxed);
            state.ended = true;
            state.weight = 0;
            (state.asked.take(), self.fill.lock().take(), std::mem::take(&mut state.ready))
        };
        self.room.notify_all();
        self.wake();
        drop((asked, fill, ready));
    }
}

impl<T: Send + 'static> Shared<T> {
    /// A thread of the feed's own, not one of the pool's: it waits for a consumer who may need the pool to go on.
    #[expect(clippy::disallowed_methods, reason = "a feed's threads live as long as the feed, and wait for its consumer")]
    fn spawn(self: Arc<Self>, fill: Fill<T>) -> io::Result<()> {
        std::thread::Builder::new().name(self.thread.into()).spawn(move || self.run(fill)).map(drop)
    }

    fn run(&self, fill: Fill<T>) {
        let filled = catch_unwind(AssertUnwindSafe(|| fill(self)));
        drop(self.wake.lock().take());
        let answer = {
            let mut state = self.state.lock();
            state.ended = true;
            if let Err(payload) = filled {
                state.failed = Some(Error::panic(&*payload));
            }
            state.answer()
        };
        finish(answer);
    }

    /// Adds items, each with its weight; waits for room first. False: the feed is closed.
    pub(crate) fn push(&self, items: impl IntoIterator<Item = (T, usize)>) -> bool {
        let answer = {
            let mut state = self.state.lock();
            state = self.room.wait_while(state, |s| s.weight >= ROOM && !self.is_closed());
            if self.is_closed() {
                return false;
            }
            for (item, weight) in items {
                state.weight += weight;
                state.ready.push_back((item, weight));
            }
            state.answer()
        };
        finish(answer);
        true
    }

    /// Adds a note that something is missing, as an item is added.
    pub(crate) fn warn(&self, text: String) -> bool {
        self.note(Note { text, warning: true })
    }

    /// Adds a note for a log of details, as an item is added.
    pub(crate) fn remark(&self, text: String) -> bool {
        self.note(Note { text, warning: false })
    }

    fn note(&self, note: Note) -> bool {
        let answer = {
            let mut state = self.state.lock();
            state = self.room.wait_while(state, |s| s.notes.len() >= ROOM && !self.is_closed());
            if self.is_closed() {
                return false;
            }
            state.notes.push(note);
            state.answer()
        };
        finish(answer);
        true
    }

    /// The feed ends with an error after the items that are ready.
    pub(crate) fn fail(&self, error: Error) {
        self.state.lock().failed = Some(error);
    }

    /// Whether a call waits, and there is nothing for it.
    pub(crate) fn is_hungry(&self) -> bool {
        self.state.lock().asked.is_some()
    }
}

#[cfg(test)]
impl<T: Send + 'static> Feed<T> {
    pub(crate) fn waiting(&self) -> usize {
        self.0.state.lock().weight
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
