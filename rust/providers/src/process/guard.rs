//! The guard: a process beside this one that outlives it, and then kills the groups that are left. Only it can do that
//! when this process is killed, since what a child has started itself does not hear of the death.
//!
//! It is a copy of this process that runs no program, so it needs none installed. It lets go of the memory that it
//! shares, waits for the end of a pipe whose other end only this process has, and looks into a table that both have: a
//! group's number stands in it from before the group's program runs until it is reaped, and a session's as a negative
//! one. To this process it is no child
//! that a `wait` would find, and sends no SIGCHLD.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{c_int, c_long, pid_t};

use super::session::{call, members};
use super::sys;

/// Groups that can live at a time and be guarded. Further ones are started unguarded.
const PLACES: usize = 1 << 16;
/// Memory of less than that is not worth being let go of.
const LARGE: usize = 1 << 20;

/// The table, and the pipe whose end wakes the guard. Both stay until this process ends.
pub(super) struct Guard {
    /// The first says how many have ever been used.
    table: &'static [AtomicI32],
    free: Vec<usize>,
    spare: AtomicI32,
    pub(super) line: RawFd,
}

impl Guard {
    /// Without a guard, as where no further process may be made, the table stays all the same.
    pub(super) fn start() -> io::Result<Self> {
        // SAFETY: new memory of zeros, shared with the guard, and never given back.
        let table = unsafe {
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            let start =
                libc::mmap(ptr::null_mut(), PLACES * size_of::<AtomicI32>(), libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if start == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            std::slice::from_raw_parts(start.cast::<AtomicI32>(), PLACES)
        };
        table[0].store(1, Ordering::SeqCst);
        let (end, line): (OwnedFd, OwnedFd) = sys::pipe()?;
        // SAFETY: as a fork, but without the handlers that libraries have for it, which the copy has no use for: it
        // makes system calls only. No signal says that it has ended, so no wait for children finds it.
        let pid = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
        if pid == 0 {
            // SAFETY: in the copy, which has one thread.
            unsafe { keep_watch(end.as_raw_fd(), table) };
        }
        Ok(Guard { table, free: Vec::new(), spare: AtomicI32::new(0), line: line.into_raw_fd() })
    }

    /// Where a group's number is to stand.
    pub(super) fn place(&mut self) -> Option<usize> {
        self.free.pop().or_else(|| {
            let used = self.table[0].load(Ordering::SeqCst);
            let next = usize::try_from(used).ok().filter(|&n| n < PLACES)?;
            self.table[0].store(used + 1, Ordering::SeqCst);
            Some(next)
        })
    }

    pub(super) fn number(&self, place: Option<usize>) -> &AtomicI32 {
        place.map_or(&self.spare, |place| &self.table[place])
    }

    /// The group is over.
    pub(super) fn vacate(&mut self, place: Option<usize>) {
        if let Some(place) = place {
            self.table[place].store(0, Ordering::SeqCst);
            self.free.push(place);
        }
    }
}

/// # Safety
/// In the copy. It makes system calls and touches this thread's stack and the table only.
unsafe fn keep_watch(line: RawFd, table: &[AtomicI32]) -> ! {
    // SAFETY: as above; all signals but SIGKILL are blocked, as on the thread that it is a copy of.
    unsafe {
        call(libc::SYS_setsid, 0, 0, 0);
        call(libc::SYS_prctl, libc::PR_SET_NAME.into(), c"mountain-guard".as_ptr() as c_long, 0);
        call(libc::SYS_chdir, c"/".as_ptr() as c_long, 0, 0);
        call(libc::SYS_dup3, line.into(), 0, 0);
        if call(libc::SYS_close_range, 1, u32::MAX.into(), 0) != 0 {
            for fd in 1..1 << 16 {
                call(libc::SYS_close, fd, 0, 0);
            }
        }
        let_go();
        let mut byte = 0u8;
        // The end of the pipe, and no error, says that no process has the other end any more.
        while call(libc::SYS_read, 0, (&raw mut byte) as c_long, 1) != 0 {}
        let used = usize::try_from(table[0].load(Ordering::SeqCst)).unwrap_or(1).min(PLACES);
        for group in table.iter().take(used).skip(1) {
            let group = group.load(Ordering::SeqCst);
            if group > 1 {
                call(libc::SYS_kill, (-group).into(), libc::SIGKILL.into(), 0);
            } else if group < -1 {
                kill_session(-group);
            }
        }
        libc::_exit(0)
    }
}

/// # Safety
/// As `keep_watch`.
unsafe fn kill_session(leader: pid_t) {
    let moment = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    // A killed process is gone a moment later, and one that it has started before comes with the next look. Bounded: a
    // process that waits for a disk that hangs does not go.
    for _ in 0..1000 {
        let mut any = false;
        // SAFETY: system calls.
        unsafe {
            call(libc::SYS_kill, (-leader).into(), libc::SIGKILL.into(), 0);
            members(leader, |pid| {
                any = true;
                call(libc::SYS_kill, pid.into(), libc::SIGKILL.into(), 0);
            });
            if !any {
                return;
            }
            call(libc::SYS_nanosleep, (&raw const moment) as c_long, 0, 0);
        }
    }
}

/// Unmap the large private memory, all but this stack: otherwise each page that the parent writes to would be kept
/// twice.
///
/// # Safety
/// In the copy, which uses none of it.
unsafe fn let_go() {
    let mut buffer = [0u8; 1024];
    let here = (&raw const buffer) as usize;
    // SAFETY: reads into the buffer, and unmaps what the copy does not use.
    unsafe {
        let maps = call(libc::SYS_openat, libc::AT_FDCWD.into(), c"/proc/self/maps".as_ptr() as c_long, 0);
        if maps < 0 {
            return;
        }
        let mut line = Line::default();
        loop {
            let n = call(libc::SYS_read, maps, buffer.as_mut_ptr() as c_long, buffer.len().cast_signed() as c_long);
            let Ok(n @ 1..) = usize::try_from(n) else { break };
            for &byte in buffer.iter().take(n) {
                if byte != b'\n' {
                    line.take(byte);
                    continue;
                }
                let (start, end) = (line.numbers[0], line.numbers[1]);
                if line.is_private_memory() && end.wrapping_sub(start) >= LARGE && !(start..end).contains(&here) {
                    call(libc::SYS_munmap, start.cast_signed() as c_long, (end - start).cast_signed() as c_long, 0);
                }
                line = Line::default();
            }
        }
        call(libc::SYS_close, maps, 0, 0);
    }
}

/// One line of the system's list of memory, read byte by byte: `start-end perms offset device inode path`.
#[derive(Default)]
struct Line {
    field: usize,
    numbers: [usize; 2],
    permissions: [u8; 4],
    written: usize,
    inode: usize,
}

impl Line {
    fn take(&mut self, byte: u8) {
        match (self.field, byte) {
            (0, b'-') | (1..=5, b' ') => self.field += 1,
            (0 | 1, _) => {
                let digit = if byte >= b'a' { byte - b'a' + 10 } else { byte.wrapping_sub(b'0') };
                self.numbers[self.field] = self.numbers[self.field].wrapping_shl(4) | usize::from(digit);
            }
            (2, _) if self.written < 4 => {
                self.permissions[self.written] = byte;
                self.written += 1;
            }
            (5, b'0'..=b'9') => self.inode = self.inode.wrapping_mul(10).wrapping_add(usize::from(byte - b'0')),
            _ => {}
        }
    }

    fn is_private_memory(&self) -> bool {
        self.permissions == *b"rw-p" && self.inode == 0
    }
}

const _: () = assert!(size_of::<AtomicI32>() == size_of::<c_int>() && size_of::<*const c_void>() == size_of::<usize>());
