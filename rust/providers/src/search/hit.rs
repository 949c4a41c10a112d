//! A match, as it leaves the search: its line, the lines around it, and what is left out of long ones.

use std::path::Path;
use std::sync::Arc;

/// How many bytes of a line are kept. Of a longer one, what is around the match.
pub(super) const LONGEST: usize = 8 << 10;
/// How much of that comes before the match.
const LEAD: usize = LONGEST / 4;
/// The end of a context line that is cut, in ripgrep's words.
const CUT: &[u8] = b" [... omitted end of long line]";

/// A line without its end, in the bytes of the file; in UTF-8 where a byte order mark names another encoding.
pub type Line = Arc<[u8]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub path: Arc<Path>,
    /// Of its first line, counted from 1.
    pub line: u64,
    /// Where the first match in it begins, in bytes.
    pub column: usize,
    pub text: Line,
    /// The bytes of the line that are left out before and after `text`.
    pub cut: Option<(usize, usize)>,
    pub before: Vec<Line>,
    pub after: Vec<Line>,
}

impl Match {
    /// For a feed: an item, and more for the room that its text takes.
    pub(super) fn weight(&self) -> usize {
        let around: usize = self.before.iter().chain(&self.after).map(|line| line.len()).sum();
        1 + (self.text.len() + around) / 1024
    }
}

/// The part of a line, or of several, that a match shows, and the bytes left out on both sides.
pub(super) fn preview(line: &[u8], column: usize) -> (Line, Option<(usize, usize)>) {
    if line.len() <= LONGEST {
        return (line.into(), None);
    }
    let begin = boundary(line, column.saturating_sub(LEAD).min(line.len() - LONGEST));
    let end = boundary(line, begin + LONGEST);
    (line[begin..end].into(), Some((begin, line.len() - end)))
}

/// A line of context. A long one says that its end is left out.
pub(super) fn context(line: &[u8]) -> Line {
    if line.len() <= LONGEST {
        return line.into();
    }
    [&line[..boundary(line, LONGEST)], CUT].concat().into()
}

/// Where the character begins that has the byte at that place; in bytes that are no UTF-8, that place.
fn boundary(line: &[u8], at: usize) -> usize {
    let begins = |i: &usize| line.get(*i).is_none_or(|byte| byte & 0xc0 != 0x80);
    (at.saturating_sub(3)..=at).rev().find(begins).unwrap_or(at)
}

/// A line without its end.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_line_is_whole() {
        assert_eq!(preview(b"abc", 1), (b"abc".as_slice().into(), None));
        let most = vec![b'x'; LONGEST];
        assert_eq!(preview(&most, 5), (most.as_slice().into(), None));
        assert_eq!(&*context(&most), most);
        assert_eq!(without_end(b"a\r\n"), b"a");
        assert_eq!(without_end(b"a\n\n"), b"a\n");
        assert_eq!(without_end(b"a\r"), b"a");
    }

    #[test]
    fn a_long_line_is_cut_around_its_match_between_characters() {
        let line = "é".repeat(LONGEST).into_bytes();
        for column in [0, 2, LEAD + 2, LONGEST, 2 * LONGEST - 2] {
            let (text, cut) = preview(&line, column);
            let (before, after) = cut.unwrap();
            assert_eq!(before + text.len() + after, line.len());
            assert!(before <= column && column < before + text.len());
            assert!(text.len() <= LONGEST + 3 && std::str::from_utf8(&text).is_ok());
        }
        let shown = context(&line);
        assert!(shown.ends_with(CUT) && std::str::from_utf8(&shown).is_ok());
    }

    #[test]
    fn bytes_that_are_no_characters_are_cut_anywhere() {
        let line = vec![0x80; 3 * LONGEST];
        let (text, cut) = preview(&line, LONGEST);
        assert_eq!((text.len(), cut), (LONGEST, Some((LONGEST - LEAD, LONGEST + LEAD))));
    }
}
