//! The content that a file gets: bytes, or that of another file.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::path::Path;

use mountain_core::error::Error;

use super::failure::failure;
use crate::pool::Job;

/// How much is written between two looks at the abort.
pub(super) const CHUNK: usize = 1 << 20;
/// How much the system is asked to copy between two looks at the abort.
const COPIED: usize = 16 << 20;

/// The content of a file that is written.
pub(super) trait Content {
    /// Writes it from the file's beginning on; yields how long it is. With a job, an abort of that ends it.
    fn write_to(&self, job: Option<&Job>, to: &mut File) -> Result<u64, Error>;
}

pub(super) struct Bytes<'a> {
    pub(super) data: &'a [u8],
    /// The path that is written, for errors.
    pub(super) named: &'a Path,
}

impl Content for Bytes<'_> {
    fn write_to(&self, job: Option<&Job>, to: &mut File) -> Result<u64, Error> {
        for chunk in self.data.chunks(CHUNK) {
            job.map_or(Ok(()), Job::check)?;
            to.write_all(chunk).map_err(|e| failure(&e, self.named))?;
        }
        Ok(self.data.len() as u64)
    }
}

/// The content of an open file.
pub(super) struct FileContent<'a> {
    pub(super) from: &'a File,
    pub(super) path: &'a Path,
    /// The path that is written, for errors.
    pub(super) named: &'a Path,
}

impl Content for FileContent<'_> {
    fn write_to(&self, job: Option<&Job>, to: &mut File) -> Result<u64, Error> {
        let size = self.from.metadata().map_err(|e| failure(&e, self.path))?.len();
        // A copy that shares its blocks, where the file system has such. It takes all at once, and no time.
        if clone(self.from, to) {
            return Ok(size);
        }
        let mut copied = 0;
        while copied < size {
            job.map_or(Ok(()), Job::check)?;
            match copy_range(self.from, to, COPIED) {
                Ok(0) => break, // it is shorter by now, or of the kernel's making
                Ok(n) => copied += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Not between these two: on two systems, or of a kind that knows no such copy.
                Err(e) if unable(&e) => break,
                Err(e) => return Err(failure(&e, self.named)),
            }
        }
        // The rest, and bytes that were added meanwhile.
        self.copy_rest(job, to, copied)
    }
}

impl FileContent<'_> {
    pub(super) fn copy_rest(&self, job: Option<&Job>, to: &mut File, mut copied: u64) -> Result<u64, Error> {
        use std::io::Read as _;
        let mut piece = vec![0; CHUNK];
        loop {
            job.map_or(Ok(()), Job::check)?;
            match (&mut &*self.from).read(&mut piece) {
                Ok(0) => return Ok(copied),
                Ok(n) => {
                    to.write_all(&piece[..n]).map_err(|e| failure(&e, self.named))?;
                    copied += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failure(&e, self.path)),
            }
        }
    }
}

fn unable(e: &io::Error) -> bool {
    let errnos = [libc::EXDEV, libc::ENOSYS, libc::EINVAL, libc::EOPNOTSUPP, libc::EBADF, libc::EPERM, libc::ETXTBSY];
    e.raw_os_error().is_some_and(|errno| errnos.contains(&errno))
}

/// Has a new, empty file share the blocks of another. False: the file system cannot.
#[cfg(target_os = "linux")]
fn clone(from: &File, to: &File) -> bool {
    // SAFETY: a plain system call with two open descriptors.
    unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) == 0 }
}

/// Copies up to so many bytes within the kernel, from where the files are.
#[cfg(target_os = "linux")]
fn copy_range(from: &File, to: &File, most: usize) -> io::Result<u64> {
    // SAFETY: a plain system call with two open descriptors, which keeps their own offsets.
    let n =
        unsafe { libc::copy_file_range(from.as_raw_fd(), std::ptr::null_mut(), to.as_raw_fd(), std::ptr::null_mut(), most, 0) };
    u64::try_from(n).map_err(|_| io::Error::last_os_error())
}

#[cfg(not(target_os = "linux"))]
fn clone(_from: &File, _to: &File) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn copy_range(_from: &File, _to: &File, _most: usize) -> io::Result<u64> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
