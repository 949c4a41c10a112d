//! The thread that starts children, serves their pipes and hears of their ends. Other threads leave it messages.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};
use mountain_core::effect::Done;
use mountain_core::error::Error;

use super::birth::Nursery;
use super::child::Child;
use super::desk::{Desk, News, WAKER, news};
use super::shared::{Message, Shared};
use super::sys;
use super::turns::Turns;

pub(super) struct Reactor {
    shared: Shared<Child>,
    turns: Turns,
    /// The pipe to the guard, for a forked process to close: the guard waits for the end of every process that has it.
    line: AtomicI32,
}

static REACTOR: AtomicPtr<Reactor> = AtomicPtr::new(std::ptr::null_mut());

fn existing() -> Option<&'static Reactor> {
    // SAFETY: what was in `REACTOR` is never freed.
    unsafe { REACTOR.load(Ordering::Acquire).as_ref() }
}

/// The children of this process; none where it has never started one, or is a forked one.
pub(super) fn children() -> Vec<Arc<Child>> {
    let Some(reactor) = existing().filter(|r| !r.shared.elsewhere()) else { return Vec::new() };
    // The list's lock is not held further: a child that ends takes it under its own.
    reactor.shared.children().iter().map(|(_, child)| child.clone()).collect()
}

/// The process's reactor, made on first use. Its thread never ends.
fn current() -> io::Result<&'static Reactor> {
    if let Some(reactor) = existing() {
        return Ok(reactor);
    }
    let poll = Poll::new()?;
    let shared = Shared::new(Waker::new(poll.registry(), WAKER)?);
    let fresh = Box::into_raw(Box::new(Reactor { shared, turns: Turns::new(), line: AtomicI32::new(-1) }));
    // SAFETY: it is freed below only, before any other thread has seen it.
    let reactor: &'static Reactor = unsafe { &*fresh };
    if let Err(theirs) = REACTOR.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: no other thread has seen `fresh`, and what was in `REACTOR` is never freed.
        unsafe {
            drop(Box::from_raw(fresh));
            return Ok(&*theirs);
        }
    }
    #[expect(clippy::disallowed_methods, reason = "all children come from one thread that never ends")]
    let thread = std::thread::Builder::new().name("mountain-process".into()).spawn(move || reactor.serve(poll));
    if let Err(e) = thread {
        REACTOR.store(std::ptr::null_mut(), Ordering::Release);
        return Err(e);
    }
    Ok(reactor)
}

/// For a call: the call fails when the system refuses the thread.
pub(super) fn current_for(done: Done) -> Option<(&'static Shared<Child>, Done)> {
    match current() {
        Ok(reactor) => Some((&reactor.shared, done)),
        Err(e) => {
            done.finish(Err(Error::io(&e, None)));
            None
        }
    }
}

/// This process is about to fork: no child is started or served until `end_fork`.
pub(super) fn begin_fork() {
    if let Some(reactor) = existing() {
        reactor.turns.begin_fork();
    }
}

pub(super) fn end_fork() {
    if let Some(reactor) = existing() {
        reactor.turns.end_fork();
    }
}

/// In a forked process: the parent's reactor is left as it is, apart from the copies of its pipes, whose ends others
/// wait for: the guard for the parent's, a child for its stdin's.
pub(super) fn forget() {
    if let Some(reactor) = existing() {
        let line = reactor.line.load(Ordering::Acquire);
        if line >= 0 {
            // SAFETY: a descriptor that no thread of this process uses any more.
            unsafe { libc::close(line) };
        }
        // A lock that is held stays so: its thread is not here.
        for (_, child) in reactor.shared.try_children().iter().flat_map(|children| children.iter()) {
            if let Some(mut state) = child.state.try_lock() {
                state.let_go();
            }
        }
    }
    REACTOR.store(std::ptr::null_mut(), Ordering::Release);
}

impl Reactor {
    fn serve(&'static self, mut poll: Poll) {
        sys::block_signals();
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; 64 << 10];
        let (mut guard, mut nursery) = (None, None);
        let mut reminders = BTreeSet::new();
        let mut again = Vec::new();
        let mut births = VecDeque::<Arc<Child>>::new();
        loop {
            let wait = if births.is_empty() && again.is_empty() {
                reminders.first().map(|&(due, _): &(Instant, usize)| due.saturating_duration_since(Instant::now()))
            } else {
                Some(Duration::ZERO)
            };
            if poll.poll(&mut events, wait).is_err() {
                events.clear();
            }
            let mut desk = Desk::new(poll.registry(), &mut guard, &mut scratch, &mut reminders);
            for (key, news) in events.iter().filter_map(|event| news(event.token())) {
                self.attend(key, &mut desk, news);
            }
            for key in std::mem::take(&mut again) {
                self.attend(key, &mut desk, News::All);
            }
            for message in self.shared.take_messages() {
                match message {
                    Message::Start(child) => births.push_back(child),
                    Message::Look(child) => self.in_turn(|| child.attend(&mut desk, News::All)),
                }
            }
            while let Some(key) = desk.next_due() {
                self.attend(key, &mut desk, News::All);
            }
            // One at a time: the children that live are served in between.
            if let Some(child) = births.pop_front() {
                self.line.store(desk.start_guard(), Ordering::Release);
                if nursery.is_none() {
                    nursery = Nursery::new().ok();
                }
                self.in_turn(|| child.start(&mut desk, nursery.as_mut()));
            }
            again = desk.into_again();
        }
    }

    fn attend(&self, key: usize, desk: &mut Desk<'_>, news: News) {
        self.in_turn(|| {
            if let Some(child) = self.shared.child(key) {
                child.attend(desk, news);
            }
        });
    }

    /// Whatever takes the lock of a child, or of their list: a forked process must find both free.
    fn in_turn(&self, f: impl FnOnce()) {
        self.turns.begin();
        contained(f);
        self.turns.end();
    }
}

/// A panic is a bug of this crate, and must not end the thread that all children depend on.
fn contained(f: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(f));
}
