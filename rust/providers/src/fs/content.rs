//! The content that a file gets: bytes, or that of another file.

use std::fs::File;
use std::io::{self, Write as _};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use mountain_core::error::Error;

use super::failure::failure;
use crate::pool::Job;

/// How much is written between two looks at the abort.
pub(super) const CHUNK: usize = 1 << 20;
/// How much the system is asked to copy between two looks at the abort.
const COPIED: usize = 16 << 20;
/// The bytes of a block as `st_blocks` counts them.
const BLOCK: u64 = 512;

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
        let about = self.from.metadata().map_err(|e| failure(&e, self.path))?;
        let size = to.metadata().map_err(|e| failure(&e, self.named))?.len();
        // A copy that shares its blocks, where the file system has such. It takes all at once, and no time.
        if clone(self.from, to) {
            return if size == 0 { to.metadata().map(|to| to.len()) } else { Ok(about.len()) }
                .map_err(|e| failure(&e, self.named));
        }
        // Holes stay holes; in a file that has a content, the old one would show through them.
        let sparse = size == 0 && about.blocks().saturating_mul(BLOCK) < about.len();
        self.copy(job, to, sparse, true)
    }
}

impl FileContent<'_> {
    /// From the beginning to the end, with what is added meanwhile. `ranges`: within the kernel, where it can.
    pub(super) fn copy(&self, job: Option<&Job>, to: &File, sparse: bool, mut ranges: bool) -> Result<u64, Error> {
        let (mut at, mut piece) = (0, Vec::new());
        loop {
            let (begin, end) = if sparse { self.run(at)? } else { (at, u64::MAX) };
            at = begin;
            if begin == end {
                // It ends with a hole.
                return to.set_len(at).map(|()| at).map_err(|e| failure(&e, self.named));
            }
            while at < end {
                job.map_or(Ok(()), Job::check)?;
                let most = usize::try_from(end - at).unwrap_or(usize::MAX);
                let copied = if ranges {
                    copy_range(self.from, to, at, most.min(COPIED))
                } else {
                    piece.resize(CHUNK, 0);
                    self.copy_piece(to, at, &mut piece[..most.min(CHUNK)])?
                };
                match copied {
                    // It is at its end, or of the kernel's making.
                    Ok(0) if ranges => ranges = false,
                    Ok(0) => return Ok(at),
                    Ok(n) => at += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    // Not between these two: on two systems, or of a kind that knows no such copy.
                    Err(e) if ranges && unable(&e) => ranges = false,
                    Err(e) => return Err(failure(&e, self.named)),
                }
            }
        }
    }

    /// One piece. The inner error is of the target.
    fn copy_piece(&self, to: &File, at: u64, piece: &mut [u8]) -> Result<io::Result<u64>, Error> {
        match self.from.read_at(piece, at) {
            Ok(n) => Ok(to.write_all_at(&piece[..n], at).map(|()| n as u64)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Err(e)),
            Err(e) => Err(failure(&e, self.path)),
        }
    }

    /// Where the next data begins and ends, from `at` on. Both are the file's end where there is none.
    #[cfg(target_os = "linux")]
    fn run(&self, at: u64) -> Result<(u64, u64), Error> {
        let fail = |e: io::Error| failure(&e, self.path);
        let seek = |at: u64, whence| {
            // SAFETY: a plain system call with an open descriptor, whose own offset nothing here uses.
            let found = unsafe { libc::lseek(self.from.as_raw_fd(), at.cast_signed(), whence) };
            u64::try_from(found).map_err(|_| io::Error::last_os_error())
        };
        // Asked first: what is added after it is data, which the next call finds.
        let size = self.from.metadata().map_err(fail)?.len();
        match seek(at, libc::SEEK_DATA) {
            Ok(begin) => match seek(begin, libc::SEEK_HOLE) {
                Ok(end) => Ok((begin, end)),
                Err(_) => Ok((begin, u64::MAX)), // it is shorter by now
            },
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok((size.max(at), size.max(at))),
            Err(e) => Err(fail(e)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as on Linux")]
    fn run(&self, at: u64) -> Result<(u64, u64), Error> {
        Ok((at, u64::MAX))
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

/// Copies up to so many bytes within the kernel, from `at` in one file to the same place in the other.
#[cfg(target_os = "linux")]
fn copy_range(from: &File, to: &File, at: u64, most: usize) -> io::Result<u64> {
    let (mut source, mut target) = (at.cast_signed(), at.cast_signed());
    // SAFETY: a plain system call with two open descriptors, and two offsets of ours.
    let n = unsafe { libc::copy_file_range(from.as_raw_fd(), &raw mut source, to.as_raw_fd(), &raw mut target, most, 0) };
    u64::try_from(n).map_err(|_| io::Error::last_os_error())
}

#[cfg(not(target_os = "linux"))]
fn clone(_from: &File, _to: &File) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn copy_range(_from: &File, _to: &File, _at: u64, _most: usize) -> io::Result<u64> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
