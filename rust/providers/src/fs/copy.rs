//! Copying and moving a file: the new place has the old content or the new one, whole.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::error::{Error, OsError};
use mountain_core::value::Value;

use super::content::FileContent;
use super::failure::{advised, errno, failure};
use super::fresh::{Like, may, split, sync_folder};
use super::place::{At, Place};
use super::write::{Put, put, replace};
use crate::pool::{self, Grip, Job, Step};

/// Of a folder as the place where a file goes.
const NAME: &str = "the target is the file's new path, with its name";
/// Of a folder that is to be copied.
const TREE: &str = "fs.copy() copies a file; go through a folder with fs.walk() and copy each";

/// Copies a file's content and its permissions. Links are followed on both sides.
pub struct Copy {
    pub from: Place,
    pub to: Place,
    pub durable: bool,
}

impl Copy {
    pub fn new(from: impl Into<Place>, to: impl Into<Place>, durable: bool) -> Self {
        Copy { from: from.into(), to: to.into(), durable }
    }
}

impl Operation for Copy {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (from, to, durable) = (self.from.clone(), self.to.clone(), self.durable);
        pool::run(Grip::Firm, done, move |job| Step::Answer(copy(job, &from, &to, durable)))
    }
}

fn copy(job: &Job, from: &Place, to: &Place, durable: bool) -> Outcome {
    job.check()?;
    let source = open(from)?;
    let (from, place, to) = (from.path(), to, to.path());
    let about = source.metadata().map_err(|e| failure(&e, from))?;
    let at = place.at(true).map_err(|e| failure(&e, to))?;
    let old = match at.metadata() {
        Ok(old) if old.is_dir() => return Err(advised(libc::EISDIR, to, NAME)),
        Ok(old) if !old.is_file() => return Err(errno(libc::EINVAL, to)),
        Ok(old) => Some(old),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(failure(&e, to)),
    };
    let content = FileContent { from: &source, path: from, named: to };
    replace(job, to, &at, old.as_ref(), &content, Some(about.mode() & 0o777), durable)
}

/// A regular file.
fn open(place: &Place) -> Result<File, Error> {
    let path = place.path();
    let fail = |e: io::Error| failure(&e, path);
    let at = place.at(true).map_err(fail)?;
    let file = OpenOptions::new().read(true).custom_flags(at.flags()).open(at.path()).map_err(fail)?;
    match file.metadata().map_err(fail)? {
        about if about.is_file() => Ok(file),
        about if about.is_dir() => Err(advised(libc::EISDIR, path, TREE)),
        _ => Err(errno(libc::EINVAL, path)),
    }
}

/// Gives a file, a link or a folder another name, in place of a file that has it. A file may go to another file system:
/// it is copied there, and then removed.
pub struct Move {
    pub from: Place,
    pub to: Place,
    pub durable: bool,
}

impl Move {
    pub fn new(from: impl Into<Place>, to: impl Into<Place>, durable: bool) -> Self {
        Move { from: from.into(), to: to.into(), durable }
    }
}

impl Operation for Move {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (from, to, durable) = (self.from.clone(), self.to.clone(), self.durable);
        let rename = |from: &Path, to: &Path| fs::rename(from, to);
        pool::run(Grip::Firm, done, move |job| Step::Answer(rename_or_copy(job, &from, &to, durable, &rename)))
    }
}

type Rename = dyn Fn(&Path, &Path) -> io::Result<()>;

fn rename_or_copy(job: &Job, source: &Place, target: &Place, durable: bool, rename: &Rename) -> Outcome {
    job.check()?;
    let (from, to) = (source.path(), target.path());
    let old = source.at(false).map_err(|e| failure(&e, from))?;
    let new = target.at(false).map_err(|e| failure(&e, to))?;
    let both = |e: &io::Error| match failure(e, from) {
        Error::Os(about) => Error::Os(Box::new(OsError { path2: Some(to.as_os_str().to_owned()), ..*about })),
        other => other,
    };
    match rename(old.path(), new.path()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(libc::EXDEV) => {
            if !fs::symlink_metadata(old.path()).map_err(|e| failure(&e, from))?.is_file() {
                return Err(told(both(&e), "only a file goes to another file system; copy what is in a folder, and remove it"));
            }
            return across(job, (source, &old), (target, &new), durable);
        }
        Err(e) => {
            let is_folder = |at: &At| fs::symlink_metadata(at.path()).is_ok_and(|about| about.is_dir());
            return Err(match e.raw_os_error() {
                Some(libc::EISDIR) => told(both(&e), NAME),
                Some(libc::ENOTEMPTY | libc::EEXIST) if is_folder(&new) => {
                    told(both(&e), "move it to a new name, or remove that folder first")
                }
                _ => both(&e),
            });
        }
    }
    if durable {
        for (at, named) in [(&new, to), (&old, from)] {
            let folder = at.path().parent().unwrap_or(Path::new(""));
            sync_folder(folder).map_err(|e| failure(&e, named))?;
        }
    }
    Ok(Value::Unit)
}

fn told(e: Error, advice: &'static str) -> Error {
    match e {
        Error::Os(about) => Error::Os(Box::new(OsError { advice: Some(advice), ..*about })),
        other => other,
    }
}

/// Moves a file to another file system: the name there has the old content or all of the new one, as with a rename,
/// which takes neither name for what a link leads to.
fn across(job: &Job, (source, old): (&Place, &At), (target, new): (&Place, &At), durable: bool) -> Outcome {
    let (from, to) = (source.path(), target.path());
    let fail = |e: io::Error| failure(&e, from);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(old.path()).map_err(fail)?;
    let about = file.metadata().map_err(fail)?;
    if !about.is_file() {
        return Err(errno(libc::EXDEV, from)); // it was a file a moment ago
    }
    let there = match fs::symlink_metadata(new.path()) {
        Ok(there) if there.is_dir() => return Err(advised(libc::EISDIR, to, NAME)),
        // Two names of one file, one of them through a mount, say: a rename leaves both, and a copy would be removed.
        Ok(there) if is_same(&there, &about) => return Ok(Value::Unit),
        Ok(there) => Some(there).filter(Metadata::is_file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(failure(&e, to)),
    };
    // A file that cannot be removed here is not copied.
    may(libc::W_OK | libc::X_OK, split(old.path()).map_err(|e| errno(e, from))?.0).map_err(fail)?;
    let content = FileContent { from: &file, path: from, named: to };
    let like = Like { of: Some((old.path(), &about)), mode: None, moved: true };
    let new = Put { named: to, target: new.path(), at: new, content: &content, like, durable };
    put(job, &new, there.as_ref(), &|from, to| fs::rename(from, to))?;
    match fs::symlink_metadata(old.path()) {
        // Another file has the name by now.
        Ok(now) if !is_same(&now, &about) => Ok(Value::Unit),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Value::Unit),
        _ => fs::remove_file(old.path()).map(|()| Value::Unit).map_err(fail),
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
