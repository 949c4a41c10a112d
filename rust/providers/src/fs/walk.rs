//! Walking a tree on all cores.
//!
//! Yields files, links and folders below the root in no particular order; the root itself only if it is no folder, as
//! `find` does with `-mindepth 1`. What may not be read below the root is skipped and noted; a root that may not be
//! read is the outcome.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ignore::{DirEntry, WalkState};

use super::entry::Entry;
use super::failure::failure;
use super::glob::Glob;
use super::names::Names;
use super::scan::Scan;
use super::tree;
use crate::feed::{Feed, Shared};

/// A walk's name in errors, and that of its threads.
pub(super) const NAME: &str = "walk";
pub(super) const THREAD: &str = "mountain-walk";

/// `ignore_files`: leave out what .gitignore, .ignore and git's own excludes leave out. Hidden files are always walked.
pub fn walk(root: impl Into<PathBuf>, ignore_files: bool, follow_symlinks: bool) -> Feed<Entry> {
    walk_some(root.into(), None, ignore_files, follow_symlinks)
}

/// Those of them whose path below the root matches a glob.
pub fn glob(root: impl Into<PathBuf>, glob: Glob, ignore_files: bool, follow_symlinks: bool) -> Feed<Entry> {
    walk_some(root.into(), Some(glob), ignore_files, follow_symlinks)
}

fn walk_some(root: PathBuf, glob: Option<Glob>, ignore_files: bool, follow_symlinks: bool) -> Feed<Entry> {
    Feed::new(NAME, THREAD, move |feed| {
        if !ignore_files && !follow_symlinks {
            if let Err(e) = scan(&root, glob.as_ref(), feed) {
                feed.fail(failure(&e, &root));
            }
            return;
        }
        let mut builder = tree::builder(&root, ignore_files);
        builder.hidden(false).follow_links(follow_symlinks);
        if let Some(glob) = glob.clone() {
            builder.max_depth(glob.depth);
            builder.filter_entry(move |entry| glob.may_hold(entry.depth(), Path::new(entry.file_name())));
        }
        let walk = Walk { root: &root, glob: glob.as_ref(), feed };
        builder.build_parallel().run(|| Box::new(|seen| walk.visit(seen)));
    })
}

/// A walk that needs no rules and follows no links. An error is about the root.
fn scan(root: &Path, glob: Option<&Glob>, feed: &Shared<Entry>) -> io::Result<()> {
    let about = std::fs::metadata(root)?;
    if !about.is_dir() {
        if glob.is_none() {
            feed.push([(Entry::new(root.to_path_buf(), &about, root.is_symlink()), 1)]);
        }
        return Ok(());
    }
    let open = |below: &Path| {
        let flags = if below.as_os_str().is_empty() { 0 } else { libc::O_NOFOLLOW };
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | flags).open(root.join(below))
    };
    let names = Names::of(open(Path::new(""))?)?;
    Scan { top: root, glob, feed, open: &open }.run(names, THREAD);
    Ok(())
}

struct Walk<'a> {
    root: &'a Path,
    glob: Option<&'a Glob>,
    feed: &'a Shared<Entry>,
}

impl Walk<'_> {
    fn visit(&self, seen: Result<DirEntry, ignore::Error>) -> WalkState {
        match seen {
            Ok(entry) if entry.depth() == 0 && entry.file_type().is_some_and(|t| t.is_dir()) => {
                tree::go_on(!self.feed.is_closed())
            }
            Ok(entry) => match look(&entry) {
                Ok(entry) => self.push(entry),
                Err(e) if e.kind() == io::ErrorKind::NotFound => tree::go_on(!self.feed.is_closed()), // it went away meanwhile
                Err(e) => tree::go_on(self.feed.warn(format!("{}: {e}", entry.path().display()))),
            },
            Err(e) => self.problem(&e),
        }
    }

    fn problem(&self, e: &ignore::Error) -> WalkState {
        if let Some(e) = tree::of_root(e) {
            self.feed.fail(failure(e, self.root));
            return WalkState::Quit;
        }
        match dangling(e) {
            Some(link) => self.push(link),
            None => tree::go_on(self.feed.warn(e.to_string())),
        }
    }

    fn push(&self, mut entry: Entry) -> WalkState {
        entry.path = tree::as_given(self.root, entry.path);
        if let Some(glob) = self.glob
            && !entry.path.strip_prefix(self.root).is_ok_and(|below| glob.matches(below))
        {
            return tree::go_on(!self.feed.is_closed());
        }
        tree::go_on(self.feed.push([(entry, 1)]))
    }
}

fn look(entry: &DirEntry) -> io::Result<Entry> {
    let path = entry.path();
    // The crate follows a link that is the root, and then forgets that it did.
    let about = if entry.depth() == 0 || (entry.path_is_symlink() && entry.file_type().is_some_and(|t| !t.is_symlink())) {
        std::fs::metadata(path)?
    } else {
        std::fs::symlink_metadata(path)?
    };
    Ok(Entry::new(path.to_path_buf(), &about, entry.path_is_symlink()))
}

/// A link that was to be followed and leads nowhere is an entry, like any link.
fn dangling(e: &ignore::Error) -> Option<Entry> {
    e.io_error()?;
    let ignore::Error::WithPath { path, .. } = e else { return None };
    let about = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_symlink)?;
    Some(Entry::new(path.clone(), &about, true))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
