//! One child, from its birth to its reaping. What becomes of it is decided in its state; the reactor's thread calls,
//! and alone reads, writes and reaps.
//!
//!  1. The child is started on the reactor's thread. A call that is aborted before that ends, and nothing is started.
//!  2. Its end is noted without reaping it: as long as it is a zombie, its number names its group and no other.
//!  3. It is over when it has ended and its output has: no process can write there any more. Then what is left of
//!     the group is killed, and then it is reaped.
//!     With a terminal the group is a session, and what is said here of the group is true of all of its groups. Its end
//!     is told when its output up to then has been read.
//!  4. A stop kills the group, under the lock that the reaping takes too, so that no other process is hit. Its output
//!     then has a moment to end, and ends in it unless a process that left the group holds it.
//!  5. A polite end sends SIGTERM, and leaves a time after which 4 happens. Its output is read and dropped meanwhile.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::pid_t;
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::answer::{Answers, give};
use super::birth::Nursery;
use super::command::Command;
use super::desk::{Desk, News};
use super::fair::Fair;
use super::plumbing::Plumbing;
use super::pty::{self, Size};
use super::screen::Screen;
use super::shared::Shared;
use super::state::{Phase, State};
use super::sys;

/// A child that has been born, as the value that its opener gets.
pub(super) type Hand = fn(Arc<Child>) -> Value;

pub(super) struct Child {
    pub(super) shared: &'static Shared<Child>,
    pub(super) command: Arc<Command>,
    /// The shutdown of this owner sweeps it.
    pub(super) owner: Option<usize>,
    /// For `State::born`; None for a program that is run to its end.
    hand: Option<Hand>,
    pub(super) state: Fair<State>,
}

impl Child {
    pub(super) fn new(
        shared: &'static Shared<Child>,
        command: Arc<Command>,
        owner: Option<usize>,
        state: State,
        hand: Option<Hand>,
    ) -> Self {
        Child { shared, command, owner, hand, state: Fair::new(state) }
    }

    /// Step 1, on the reactor's thread.
    pub(super) fn start(self: &Arc<Self>, desk: &mut Desk<'_>, nursery: Option<&mut Nursery>) {
        let mut answers = Answers::new();
        let (given_up, talks, terminal) = {
            let state = self.state.lock();
            (state.killed, state.talks, state.terminal)
        };
        // Not under the lock: an abort meanwhile does not wait until a slow disk has the program.
        let born = match nursery {
            _ if given_up => Err(Error::Cancelled),
            Some(nursery) => self.bear(desk, nursery, talks, terminal),
            None => Err(self.command.refused(libc::EAGAIN, false)),
        };
        let mut state = self.state.lock();
        if let Err(e) = born {
            state.fail(e, &mut answers);
        } else {
            if state.killed {
                state.kill_all();
            }
            if let (Some(hand), Some(pending)) = (self.hand, state.born.take()) {
                answers.push((pending, Ok(hand(self.clone()))));
            }
        }
        drop(state);
        give(answers);
        self.attend(desk, News::All);
    }

    fn bear(
        self: &Arc<Self>,
        desk: &mut Desk<'_>,
        nursery: &mut Nursery,
        talks: bool,
        terminal: Option<Size>,
    ) -> Result<(), Error> {
        let refused = |e: &io::Error| self.command.refused(e.raw_os_error().unwrap_or(libc::EAGAIN), false);
        let plumbing = match (terminal, self.command.take_given()) {
            (Some(size), _) => Plumbing::terminal(size),
            (None, Some((stdin, stderr))) => Plumbing::given(stdin, stderr),
            (None, None) => Plumbing::pipes(talks, self.command.stderr),
        };
        let Plumbing { ours: [ours_in, ours_out, ours_err], theirs } = plumbing.map_err(|e| refused(&e))?;
        let Some(guard) = desk.guard() else { return Err(self.command.refused(libc::EAGAIN, false)) };
        let place = guard.place();
        let started = Instant::now();
        let born = nursery.bear(&self.command, theirs.each_ref().map(Option::as_ref), terminal.is_some(), guard.number(place));
        if born.is_err() {
            guard.vacate(place);
        }
        let born = born?;
        let key = self.shared.children().insert(self.clone());
        let mut state = self.state.lock();
        (state.phase, state.pid, state.key, state.place, state.started) = (Phase::Running, born.pid, key, place, Some(started));
        (state.stdin.fd, state.out.fd, state.err.fd, state.pidfd) = (ours_in, ours_out, ours_err, born.pidfd);
        let has_pidfd = state.pidfd.is_some();
        let watched = desk.watch(key, [&state.pidfd, &state.stdin.fd, &state.out.fd, &state.err.fd]);
        drop(state);
        if watched.is_err() {
            // The reactor would not hear of its end: it is not to run, and a thread waits for it.
            self.stop();
        }
        if !has_pidfd || watched.is_err() {
            self.wait_on_a_thread(born.pid);
        }
        Ok(())
    }

    /// Steps 2 to 5, on the reactor's thread.
    pub(super) fn attend(self: &Arc<Self>, desk: &mut Desk<'_>, news: News) {
        let mut answers = Answers::new();
        let mut state = self.state.lock_in_turn();
        if state.phase == Phase::Running {
            state.attend(desk, news, &mut answers);
            if state.phase == Phase::Over {
                let _ = self.shared.children().try_remove(state.key);
            }
        }
        drop(state);
        give(answers);
    }

    /// Kills the group, now and from any thread. Calls that wait for its end are answered when it has been reaped.
    pub(super) fn stop(self: &Arc<Self>) {
        if self.shared.elsewhere() {
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
            self.shared.look(self);
        }
    }

    /// Tells a terminal's program the new size. `ESRCH` when it is over.
    pub(super) fn resize(&self, size: Size) -> Result<(), i32> {
        let mut state = self.state.lock();
        if state.phase != Phase::Running {
            return Err(libc::ESRCH);
        }
        if let Some(fd) = &state.out.fd {
            pty::resize(fd, size).map_err(|e| e.raw_os_error().unwrap_or(libc::EINVAL))?;
        }
        if let Some(screen) = &mut state.out.screen {
            screen.resize(size);
        }
        Ok(())
    }

    /// Asks the group to end, by the end of its stdin and by SIGTERM, and kills it after `grace`. A terminal hangs up,
    /// too, for the sake of shells, which ignore the one and hear the other.
    pub(super) fn end(self: &Arc<Self>, grace: Duration) {
        let mut state = self.state.lock();
        if state.phase != Phase::Running || state.killed {
            return;
        }
        let _ = sys::signal_group(state.pid, libc::SIGTERM);
        if state.terminal.is_some() {
            let _ = sys::signal_group(state.pid, libc::SIGHUP);
            let _ = sys::signal_group(state.pid, libc::SIGCONT);
        }
        state.stdin.put(Arc::new([]), None, true);
        state.ending = true;
        let due = Instant::now().checked_add(grace);
        state.due = state.due.into_iter().chain(due).min();
        drop(state);
        self.shared.look(self);
    }

    /// Sends a signal to the whole group. `ESRCH` when it is over.
    pub(super) fn signal(&self, number: i32) -> Result<(), i32> {
        let state = self.state.lock();
        if state.phase != Phase::Running {
            return Err(libc::ESRCH);
        }
        sys::signal_group(state.pid, number).map_err(|e| e.raw_os_error().unwrap_or(libc::EINVAL))
    }

    /// Answers what can be answered at once, on the caller's thread; what needs the pipes is left to the reactor.
    pub(super) fn serve(self: &Arc<Self>) {
        let mut answers = Answers::new();
        let mut state = self.state.lock();
        let needs_reactor = state.serve(&mut answers);
        drop(state);
        give(answers);
        if needs_reactor {
            self.shared.look(self);
        }
    }

    /// The text that a terminal shows. From then on the program waits for no reader.
    pub(super) fn screen(self: &Arc<Self>) -> String {
        let mut answers = Answers::new();
        let mut state = self.state.lock();
        state.looked = true;
        let text = state.out.screen.as_ref().map(Screen::text).unwrap_or_default();
        let needs_reactor = state.serve(&mut answers);
        drop(state);
        give(answers);
        if needs_reactor {
            self.shared.look(self);
        }
        text
    }

    /// A call has had the value, and its caller does not take it.
    pub(super) fn put_back(self: &Arc<Self>, value: Value, at: u64, stderr: bool) {
        if !self.shared.elsewhere() {
            self.state.lock().output(stderr).put_back(value, at);
            self.serve();
        }
    }

    /// Kills it if it lives, and says what it was: its number and command line.
    pub(super) fn sweep(self: &Arc<Self>) -> Option<(i32, String)> {
        let pid = {
            let state = self.state.lock();
            (state.phase == Phase::Running && !state.killed).then_some(state.pid)?
        };
        self.stop();
        let line: Vec<_> = self.command.argv().map(|a| a.to_string_lossy()).collect();
        Some((pid, line.join(" ")))
    }

    /// Where the system has no descriptor for a child's end, a thread waits for it, and leaves the reaping to the
    /// reactor.
    fn wait_on_a_thread(self: &Arc<Self>, pid: pid_t) {
        let waiting = self.clone();
        #[expect(clippy::disallowed_methods, reason = "it lives as long as the child")]
        let thread = std::thread::Builder::new().name("mountain-wait".into()).spawn(move || {
            let _ = sys::ended(pid, true);
            waiting.shared.look(&waiting);
        });
        if thread.is_err() {
            // The reactor would not hear of its end.
            self.stop();
        }
    }
}
