//! The state machine of a child: the decisions of steps 2 to 5 of `child`, under its lock. Answers are collected, and
//! given without the lock.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use libc::pid_t;
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::answer::{Answers, Pending};
use super::completed::Completed;
use super::desk::{Desk, News};
use super::inlet::{Inlet, KEPT};
use super::outlet::Outlet;
use super::pty::Size;
use super::screen::Screen;
use super::sys;
use super::whole::Whole;

/// How long the output of a killed group may take to end.
const LAST: Duration = Duration::from_millis(100);

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
    /// A call has looked at the screen.
    pub(super) looked: bool,
    /// It gets a terminal of that size, and leads a session.
    pub(super) terminal: Option<Size>,
    /// The end of a terminal's program may be told: its output up to then has been read and drawn.
    drained: bool,
    /// The session of a terminal has been killed, and not its leader's group alone.
    session_killed: bool,
    /// Its group has been killed, or will not be started.
    pub(super) killed: bool,
    too_much: bool,
    /// Other code of this process has reaped it: its number may be another process's now.
    stolen: bool,
    /// Its output is read and dropped.
    pub(super) ending: bool,
    /// When the group is to be killed, or its output given up, should no event lead to it before.
    pub(super) due: Option<Instant>,
    pub(super) whole: Option<Whole>,
    /// The call that waits for its birth.
    pub(super) born: Option<Pending>,
    /// The calls that wait for its exit code.
    pub(super) on_exit: VecDeque<(u64, Pending)>,
    /// The calls that wait until it has been reaped.
    pub(super) on_over: VecDeque<(u64, Pending)>,
    requests: u64,
}

impl State {
    /// `most`: how many bytes of its stdout, and of its stderr, are kept before it has to wait.
    pub(super) fn new(most: usize) -> Self {
        State {
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
            looked: false,
            terminal: None,
            drained: true,
            session_killed: false,
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
        }
    }

    pub(super) fn terminal(size: Size) -> Self {
        let mut state = State { terminal: Some(size), drained: false, ..State::new(KEPT) };
        state.out.screen = Screen::new(size);
        state
    }

    /// Its stdout, or its stderr.
    pub(super) fn output(&mut self, stderr: bool) -> &mut Inlet {
        if stderr { &mut self.err } else { &mut self.out }
    }

    /// How it has ended, where that may be told.
    pub(super) fn told(&self) -> Option<i32> {
        self.code.filter(|_| self.drained)
    }

    /// In a forked process: the child is the parent's, and its descriptors close here.
    pub(super) fn let_go(&mut self) {
        for fd in [&mut self.pidfd, &mut self.stdin.fd, &mut self.out.fd, &mut self.err.fd] {
            drop(fd.take());
        }
    }

    pub(super) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Answers what can be answered without the pipes. True: the reactor must look.
    pub(super) fn serve(&mut self, answers: &mut Answers) -> bool {
        self.out.serve(answers);
        self.err.serve(answers);
        self.tell(answers);
        if self.flows() {
            self.out.lose_if_unasked();
        }
        if self.phase == Phase::Over {
            self.stdin.refuse(answers);
            answers.extend(self.on_over.drain(..).map(|(_, pending)| (pending, Ok(Value::Unit))));
            return false;
        }
        self.stdin.waits() || self.out.may_read() || self.err.may_read()
    }

    fn tell(&mut self, answers: &mut Answers) {
        if let Some(code) = self.told() {
            answers.extend(self.on_exit.drain(..).map(|(_, pending)| (pending, Ok(Value::Int(code.into())))));
        }
    }

    /// A wait for the end of a terminal's program, or a look at its screen, without a reader, does not hold the program
    /// up.
    fn flows(&self) -> bool {
        self.terminal.is_some() && (self.looked || !self.on_exit.is_empty())
    }

    pub(super) fn withdraw(&mut self, id: u64) -> Option<Pending> {
        let waiting = [&mut self.on_exit, &mut self.on_over];
        let found = waiting.into_iter().find_map(|queue| {
            let i = queue.iter().position(|w| w.0 == id)?;
            queue.remove(i).map(|w| w.1)
        });
        found.or_else(|| self.out.withdraw(id)).or_else(|| self.err.withdraw(id)).or_else(|| self.stdin.withdraw(id))
    }

    /// It was not started.
    pub(super) fn fail(&mut self, e: Error, answers: &mut Answers) {
        self.phase = Phase::Over;
        if let Some(pending) = self.born.take().or_else(|| self.whole.take().map(|w| w.pending)) {
            answers.push((pending, Err(e)));
        }
    }

    pub(super) fn attend(&mut self, desk: &mut Desk<'_>, news: News, answers: &mut Answers) {
        let all = news == News::All;
        if (all || news == News::End) && self.code.is_none() {
            // Other code has reaped it, or SIGCHLD is ignored: how it ended is lost. asyncio says 255 then.
            self.code = sys::ended(self.pid, false).unwrap_or_else(|_| {
                self.stolen = true;
                Some(255)
            });
            if self.code.is_some() && self.terminal.is_some() {
                self.out.take_the_rest();
            }
        }
        if (all || news == News::Stdin) && self.stdin.flush(answers) {
            desk.close(&mut self.stdin.fd);
        }
        let flows = self.flows();
        let discard = self.ending || self.too_much;
        for (inlet, its) in [(&mut self.out, News::Out), (&mut self.err, News::Err)] {
            // Also one that was full and has room again.
            if all || news == its || inlet.paused || news == News::End && inlet.screen.is_some() {
                if inlet.fd.is_some() && (discard || inlet.has_work()) && inlet.pump(desk.scratch, discard) {
                    desk.close(&mut inlet.fd);
                }
                inlet.serve(answers);
                if flows {
                    inlet.lose_if_unasked();
                }
                if inlet.paused && (discard || inlet.has_work()) {
                    desk.again(self.key);
                }
            }
        }
        let replies = self.out.screen.as_mut().map(Screen::take_replies).filter(|replies| !replies.is_empty());
        if replies.is_some_and(|replies| self.stdin.reply(replies)) && self.stdin.flush(answers) {
            desk.close(&mut self.stdin.fd);
        }
        let goes_on = self.out.paused && (discard || self.out.has_work());
        // After its end has been seen, reads that found nothing have found all; another program may write on.
        self.drained |= self.code.is_some() && (!goes_on || self.out.has_the_rest());
        if let Some(most) = self.whole.as_ref().and_then(|w| w.most)
            && self.out.len() + self.err.len() > most
            && !self.too_much
        {
            self.too_much = true;
            self.kill();
        }
        self.settle(desk, answers);
        if let Some(due) = self.due {
            desk.remind(due, self.key);
        }
    }

    fn kill(&mut self) {
        if !self.killed {
            self.killed = true;
            self.kill_all();
        }
    }

    /// It has not been reaped.
    pub(super) fn kill_all(&mut self) {
        if self.terminal.is_some() {
            self.session_killed = true;
            sys::kill_session(self.pid);
        } else {
            let _ = sys::signal_group(self.pid, libc::SIGKILL);
        }
    }

    fn settle(&mut self, desk: &mut Desk<'_>, answers: &mut Answers) {
        let mut late = self.due.is_some_and(|due| due <= Instant::now());
        if late && !self.killed {
            self.kill();
            (self.due, late) = (None, false);
        }
        if self.killed && self.terminal.is_some() && !self.session_killed {
            // The stop was on a thread that has no time to look for a session's processes.
            self.kill_all();
        }
        let Some(code) = self.code else { return };
        self.tell(answers);
        if self.out.fd.is_none() && self.err.fd.is_none() {
            self.finish(code, desk, answers);
        } else if self.killed {
            if late {
                self.finish(code, desk, answers);
            } else if self.due.is_none() {
                self.due = Some(Instant::now() + LAST);
            }
        }
    }

    /// Step 3. The child leaves the list of those that live when its phase is `Over`.
    fn finish(&mut self, code: i32, desk: &mut Desk<'_>, answers: &mut Answers) {
        if !self.stolen {
            self.kill_all();
            sys::reap(self.pid);
        }
        self.phase = Phase::Over;
        self.drained = true;
        self.due = None;
        if let Some(guard) = desk.guard() {
            guard.vacate(self.place);
        }
        for fd in [&mut self.pidfd, &mut self.stdin.fd, &mut self.out.fd, &mut self.err.fd] {
            desk.close(fd);
        }
        self.stdin.refuse(answers);
        self.out.serve(answers);
        self.err.serve(answers);
        self.tell(answers);
        answers.extend(self.on_over.drain(..).map(|(_, pending)| (pending, Ok(Value::Unit))));
        if let Some(whole) = self.whole.take() {
            let completed = Completed { code, stdout: self.out.take_all(), stderr: self.err.take_all() };
            let stopped = self.killed.then(|| self.started.map_or(Duration::ZERO, |s| s.elapsed()));
            answers.push(whole.answer(completed, stopped, self.too_much));
        }
    }
}
