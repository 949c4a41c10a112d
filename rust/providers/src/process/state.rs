//! The state machine of a child: the decisions of steps 2 to 5 of `child`, under its lock. Answers are collected, and
//! given without the lock.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::pid_t;
use mountain_core::effect::Outcome;
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::answer::{Answers, Pending};
use super::command::Command;
use super::completed::{Completed, Failed, Why};
use super::desk::{Desk, News};
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::sys;

/// How long the output of a killed group may take to end.
const LAST: Duration = Duration::from_millis(100);

/// A program that is run to its end.
pub(super) struct Whole {
    pub(super) pending: Pending,
    pub(super) command: Arc<Command>,
    /// An exit code other than 0 is a failure.
    pub(super) check: bool,
    /// How many bytes it may write.
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
        if let Some(code) = self.code {
            answers.extend(self.on_exit.drain(..).map(|(_, pending)| (pending, Ok(Value::Int(code.into())))));
        }
        if self.phase == Phase::Over {
            self.stdin.refuse(answers);
            answers.extend(self.on_over.drain(..).map(|(_, pending)| (pending, Ok(Value::Unit))));
            return false;
        }
        self.stdin.waits() || self.out.may_read() || self.err.may_read()
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
        }
        if (all || news == News::Stdin) && self.stdin.flush(answers) {
            desk.close(&mut self.stdin.fd);
        }
        let discard = self.ending || self.too_much;
        for (inlet, its) in [(&mut self.out, News::Out), (&mut self.err, News::Err)] {
            // Also one that was full and has room again.
            if all || news == its || inlet.paused {
                if inlet.fd.is_some() && (discard || inlet.has_room()) && inlet.pump(desk.scratch, discard) {
                    desk.close(&mut inlet.fd);
                }
                inlet.serve(answers);
                if inlet.paused && (discard || inlet.has_room()) {
                    desk.again(self.key);
                }
            }
        }
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
            let _ = sys::signal_group(self.pid, libc::SIGKILL);
        }
    }

    fn settle(&mut self, desk: &mut Desk<'_>, answers: &mut Answers) {
        let mut late = self.due.is_some_and(|due| due <= Instant::now());
        if late && !self.killed {
            self.kill();
            (self.due, late) = (None, false);
        }
        let Some(code) = self.code else { return };
        answers.extend(self.on_exit.drain(..).map(|(_, pending)| (pending, Ok(Value::Int(code.into())))));
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
            let _ = sys::signal_group(self.pid, libc::SIGKILL);
            sys::reap(self.pid);
        }
        self.phase = Phase::Over;
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
        answers.extend(self.on_over.drain(..).map(|(_, pending)| (pending, Ok(Value::Unit))));
        if let Some(whole) = self.whole.take() {
            let completed = Completed { code, stdout: self.out.take_all(), stderr: self.err.take_all() };
            let outcome = self.judge(whole.command, completed, whole.check, whole.most);
            answers.push((whole.pending, outcome));
        }
    }

    fn judge(&self, command: Arc<Command>, completed: Completed, check: bool, most: Option<usize>) -> Outcome {
        let why = match most {
            Some(most) if self.too_much => Why::TooMuch(most),
            _ if self.killed => Why::Stopped(self.started.map_or(Duration::ZERO, |s| s.elapsed())),
            _ if check && completed.code != 0 => Why::Code,
            _ => return Ok(Value::Other(Box::new(completed))),
        };
        Err(Error::Other(Box::new(Failed { command, completed, why })))
    }
}
