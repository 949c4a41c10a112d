//! Which names .gitignore and its like leave out, asked for one name at a time. A walk gets the same answers from the
//! crate's own walker, which has no way to ask.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The rules for what is in a folder: those of its own and of the folders above.
#[derive(Clone, Default)]
pub(super) struct Rules {
    /// None: nothing is left out.
    global: Option<Arc<Gitignore>>,
    nearest: Option<Arc<Level>>,
    in_git: bool,
}

/// A folder that has rules, or is a repository.
struct Level {
    above: Option<Arc<Level>>,
    ignore: Gitignore,
    git: Gitignore,
    exclude: Gitignore,
    repository: bool,
}

impl Rules {
    /// Those that hold at `folder`, an absolute path, because of the folders above it.
    pub(super) fn above(folder: &Path) -> Self {
        let mut rules = Rules { global: Some(Arc::new(Gitignore::global().0)), ..Rules::default() };
        let above: Vec<&Path> = folder.ancestors().skip(1).collect();
        for folder in above.into_iter().rev() {
            rules = rules.within(folder);
        }
        rules
    }

    /// Those for what is in `folder`, where these are for the folder itself.
    pub(super) fn within(&self, folder: &Path) -> Self {
        if self.global.is_none() {
            return Rules::default();
        }
        let repository = folder.join(".git").exists() || folder.join(".jj").exists();
        let [ignore, git, exclude] = [".ignore", ".gitignore", ".git/info/exclude"].map(|name| read(folder, name));
        if !repository && [&ignore, &git, &exclude].into_iter().all(Option::is_none) {
            return self.clone();
        }
        let [ignore, git, exclude] = [ignore, git, exclude].map(|rules| rules.unwrap_or_else(Gitignore::empty));
        let level = Level { above: self.nearest.clone(), ignore, git, exclude, repository };
        let in_git = self.in_git || repository;
        Rules { global: self.global.clone(), nearest: Some(Arc::new(level)), in_git }
    }

    /// Whether they leave out an entry, by its absolute path.
    pub(super) fn leave_out(&self, path: &Path, is_dir: bool) -> bool {
        let Some(global) = &self.global else { return false };
        let (mut ignore, mut git, mut exclude) = (Match::None, Match::None, Match::None);
        let (mut level, mut in_repository) = (self.nearest.as_deref(), self.in_git);
        while let Some(here) = level {
            ignore = ignore.or(here.ignore.matched(path, is_dir));
            if in_repository {
                git = git.or(here.git.matched(path, is_dir));
                exclude = exclude.or(here.exclude.matched(path, is_dir));
                in_repository = !here.repository; // rules above the repository are those of another
            }
            level = here.above.as_deref();
        }
        let global = if self.in_git { global.matched(path, is_dir) } else { Match::None };
        ignore.or(git).or(exclude).or(global).is_ignore()
    }

    /// Whether a change of what has this name changes the rules of its folder.
    pub(super) fn are_in(&self, name: &OsStr) -> bool {
        self.global.is_some() && [".ignore", ".gitignore", ".git", ".jj"].into_iter().any(|each| name == each)
    }
}

fn read(folder: &Path, name: &str) -> Option<Gitignore> {
    let file = folder.join(name);
    if !file.is_file() {
        return None;
    }
    let mut builder = GitignoreBuilder::new(folder);
    drop(builder.add(file)); // a line that is no rule is left out, as a walk does
    builder.build().ok()
}
