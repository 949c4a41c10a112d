//! The question that a search asks, and what makes it one that cannot be asked.

use std::fmt;
use std::path::Path;

use grep_regex::{ErrorKind, RegexMatcher, RegexMatcherBuilder};
use ignore::overrides::{Override, OverrideBuilder};

/// The memory that a compiled pattern may take: a larger one would hold up the thread that compiles it.
const LARGEST: usize = 10 << 20;
/// Bytes of a pattern: one of more is compiled for seconds, if it fits at all.
const LONGEST: usize = 1 << 20;
/// Bytes of what an error says; of a longer text, which has the pattern in it, the last line does.
const SAID: usize = 1 << 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    Sensitive,
    Insensitive,
    /// Sensitive if the pattern has a capital letter.
    #[default]
    Smart,
}

#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own, as a caller writes it")]
pub struct Options {
    pub literal: bool,
    pub case: Case,
    pub word: bool,
    /// A match may go over line ends.
    pub multiline: bool,
    /// Globs, as .gitignore has them, from the root on: a file that is searched matches one of these and none of those.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub hidden: bool,
    pub ignore_files: bool,
    /// How many lines come with a match, before it and after it.
    pub context: usize,
    pub max_per_file: Option<u64>,
}

/// Why there is no such search.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    Pattern(String),
    /// The pattern has a line end, and no match may go over one.
    LineEnd,
    Glob(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Pattern(why) | Wrong::Glob(why) => write!(f, "{why}"),
            Wrong::LineEnd => write!(f, "a match ends with its line: write multiline=True for one that goes over lines"),
        }
    }
}

fn said(why: &str) -> String {
    let short = if why.len() > SAID { why.trim_end().lines().last().unwrap_or_default() } else { why };
    short.chars().take(SAID).collect()
}

impl Options {
    pub(super) fn matcher(&self, pattern: &str) -> Result<RegexMatcher, Wrong> {
        if pattern.len() > LONGEST {
            return Err(Wrong::Pattern(format!("a pattern has {LONGEST} bytes at most, not {}", pattern.len())));
        }
        let mut builder = RegexMatcherBuilder::new();
        builder.multi_line(true).unicode(true).octal(false).fixed_strings(self.literal).word(self.word);
        builder.case_insensitive(self.case == Case::Insensitive).case_smart(self.case == Case::Smart);
        builder.size_limit(LARGEST).ban_byte(Some(0));
        if !self.multiline {
            builder.line_terminator(Some(b'\n'));
        }
        builder.build(pattern).map_err(|e| match e.kind() {
            ErrorKind::NotAllowed(_) => Wrong::LineEnd,
            ErrorKind::Banned(_) => Wrong::Pattern("a file with a null byte is not searched, so no pattern has one".into()),
            _ => Wrong::Pattern(said(&e.to_string())),
        })
    }

    pub(super) fn globs(&self, root: &Path) -> Result<Override, Wrong> {
        let mut builder = OverrideBuilder::new(root);
        let include = self.include.iter().map(|glob| {
            // These begin a line of a file of rules, not a name.
            if glob.starts_with(['!', '#']) { format!("\\{glob}") } else { glob.clone() }
        });
        let globs = include.chain(self.exclude.iter().map(|glob| format!("!{glob}")));
        for glob in globs {
            builder.add(&glob).map_err(|e| Wrong::Glob(e.to_string()))?;
        }
        builder.build().map_err(|e| Wrong::Glob(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(pattern: &str, options: &Options) -> Wrong {
        options.matcher(pattern).unwrap_err()
    }

    #[test]
    fn patterns_that_cannot_be_searched() {
        let plain = Options::default();
        assert!(matches!(wrong("(", &plain), Wrong::Pattern(why) if why.contains("unclosed group")));
        assert_eq!(wrong("a\nb", &plain), Wrong::LineEnd);
        assert_eq!(wrong(r"a\nb", &plain), Wrong::LineEnd);
        assert!(matches!(wrong("\0", &plain), Wrong::Pattern(_)));
        assert!(matches!(wrong(r"\w{1000}{1000}", &plain), Wrong::Pattern(why) if why.contains("size limit")));
        let lines = Options { multiline: true, ..Options::default() };
        assert!(lines.matcher("a\nb").is_ok());
        let literal = Options { literal: true, ..Options::default() };
        assert!(literal.matcher("(").is_ok());
    }

    #[test]
    fn globs_are_names_whatever_they_begin_with() {
        let globs = |include: &[&str], exclude: &[&str]| {
            let all = |globs: &[&str]| globs.iter().map(ToString::to_string).collect();
            Options { include: all(include), exclude: all(exclude), ..Options::default() }.globs(Path::new("/x"))
        };
        assert!(globs(&[], &[]).unwrap().is_empty());
        assert!(matches!(globs(&["["], &[]), Err(Wrong::Glob(_))));
        assert!(matches!(globs(&[], &["{a"]), Err(Wrong::Glob(_))));
        let odd = globs(&["!a", "#b"], &["#c"]).unwrap();
        for (name, found) in [("!a", true), ("#b", true), ("a", false), ("#c", false)] {
            assert_eq!(odd.matched(Path::new("/x").join(name), false).is_whitelist(), found, "{name}");
        }
        assert!(odd.matched("/x/#c", false).is_ignore());
    }
}
