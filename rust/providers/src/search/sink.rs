//! The matches of one file: each gets the lines around it, and all come to the feed one after another.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use grep_matcher::Matcher;
use grep_regex::RegexMatcher;
use grep_searcher::{Searcher, Sink, SinkContext, SinkFinish, SinkMatch};
use mountain_core::sync::{Mutex, MutexGuard};

use super::hit::{Line, Match, context, preview, without_end};
use crate::feed::{BATCH, Shared};

/// As far as a pattern may look beyond its match, as ripgrep's printers have it.
const LOOK_AHEAD: usize = 128;

pub(super) struct FileSink<'a> {
    pub(super) feed: &'a Shared<Match>,
    pub(super) matcher: &'a RegexMatcher,
    pub(super) path: &'a Arc<Path>,
    pub(super) context: usize,
    pub(super) max: u64,
    /// A file whose matches come to the feed holds it until its end.
    pub(super) turn: &'a Mutex<()>,
    held: Option<MutexGuard<'a, ()>>,
    found: u64,
    /// The last lines seen, by number: as many as there is context.
    window: VecDeque<(u64, Line)>,
    /// Matches that may get more lines, with the number of the last one.
    pending: VecDeque<(Match, u64)>,
    ready: Vec<(Match, usize)>,
    weight: usize,
    binary: Option<u64>,
}

impl<'a> FileSink<'a> {
    pub(super) fn new(
        feed: &'a Shared<Match>,
        turn: &'a Mutex<()>,
        matcher: &'a RegexMatcher,
        path: &'a Arc<Path>,
        context: usize,
        max: u64,
    ) -> Self {
        FileSink {
            feed,
            matcher,
            path,
            context,
            max,
            turn,
            held: None,
            found: 0,
            window: VecDeque::new(),
            pending: VecDeque::new(),
            ready: Vec::new(),
            weight: 0,
            binary: None,
        }
    }

    /// The file's end: hands over what is left, and lets the next file go on. False: the feed is closed.
    pub(super) fn end(&mut self) -> bool {
        self.complete(u64::MAX);
        let open = if self.ready.is_empty() { !self.feed.is_closed() } else { self.flush() };
        self.held = None;
        open
    }

    /// Where binary data began, and whether a match came before it.
    pub(super) fn binary(&self) -> Option<(u64, bool)> {
        self.binary.map(|offset| (offset, self.found > 0))
    }

    /// A line of the file, in order: context for the matches around it.
    fn seen(&mut self, number: u64, line: &[u8]) {
        let line = context(without_end(line));
        for (found, last) in &mut self.pending {
            if number <= *last {
                found.after.push(line.clone());
            }
        }
        self.complete(number);
        if self.window.len() == self.context {
            self.window.pop_front();
        }
        self.window.push_back((number, line));
    }

    /// Matches that get no line after that one are ready.
    fn complete(&mut self, number: u64) {
        while self.pending.front().is_some_and(|(_, last)| *last <= number) {
            if let Some((found, _)) = self.pending.pop_front() {
                self.ready(found);
            }
        }
    }

    fn ready(&mut self, found: Match) {
        let weight = found.weight();
        self.weight += weight;
        self.ready.push((found, weight));
    }

    /// Hands over what is ready, if it is much or is waited for. False: the feed is closed.
    fn offer(&mut self) -> bool {
        if self.weight >= BATCH {
            return self.flush();
        }
        if self.ready.is_empty() || !self.feed.is_hungry() {
            return !self.feed.is_closed();
        }
        if self.held.is_none() {
            self.held = self.turn.try_lock();
            if self.held.is_none() {
                return true; // until there is more, or the file ends
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> bool {
        if self.held.is_none() {
            self.held = Some(self.turn.lock());
        }
        self.weight = 0;
        self.feed.push(self.ready.drain(..))
    }

    /// Where the first match begins, in the bytes that matched.
    fn column(&self, found: &SinkMatch<'_>, multiline: bool) -> usize {
        let range = found.bytes_range_in_buffer();
        let end = if multiline {
            (range.end + LOOK_AHEAD).min(found.buffer().len())
        } else {
            range.start + found.bytes().strip_suffix(b"\n").unwrap_or(found.bytes()).len()
        };
        match self.matcher.find_at(&found.buffer()[..end], range.start) {
            Ok(Some(first)) if first.start() <= range.end => first.start() - range.start,
            _ => 0,
        }
    }
}

impl Sink for FileSink<'_> {
    type Error = io::Error;

    fn matched(&mut self, searcher: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        let line = found.line_number().unwrap_or(0);
        self.found += 1;
        // The last one's context has matches, too.
        let within = self.found <= self.max;
        let mut new = None;
        if within {
            let column = self.column(found, searcher.multi_line_with_matcher(self.matcher));
            let (text, cut) = preview(without_end(found.bytes()), column);
            let first = line.saturating_sub(self.context as u64);
            let before = self.window.iter().filter(|(number, _)| *number >= first).map(|(_, line)| line.clone()).collect();
            new = Some(Match { path: self.path.clone(), line, column, text, cut, before, after: Vec::new() });
        }
        if self.context > 0 {
            let mut number = line;
            for each in found.lines() {
                self.seen(number, each);
                number += 1;
            }
            if let Some(new) = new {
                self.pending.push_back((new, number - 1 + self.context as u64));
            }
        } else if let Some(new) = new {
            self.ready(new);
        }
        Ok(self.offer())
    }

    fn context(&mut self, _searcher: &Searcher, around: &SinkContext<'_>) -> Result<bool, io::Error> {
        self.seen(around.line_number().unwrap_or(0), around.bytes());
        Ok(self.offer())
    }

    fn finish(&mut self, _searcher: &Searcher, end: &SinkFinish) -> Result<(), io::Error> {
        self.binary = end.binary_byte_offset();
        Ok(())
    }
}
