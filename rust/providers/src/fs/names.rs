//! The names in an open folder, and what the system tells about them.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, IntoRawFd};

/// The names in a folder, without `.` and `..`. What is removed or made meanwhile may be among them or not.
pub(super) struct Names(*mut libc::DIR);

impl Names {
    pub(super) fn of(folder: File) -> io::Result<Self> {
        let fd = folder.into_raw_fd();
        // SAFETY: the descriptor is ours; from here on the stream's.
        let stream = unsafe { libc::fdopendir(fd) };
        if stream.is_null() {
            let e = io::Error::last_os_error();
            // SAFETY: it was not taken over.
            drop(unsafe { File::from_raw_fd(fd) });
            return Err(e);
        }
        Ok(Names(stream))
    }

    /// The next name.
    pub(super) fn next(&mut self) -> Option<Name<'_>> {
        loop {
            // SAFETY: the stream is open until `drop`, and an entry is valid until the next `readdir`. Its name ends in
            // a zero; the rest of the struct may lie beyond what was read, so no reference to the whole is made.
            let name = unsafe {
                let entry = libc::readdir(self.0);
                if entry.is_null() {
                    return None;
                }
                CStr::from_ptr((&raw const (*entry).d_name).cast())
            };
            if !matches!(name.to_bytes(), b"." | b"..") {
                // SAFETY: the stream is open.
                return Some(Name { name, folder: unsafe { libc::dirfd(self.0) } });
            }
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // SAFETY: it is closed once.
        unsafe { libc::closedir(self.0) };
    }
}

/// A name in a folder that is open.
pub(super) struct Name<'a> {
    pub(super) name: &'a CStr,
    folder: libc::c_int,
}

impl Name<'_> {
    /// About what has the name, a link itself.
    pub(super) fn stat(&self) -> io::Result<libc::stat> {
        let mut about = MaybeUninit::uninit();
        // SAFETY: a plain system call with an open descriptor and a name that ends in a zero; it fills the struct
        // unless it fails.
        unsafe {
            match libc::fstatat(self.folder, self.name.as_ptr(), about.as_mut_ptr(), libc::AT_SYMLINK_NOFOLLOW) {
                0 => Ok(about.assume_init()),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}
