//! Drawing, also of output that makes it hard.

use std::time::{Duration, Instant};

use super::{STEP, Screen, TURN};
use crate::process::pty::Size;

fn screen(columns: u16, rows: u16, written: &[u8]) -> Screen {
    let mut screen = Screen::new(Size::new(columns, rows).unwrap()).unwrap();
    screen.put(written);
    while screen.draw() {}
    screen
}

/// The same numbers from the same seed, on each system.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    /// Bytes as programs write them: texts, controls, sequences with numbers of any size, and such as are cut.
    fn output(&mut self, pieces: u64) -> Vec<u8> {
        let mut output = Vec::new();
        for _ in 0..self.below(pieces) {
            match self.below(6) {
                0 => output.extend((0..self.below(20)).map(|_| self.0 as u8)),
                1 => output.push(self.below(256) as u8),
                2 => output.extend("a\u{4e16}\u{301}\u{200d}\u{1f469}\u{fe0f}".repeat(self.below(9) as usize).bytes()),
                3 => output.extend(
                    b"\x1b]0;title\x07\x1bP1$r\x1b\\\x1b7\x1b8\x1bM\x1bc".get(..self.below(30) as usize).unwrap_or_default(),
                ),
                _ => {
                    let prefix: &[u8] = [&b"\x1b["[..], b"\x1b[?", b"\x1b[ "][self.below(3) as usize];
                    output.extend(prefix);
                    for _ in 0..self.below(4) {
                        let number = [self.below(4), self.below(100), 65_535, 99_999_999_999][self.below(4) as usize];
                        output.extend(format!("{number};").bytes());
                    }
                    output.push(b'@' + self.below(64) as u8);
                }
            }
        }
        output
    }
}

#[test]
fn as_a_person_sees_it() {
    assert_eq!(screen(10, 3, b"one\r\ntwo\x1b[31m red \x1b[m\r\n").text(), "one\ntwo red");
    // A row is a line, also where a longer line goes on.
    assert_eq!(screen(4, 3, b"abcdefg").text(), "abcd\nefg");
    assert_eq!(screen(4, 2, b"1\r\n2\r\n3").text(), "2\n3");
    assert_eq!(screen(4, 3, b"\r\n\r\nlow").text(), "\n\nlow");
    assert_eq!(screen(20, 2, "\u{4e16}\u{754c} e\u{301}".as_bytes()).text(), "\u{4e16}\u{754c} e\u{301}");
    assert_eq!(screen(4, 2, b"gone\x1b[2J").text(), "");
    let mut cut = screen(4, 3, b"abcd\r\nef");
    cut.resize(Size::new(2, 3).unwrap());
    assert_eq!(cut.text(), "ab\nef");
}

#[test]
fn a_program_that_asks_is_answered() {
    let mut asked = screen(10, 5, b"\r\nab\x1b[6n\x1b[5n\x1b[c\x1b[7;1H0123456789\x1b[6n\x1b[>c\x1b[?6n\x1b[9n");
    assert_eq!(asked.take_replies(), b"\x1b[2;3R\x1b[0n\x1b[?1;2c\x1b[5;10R");
    assert_eq!(asked.take_replies(), b"");
    assert!(screen(10, 5, &b"\x1b[6n".repeat(10_000)).take_replies().len() < 300);
}

#[test]
fn sizes_that_no_screen_has() {
    for (columns, rows) in [(0, 24), (80, 0), (0, 0), (1001, 24), (80, 1001), (u16::MAX, u16::MAX)] {
        assert!(Size::new(columns, rows).is_err(), "{columns} x {rows}");
    }
    assert!(Size::new(1, 1).is_ok() && Size::new(1000, 1000).is_ok());
}

#[test]
fn no_bytes_and_no_sizes_are_too_much() {
    let mut chance = Chance(88_172_645_463_325_252);
    for _ in 0..2000 {
        let mut size = || Size::new(1 + chance.below(40) as u16, 1 + chance.below(12) as u16).unwrap();
        let (first, then) = (size(), size());
        let mut screen = Screen::new(first).unwrap();
        for size in [first, then] {
            // Not by `resize`, which would hide a panic.
            screen.size = size;
            screen.parser.screen_mut().set_size(size.rows, size.columns);
            for _ in 0..3 {
                screen.parser.process(&chance.output(12));
                assert!(screen.text().lines().count() <= usize::from(size.rows.get()));
            }
        }
    }
}

#[test]
fn a_turn_ends_however_hard_the_work_is() {
    // Each clears a million cells, or writes a character 65535 times.
    for hard in [&b"\x1b[2J"[..], b"\x1b[65535L", b"x\x1b[65535b"] {
        let mut screen = Screen::new(Size::new(1000, 1000).unwrap()).unwrap();
        screen.put(&hard.repeat((64 << 10) / hard.len()));
        let began = Instant::now();
        assert!(screen.draw());
        // A step beyond the turn, on a machine that has other work, in a build that is optimised a little only.
        assert!(began.elapsed() < TURN + Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(screen.behind.len() >= (64 << 10) - 100 * STEP);
    }
}

#[test]
fn a_title_without_end_takes_no_room() {
    let mut screen = screen(80, 24, b"before\x1b]0;");
    for _ in 0..100 {
        screen.put(&[b'x'; 10_000]);
        while screen.draw() {}
    }
    screen.put(b"\x07 after");
    while screen.draw() {}
    assert_eq!(screen.text(), "before after");
    assert!(screen.behind.capacity() < 100_000);
}
