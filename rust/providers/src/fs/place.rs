//! The place that an operation is about: a path, or a path beneath a root that it cannot leave.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::beneath::{LINKS, Root, look, outside, pinned};

#[derive(Clone)]
pub struct Place {
    path: Arc<Path>,
    root: Option<Arc<Root>>,
}

impl<P: Into<PathBuf>> From<P> for Place {
    fn from(path: P) -> Self {
        Place { path: path.into().into(), root: None }
    }
}

impl Place {
    /// `path` is from the root on.
    pub fn beneath(root: Arc<Root>, path: impl Into<PathBuf>) -> Self {
        Place { path: path.into().into(), root: Some(root) }
    }

    /// The path as the caller gave it: it is the one of errors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> Option<&Arc<Root>> {
        self.root.as_ref()
    }

    /// The folder that it is in, if its path names one.
    pub(super) fn parent(&self) -> Option<Self> {
        let above = self.path.parent().filter(|above| *above != Path::new(""))?;
        Some(Place { path: above.into(), root: self.root.clone() })
    }

    /// A path for the system's calls. With a root its links have been followed, the last one only with `follow`, and
    /// what it is in is held open.
    pub(super) fn at(&self, follow: bool) -> io::Result<At> {
        let Some(root) = &self.root else {
            return Ok(At { path: self.path.clone(), held: None, is_itself: false });
        };
        let mut below = self.path.to_path_buf();
        if below.as_os_str().is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        for _ in 0..=LINKS {
            if below.is_absolute() {
                return Err(outside());
            }
            let (Some(above), Some(name)) = (below.parent(), below.file_name()) else {
                let held = root.folder(&below)?;
                return Ok(At { path: pinned(&held)?.join(".").into(), held: Some(held), is_itself: true });
            };
            let held = root.folder(above)?;
            let path = pinned(&held)?.join(name);
            match fs::read_link(&path) {
                Ok(link) if follow => below = above.join(link),
                _ => return Ok(At { path: path.into(), held: Some(held), is_itself: false }),
            }
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }
}

/// A path for the system's calls, good as long as this lives.
pub(super) struct At {
    path: Arc<Path>,
    /// The folder that its name is in. What else has the name by now may be a link, which is not followed.
    held: Option<File>,
    /// It is a folder without a name to remove or to give: the root, or `..`.
    pub(super) is_itself: bool,
}

impl At {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The flags of an open: without blocking, which means nothing to a file, in case that it is a pipe.
    pub(super) fn flags(&self) -> i32 {
        libc::O_NONBLOCK | if self.held.is_some() { libc::O_NOFOLLOW } else { 0 }
    }

    /// About what it leads to.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        if self.held.is_none() {
            return fs::metadata(&self.path);
        }
        let about = fs::symlink_metadata(&self.path)?;
        if about.is_symlink() {
            return Err(io::Error::from_raw_os_error(libc::ELOOP)); // it was none a moment ago
        }
        Ok(about)
    }

    /// It, if it is a folder, to be gone through.
    pub(super) fn open_folder(&self) -> io::Result<File> {
        look(&self.path, self.flags() & libc::O_NOFOLLOW)
    }

    /// The path as errors show it, of the folder that `named` is in.
    pub(super) fn shown_folder<'a>(&self, folder: &'a Path, named: &'a Path) -> &'a Path {
        if self.held.is_some() { named.parent().unwrap_or(named) } else { folder }
    }

    /// The path without a link at its end, of a file that is there.
    pub(super) fn end(&self) -> io::Result<PathBuf> {
        if self.held.is_some() { Ok(self.path.to_path_buf()) } else { fs::canonicalize(&self.path) }
    }

    /// Where a file would be made: the end of a chain of links that leads to nothing yet.
    pub(super) fn end_of_links(&self) -> io::Result<PathBuf> {
        let mut at = self.path.to_path_buf();
        if self.held.is_some() {
            return Ok(at);
        }
        for _ in 0..LINKS {
            let Ok(next) = fs::read_link(&at) else { return Ok(at) };
            at = at.parent().map_or_else(|| next.clone(), |folder| folder.join(&next));
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }
}
