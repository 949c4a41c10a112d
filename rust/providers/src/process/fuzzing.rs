//! Entries for the fuzzer, in builds of its own: `rust/fuzz`.

use super::pty::Size;
use super::screen::Screen;

/// The output of a program, on a terminal of some size that changes half-way.
pub fn screen(data: &[u8]) {
    let [columns, rows, written @ ..] = data else { return };
    let size = |columns: u8, rows: u8| Size::new(1 + u16::from(columns), 1 + u16::from(rows)).unwrap();
    let mut screen = Screen::new(size(*columns, *rows)).unwrap();
    let (first, second) = written.split_at(written.len() / 2);
    for (part, size) in [(first, size(*rows, *columns)), (second, size(columns / 8, rows / 8))] {
        screen.put(part);
        while screen.draw() {}
        let answers = screen.take_replies();
        assert!(answers.len() < 300 && answers.iter().all(u8::is_ascii));
        screen.resize(size);
        let text = screen.text();
        assert!(text.lines().count() <= usize::from(size.rows.get()), "{text:?}");
    }
}
