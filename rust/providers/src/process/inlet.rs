//! The output of a child, buffered until a call asks for it. A full buffer stops the reading of the pipe, and the child
//! waits.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use mountain_core::effect::Outcome;
use mountain_core::error::Error;
use mountain_core::value::{Taken, Value};

use super::answer::{Answers, Pending};
use super::screen::Screen;
use super::sys;

/// How many bytes are kept for a live process at most, unless one line is longer and a call waits for it.
pub(super) const KEPT: usize = 256 << 10;
/// A line is no longer, unless it is read by chunks.
pub(super) const LONGEST: usize = 64 << 20;
/// Read at a time before other children have their turn.
const TURN: usize = 1 << 20;
/// More than the system keeps of what a program has written to its terminal.
const TERMINAL: usize = 128 << 10;

/// The part of the output that a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The next line, with its end if it has one.
    Line,
    /// All whole lines that are there, and at least one: a list.
    Lines,
    /// Whatever is there.
    Chunk,
}

/// Takes a part, and where it begins in the output.
pub(super) type Back = Box<dyn FnOnce(Value, u64) + Send>;

/// A call that waits for a part, and the way back for an answer that its caller does not take.
pub(super) struct Wanted {
    pub(super) id: u64,
    pub(super) pending: Pending,
    pub(super) part: Part,
    pub(super) back: Back,
}

pub(super) struct Inlet {
    pub(super) fd: Option<OwnedFd>,
    kept: Vec<u8>,
    /// Before it everything has been given.
    start: usize,
    /// Up to it no line ends.
    seen: usize,
    /// How much of the output has been given, once at least.
    given: u64,
    /// The parts that went back, which are first in what is kept: where each begins in the output, and its length.
    again: VecDeque<(u64, usize)>,
    most: usize,
    /// How much has been read.
    read: u64,
    /// The program of a terminal has ended: up to there, at most, the output is its own.
    rest: Option<u64>,
    /// The pipe may have more, which is not read for now.
    pub(super) paused: bool,
    wanted: VecDeque<Wanted>,
    /// Where a terminal's output is drawn.
    pub(super) screen: Option<Screen>,
    /// A call has asked for it.
    asked: bool,
    /// It is drawn, and not kept.
    lost: bool,
}

impl Inlet {
    pub(super) fn new(most: usize) -> Self {
        Inlet {
            fd: None,
            kept: Vec::new(),
            start: 0,
            seen: 0,
            given: 0,
            again: VecDeque::new(),
            most,
            read: 0,
            rest: None,
            paused: false,
            wanted: VecDeque::new(),
            screen: None,
            asked: false,
            lost: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len() - self.start
    }

    pub(super) fn take_all(&mut self) -> Vec<u8> {
        (self.start, self.seen) = (0, 0);
        self.again.clear();
        std::mem::take(&mut self.kept)
    }

    pub(super) fn want(&mut self, wanted: Wanted) {
        self.asked = true;
        self.wanted.push_back(wanted);
    }

    pub(super) fn withdraw(&mut self, id: u64) -> Option<Pending> {
        let i = self.wanted.iter().position(|w| w.id == id)?;
        self.wanted.remove(i).map(|w| w.pending)
    }

    /// The answer of a call, which its caller does not take, is next again. Answers that go back together keep the
    /// order of the output.
    pub(super) fn put_back(&mut self, value: Value, at: u64) {
        let bytes: Vec<u8> = match value {
            _ if self.lost => return,
            Value::Bytes(bytes) => bytes,
            Value::List(lines) => {
                lines.into_iter().flat_map(|line| if let Value::Bytes(line) = line { line } else { Vec::new() }).collect()
            }
            _ => return,
        };
        let i = self.again.partition_point(|&(begins, _)| begins < at);
        let place = self.start + self.again.iter().take(i).map(|&(_, len)| len).sum::<usize>();
        self.again.insert(i, (at, bytes.len()));
        self.kept.splice(place..place, bytes);
        self.seen = self.start;
    }

    /// Read what the pipe has. True: the end has come. `paused` then says whether it has more.
    pub(super) fn pump(&mut self, scratch: &mut [u8], discard: bool) -> bool {
        self.paused = false;
        let mut read = 0;
        let mut looked_twice = false;
        let turn = if self.screen.is_some() { TERMINAL } else { TURN };
        loop {
            // Nothing more is read until the rest is drawn.
            let behind = !discard && self.screen.as_mut().is_some_and(Screen::draw);
            if self.fd.is_some() && (behind || read >= turn || !discard && self.is_full()) {
                self.paused = true;
                return false;
            }
            let Some(fd) = &self.fd else { return false };
            match sys::read(fd, scratch) {
                Ok(0) => return true,
                Ok(n) => {
                    read += n;
                    self.read += n as u64;
                    looked_twice = false;
                    if !discard {
                        if !self.lost {
                            self.kept.extend_from_slice(&scratch[..n]);
                        }
                        if let Some(screen) = &mut self.screen {
                            screen.put(&scratch[..n]);
                        }
                    }
                }
                // Linux may say so once while it still moves the last bytes of a terminal: a read that waits for the
                // move can miss that it goes on. The next read waits for the rest.
                Err(_) if self.screen.is_some() && !looked_twice => looked_twice = true,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return false,
                // A program that has closed its terminal may open it again, as a login does.
                Err(_) => return self.screen.is_none() || self.rest.is_some(),
            }
        }
    }

    /// It stopped reading, and there is room again.
    pub(super) fn may_read(&mut self) -> bool {
        self.paused && !self.is_full()
    }

    /// It may read on, or draw.
    pub(super) fn has_work(&mut self) -> bool {
        !self.is_full() || self.screen.as_ref().is_some_and(|screen| screen.behind() > 0)
    }

    /// The program of a terminal has ended: what the system still keeps is read, even if no call asks for it.
    pub(super) fn take_the_rest(&mut self) {
        self.most = KEPT + TERMINAL;
        self.rest = Some(self.read + TERMINAL as u64);
    }

    /// The output of the program of a terminal has been read and drawn, whatever others still write.
    pub(super) fn has_the_rest(&self) -> bool {
        let behind = self.screen.as_ref().map_or(0, Screen::behind);
        self.rest.is_some_and(|rest| self.read - behind as u64 >= rest)
    }

    /// No call has asked for what fills the buffer: from now on it is drawn, and not kept.
    pub(super) fn lose_if_unasked(&mut self) {
        if !self.asked && !self.lost && self.is_full() {
            self.lost = true;
            drop(self.take_all());
        }
    }

    fn is_full(&mut self) -> bool {
        if self.lost {
            return false;
        }
        let lines = self.wanted.front().is_some_and(|w| w.part != Part::Chunk);
        self.len() >= self.most && !(lines && self.len() < LONGEST && self.line_end().is_none())
    }

    /// Answers the calls that wait with what there is.
    pub(super) fn serve(&mut self, answers: &mut Answers) {
        while let Some(part) = self.wanted.front().map(|wanted| wanted.part) {
            let at = self.again.front().map_or(self.given, |&(begins, _)| begins);
            let Some(outcome) = self.take(part) else { return };
            if let Some(Wanted { pending, back, .. }) = self.wanted.pop_front() {
                let outcome = outcome.map(|value| match value {
                    Value::Unit => value,
                    value => Taken::value(value, move |value| back(value, at)),
                });
                answers.push((pending, outcome));
            }
        }
    }

    fn take(&mut self, part: Part) -> Option<Outcome> {
        let over = self.fd.is_none();
        if self.lost {
            let why = "what the program wrote went to the screen alone: it was more than is kept for a reader, and a wait() or \
                       screen() came before one. Read beside them";
            return Some(Err(Error::Invalid(why.into())));
        }
        if self.len() == 0 {
            return over.then_some(Ok(Value::Unit));
        }
        let end = match part {
            Part::Chunk => self.kept.len(),
            Part::Lines if over => self.kept.len(),
            _ if !over && self.len() >= LONGEST && self.line_end().is_none() => {
                let why = format!("a line of more than {} MiB: read it by chunks()", LONGEST >> 20);
                return Some(Err(Error::Invalid(why)));
            }
            Part::Line => self.line_end().or(over.then_some(self.kept.len()))?,
            Part::Lines => {
                let first = self.line_end()?;
                self.kept[first..].iter().rposition(|&b| b == b'\n').map_or(first, |i| first + i + 1)
            }
        };
        let taken = &self.kept[self.start..end];
        let value = match part {
            Part::Lines => Value::List(taken.split_inclusive(|&b| b == b'\n').map(|l| Value::Bytes(l.to_vec())).collect()),
            _ => Value::Bytes(taken.to_vec()),
        };
        self.pass(end - self.start);
        self.start = end;
        if self.start == self.kept.len() {
            self.kept.clear();
            self.kept.shrink_to(KEPT);
            self.start = 0;
        } else if self.start > KEPT {
            self.kept.drain(..self.start);
            self.start = 0;
        }
        self.seen = self.start;
        Some(Ok(value))
    }

    /// So much of what is kept is given.
    fn pass(&mut self, mut len: usize) {
        while let Some((begins, first)) = self.again.front_mut() {
            let part = len.min(*first);
            (*begins, *first, len) = (*begins + part as u64, *first - part, len - part);
            if *first > 0 {
                return;
            }
            self.again.pop_front();
        }
        self.given += len as u64;
    }

    /// Where the first line ends.
    fn line_end(&mut self) -> Option<usize> {
        let from = self.seen.max(self.start);
        let rest = &self.kept[from..];
        // SAFETY: looks within the slice.
        let found = unsafe { libc::memchr(rest.as_ptr().cast(), b'\n'.into(), rest.len()) };
        if found.is_null() {
            self.seen = self.kept.len();
            return None;
        }
        self.seen = from + (found as usize - rest.as_ptr() as usize);
        Some(self.seen + 1)
    }
}
