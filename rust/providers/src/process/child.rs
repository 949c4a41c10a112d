//! One child, from its birth to its reaping. What it does is decided here; the reactor's thread calls, and alone reads, writes and reaps.
//!
//!  1. It is started on the reactor's thread. Who gave it up before that is answered, and nothing is started.
//!  2. Its end is noted without reaping it: as long as it is a zombie, its number names its group and no other.
//!  3. It is over when it has ended and its output has: nobody of its group writes any more. Then what is left of the group is killed, and then
//!     it is reaped.
//!  4. Who stops it kills the group, under the lock that the reaping takes too, so that no stranger is hit. Then its output has a moment to end;
//!     it does unless somebody who left the group holds it.
//!  5. Who ends it politely sends SIGTERM, and leaves a time after which 4 happens. Its output is read and dropped meanwhile.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::pid_t;
use mountain_core::error::Error;
use mountain_core::sync::Mutex;
use mountain_core::value::Value;

use super::answer::{Answers, Pending, give};
use super::birth::Nursery;
use super::command::Command;
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::reactor::{self, Desk, Reactor};
use super::sys;

/// How a program ended that was waited for.
#[derive(Debug)]
pub struct Completed {
    /// Its exit code, or the signal that ended it as a negative number.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// How that failed, other than by the system's refusal.
#[derive(Debug)]
pub struct Failed {
    pub command: Arc<Command>,
    pub completed: Completed,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// By itself, and not with 0.
    Code,
    /// It was stopped after that time.
    Stopped(Duration),
    /// It wrote more than so many bytes.
    TooMuch(usize),
}

pub(super) struct Child {
    pub(super) reactor: &'static Reactor,
    pub(super) command: Arc<Command>,
    /// Whose shutdown sweeps it.
    pub(super) owner: Option<usize>,
    pub(super) state: Mutex<State>,
}

/// A child that has been born, as who waits for it is handed it.
type Hand = fn(Arc<Child>) -> Value;

/// A program that is run to its end.
pub(super) struct Whole {
    pub(super) pending: Pending,
    pub(super) check: bool,
    pub(super) most: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Unborn,
    Running,
    Over,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, in any combination")]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) pid: pid_t,
    pub(super) key: usize,
    pub(super) place: Option<usize>,
    pub(super) started: Option<Instant>,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) code: Option<i32>,
    pub(super) stdin: Outlet,
    pub(super) out: Inlet,
    pub(super) err: Inlet,
    /// It gets a pipe for its stdin.
    pub(super) talks: bool,
    /// Its group has been killed, or will not be started.
    pub(super) killed: bool,
    pub(super) too_much: bool,
    /// Somebody else has reaped it: its number may be a stranger's now.
    pub(super) stolen: bool,
    /// Nobody reads its output any more.
    pub(super) ending: bool,
    /// When something is to be done to it that nothing else leads to: the group is killed, or its output given up.
    pub(super) due: Option<Instant>,
    pub(super) whole: Option<Whole>,
    /// Who waits for its birth, and what he is handed.
    pub(super) born: Option<(Pending, Hand)>,
    pub(super) on_exit: VecDeque<(u64, Pending)>,
    pub(super) on_over: VecDeque<(u64, Pending)>,
    pub(super) requests: u64,
}

/// What may have changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    End,
    Stdin,
    Out,
    Err,
    All,
}

impl Child {
    pub(super) fn new(reactor: &'static Reactor, command: Arc<Command>, owner: Option<usize>, most: usize) -> Self {
        let state = State {
            phase: Phase::Unborn,
            pid: 0,
            key: 0,
            place: None,
            started: None,
            pidfd: None,
            code: None,
            stdin: Outlet::default(),
            out: Inlet::new(most),
            err: Inlet::new(most),
            talks: false,
            killed: false,
            too_much: false,
            stolen: false,
            ending: false,
            due: None,
            whole: None,
            born: None,
            on_exit: VecDeque::new(),
            on_over: VecDeque::new(),
            requests: 0,
        };
        Child { reactor, command, owner, state: Mutex::new(state) }
    }

    /// Step 1, on the reactor's thread.
    pub(super) fn start(self: &Arc<Self>, desk: &mut Desk<'_>, nursery: Option<&mut Nursery>) {
        let mut answers = Answers::new();
        let (given_up, talks) = {
            let state = self.state.lock();
            (state.killed, state.talks)
        };
        // Not under the lock: who gives it up meanwhile need not wait until a slow disk has the program.
        let born = match nursery {
            _ if given_up => Err(Error::Cancelled),
            Some(nursery) => self.bear(desk, nursery, talks),
            None => Err(self.command.refused(libc::EAGAIN, false)),
        };
        let mut state = self.state.lock();
        if let Err(e) = born {
            state.fail(e, &mut answers);
        } else {
            if state.killed {
                let _ = sys::signal_group(state.pid, libc::SIGKILL);
            }
            if let Some((pending, hand)) = state.born.take() {
                answers.push((pending, Ok(hand(self.clone()))));
            }
        }
        drop(state);
        give(answers);
        self.attend(desk, News::All);
    }

    fn bear(self: &Arc<Self>, desk: &mut Desk<'_>, nursery: &mut Nursery, talks: bool) -> Result<(), Error> {
        let refused = |e: &std::io::Error| self.command.refused(e.raw_os_error().unwrap_or(libc::EAGAIN), false);
        let pipe = |wanted: bool| if wanted { sys::pipe().map(Some) } else { Ok(None) };
        let stdin = pipe(talks).map_err(|e| refused(&e))?;
        let out = pipe(true).map_err(|e| refused(&e))?;
        let err = pipe(self.command.stderr).map_err(|e| refused(&e))?;
        let (theirs_in, ours_in) = stdin.unzip();
        let ((ours_out, theirs_out), (ours_err, theirs_err)) = (out.unzip(), err.unzip());
        for ours in [&ours_in, &ours_out, &ours_err].into_iter().flatten() {
            sys::never_block(ours).map_err(|e| refused(&e))?;
        }
        let Some(guard) = desk.guard() else { return Err(self.command.refused(libc::EAGAIN, false)) };
        let place = guard.place();
        let started = Instant::now();
        let theirs = [theirs_in.as_ref(), theirs_out.as_ref(), theirs_err.as_ref()];
        let born = nursery.bear(&self.command, theirs, guard.slot(place));
        if born.is_err() {
            guard.vacate(place);
        }
        let born = born?;
        let key = desk.reactor.children().insert(self.clone());
        let mut state = self.state.lock();
        (state.phase, state.pid, state.key, state.place, state.started) = (Phase::Running, born.pid, key, place, Some(started));
        (state.stdin.fd, state.out.fd, state.err.fd, state.pidfd) = (ours_in, ours_out, ours_err, born.pidfd);
        let has_pidfd = state.pidfd.is_some();
        let watched = desk.watch(key, [&state.pidfd, &state.stdin.fd, &state.out.fd, &state.err.fd]);
        drop(state);
        if watched.is_err() {
            // Nobody would hear of it: it is not to run. Its end is waited for by a thread.
            self.stop();
        }
        if !has_pidfd || watched.is_err() {
            reactor::wait_on_a_thread(self, born.pid);
        }
        Ok(())
    }

    /// Steps 2 to 5, on the reactor's thread.
    pub(super) fn attend(self: &Arc<Self>, desk: &mut Desk<'_>, news: News) {
        let mut answers = Answers::new();
        let mut state = self.state.lock();
        if state.phase == Phase::Running {
            state.attend(self, desk, news, &mut answers);
        }
        drop(state);
        give(answers);
    }

    /// Kill the group, now and from any thread; who waits hears of it when it has been reaped.
    pub(super) fn stop(self: &Arc<Self>) {
        if self.reactor.elsewhere() {
            return;
        }
        let mut state = self.state.lock();
        if state.killed || state.phase == Phase::Over {
            return;
        }
        state.killed = true;
        if state.phase == Phase::Running {
            let _ = sys::signal_group(state.pid, libc::SIGKILL);
            drop(state);
            self.reactor.look(self);
        }
    }

    /// Ask the group to end, by the end of its stdin and by SIGTERM, and kill it after `grace`.
    pub(super) fn end(self: &Arc<Self>, grace: Duration) {
        let mut state = self.state.lock();
        if state.phase != Phase::Running || state.killed {
            return;
        }
        let _ = sys::signal_group(state.pid, libc::SIGTERM);
        state.stdin.put(Arc::new([]), None, true);
        state.ending = true;
        let due = Instant::now().checked_add(grace);
        state.due = state.due.into_iter().chain(due).min();
        drop(state);
        self.reactor.look(self);
    }

    /// To the whole group. `ESRCH` when it is over.
    pub(super) fn signal(&self, number: i32) -> Result<(), i32> {
        let state = self.state.lock();
        if state.phase != Phase::Running {
            return Err(libc::ESRCH);
        }
        sys::signal_group(state.pid, number).map_err(|e| e.raw_os_error().unwrap_or(libc::EINVAL))
    }

    /// Answer what can be answered at once, on the caller's thread; what needs the pipes is the reactor's.
    pub(super) fn serve(self: &Arc<Self>) {
        let mut answers = Answers::new();
        let mut state = self.state.lock();
        let looks = state.serve(&mut answers);
        drop(state);
        give(answers);
        if looks {
            self.reactor.look(self);
        }
    }

    /// Kill what lives, and say what it was.
    pub(super) fn sweep(self: &Arc<Self>) -> Option<(i32, String)> {
        let pid = {
            let state = self.state.lock();
            (state.phase == Phase::Running && !state.killed).then_some(state.pid)?
        };
        self.stop();
        let line: Vec<_> = self.command.argv().map(|a| a.to_string_lossy()).collect();
        Some((pid, line.join(" ")))
    }
}
