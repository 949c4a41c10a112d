//! A file as `stat` and `walk` report it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A file, a folder, or something else.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The bytes of the name as the system has them.
    pub path: PathBuf,
    pub size: u64,
    pub is_file: bool,
    pub is_dir: bool,
    /// The path itself is a link. With links followed, the other fields tell about what it leads to.
    pub is_symlink: bool,
    /// Seconds since 1970; before that, negative.
    pub modified: f64,
}

impl Entry {
    pub(super) fn new(path: PathBuf, of: &Metadata, is_symlink: bool) -> Self {
        let modified = of.mtime() as f64 + of.mtime_nsec() as f64 * 1e-9;
        Entry { path, size: of.len(), is_file: of.is_file(), is_dir: of.is_dir(), is_symlink, modified }
    }

    /// Of what was asked about without following links.
    pub(super) fn of(path: PathBuf, about: &libc::stat) -> Self {
        let is = |kind| about.st_mode & libc::S_IFMT == kind;
        let modified = about.st_mtime as f64 + about.st_mtime_nsec as f64 * 1e-9;
        let (is_file, is_dir, is_symlink) = (is(libc::S_IFREG), is(libc::S_IFDIR), is(libc::S_IFLNK));
        Entry { path, size: about.st_size as u64, is_file, is_dir, is_symlink, modified }
    }
}
