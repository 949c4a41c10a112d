//! Writing a whole file: readers, and a machine that loses power, see the old content or the new, never a part.
//!
//! The content goes to a new file in the same folder, which then takes the name over. Links are followed, and mode,
//! owner and extended attributes kept, as when a file is opened for writing; a second hard link keeps the old content.
//! A pipe or a device is written into, and so is a file that cannot be replaced (see [`in_place`]).

use std::fs::{self, FileTimes, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::value::Value;

use super::content::{Bytes, CHUNK, Content};
use super::failure::{errno, failure};
use super::fresh::{Fresh, Like, may_write, split, sync_folder};
use super::in_place;
use super::place::{At, Place};
use super::source::wait;
use crate::pool::{self, Grip, Job, Step};

/// Bytes with an owner: a vector, or the host's own object.
pub type Data = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Puts `data` in place of a file's content. Aborted or failed, it changes nothing and leaves nothing over, unless the
/// file had to be written in place: that is not aborted, and may fail in the middle.
pub struct Write {
    pub place: Place,
    pub data: Data,
    /// On disk, and not only in the system's memory, when it ends.
    pub durable: bool,
}

impl Write {
    pub fn new(place: impl Into<Place>, data: Data, durable: bool) -> Self {
        Write { place: place.into(), data, durable }
    }
}

impl Operation for Write {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, data, durable) = (self.place.clone(), self.data.clone(), self.durable);
        pool::run(Grip::Firm, done, move |job| Step::Answer(write(job, &place, (*data).as_ref(), durable)))
    }
}

fn write(job: &Job, place: &Place, data: &[u8], durable: bool) -> Outcome {
    job.check()?;
    let path = place.path();
    let fail = |e: io::Error| failure(&e, path);
    let at = place.at(true).map_err(fail)?;
    match at.metadata() {
        Ok(old) if old.is_dir() => Err(errno(libc::EISDIR, path)),
        Ok(old) if !old.is_file() => write_into(job, path, &at, data, old.file_type().is_fifo()),
        Ok(old) => replace(job, path, &at, Some(&old), &Bytes { data, named: path }, None, durable),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            replace(job, path, &at, None, &Bytes { data, named: path }, None, durable)
        }
        Err(e) => Err(fail(e)),
    }
}

/// The content of a write, and its place.
pub(super) struct Put<'a> {
    /// The path as the caller gave it, for errors.
    pub(super) named: &'a Path,
    /// The end of its links.
    pub(super) target: &'a Path,
    /// Where that is.
    pub(super) at: &'a At,
    pub(super) content: &'a dyn Content,
    pub(super) like: Like<'a>,
    pub(super) durable: bool,
}

/// Puts `content` in place of what a path has, which may be nothing yet. `old` is the file that is there.
pub(super) fn replace(
    job: &Job,
    path: &Path,
    at: &At,
    old: Option<&Metadata>,
    content: &dyn Content,
    mode: Option<u32>,
    durable: bool,
) -> Outcome {
    let fail = |e: io::Error| failure(&e, path);
    let target = match old {
        Some(_) => {
            // Replacing needs no right to write the file itself. A file without it is meant not to be written.
            may_write(at).map_err(fail)?;
            at.end().map_err(fail)?
        }
        None => at.end_of_links().map_err(fail)?,
    };
    let like = Like { of: old.map(|old| (&*target, old)), mode, moved: false };
    put(job, &Put { named: path, target: &target, at, content, like, durable }, old, &|from, to| fs::rename(from, to))
}

/// As a new file that `rename` gives the name; `old` is what has the name now.
pub(super) fn put(job: &Job, put: &Put<'_>, old: Option<&Metadata>, rename: &dyn Fn(&Path, &Path) -> io::Result<()>) -> Outcome {
    let Put { named, target, at, content, like, durable } = *put;
    let fail = |e: io::Error| failure(&e, named);
    let (folder, name) = split(target).map_err(|e| errno(e, named))?;
    let refused = match Fresh::create(folder, name, like) {
        Ok(mut fresh) => {
            content.write_to(Some(job), &mut fresh.file)?;
            if let Some((_, about)) = like.of.filter(|_| like.moved) {
                let times = FileTimes::new();
                let times = about.modified().map_or(times, |modified| times.set_modified(modified));
                drop(fresh.file.set_times(times)); // not all systems keep them
            }
            job.check()?;
            if durable {
                fresh.file.sync_all().map_err(fail)?;
            }
            job.commit()?;
            match rename(&fresh.path, target) {
                Ok(()) => {
                    fresh.named = true;
                    return if durable { sync_folder(folder) } else { Ok(()) }.map(|()| Value::Unit).map_err(fail);
                }
                Err(e) => e,
            }
        }
        Err(e) => {
            job.commit()?;
            e
        }
    };
    match old {
        Some(_) if in_place::instead(&refused) => in_place::over(target, named, content, durable).map(|()| Value::Unit),
        // There is no file whose rights these could be: it is the folder that refuses.
        None if matches!(refused.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS)) => {
            Err(failure(&refused, at.shown_folder(folder, named)))
        }
        _ => Err(fail(refused)),
    }
}

/// Into a pipe or a device, whose other end may never be ready: without a seat, and in turns.
pub(super) fn write_into(job: &Job, path: &Path, at: &At, mut data: &[u8], pipe: bool) -> Outcome {
    let fail = |e: io::Error| failure(&e, path);
    job.stall()?;
    let mut to = loop {
        match OpenOptions::new().write(true).custom_flags(at.flags()).open(at.path()) {
            // A pipe that no process reads yet: `open` would wait.
            Err(e) if pipe && e.raw_os_error() == Some(libc::ENXIO) => {
                job.check()?;
                pause();
            }
            other => break other.map_err(fail)?,
        }
    };
    while !data.is_empty() {
        job.check()?;
        match to.write(&data[..data.len().min(CHUNK)]) {
            Ok(n) => data = &data[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => wait(&to, libc::POLLOUT, job)?,
            Err(e) => return Err(fail(e)),
        }
    }
    Ok(Value::Unit)
}

/// There is nothing to poll for a reader's arrival.
fn pause() {
    // SAFETY: no descriptors.
    unsafe { libc::poll(std::ptr::null_mut(), 0, 10) };
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
