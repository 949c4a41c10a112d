//! What becomes of a child: the decisions of steps 2 to 5 of [`super::child`], under its lock. Answers are left to be given without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mountain_core::effect::Outcome;
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::answer::{Answers, Pending};
use super::child::{Child, Completed, Failed, News, Phase, State, Why};
use super::command::Command;
use super::reactor::Desk;
use super::sys;

/// How long the output of a killed group may take to end.
const LAST: Duration = Duration::from_millis(100);

impl State {
    /// In the child of a fork: it is the parent's.
    pub(super) fn let_go(&mut self) {
        for fd in [&mut self.pidfd, &mut self.stdin.fd, &mut self.out.fd, &mut self.err.fd] {
            drop(fd.take());
        }
    }

    pub(super) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// True: the reactor must look.
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

    /// It never ran.
    pub(super) fn fail(&mut self, e: Error, answers: &mut Answers) {
        self.phase = Phase::Over;
        if let Some(pending) = self.born.take().map(|(pending, _)| pending).or_else(|| self.whole.take().map(|w| w.pending)) {
            answers.push((pending, Err(e)));
        }
    }

    pub(super) fn attend(&mut self, child: &Arc<Child>, desk: &mut Desk<'_>, news: News, answers: &mut Answers) {
        let all = news == News::All;
        if (all || news == News::End) && self.code.is_none() {
            // Somebody else has reaped it, or SIGCHLD is ignored: how it ended is lost. asyncio says 255 then.
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
            // Also when it has room again.
            if all || news == its || inlet.paused {
                if inlet.fd.is_some() && (discard || inlet.has_room()) && inlet.pump(desk.scratch, discard) {
                    desk.close(&mut inlet.fd);
                }
                inlet.serve(answers);
                if inlet.paused && (discard || inlet.has_room()) {
                    desk.again(child);
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
        self.settle(&child.command, desk, answers);
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

    fn settle(&mut self, command: &Arc<Command>, desk: &mut Desk<'_>, answers: &mut Answers) {
        let mut late = self.due.is_some_and(|due| due <= Instant::now());
        if late && !self.killed {
            self.kill();
            (self.due, late) = (None, false);
        }
        let Some(code) = self.code else { return };
        answers.extend(self.on_exit.drain(..).map(|(_, pending)| (pending, Ok(Value::Int(code.into())))));
        if self.out.fd.is_none() && self.err.fd.is_none() {
            self.finish(command, code, desk, answers);
        } else if self.killed {
            if late {
                self.finish(command, code, desk, answers);
            } else if self.due.is_none() {
                self.due = Some(Instant::now() + LAST);
            }
        }
    }

    /// Step 3.
    fn finish(&mut self, command: &Arc<Command>, code: i32, desk: &mut Desk<'_>, answers: &mut Answers) {
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
        let _ = desk.reactor.children().try_remove(self.key);
        self.stdin.refuse(answers);
        self.out.serve(answers);
        self.err.serve(answers);
        answers.extend(self.on_over.drain(..).map(|(_, pending)| (pending, Ok(Value::Unit))));
        if let Some(whole) = self.whole.take() {
            let completed = Completed { code, stdout: self.out.take_all(), stderr: self.err.take_all() };
            answers.push((whole.pending, self.judge(command, completed, whole.check, whole.most)));
        }
    }

    fn judge(&self, command: &Arc<Command>, completed: Completed, check: bool, most: Option<usize>) -> Outcome {
        let why = match most {
            Some(most) if self.too_much => Why::TooMuch(most),
            _ if self.killed => Why::Stopped(self.started.map_or(Duration::ZERO, |s| s.elapsed())),
            _ if check && completed.code != 0 => Why::Code,
            _ => return Ok(Value::Other(Box::new(completed))),
        };
        Err(Error::Other(Box::new(Failed { command: command.clone(), completed, why })))
    }
}
