//! The input of a child: writes in order, at the pace at which the child reads.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mountain_core::error::{Error, OsError};
use mountain_core::value::Value;

use super::answer::{Answers, Pending};
use super::sys;

/// Bytes that do not change while they are written.
pub type Data = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Pieces that wait while a terminal still answers its program, which may ask and never read.
const REPLIES: usize = 16;

struct Piece {
    data: Data,
    written: usize,
    /// The call that waits for it to be written.
    waiter: Option<(u64, Pending)>,
    /// Nothing comes after it.
    last: bool,
}

#[derive(Default)]
pub(super) struct Outlet {
    pub(super) fd: Option<OwnedFd>,
    queue: VecDeque<Piece>,
}

impl Outlet {
    pub(super) fn put(&mut self, data: Data, waiter: Option<(u64, Pending)>, last: bool) {
        self.queue.push_back(Piece { data, written: 0, waiter, last });
    }

    /// Written in turn. False: much waits already, and it is left out.
    pub(super) fn reply(&mut self, data: Vec<u8>) -> bool {
        let takes = self.queue.len() < REPLIES;
        if takes {
            self.put(Arc::new(data), None, false);
        }
        takes
    }

    pub(super) fn waits(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A write that has begun is completed all the same: half a line would spoil the next.
    pub(super) fn withdraw(&mut self, id: u64) -> Option<Pending> {
        let i = self.queue.iter().position(|p| p.waiter.as_ref().is_some_and(|w| w.0 == id))?;
        let waiter = self.queue[i].waiter.take();
        if self.queue[i].written == 0 && !self.queue[i].last {
            self.queue.remove(i);
        }
        waiter.map(|w| w.1)
    }

    /// Write what the pipe takes. True: it is to be closed.
    pub(super) fn flush(&mut self, answers: &mut Answers) -> bool {
        while let Some(piece) = self.queue.front_mut() {
            let Some(fd) = &self.fd else {
                self.refuse(answers);
                return false;
            };
            let rest = &(*piece.data).as_ref()[piece.written..];
            match if rest.is_empty() { Ok(0) } else { sys::write(fd, rest) } {
                Ok(n) => {
                    piece.written += n;
                    if n < rest.len() {
                        continue;
                    }
                    let last = piece.last;
                    if let Some((_, pending)) = self.queue.pop_front().and_then(|p| p.waiter) {
                        answers.push((pending, Ok(Value::Unit)));
                    }
                    if last {
                        // Nothing is written after the end.
                        self.refuse(answers);
                        return true;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(_) => {
                    self.refuse(answers);
                    return true;
                }
            }
        }
        false
    }

    /// The child reads no more: each call that waits is answered.
    pub(super) fn refuse(&mut self, answers: &mut Answers) {
        for piece in self.queue.drain(..) {
            if let Some((_, pending)) = piece.waiter {
                // To close what is closed is no failure.
                let broken = Error::Os(Box::new(OsError { errno: libc::EPIPE, path: None, path2: None, advice: None }));
                answers.push((pending, if piece.last { Ok(Value::Unit) } else { Err(broken) }));
            }
        }
    }
}
