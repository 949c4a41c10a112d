//! Entries for the fuzzer, in builds of its own: `rust/fuzz`.

use std::path::Path;

use grep_matcher::Matcher;

use super::hit::{context, preview, without_end};
use super::options::{Case, Options};

/// A pattern, a glob that is included, one that is left out, and a file: parted by zeros.
pub fn search(data: &[u8]) {
    let [how, data @ ..] = data else { return };
    let mut parts = data.splitn(4, |&byte| byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (pattern, include, exclude) = (text(), text(), text());
    let lines = parts.next().unwrap_or_default();
    let options = Options {
        literal: how & 1 > 0,
        word: how & 2 > 0,
        multiline: how & 4 > 0,
        case: [Case::Sensitive, Case::Insensitive, Case::Smart][usize::from(how >> 3) % 3],
        include: vec![include],
        exclude: vec![exclude],
        ..Options::default()
    };
    if let Ok(globs) = options.globs(Path::new("/x")) {
        for name in ["/x/a", "/x/src/b.txt"] {
            globs.matched(name, false);
        }
    }
    let Ok(matcher) = options.matcher(&pattern) else { return };
    // Long lines, of which a part is shown.
    for line in lines.split_inclusive(|&byte| byte == b'\n').map(|line| line.repeat(1 + 9000 / line.len())) {
        let line = without_end(&line);
        let Ok(Some(found)) = matcher.find(line) else { continue };
        let (shown, cut) = preview(line, found.start());
        let (before, after) = cut.unwrap_or_default();
        assert_eq!(before + shown.len() + after, line.len());
        assert!(before <= found.start() && (found.start() <= before + shown.len()));
        assert_eq!(line[before..before + shown.len()], *shown);
        assert!(context(line).len() < 9000);
    }
}
