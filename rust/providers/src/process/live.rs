//! A process that lives while the program talks to it: each thing that can be asked of it is an operation.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Abort, Abortable, AtWork, Done, Host, Operation};
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::answer::Pending;
use super::child::Child;
use super::command::Command;
pub use super::inlet::Part;
use super::inlet::{KEPT, Wanted};
pub use super::outlet::Data;
use super::pty::Size;
use super::reactor;
use super::run::Stop;
use super::state::State;

/// A process with a pipe for its stdin, or a terminal. Dropped while it lives, its group is killed.
pub struct Live(Arc<Child>);

impl Live {
    pub fn pid(&self) -> i32 {
        if self.0.shared.elsewhere() { 0 } else { self.0.state.lock().pid }
    }

    pub fn command(&self) -> &Arc<Command> {
        &self.0.command
    }

    /// How it has ended, if it has.
    pub fn code(&self) -> Option<i32> {
        if self.0.shared.elsewhere() { None } else { self.0.state.lock().told() }
    }

    /// Sends a signal to the whole group. The error is the system's errno.
    pub fn signal(&self, number: i32) -> Result<(), i32> {
        if self.0.shared.elsewhere() { Err(libc::ESRCH) } else { self.0.signal(number) }
    }

    /// Tells the program of a terminal the new size. The error is the system's errno.
    pub fn resize(&self, size: Size) -> Result<(), i32> {
        if self.0.shared.elsewhere() { Err(libc::ESRCH) } else { self.0.resize(size) }
    }

    /// The screen of a terminal, a line for each row. Nothing in a forked process, or without a terminal.
    pub fn screen(&self) -> String {
        if self.0.shared.elsewhere() { String::new() } else { self.0.screen() }
    }

    /// Begin a request, unless it is answered at once. Virtual time goes on while one `watches`.
    fn request(&self, done: Done, watches: bool, begin: impl FnOnce(&mut State, u64, Pending)) -> Abort {
        if self.0.shared.elsewhere() {
            done.finish(Err(Error::Invalid("a process cannot be used in a forked process: open another one there".into())));
            return Abort::Never;
        }
        let id = {
            let mut state = self.0.state.lock();
            let id = state.next_request();
            begin(&mut state, id, (done, (!watches).then(AtWork::begin)));
            id
        };
        self.0.serve();
        Abort::Shared(Arc::new(Request { child: self.0.clone(), id }))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Starts it, and yields a [`Live`].
pub struct Open {
    pub command: Arc<Command>,
    /// The shutdown of this owner sweeps it.
    pub owner: Option<usize>,
    /// It gets a terminal of that size, and no pipes.
    pub terminal: Option<Size>,
}

impl Operation for Open {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let Some((shared, done)) = reactor::current_for(done) else { return Abort::Never };
        let mut state = self.terminal.map_or_else(|| State::new(KEPT), State::terminal);
        state.talks = true;
        state.born = Some((done, Some(AtWork::begin())));
        let hand = |child| Value::Other(Box::new(Live(child)));
        let child = Arc::new(Child::new(shared, self.command.clone(), self.owner, state, Some(hand)));
        shared.start(&child);
        Abort::Shared(Arc::new(Stop(child)))
    }
}

/// Yields the next of its output, or `Value::Unit` at the end.
pub struct Next {
    pub live: Arc<Live>,
    pub part: Part,
    /// Of its stderr.
    pub stderr: bool,
    /// Virtual time does not wait for it.
    pub watches: bool,
}

impl Operation for Next {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (child, stderr) = (Arc::downgrade(&self.live.0), self.stderr);
        let back = Box::new(move |value, at| {
            if let Some(child) = child.upgrade() {
                child.put_back(value, at, stderr);
            }
        });
        self.live.request(done, self.watches, |state, id, pending| {
            state.output(stderr).want(Wanted { id, pending, part: self.part, back });
        })
    }
}

/// Ends when all of it has been written. Aborted, it is left out if nothing of it has been written.
pub struct Send {
    pub live: Arc<Live>,
    pub data: Data,
}

impl Operation for Send {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        self.live.request(done, false, |state, id, pending| state.stdin.put(self.data.clone(), Some((id, pending)), false))
    }
}

/// Ends when what was to be written before has been.
pub struct CloseStdin(pub Arc<Live>);

impl Operation for CloseStdin {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        self.0.request(done, false, |state, id, pending| state.stdin.put(Arc::new([]), Some((id, pending)), true))
    }
}

/// Yields its exit code.
pub struct Wait {
    pub live: Arc<Live>,
    /// As with [`Next`].
    pub watches: bool,
}

impl Operation for Wait {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        self.live.request(done, self.watches, |state, id, pending| state.on_exit.push_back((id, pending)))
    }
}

/// SIGTERM to the group, SIGKILL after `grace`; ends when it has been reaped. Aborted, it kills at once.
pub struct End {
    pub live: Arc<Live>,
    pub grace: Duration,
}

impl Operation for End {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let child = &self.live.0;
        if !child.shared.elsewhere() {
            if self.grace.is_zero() { child.stop() } else { child.end(self.grace) }
        }
        match self.live.request(done, false, |state, id, pending| state.on_over.push_back((id, pending))) {
            Abort::Never => Abort::Never,
            _ => Abort::Shared(Arc::new(Stop(child.clone()))),
        }
    }
}

struct Request {
    child: Arc<Child>,
    id: u64,
}

impl Abortable for Request {
    fn abort(&self) {
        if self.child.shared.elsewhere() {
            return;
        }
        let pending = self.child.state.lock().withdraw(self.id);
        // Dropped out of the lock, it is answered as cancelled.
        drop(pending);
    }
}
