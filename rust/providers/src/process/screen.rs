//! The screen of a terminal: what its program has written, drawn as a person would see it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use vt100::{Callbacks, Parser};

use super::pty::Size;

/// Bytes between two looks at the clock: the shortest that repeat a character 65,535 times, which takes up to 80 ms.
const STEP: usize = 8;
/// Other children have their turn after so long.
const TURN: Duration = Duration::from_millis(1);

/// The most that is kept of what is to be answered to the program.
const ANSWERS: usize = 256;

/// The answers of the terminal: programs ask where the cursor is, or what they run on, and wait for it.
#[derive(Default)]
struct Replies(Vec<u8>);

impl Callbacks for Replies {
    fn unhandled_csi(&mut self, screen: &mut vt100::Screen, first: Option<u8>, _: Option<u8>, asked: &[&[u16]], c: char) {
        if first.is_some() || self.0.len() > ANSWERS {
            return;
        }
        match (c, asked.first().and_then(|asked| asked.first())) {
            ('n', Some(5)) => self.0.extend(b"\x1b[0n"),
            ('n', Some(6)) => {
                let (row, column) = screen.cursor_position();
                // After the last column of a row it is on that column still.
                let column = column.min(screen.size().1.get() - 1);
                self.0.extend(format!("\x1b[{};{}R", row + 1, column + 1).bytes());
            }
            // A VT100 with advanced video.
            ('c', None | Some(0)) => self.0.extend(b"\x1b[?1;2c"),
            _ => {}
        }
    }
}

fn fresh(size: Size) -> Parser<Replies> {
    Parser::new_with_callbacks(size.rows, size.columns, 0, Replies::default())
}

/// The output of a program, as a person would see it.
pub struct Screen {
    parser: Parser<Replies>,
    size: Size,
    /// Written, and not drawn yet.
    behind: VecDeque<u8>,
}

impl Screen {
    /// Every build that has the feature `terminal` has one.
    #[expect(clippy::unnecessary_wraps, reason = "None is what a build without the feature has")]
    pub(super) fn new(size: Size) -> Option<Self> {
        Some(Self::blank(size))
    }

    pub fn blank(size: Size) -> Self {
        Screen { parser: fresh(size), size, behind: VecDeque::new() }
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.behind.extend(bytes);
    }

    /// Draw for a while what has been put. True: not all of it is drawn.
    pub fn draw(&mut self) -> bool {
        let end = Instant::now() + TURN;
        while !self.behind.is_empty() {
            let mut step = [0; STEP];
            let length = self.behind.len().min(STEP);
            step.iter_mut().zip(self.behind.drain(..length)).for_each(|(place, byte)| *place = byte);
            self.contained(|parser| parser.process(&step[..length]));
            if Instant::now() >= end {
                break;
            }
        }
        self.behind() > 0
    }

    /// A panic is a bug of the emulator, whose screen is of no use then: an empty one takes its place.
    fn contained(&mut self, f: impl FnOnce(&mut Parser<Replies>)) {
        if catch_unwind(AssertUnwindSafe(|| f(&mut self.parser))).is_err() {
            self.parser = fresh(self.size);
        }
    }

    /// The answers to what has been drawn since the last call.
    pub fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.parser.callbacks_mut().0)
    }

    /// How many bytes are not drawn yet.
    pub(super) fn behind(&self) -> usize {
        self.behind.len()
    }

    pub fn resize(&mut self, size: Size) {
        self.size = size;
        self.contained(|parser| parser.screen_mut().set_size(size.rows, size.columns));
    }

    /// A line for each row, without the spaces at its end and without the empty rows at the bottom.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut end = 0;
        for row in self.parser.screen().rows(0, self.size.columns.get()) {
            text.push_str(row.trim_end());
            if !text.ends_with('\n') && !text.is_empty() {
                end = text.len();
            }
            text.push('\n');
        }
        text.truncate(end);
        text
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
