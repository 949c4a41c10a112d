//! The few system calls that this folder makes by hand, each with what it may assume.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, pid_t};

use super::session;

pub(super) fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Both ends close when another program is run, and neither is one of the standard three, whatever this process has
/// closed.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((above_standard(reader.into())?, above_standard(writer.into())?))
}

pub(super) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // SAFETY: a descriptor of ours is copied; the copy is new and ours.
    unsafe { Ok(OwnedFd::from_raw_fd(checked(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3))?)) }
}

/// None where this process has closed its own.
pub(super) fn copy_of_stdout() -> Option<OwnedFd> {
    // SAFETY: a descriptor is copied, which is refused where there is none; the copy is new and ours.
    unsafe { checked(libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3)).ok().map(|fd| OwnedFd::from_raw_fd(fd)) }
}

pub(super) fn never_block(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: flags of a descriptor of ours.
    checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
}

/// Reads the bytes that are there now, at most as many as fit.
pub(super) fn read(fd: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: writes within the slice.
        let n = unsafe { libc::read(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) };
        if n >= 0 {
            return Ok(n.cast_unsigned());
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

/// As much as there is room for now.
pub(super) fn write(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: reads within the slice.
        let n = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        if n >= 0 {
            return Ok(n.cast_unsigned());
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

/// To a whole group. Its leader has not been reaped, so that the number is still its own.
pub(super) fn signal_group(leader: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: a plain system call.
    checked(unsafe { libc::kill(-leader, signal) }).map(drop)
}

/// Kills every process of a session. Its leader has not been reaped, so that the number is still its own.
pub(super) fn kill_session(leader: pid_t) {
    let _ = signal_group(leader, libc::SIGKILL);
    let mut known = Vec::new();
    // Those that were started meanwhile come with the next look; what has been killed starts nothing more.
    loop {
        let before = known.len();
        session::members(leader, |pid| {
            if !known.contains(&pid) {
                known.push(pid);
                // SAFETY: a plain system call, about a process that was of the session a moment ago.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        });
        if known.len() == before {
            return;
        }
    }
}

/// How a child has ended, as Python says it: its code, or the signal as a negative number. It stays a zombie.
pub(super) fn ended(pid: pid_t, block: bool) -> io::Result<Option<i32>> {
    let options = libc::WEXITED | libc::WNOWAIT | if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: all zeros is a `siginfo_t`, which the call fills.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: waits for a child of ours by its number.
        match checked(unsafe { libc::waitid(libc::P_PID, pid.cast_unsigned(), &raw mut info, options) }) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
            // SAFETY: the fields of an answer about a child.
            Ok(_) => unsafe {
                let by_signal = info.si_code == libc::CLD_KILLED || info.si_code == libc::CLD_DUMPED;
                let status = info.si_status();
                return Ok((info.si_pid() != 0).then_some(if by_signal { -status } else { status }));
            },
        }
    }
}

/// Let the system forget a child that has ended, or is about to.
pub(super) fn reap(pid: pid_t) {
    loop {
        // SAFETY: a child of ours, by its number.
        let result = checked(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) });
        if !result.is_err_and(|e| e.kind() == io::ErrorKind::Interrupted) {
            return;
        }
    }
}

/// No signal of the process is handled on this thread, and none interrupts it.
pub(super) fn block_signals() {
    // SAFETY: all zeros is a `sigset_t`, which the calls fill and read.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// In a child: the program that it becomes is to get its signals.
pub(super) fn unblock_signals() {
    // SAFETY: all zeros is a `sigset_t`, which the calls fill and read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
