//! Removing a file, a link, or a tree.
//!
//! A tree is removed through descriptors, each folder opened without following links: no other process can swap a
//! folder for a link in the middle and have the removal go on somewhere else.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation};
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::failure::{advised, errno, failure};
use super::names::Names;
use super::place::Place;
use crate::pool::{self, Grip, Job, Step};

/// The rights that the owner of a folder needs to empty it.
const OWNERS: u32 = 0o700;

/// Removes a file or a link; with `tree` also a folder with all that is in it. An abort stops between two names.
pub struct Remove {
    pub place: Place,
    pub tree: bool,
    pub missing_ok: bool,
    /// Also what is in folders that their owner may not write, enter or read.
    pub force: bool,
}

impl Remove {
    pub fn new(place: impl Into<Place>, tree: bool, missing_ok: bool) -> Self {
        Remove { place: place.into(), tree, missing_ok, force: false }
    }

    /// A folder of this process's own, with all that is in it.
    pub fn own(place: impl Into<Place>) -> Self {
        Remove { place: place.into(), tree: true, missing_ok: true, force: true }
    }

    /// At once, on this thread.
    pub fn now(&self) -> Result<(), Error> {
        remove(&Way { job: None, force: self.force }, &self.place, self.tree, self.missing_ok)
    }
}

impl Operation for Remove {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, tree, missing_ok, force) = (self.place.clone(), self.tree, self.missing_ok, self.force);
        pool::run(Grip::Firm, done, move |job| {
            Step::Answer(remove(&Way { job: Some(job), force }, &place, tree, missing_ok).map(|()| Value::Unit))
        })
    }
}

/// How a tree is gone through.
struct Way<'a> {
    job: Option<&'a Job>,
    force: bool,
}

fn remove(way: &Way<'_>, place: &Place, tree: bool, missing_ok: bool) -> Result<(), Error> {
    let path = place.path();
    let at = match place.at(false) {
        Ok(at) if at.is_itself => return Err(errno(libc::EINVAL, path)),
        Err(e) if missing_ok && e.kind() == io::ErrorKind::NotFound => return Ok(()),
        at => at.map_err(|e| failure(&e, path))?,
    };
    let Err(e) = fs::remove_file(at.path()) else { return Ok(()) };
    match e.raw_os_error() {
        Some(libc::ENOENT) if missing_ok => return Ok(()),
        Some(libc::EISDIR | libc::EPERM) if at.path().symlink_metadata().is_ok_and(|about| about.is_dir()) => {}
        _ => return Err(failure(&e, path)),
    }
    if !tree {
        // Which macOS calls EPERM.
        return Err(advised(libc::EISDIR, path, "fs.remove(path, tree=True) removes a folder and all that is in it"));
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let open = || OpenOptions::new().read(true).custom_flags(flags).open(at.path());
    let folder = match open() {
        Err(e) if way.force && e.kind() == io::ErrorKind::PermissionDenied => {
            let name = CString::new(at.path().as_os_str().as_bytes()).map_err(|e| failure(&e.into(), path))?;
            make_open(libc::AT_FDCWD, &name);
            open()
        }
        opened => opened,
    };
    let folder = folder.map_err(|e| failure(&e, path))?;
    empty(way, folder, &mut path.to_path_buf())?;
    fs::remove_dir(at.path()).map_err(|e| failure(&e, path))
}

/// Remove all that is in a folder; `at` is its path, for messages.
fn empty(way: &Way<'_>, folder: File, at: &mut PathBuf) -> Result<(), Error> {
    if way.force
        && let Some(mode) = folder.metadata().ok().map(|about| about.mode()).filter(|mode| mode & OWNERS != OWNERS)
    {
        // If that fails, so does the removal of a name in it, which says why.
        drop(folder.set_permissions(Permissions::from_mode(mode & 0o7777 | OWNERS)));
    }
    for name in names(&folder).map_err(|e| failure(&e, at))? {
        way.job.map_or(Ok(()), Job::check)?;
        at.push(OsStr::from_bytes(name.to_bytes()));
        remove_at(way, &folder, &name, at)?;
        at.pop();
    }
    Ok(())
}

/// All at once: what is removed while a folder is read may make it skip some.
fn names(folder: &File) -> io::Result<Vec<CString>> {
    let (mut names, mut all) = (Names::of(folder.try_clone()?)?, Vec::new());
    while let Some(next) = names.next() {
        all.push(next.name.to_owned());
    }
    Ok(all)
}

fn remove_at(way: &Way<'_>, folder: &File, name: &CStr, at: &mut PathBuf) -> Result<(), Error> {
    let e = match unlink(folder, name, 0) {
        // A vanished entry was removed by other code, which is as good.
        Ok(()) | Err(libc::ENOENT) => return Ok(()),
        Err(e) => e,
    };
    if !matches!(e, libc::EISDIR | libc::EPERM) {
        return Err(errno(e, at));
    }
    let open = || {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: a plain system call with a name that ends in a zero.
        match unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags) } {
            // SAFETY: it was just opened, and has no other owner.
            fd @ 0.. => Ok(unsafe { File::from_raw_fd(fd) }),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let opened = match open() {
        Err(why) if way.force && why.kind() == io::ErrorKind::PermissionDenied => {
            make_open(folder.as_raw_fd(), name);
            open()
        }
        opened => opened,
    };
    let below = match opened {
        Ok(below) => below,
        Err(why) => {
            return match why {
                // No folder: then the first answer was about the file itself.
                why if why.raw_os_error() == Some(libc::ENOTDIR) => Err(errno(e, at)),
                why if why.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                why => Err(failure(&why, at)),
            };
        }
    };
    empty(way, below, at)?;
    match unlink(folder, name, libc::AT_REMOVEDIR) {
        Ok(()) | Err(libc::ENOENT) => Ok(()),
        Err(e) => Err(errno(e, at)),
    }
}

/// Gives the owner of a folder all rights to it; a link of that name is left alone.
fn make_open(folder: libc::c_int, name: &CStr) {
    // SAFETY: a plain system call with a name that ends in a zero. If it fails, so does the next open, which says why.
    unsafe { libc::fchmodat(folder, name.as_ptr(), OWNERS as libc::mode_t, libc::AT_SYMLINK_NOFOLLOW) };
}

fn unlink(folder: &File, name: &CStr, flags: libc::c_int) -> Result<(), i32> {
    // SAFETY: a plain system call with a name that ends in a zero.
    match unsafe { libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, Gate, os_error, run, start_job};

    #[test]
    fn a_file_or_a_link_is_unlinked_and_a_folder_is_refused() {
        let folder = Folder::new();
        let file = folder.file("file", b"x");
        let link = folder.link("link", "file");
        assert!(run(&Remove::new(&link, false, false)).is_ok());
        assert!(file.exists() && link.symlink_metadata().is_err());
        assert!(run(&Remove::new(&file, false, false)).is_ok() && !file.exists());
        assert_eq!(os_error(run(&Remove::new(&file, false, false))), (libc::ENOENT, Some(file.clone())));
        assert!(run(&Remove::new(&file, false, true)).is_ok());
        assert!(run(&Remove::new(&file, true, true)).is_ok());
        let below = folder.dir("below");
        assert_eq!(os_error(run(&Remove::new(&below, false, true))), (libc::EISDIR, Some(below.clone())));
        assert!(matches!(run(&Remove::new("a\0b", true, true)), Err(Error::Invalid(_))));
    }

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let folder = Folder::new();
        let outside = folder.file("outside/kept", b"x");
        for name in ["tree/a", "tree/b/c", "tree/b/d/e", "tree/b/d/f"] {
            folder.file(name, b"x");
        }
        let odd = folder.path("tree").join(OsStr::from_bytes(b"odd\xff"));
        fs::write(odd, b"x").unwrap();
        folder.link("tree/b/link", "../../outside");
        folder.link("tree/loop", ".");
        let tree = folder.path("tree");
        assert!(run(&Remove::new(&tree, true, false)).is_ok());
        assert!(!tree.exists() && outside.exists());
        assert_eq!(os_error(run(&Remove::new(&tree, true, false))).0, libc::ENOENT);
        let file = folder.file("plain", b"x");
        assert!(run(&Remove::new(&file, true, false)).is_ok() && !file.exists());
        let link = folder.link("to-outside", "outside");
        assert!(run(&Remove::new(&link, true, false)).is_ok());
        assert!(link.symlink_metadata().is_err() && outside.exists());
    }

    #[test]
    fn an_abort_stops_at_the_next_name() {
        let folder = Folder::new();
        for name in ["tree/a", "tree/b/c", "tree/b/d"] {
            folder.file(name, b"x");
        }
        let tree = folder.path("tree");
        let (gate, ours) = (Gate::default(), tree.clone());
        let closed = gate.clone();
        let call = start_job(Grip::Firm, move |job| {
            closed.wait();
            let way = Way { job: Some(job), force: false };
            Step::Answer(remove(&way, &ours.into(), true, false).map(|()| Value::Unit))
        });
        gate.reached(1);
        call.abort.abort();
        assert!(call.within(20).is_none(), "a firm job answers when it has ended");
        gate.open();
        assert!(matches!(call.outcome(), Err(Error::Cancelled)));
        assert!(tree.join("a").exists() && tree.join("b/c").exists());
    }
}
