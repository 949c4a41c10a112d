//! The bell of a port: a file descriptor that an event loop watches. An eventfd on Linux, a pipe on other Unix.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use mountain_core::sync::Bell;

use crate::globals::clock;

pub(crate) struct FdBell {
    /// When it was last rung, in nanoseconds of the clock; 0 once it is silent.
    at: AtomicU64,
    heard: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    rung: OwnedFd,
}

impl FdBell {
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> std::io::Result<Self> {
        // SAFETY: a plain system call; the descriptor it returns is ours alone.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: as above.
        Ok(FdBell { at: AtomicU64::new(0), heard: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut fds = [0; 2];
        // SAFETY: `fds` has room for the two descriptors, which are ours alone.
        if unsafe { libc::pipe(fds.as_mut_ptr()) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: as above; the flags are set on descriptors that we own.
        unsafe {
            for fd in fds {
                libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            Ok(FdBell { at: AtomicU64::new(0), heard: OwnedFd::from_raw_fd(fds[0]), rung: OwnedFd::from_raw_fd(fds[1]) })
        }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.heard.as_raw_fd()
    }

    /// Silences the bell and returns when it was rung, in nanoseconds of the clock, or 0 if it was not. A call without
    /// a ring is harmless.
    pub(crate) fn silence(&self) -> u64 {
        let mut buf = [0u8; 64];
        // SAFETY: reads into a buffer of that size from a descriptor that is open while `self` lives.
        unsafe { libc::read(self.fd(), buf.as_mut_ptr().cast(), if cfg!(target_os = "linux") { 8 } else { buf.len() }) };
        self.at.swap(0, Ordering::Relaxed)
    }
}

impl Bell for FdBell {
    /// A write that fails since the pipe or the counter is full is no loss: the bell rings already.
    fn ring(&self) {
        self.at.store(clock().now().nanos(), Ordering::Relaxed);
        let one = 1u64.to_ne_bytes();
        #[cfg(target_os = "linux")]
        let (fd, n) = (self.heard.as_raw_fd(), 8);
        #[cfg(not(target_os = "linux"))]
        let (fd, n) = (self.rung.as_raw_fd(), 1);
        // SAFETY: writes from a buffer of at least that size to a descriptor that is open while `self` lives.
        unsafe { libc::write(fd, one.as_ptr().cast(), n) };
    }
}
