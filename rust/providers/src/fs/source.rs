//! A file opened for reading, whatever kind of file it is.
//!
//! It is opened without blocking, which means nothing to a regular file. A pipe or a device is then waited for in short
//! turns on a thread without a seat, so an abort is noticed: an abandoned reader that stayed would steal the next
//! writer's data.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mountain_core::error::Error;
use mountain_core::value::Memory;

use super::failure::failure;
use super::place::Place;
use crate::pool::Job;

/// How long a wait for a pipe goes without a look at the abort, in milliseconds.
const TURN: i32 = 50;
/// How much is read between two looks.
const CHUNK: usize = 4 << 20;
/// The number of bytes by which a file may grow between its stat and its read without costing another system call.
const SPILL: usize = 512;
/// The first read of a file whose size is not known.
const UNKNOWN: usize = 16 << 10;

pub(super) struct Source<'a> {
    file: File,
    path: &'a Path,
    job: &'a Job,
    /// The size of a regular file. Zero also stands for "unknown": pipes, devices, and files that the kernel makes up
    /// as they are read.
    pub(super) size: usize,
}

impl<'a> Source<'a> {
    pub(super) fn open(place: &'a Place, job: &'a Job) -> Result<Self, Error> {
        job.check()?;
        let path = place.path();
        let fail = |e: io::Error| failure(&e, path);
        let at = place.at(true).map_err(fail)?;
        let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(at.path());
        let file = match open(at.flags()) {
            // Another process holds a lease on the file, and the system asks for it back.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                job.stall()?;
                open(at.flags() & !libc::O_NONBLOCK).map_err(fail)?
            }
            other => other.map_err(fail)?,
        };
        let about = file.metadata().map_err(fail)?;
        let size = if about.is_file() { usize::try_from(about.len()).unwrap_or(usize::MAX) } else { 0 };
        if !about.is_file() && !about.is_dir() {
            job.stall()?;
            // A pipe that no process has opened for writing yet looks like one that has ended.
            wait(&file, libc::POLLIN, job)?;
        }
        Ok(Source { file, path, job, size })
    }

    /// Everything.
    pub(super) fn read_all(&self) -> Result<Vec<u8>, Error> {
        // One byte more, so that a short read tells the end; and where the size is not known, enough for all that the
        // kernel makes up in one go, since some of its files have a first read only.
        let mut all = Vec::with_capacity(if self.size == 0 { UNKNOWN } else { self.size + 1 });
        if !self.read_into_room(&mut all)? || all.len() != self.size {
            self.read_rest(&mut all)?;
        }
        Ok(all)
    }

    /// Fill a buffer of the host's memory; what the file has grown by goes to `tail`. Yields how much of the buffer is
    /// filled.
    pub(super) fn read_buffer(&self, memory: &dyn Memory, buffer: usize, tail: &mut Vec<u8>) -> Result<usize, Error> {
        let (start, size) = (memory.buffer(buffer), memory.size(buffer));
        let mut filled = 0;
        while filled < size {
            let mut spill = [0u8; SPILL];
            let want = (size - filled).min(CHUNK);
            // SAFETY: `filled < size`, and the buffer is valid for `size` bytes.
            let place = unsafe { start.add(filled) };
            let spill_len = if filled + want == size { SPILL } else { 0 };
            // SAFETY: both ranges are valid for writes while this call lasts; the caller has claimed the buffer.
            let n = unsafe { self.read(place, want, &mut spill[..spill_len]) }?;
            filled += n.min(want);
            if n == want && spill_len > 0 {
                return Ok(filled); // full, and a short read: there is no more
            }
            if n > want {
                tail.extend_from_slice(&spill[..n - want]);
                self.read_rest(tail)?;
            }
            if n == 0 {
                return Ok(filled);
            }
        }
        if size == 0 {
            self.read_rest(tail)?;
        }
        Ok(filled)
    }

    /// Everything, piece by piece through `buffer`.
    pub(super) fn read_pieces(&self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        let mut total = 0;
        loop {
            // SAFETY: the range is a slice of ours.
            let n = unsafe { self.read(buffer.as_mut_ptr(), buffer.len(), &mut []) }?;
            take(&buffer[..n]);
            total += n;
            if n == 0 || (n < buffer.len() && total == self.size) {
                return Ok(());
            }
        }
    }

    fn read_rest(&self, rest: &mut Vec<u8>) -> Result<(), Error> {
        loop {
            // A pipe holds 64 KiB; a file that grew has as much again, at worst.
            rest.reserve(rest.len().clamp(64 << 10, CHUNK));
            let before = rest.len();
            self.read_into_room(rest)?;
            if rest.len() == before {
                return Ok(());
            }
        }
    }

    /// One read into a vector's spare room. True: it left some of the room.
    fn read_into_room(&self, to: &mut Vec<u8>) -> Result<bool, Error> {
        let room = to.spare_capacity_mut();
        let size = room.len();
        // SAFETY: the range is the vector's spare room, and so many bytes of it have been written.
        unsafe {
            let n = self.read(room.as_mut_ptr().cast(), size, &mut [])?;
            to.set_len(to.len() + n);
            Ok(n < size)
        }
    }

    /// One read into `place`, then `spill`. Zero: there is no more.
    ///
    /// # Safety
    /// `place` is valid for writes of `size` bytes.
    unsafe fn read(&self, place: *mut u8, size: usize, spill: &mut [u8]) -> Result<usize, Error> {
        let parts = [
            libc::iovec { iov_base: place.cast(), iov_len: size },
            libc::iovec { iov_base: spill.as_mut_ptr().cast(), iov_len: spill.len() },
        ];
        let count = if spill.is_empty() { 1 } else { 2 };
        loop {
            self.job.check()?;
            // SAFETY: both parts are valid for writes: the caller's word, and a slice.
            let n = unsafe { libc::readv(self.file.as_raw_fd(), parts.as_ptr(), count) };
            if let Ok(n) = usize::try_from(n) {
                return Ok(n);
            }
            let e = io::Error::last_os_error();
            match e.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => wait(&self.file, libc::POLLIN, self.job)?,
                _ => return Err(failure(&e, self.path)),
            }
        }
    }
}

/// Wait until a pipe or a device is ready, or its other end is gone, in turns short enough to notice an abort.
pub(super) fn wait(file: &File, events: libc::c_short, job: &Job) -> Result<(), Error> {
    loop {
        let mut poll = libc::pollfd { fd: file.as_raw_fd(), events, revents: 0 };
        // SAFETY: one pollfd, which is ours.
        let n = unsafe { libc::poll(&raw mut poll, 1, TURN) };
        job.check()?;
        if n > 0 {
            return Ok(());
        }
    }
}
