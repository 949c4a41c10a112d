//! A glob over the paths below a folder, and the folders in which nothing can match it.

use std::path::Path;

use globset::{Error, GlobBuilder, GlobMatcher};

/// A compiled glob: `*` is within a name, `**` is any number of folders.
#[derive(Clone)]
pub struct Glob {
    whole: GlobMatcher,
    /// The globs of the first folders' names, up to a `**`.
    first: Vec<GlobMatcher>,
    /// How deep a match can be, if that is bounded.
    pub(super) depth: Option<usize>,
}

impl Glob {
    /// An error says why it is none.
    pub fn new(glob: &str) -> Result<Self, String> {
        let wrong = |e: Error| e.kind().to_string();
        let names: Vec<&str> = glob.split('/').collect();
        if names.iter().any(|name| matches!(*name, "" | "." | "..")) {
            return Err("a pattern is made of names below the root: neither empty ones, nor . or ..".into());
        }
        let compile = |glob: &str| GlobBuilder::new(glob).literal_separator(true).build().map(|glob| glob.compile_matcher());
        let whole = compile(glob).map_err(wrong)?;
        // Alternatives and classes may have a separator in them.
        let is_plain = !glob.contains(['{', '[', '\\']);
        let fixed = if is_plain { names.iter().take_while(|name| !name.contains("**")).count() } else { 0 };
        let first = names[..fixed].iter().map(|name| compile(name)).collect::<Result<_, _>>().map_err(wrong)?;
        Ok(Glob { whole, first, depth: if fixed == names.len() { Some(fixed) } else { None } })
    }

    pub(super) fn matches(&self, below: &Path) -> bool {
        self.whole.is_match(below)
    }

    /// Whether something at that depth, of that name, can match or hold what matches.
    pub(super) fn may_hold(&self, depth: usize, name: &Path) -> bool {
        depth.checked_sub(1).and_then(|at| self.first.get(at)).is_none_or(|glob| glob.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_without_a_match_are_known() {
        let glob = Glob::new("src/*.d/**/x").unwrap();
        let may = |depth, name: &str| glob.may_hold(depth, Path::new(name));
        assert!(may(0, "root") && may(1, "src") && may(2, "a.d") && may(3, "any") && may(9, "any"));
        assert!(!may(1, "srcs") && !may(2, "a"));
        assert!(glob.matches(Path::new("src/a.d/x")) && glob.matches(Path::new("src/a.d/b/c/x")));
        assert!(!glob.matches(Path::new("src/a/b.d/x")));
        assert_eq!((glob.depth, Glob::new("*/b").unwrap().depth, Glob::new("{a,b/c}").unwrap().depth), (None, Some(2), None));
        for wrong in ["", "/a", "a/", "a//b", "../a", "./a", "[a", "{a"] {
            assert!(Glob::new(wrong).is_err(), "{wrong}");
        }
    }
}
