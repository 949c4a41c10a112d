//! Advisory locks on files, which hold between processes, and between two locks of one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::value::Value;

use super::failure::{errno, failure};
use super::place::Place;
use crate::pool::{self, Grip, Job, Step};

/// The waits between two tries, in milliseconds. A blocking call would hold its thread until the lock is free, and
/// would take it after an abort.
const FIRST_WAIT: i32 = 1;
const LONGEST_WAIT: i32 = 20;

/// Yields a [`Locked`] as `Value::Other`. The file is made if it is missing; it stays when the lock is let go.
pub struct Lock {
    pub place: Place,
    /// Beside others that share it.
    pub shared: bool,
    /// Without, a lock that is taken is EWOULDBLOCK.
    pub wait: bool,
}

/// A lock that is held until it is dropped, by the process that took it.
pub struct Locked {
    file: File,
    process: u32,
}

impl Drop for Locked {
    /// A forked child has a descriptor of the same lock, and would keep it if this one were only closed. The child's
    /// own drop leaves it to its parent.
    fn drop(&mut self) {
        if std::process::id() == self.process {
            // SAFETY: a plain system call with an open descriptor.
            unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) };
        }
    }
}

impl Lock {
    pub fn new(place: impl Into<Place>, shared: bool, wait: bool) -> Self {
        Lock { place: place.into(), shared, wait }
    }
}

impl Operation for Lock {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, shared, wait) = (self.place.clone(), self.shared, self.wait);
        pool::run(Grip::Firm, done, move |job| Step::Answer(lock(job, &place, shared, wait)))
    }
}

fn lock(job: &Job, place: &Place, shared: bool, wait: bool) -> Outcome {
    job.check()?;
    let path = place.path();
    let fail = |e: io::Error| failure(&e, path);
    let operation = if shared { libc::LOCK_SH } else { libc::LOCK_EX } | libc::LOCK_NB;
    let mut file = open(place).map_err(fail)?;
    let mut pause = FIRST_WAIT;
    loop {
        // SAFETY: a plain system call with an open descriptor.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            if has_name(&file, place) {
                return Ok(Value::Other(Box::new(Locked { file, process: std::process::id() })));
            }
            file = open(place).map_err(fail)?;
        } else {
            match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => continue,
                e if e.kind() == io::ErrorKind::WouldBlock && wait => {}
                e if e.kind() == io::ErrorKind::WouldBlock => return Err(errno(libc::EWOULDBLOCK, path)),
                e => return Err(fail(e)),
            }
        }
        if pause == FIRST_WAIT {
            job.stall()?; // it may wait for ever
        }
        // SAFETY: no descriptors.
        unsafe { libc::poll(std::ptr::null_mut(), 0, pause) };
        job.check()?;
        pause = (pause * 2).min(LONGEST_WAIT);
    }
}

fn open(place: &Place) -> io::Result<File> {
    let at = place.at(true)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).custom_flags(at.flags());
    match options.open(at.path()) {
        // A file that may not be written, or a folder, can be locked all the same.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EISDIR | libc::EROFS)) => {
            OpenOptions::new().read(true).custom_flags(at.flags()).open(at.path()).map_err(|_| e)
        }
        other => other,
    }
}

/// The file is the one of that name still. Another that has taken its name meanwhile is what newcomers lock: to hold
/// the old one would keep none of them out.
fn has_name(file: &File, place: &Place) -> bool {
    let named = place.at(true).and_then(|at| at.metadata());
    matches!((file.metadata(), named), (Ok(ours), Ok(named)) if (ours.dev(), ours.ino()) == (named.dev(), named.ino()))
}

#[cfg(test)]
mod tests {
    use mountain_core::error::Error;

    use super::*;
    use crate::testing::{Folder, os_error, run, start};

    fn locked(outcome: Outcome) -> Locked {
        match outcome {
            Ok(Value::Other(locked)) => *locked.downcast().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_holds_it_and_several_share_it() {
        let folder = Folder::new();
        let path = folder.path("lock");
        let held = locked(run(&Lock::new(&path, false, true)));
        for shared in [false, true] {
            assert_eq!(os_error(run(&Lock::new(&path, shared, false))), (libc::EWOULDBLOCK, Some(path.clone())));
        }
        let waiting = start(&Lock::new(&path, true, true));
        assert!(waiting.within(30).is_none());
        drop(held);
        let first = locked(waiting.outcome());
        let second = locked(run(&Lock::new(&path, true, false)));
        assert_eq!(os_error(run(&Lock::new(&path, false, false))).0, libc::EWOULDBLOCK);
        drop((first, second));
        locked(run(&Lock::new(&path, false, false)));
        locked(run(&Lock::new(folder.root(), false, false)));
        let below = path.join("below");
        assert_eq!(os_error(run(&Lock::new(&below, false, true))), (libc::ENOTDIR, Some(below)));
    }

    #[test]
    fn a_wait_goes_on_to_the_file_that_has_taken_the_name() {
        let folder = Folder::new();
        let path = folder.path("lock");
        let old = locked(run(&Lock::new(&path, false, true)));
        let waiting = start(&Lock::new(&path, false, true));
        assert!(waiting.within(30).is_none());
        std::fs::rename(folder.file("other", b""), &path).unwrap();
        let new = locked(run(&Lock::new(&path, false, false)));
        drop(old);
        assert!(waiting.within(60).is_none(), "two hold the lock of one name");
        drop(new);
        let last = locked(waiting.outcome());
        assert_eq!(os_error(run(&Lock::new(&path, false, false))).0, libc::EWOULDBLOCK);
        drop(last);
    }

    #[test]
    fn a_wait_for_a_file_that_is_removed_makes_another() {
        let folder = Folder::new();
        let path = folder.path("lock");
        let old = locked(run(&Lock::new(&path, false, true)));
        let waiting = start(&Lock::new(&path, false, true));
        assert!(waiting.within(30).is_none());
        std::fs::remove_file(&path).unwrap();
        drop(old);
        let held = locked(waiting.outcome());
        assert_eq!(os_error(run(&Lock::new(&path, false, false))).0, libc::EWOULDBLOCK);
        drop(held);
    }

    #[test]
    fn a_wait_that_is_aborted_takes_nothing() {
        let folder = Folder::new();
        let path = folder.path("lock");
        let held = locked(run(&Lock::new(&path, false, true)));
        let waiting: Vec<_> = (0..8).map(|_| start(&Lock::new(&path, false, true))).collect();
        assert!(waiting[7].within(20).is_none());
        for call in &waiting {
            call.abort.abort();
            assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
        }
        drop(held);
        while matches!(run(&Lock::new(&path, false, false)), Err(Error::Os(_))) {
            std::thread::yield_now(); // their threads let go
        }
    }
}
