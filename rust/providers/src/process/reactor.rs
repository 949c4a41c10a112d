//! The thread that starts children, serves their pipes and hears of their ends. Other threads leave it messages.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use libc::pid_t;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use mountain_core::effect::Done;
use mountain_core::error::Error;
use mountain_core::sync::{Condvar, Mutex, MutexGuard};
use slab::Slab;

use super::birth::Nursery;
use super::child::{Child, News};
use super::guard::Guard;
use super::sys;

/// Of the waker; a child's are four times its key, and which of its descriptors it is.
const WAKER: Token = Token(usize::MAX);
/// In the order of the descriptors.
const NEWS: [News; 4] = [News::End, News::Stdin, News::Out, News::Err];

pub(super) struct Reactor {
    process: u32,
    waker: Waker,
    inbox: Mutex<Vec<Message>>,
    children: Mutex<Slab<Arc<Child>>>,
    /// The pipe to the guard, for a forked child to close: the guard waits for the end of all that have it.
    line: AtomicI32,
    births: Mutex<Births>,
    change: Condvar,
}

/// A fork in the middle of a birth would give the forked process copies of the new child's ends of its pipes, and nobody would hear of their
/// end as long as it lives. So they take turns.
#[derive(Default)]
struct Births {
    /// One is under way.
    now: bool,
    /// So many threads fork.
    forks: usize,
}

/// A fork does not wait longer for a birth: the program may lie on a disk that hangs.
const PATIENCE: Duration = Duration::from_millis(200);

enum Message {
    Start(Arc<Child>),
    Look(Arc<Child>),
}

static REACTOR: AtomicPtr<Reactor> = AtomicPtr::new(std::ptr::null_mut());

/// The process's, if it has one.
pub(super) fn existing() -> Option<&'static Reactor> {
    // SAFETY: what was in `REACTOR` is never freed.
    unsafe { REACTOR.load(Ordering::Acquire).as_ref() }
}

/// The process's, made on first use. Its thread never ends.
fn current() -> io::Result<&'static Reactor> {
    if let Some(reactor) = existing() {
        return Ok(reactor);
    }
    let poll = Poll::new()?;
    let fresh = Box::into_raw(Box::new(Reactor {
        process: std::process::id(),
        waker: Waker::new(poll.registry(), WAKER)?,
        inbox: Mutex::default(),
        children: Mutex::default(),
        line: AtomicI32::new(-1),
        births: Mutex::default(),
        change: Condvar::new(),
    }));
    // SAFETY: it is freed below only, before anybody else has seen it.
    let reactor: &'static Reactor = unsafe { &*fresh };
    if let Err(theirs) = REACTOR.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: nobody else has seen `fresh`, and what was in `REACTOR` is never freed.
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

/// The same for a call, which is told when there can be none.
pub(super) fn current_for(done: Done) -> Option<(&'static Reactor, Done)> {
    match current() {
        Ok(reactor) => Some((reactor, done)),
        Err(e) => {
            done.finish(Err(Error::io(&e, None)));
            None
        }
    }
}

/// This process is about to fork, or has forked: meanwhile no child is started.
pub(super) fn fork(about_to: bool) {
    let Some(reactor) = existing() else { return };
    let mut births = reactor.births.lock();
    if about_to {
        births.forks += 1;
        let end = Instant::now() + PATIENCE;
        while births.now && Instant::now() < end {
            births = reactor.change.wait_for(births, PATIENCE);
        }
    } else {
        // Saturating: the reactor may have been made after the fork began.
        births.forks = births.forks.saturating_sub(1);
        drop(births);
        reactor.change.notify_all();
    }
}

/// In the child of a fork: the parent's is left as it is, apart from the copies of its pipes, whose ends others wait for: the guard for the
/// parent's, a child for its stdin's.
pub(super) fn forget() {
    if let Some(reactor) = existing() {
        let line = reactor.line.load(Ordering::Acquire);
        if line >= 0 {
            // SAFETY: a descriptor that nobody in this process uses any more.
            unsafe { libc::close(line) };
        }
        // Not where the lock is held, by a thread that is not here.
        for (_, child) in reactor.children.try_lock().iter().flat_map(|children| children.iter()) {
            if let Some(mut state) = child.state.try_lock() {
                state.let_go();
            }
        }
    }
    REACTOR.store(std::ptr::null_mut(), Ordering::Release);
}

impl Reactor {
    /// In a forked child: the thread is not here, and the locks may be held for ever.
    pub(super) fn elsewhere(&self) -> bool {
        std::process::id() != self.process
    }

    pub(super) fn start(&self, child: &Arc<Child>) {
        self.tell(Message::Start(child.clone()));
    }

    /// Something about that child has changed.
    pub(super) fn look(&self, child: &Arc<Child>) {
        self.tell(Message::Look(child.clone()));
    }

    fn tell(&self, message: Message) {
        let mut inbox = self.inbox.lock();
        inbox.push(message);
        if inbox.len() == 1 {
            drop(inbox);
            // It fails only when the counter of wake-ups is full, and then the thread is awake.
            let _ = self.waker.wake();
        }
    }

    fn begin_birth(&self) {
        let mut births = self.births.lock();
        while births.forks > 0 {
            births = self.change.wait(births);
        }
        births.now = true;
    }

    pub(super) fn children(&self) -> MutexGuard<'_, Slab<Arc<Child>>> {
        self.children.lock()
    }

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
            let mut desk = Desk {
                reactor: self,
                registry: poll.registry(),
                guard: &mut guard,
                scratch: &mut scratch,
                reminders: &mut reminders,
                again: Vec::new(),
            };
            for event in &events {
                if event.token() == WAKER {
                    continue;
                }
                let (key, which) = (event.token().0 / 4, event.token().0 % 4);
                let child = self.children().get(key).cloned();
                if let Some(child) = child {
                    contained(|| child.attend(&mut desk, NEWS[which]));
                }
            }
            for child in std::mem::take(&mut again) {
                contained(|| Child::attend(&child, &mut desk, News::All));
            }
            let messages = std::mem::take(&mut *self.inbox.lock());
            for message in messages {
                match message {
                    Message::Start(child) => births.push_back(child),
                    Message::Look(child) => contained(|| child.attend(&mut desk, News::All)),
                }
            }
            desk.wake_due();
            // One at a time: those that live are served in between.
            if let Some(child) = births.pop_front() {
                desk.prepare();
                if nursery.is_none() {
                    nursery = Nursery::new().ok();
                }
                self.begin_birth();
                contained(|| child.start(&mut desk, nursery.as_mut()));
                self.births.lock().now = false;
                self.change.notify_all();
            }
            again = desk.again;
        }
    }
}

/// A panic is a bug of ours: it must not end the thread that everything hangs on.
fn contained(f: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(f));
}

/// What the thread works with.
pub(super) struct Desk<'a> {
    pub(super) reactor: &'static Reactor,
    registry: &'a Registry,
    guard: &'a mut Option<Guard>,
    pub(super) scratch: &'a mut [u8],
    reminders: &'a mut BTreeSet<(Instant, usize)>,
    again: Vec<Arc<Child>>,
}

impl Desk<'_> {
    fn prepare(&mut self) {
        if self.guard.is_none() {
            *self.guard = Guard::start().ok();
            self.reactor.line.store(self.guard.as_ref().map_or(-1, |g| g.line), Ordering::Release);
        }
    }

    pub(super) fn guard(&mut self) -> Option<&mut Guard> {
        self.guard.as_mut()
    }

    /// The end, stdin, stdout and stderr of the child of that key.
    pub(super) fn watch(&self, key: usize, descriptors: [&Option<OwnedFd>; 4]) -> io::Result<()> {
        for (which, fd) in descriptors.into_iter().enumerate() {
            if let Some(fd) = fd {
                let interest = if NEWS[which] == News::Stdin { Interest::WRITABLE } else { Interest::READABLE };
                self.registry.register(&mut SourceFd(&fd.as_raw_fd()), Token(key * 4 + which), interest)?;
            }
        }
        Ok(())
    }

    /// By hand, before it closes: a forked child may have a copy, and then the system would go on to watch it.
    pub(super) fn close(&self, fd: &mut Option<OwnedFd>) {
        if let Some(fd) = fd.take() {
            let _ = self.registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
    }

    /// Attend to it once more when the others have had their turn.
    pub(super) fn again(&mut self, child: &Arc<Child>) {
        self.again.push(child.clone());
    }

    pub(super) fn remind(&mut self, due: Instant, key: usize) {
        self.reminders.insert((due, key));
    }

    fn wake_due(&mut self) {
        while let Some(&(due, key)) = self.reminders.first()
            && due <= Instant::now()
        {
            self.reminders.pop_first();
            let child = self.reactor.children().get(key).cloned();
            if let Some(child) = child {
                contained(|| child.attend(self, News::All));
            }
        }
    }
}

/// Where the system has no descriptor for a child's end, a thread waits for it, and leaves the reaping to the reactor.
pub(super) fn wait_on_a_thread(child: &Arc<Child>, pid: pid_t) {
    let waiting = child.clone();
    #[expect(clippy::disallowed_methods, reason = "it lives as long as the child")]
    let thread = std::thread::Builder::new().name("mountain-wait".into()).spawn(move || {
        let _ = sys::ended(pid, true);
        waiting.reactor.look(&waiting);
    });
    if thread.is_err() {
        // Nobody would hear of its end.
        child.stop();
    }
}
