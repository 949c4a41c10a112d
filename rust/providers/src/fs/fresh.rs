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
use super::beneath::{look, pinned};
use super::failure::{errno, failure};
use super::place::{At, Place};

/// The new file before it has its name. Dropped, it is gone.
pub(super) struct Fresh {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) named: bool,
    process: u32,
}

impl Fresh {
    pub(super) fn create(folder: &Path, name: &[u8], like: Like<'_>) -> io::Result<Self> {
        // Readable for its owner only until it has its own mode. A file like no other gets what `open` gives.
        let mode = if like.of.is_some() || like.mode.is_some() { 0o600 } else { 0o666 };
        loop {
            let path = folder.join(fresh_name(name));
            match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path) {
                Ok(file) => {
                    let fresh = Fresh { path, file, named: false, process: std::process::id() };
                    fresh.take_after(like)?;
                    return Ok(fresh);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn take_after(&self, like: Like<'_>) -> io::Result<()> {
        if let Some((path, other)) = like.of {
            let now = self.file.metadata()?;
            let mut mode = 0o7777;
            if (now.uid(), now.gid()) != (other.uid(), other.gid()) {
                match fchown(&self.file, Some(other.uid()), Some(other.gid())) {
                    // It is its mover's now, with no more rights than any file.
                    Err(_) if like.moved => mode = 0o777,
                    // Only root may give files away. In a file that is not its owner's, or of another group, others
                    // could read what they may not, and its owner not what is theirs.
                    given => given?,
                }
            }
            self.file.set_permissions(Permissions::from_mode(other.mode() & mode))?;
            match attributes::copy(path, &self.file) {
                Err(e) if like.moved && e.raw_os_error() == Some(libc::EOPNOTSUPP) => {} // the other system has none
                copied => copied?,
            }
        }
        // Before there is anything to be read.
        like.mode.map_or(Ok(()), |mode| self.file.set_permissions(Permissions::from_mode(mode)))
    }
}

/// The looks of a new file: its owner, mode and attributes.
#[derive(Clone, Copy, Default)]
pub(super) struct Like<'a> {
    /// Those of this file, which has this path.
    pub(super) of: Option<(&'a Path, &'a Metadata)>,
    /// The permissions, if they are others.
    pub(super) mode: Option<u32>,
    /// It is that file, which moves here: an owner that it cannot have is not that of a file here.
    pub(super) moved: bool,
}

impl Drop for Fresh {
    /// In a forked child it is the parent's, which still writes it.
    fn drop(&mut self) {
        if !self.named && std::process::id() == self.process {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// A new content that is written piece by piece, and takes the name at its end. Dropped before, it is gone.
pub(super) struct Replacement {
    fresh: Fresh,
    target: PathBuf,
    /// The target's folder, whose own path may lead elsewhere by the end, as a relative one does after a `chdir`.
    _folder: Option<File>,
    /// The hold on a folder beneath a root.
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
        let like = Like { of: old.as_ref().map(|old| (&*target, old)), ..Like::default() };
        let held = look(folder, 0).ok();
        let kept = held.as_ref().and_then(|held| pinned(held).ok()).filter(|path| path.exists());
        let folder = kept.as_deref().unwrap_or(folder);
        let fresh = Fresh::create(folder, name, like).map_err(fail)?;
        let target = folder.join(OsStr::from_bytes(name));
        Ok(Replacement { fresh, target, _folder: held, _at: at })
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
    may(libc::W_OK, at.path())
}

/// Whether this process has those rights to what a path leads to.
pub(super) fn may(rights: libc::c_int, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a plain system call with a path that ends in a zero.
    match unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), rights, libc::AT_EACCESS) } {
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
