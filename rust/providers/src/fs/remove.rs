//! Removing a file, a link, or a tree.
//!
//! A tree is removed through descriptors, each folder opened without following links: no other process can swap a
//! folder for a link in the middle and have the removal go on somewhere else.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation};
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::failure::{errno, failure};
use super::names::Names;
use super::place::Place;
use crate::pool::{self, Grip, Job, Step};

/// Removes a file or a link; with `tree` also a folder with all that is in it. An abort stops between two names.
pub struct Remove {
    pub place: Place,
    pub tree: bool,
    pub missing_ok: bool,
}

impl Remove {
    pub fn new(place: impl Into<Place>, tree: bool, missing_ok: bool) -> Self {
        Remove { place: place.into(), tree, missing_ok }
    }
}

impl Operation for Remove {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, tree, missing_ok) = (self.place.clone(), self.tree, self.missing_ok);
        pool::run(Grip::Firm, done, move |job| Step::Answer(remove(job, &place, tree, missing_ok).map(|()| Value::Unit)))
    }
}

fn remove(job: &Job, place: &Place, tree: bool, missing_ok: bool) -> Result<(), Error> {
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
        return Err(errno(libc::EISDIR, path)); // which macOS calls EPERM
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(at.path()).map_err(|e| failure(&e, path))?;
    empty(job, folder, &mut path.to_path_buf())?;
    fs::remove_dir(at.path()).map_err(|e| failure(&e, path))
}

/// Remove all that is in a folder; `at` is its path, for messages.
fn empty(job: &Job, folder: File, at: &mut PathBuf) -> Result<(), Error> {
    for name in names(&folder).map_err(|e| failure(&e, at))? {
        job.check()?;
        at.push(OsStr::from_bytes(name.to_bytes()));
        remove_at(job, &folder, &name, at)?;
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

fn remove_at(job: &Job, folder: &File, name: &CStr, at: &mut PathBuf) -> Result<(), Error> {
    let e = match unlink(folder, name, 0) {
        // A vanished entry was removed by other code, which is as good.
        Ok(()) | Err(libc::ENOENT) => return Ok(()),
        Err(e) => e,
    };
    if !matches!(e, libc::EISDIR | libc::EPERM) {
        return Err(errno(e, at));
    }
    // SAFETY: a plain system call with a name that ends in a zero.
    let fd = unsafe {
        libc::openat(folder.as_raw_fd(), name.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
    };
    if fd < 0 {
        return match io::Error::last_os_error() {
            // No folder: then the first answer was about the file itself.
            why if why.raw_os_error() == Some(libc::ENOTDIR) => Err(errno(e, at)),
            why if why.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            why => Err(failure(&why, at)),
        };
    }
    // SAFETY: it was just opened, and has no other owner.
    empty(job, unsafe { File::from_raw_fd(fd) }, at)?;
    match unlink(folder, name, libc::AT_REMOVEDIR) {
        Ok(()) | Err(libc::ENOENT) => Ok(()),
        Err(e) => Err(errno(e, at)),
    }
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
            Step::Answer(remove(job, &ours.into(), true, false).map(|()| Value::Unit))
        });
        gate.reached(1);
        call.abort.abort();
        assert!(call.within(20).is_none(), "a firm job answers when it has ended");
        gate.open();
        assert!(matches!(call.outcome(), Err(Error::Cancelled)));
        assert!(tree.join("a").exists() && tree.join("b/c").exists());
    }
}
