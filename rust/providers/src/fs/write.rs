//! Writing a whole file: readers, and a machine that loses power, see the old content or the new, never a part.
//!
//! The content goes to a new file in the same folder, which then takes the name over. Links are followed, and mode,
//! owner and extended attributes kept, as when a file is opened for writing; a second hard link keeps the old content.
//! A pipe or a device is written into, and so is a file that cannot be replaced (see [`in_place`]).

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::value::Value;

use super::attributes;
use super::failure::{errno, failure};
use super::in_place;
use super::source::wait;
use crate::pool::{self, Grip, Job, Step};

/// Bytes with an owner: a vector, or the host's own object.
pub type Data = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// How much is written between two looks at the abort.
const CHUNK: usize = 1 << 20;
/// As many links in a row as Linux follows.
const LINKS: usize = 40;

/// Puts `data` in place of a file's content. Aborted or failed, it changes nothing and leaves nothing over, unless the
/// file had to be written in place: that is not aborted, and may fail in the middle.
pub struct Write {
    pub path: Arc<Path>,
    pub data: Data,
    /// On disk, and not only in the system's memory, when it ends.
    pub durable: bool,
}

impl Write {
    pub fn new(path: impl Into<PathBuf>, data: Data, durable: bool) -> Self {
        Write { path: path.into().into(), data, durable }
    }
}

impl Operation for Write {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (path, data, durable) = (self.path.clone(), self.data.clone(), self.durable);
        pool::run(Grip::Firm, done, move |job| Step::Answer(write(job, &path, (*data).as_ref(), durable)))
    }
}

fn write(job: &Job, path: &Path, data: &[u8], durable: bool) -> Outcome {
    job.check()?;
    let fail = |e: io::Error| failure(&e, path);
    match fs::metadata(path) {
        Ok(old) if old.is_dir() => Err(errno(libc::EISDIR, path)),
        Ok(old) if !old.is_file() => write_into(job, path, data, old.file_type().is_fifo()),
        Ok(old) => {
            // Replacing needs no right to write the file itself. A file without it is meant not to be written.
            may_write(path).map_err(fail)?;
            let target = fs::canonicalize(path).map_err(fail)?;
            put(job, &Put { named: path, target: &target, data, durable }, Some(&old), &|from, to| fs::rename(from, to))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let target = end_of_links(path).map_err(fail)?;
            put(job, &Put { named: path, target: &target, data, durable }, None, &|from, to| fs::rename(from, to))
        }
        Err(e) => Err(fail(e)),
    }
}

/// Whether `open` would let us write, without an open, which watchers of the file would see.
fn may_write(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a plain system call with a path that ends in a zero.
    match unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The data of a write, and its place.
struct Put<'a> {
    /// The path as the caller gave it, for errors.
    named: &'a Path,
    /// The end of its links.
    target: &'a Path,
    data: &'a [u8],
    durable: bool,
}

/// As a new file that `rename` gives the name; `old` is what has the name now.
fn put(job: &Job, put: &Put<'_>, old: Option<&Metadata>, rename: &dyn Fn(&Path, &Path) -> io::Result<()>) -> Outcome {
    let Put { named, target, data, durable } = *put;
    let fail = |e: io::Error| failure(&e, named);
    let (folder, name) = split(target).map_err(|e| errno(e, named))?;
    let refused = match Fresh::create(folder, name, old.map(|old| (target, old))) {
        Ok(mut fresh) => {
            for chunk in data.chunks(CHUNK) {
                job.check()?;
                fresh.file.write_all(chunk).map_err(fail)?;
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
        Some(_) if in_place::instead(&refused) => in_place::over(target, data, durable).map(|()| Value::Unit).map_err(fail),
        // There is no file whose rights these could be: it is the folder that refuses.
        None if matches!(refused.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS)) => {
            Err(failure(&refused, folder))
        }
        _ => Err(fail(refused)),
    }
}

/// The new file before it has its name. Dropped, it is gone.
struct Fresh {
    path: PathBuf,
    file: File,
    named: bool,
}

impl Fresh {
    /// `old` is the file that it is to replace, with its path.
    fn create(folder: &Path, name: &[u8], old: Option<(&Path, &Metadata)>) -> io::Result<Self> {
        // Readable for its owner only until it has the old file's mode. A file without a predecessor gets what `open`
        // gives.
        let mode = if old.is_some() { 0o600 } else { 0o666 };
        loop {
            let path = folder.join(fresh_name(name));
            match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
                Ok(file) => {
                    let fresh = Fresh { path, file, named: false };
                    if let Some((path, old)) = old {
                        fresh.take_after(path, old)?;
                    }
                    return Ok(fresh);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn take_after(&self, path: &Path, old: &Metadata) -> io::Result<()> {
        let now = self.file.metadata()?;
        if (now.uid(), now.gid()) != (old.uid(), old.gid()) {
            // Only root may give files away. In a file that is not its owner's, or of another group, others could read
            // what they may not, and its owner not what is theirs.
            fchown(&self.file, Some(old.uid()), Some(old.gid()))?;
        }
        self.file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        attributes::copy(path, &self.file)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.named {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// `.NAME.RANDOM.tmp`, with as much of the name as a file system allows.
fn fresh_name(name: &[u8]) -> PathBuf {
    const LONGEST: usize = 255 - ".".len() - ".0123456789abcdef.tmp".len();
    let mut random = RandomState::new().build_hasher();
    random.write_u32(std::process::id()); // a forked child has its parent's keys
    let mut length = name.len().min(LONGEST);
    while length < name.len() && name[length] & 0xc0 == 0x80 {
        length -= 1; // not in the middle of a character, which macOS would refuse
    }
    let mut fresh = b".".to_vec();
    fresh.extend_from_slice(&name[..length]);
    fresh.extend_from_slice(format!(".{:016x}.tmp", random.finish()).as_bytes());
    PathBuf::from(OsString::from_vec(fresh))
}

/// Folder and name of a file to be made, or the errno that `open` would give.
fn split(path: &Path) -> Result<(&Path, &[u8]), i32> {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    let (folder, name) = bytes.split_at(start);
    match name {
        _ if bytes.is_empty() => Err(libc::ENOENT),
        b"" | b"." | b".." => Err(libc::EISDIR),
        _ if folder.is_empty() => Ok((Path::new("."), name)),
        _ => Ok((Path::new(OsStr::from_bytes(folder)), name)),
    }
}

/// Where a file would be made if `path` were opened: the end of a chain of links that leads to nothing yet.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut at = path.to_path_buf();
    for _ in 0..LINKS {
        let Ok(next) = fs::read_link(&at) else { return Ok(at) };
        at = at.parent().map_or_else(|| next.clone(), |folder| folder.join(&next));
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// So that the new name survives a loss of power too.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // A folder that may be written but not read cannot be opened, and some file systems know no such sync: the name is
    // then as durable as the system makes it.
    let Ok(folder) = File::open(folder) else { return Ok(()) };
    match folder.sync_all() {
        Err(e) if !matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Err(e),
        _ => Ok(()),
    }
}

/// Into a pipe or a device, whose other end may never be ready: without a seat, and in turns.
fn write_into(job: &Job, path: &Path, mut data: &[u8], pipe: bool) -> Outcome {
    let fail = |e: io::Error| failure(&e, path);
    job.stall()?;
    let mut to = loop {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path) {
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
