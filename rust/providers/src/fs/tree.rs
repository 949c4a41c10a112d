//! The crate that goes through trees, set up as every provider uses it.

use std::io;
use std::path::{Path, PathBuf};

use ignore::{WalkBuilder, WalkState};

/// The crate reads this name as the standard input.
const DASH: &str = "-";

/// A walk on all cores. `rules`: it leaves out what .gitignore, .ignore and git's own excludes leave out.
pub(crate) fn builder(root: &Path, rules: bool) -> WalkBuilder {
    let mut builder = WalkBuilder::new(if root == Path::new(DASH) { Path::new("./-") } else { root });
    builder.parents(rules).ignore(rules).git_ignore(rules).git_global(rules).git_exclude(rules);
    builder.threads(std::thread::available_parallelism().map_or(1, usize::from));
    builder
}

/// A path that the walk found, as it continues the root that was given: undoes what [`builder`] does to a root of "-".
pub(crate) fn as_given(root: &Path, found: PathBuf) -> PathBuf {
    match found.strip_prefix(".") {
        Ok(path) if root == Path::new(DASH) => path.to_path_buf(),
        _ => found,
    }
}

/// The system's error if it is the root that cannot be read.
pub(crate) fn of_root(e: &ignore::Error) -> Option<&io::Error> {
    if e.depth() == Some(0) { e.io_error() } else { None }
}

pub(crate) fn go_on(yes: bool) -> WalkState {
    if yes { WalkState::Continue } else { WalkState::Quit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_called_dash_is_a_name() {
        assert_eq!(as_given(Path::new("-"), "./-/x".into()), Path::new("-/x"));
        assert_eq!(as_given(Path::new("."), "./-/x".into()), Path::new("./-/x"));
    }
}
