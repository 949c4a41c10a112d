//! The working state of the reactor's thread while it serves a child: the system's events, the guard, and deferred
//! work.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::guard::Guard;

/// The events of a child.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    End,
    Stdin,
    Out,
    Err,
    All,
}

/// In the order of a child's descriptors.
const NEWS: [News; 4] = [News::End, News::Stdin, News::Out, News::Err];
/// The waker's. A descriptor's token is four times its child's key, and its place among the child's descriptors.
pub(super) const WAKER: Token = Token(usize::MAX);

/// The child's key, and what may have changed about it. None: the token is the waker's.
pub(super) fn news(token: Token) -> Option<(usize, News)> {
    (token != WAKER).then(|| (token.0 / 4, NEWS[token.0 % 4]))
}

pub(super) struct Desk<'a> {
    registry: &'a Registry,
    guard: &'a mut Option<Guard>,
    /// A buffer for reads.
    pub(super) scratch: &'a mut [u8],
    reminders: &'a mut BTreeSet<(Instant, usize)>,
    again: Vec<usize>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        guard: &'a mut Option<Guard>,
        scratch: &'a mut [u8],
        reminders: &'a mut BTreeSet<(Instant, usize)>,
    ) -> Self {
        Desk { registry, guard, scratch, reminders, again: Vec::new() }
    }

    /// Starts the guard unless it runs. Its pipe, or -1 without a guard.
    pub(super) fn start_guard(&mut self) -> RawFd {
        if self.guard.is_none() {
            *self.guard = Guard::start().ok();
        }
        self.guard.as_ref().map_or(-1, |guard| guard.line)
    }

    pub(super) fn guard(&mut self) -> Option<&mut Guard> {
        self.guard.as_mut()
    }

    /// Hear of the end, stdin, stdout and stderr of the child of that key.
    pub(super) fn watch(&self, key: usize, descriptors: [&Option<OwnedFd>; 4]) -> io::Result<()> {
        for (which, fd) in descriptors.into_iter().enumerate() {
            if let Some(fd) = fd {
                let interest = if NEWS[which] == News::Stdin { Interest::WRITABLE } else { Interest::READABLE };
                self.registry.register(&mut SourceFd(&fd.as_raw_fd()), Token(key * 4 + which), interest)?;
            }
        }
        Ok(())
    }

    /// The descriptor is no longer watched, and closes. A forked process may have a copy, so closing alone would leave
    /// it watched.
    pub(super) fn close(&self, fd: &mut Option<OwnedFd>) {
        if let Some(fd) = fd.take() {
            let _ = self.registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
    }

    /// Attend to the child of that key once more when the others have had their turn.
    pub(super) fn again(&mut self, key: usize) {
        self.again.push(key);
    }

    /// The children to attend to once more.
    pub(super) fn into_again(self) -> Vec<usize> {
        self.again
    }

    /// Attend to the child of that key at that time.
    pub(super) fn remind(&mut self, due: Instant, key: usize) {
        self.reminders.insert((due, key));
    }

    /// The next child whose time has come.
    pub(super) fn next_due(&mut self) -> Option<usize> {
        let &(due, key) = self.reminders.first()?;
        if due > Instant::now() {
            return None;
        }
        self.reminders.pop_first();
        Some(key)
    }
}
