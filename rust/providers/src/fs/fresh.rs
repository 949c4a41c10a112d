//! A new file that is to take a name over, and the way there: its folder, its rights, its links.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use mountain_core::error::Error;

use super::attributes;
use super::failure::{errno, failure};
use super::place::{At, Place};

/// The new file before it has its name. Dropped, it is gone.
pub(super) struct Fresh {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) named: bool,
}

impl Fresh {
    /// `old` is the file that it is to replace, with its path.
    pub(super) fn create(folder: &Path, name: &[u8], old: Option<(&Path, &Metadata)>) -> io::Result<Self> {
        // Readable for its owner only until it has the old file's mode. A file without a predecessor gets what `open`
        // gives.
        let mode = if old.is_some() { 0o600 } else { 0o666 };
        loop {
            let path = folder.join(fresh_name(name));
            match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path) {
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

/// A new content that is written piece by piece, and takes the name at its end. Dropped before, it is gone.
pub(super) struct Replacement {
    fresh: Fresh,
    target: PathBuf,
    /// The target's folder, as long as it is needed.
    _at: At,
}

impl Replacement {
    pub(super) fn create(place: &Place) -> Result<Self, Error> {
        let path = place.path();
        let fail = |e: io::Error| failure(&e, path);
        let at = place.at(true).map_err(fail)?;
        let (target, old) = match at.metadata() {
            Ok(old) if old.is_dir() => return Err(errno(libc::EISDIR, path)),
            Ok(old) if !old.is_file() => return Err(errno(libc::ESPIPE, path)),
            Ok(old) => {
                may_write(&at).map_err(fail)?;
                (at.end().map_err(fail)?, Some(old))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => (at.end_of_links().map_err(fail)?, None),
            Err(e) => return Err(fail(e)),
        };
        let (folder, name) = split(&target).map_err(|e| errno(e, path))?;
        let fresh = Fresh::create(folder, name, old.as_ref().map(|old| (&*target, old))).map_err(fail)?;
        Ok(Replacement { fresh, target, _at: at })
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.fresh.file
    }

    pub(super) fn take_name(mut self, path: &Path, durable: bool) -> Result<(), Error> {
        let fail = |e: io::Error| failure(&e, path);
        if durable {
            self.fresh.file.sync_all().map_err(fail)?;
        }
        fs::rename(&self.fresh.path, &self.target).map_err(fail)?;
        self.fresh.named = true;
        match self.target.parent().filter(|_| durable) {
            Some(folder) => sync_folder(folder).map_err(fail),
            None => Ok(()),
        }
    }
}

/// Whether `open` would let us write, without an open, which watchers of the file would see.
pub(super) fn may_write(at: &At) -> io::Result<()> {
    let path = CString::new(at.path().as_os_str().as_bytes())?;
    // SAFETY: a plain system call with a path that ends in a zero.
    match unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
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
pub(super) fn split(path: &Path) -> Result<(&Path, &[u8]), i32> {
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

/// So that the new name survives a loss of power too.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // A folder that may be written but not read cannot be opened, and some file systems know no such sync: the name is
    // then as durable as the system makes it.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(folder) = File::open(folder) else { return Ok(()) };
    match folder.sync_all() {
        Err(e) if !matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Err(e),
        _ => Ok(()),
    }
}
