//! The processes of a session, which is what a terminal has where other children have a group: a shell puts each of its
//! jobs into a group of its own.
//!
//! Nothing here allocates or locks: the guard uses it, too.

use libc::{c_long, pid_t};

/// Calls `found` with each process of the session that lives, in the order of their numbers.
#[cfg(target_os = "linux")]
pub(super) fn members(leader: pid_t, mut found: impl FnMut(pid_t)) {
    let mut buffer = [0u8; 4096];
    // SAFETY: opens a folder, reads its entries into the buffer, and closes it.
    unsafe {
        let folder = call(libc::SYS_openat, libc::AT_FDCWD.into(), c"/proc".as_ptr() as c_long, FOLDER.into());
        if folder < 0 {
            return;
        }
        loop {
            let n = call(libc::SYS_getdents64, folder, buffer.as_mut_ptr() as c_long, buffer.len().cast_signed() as c_long);
            let Some(mut entries) = usize::try_from(n).ok().and_then(|n| buffer.get(..n)).filter(|e| !e.is_empty()) else {
                break;
            };
            // An entry: 16 bytes, its length in 2, its type in 1, its name with a zero.
            while let [_, .., low, high, _] = entries.get(..19).unwrap_or_default() {
                let length = usize::from(u16::from_ne_bytes([*low, *high]));
                let Some((entry, rest)) = entries.split_at_checked(length.max(19)) else { break };
                entries = rest;
                if let Some(pid) = number(&entry[19..])
                    && session(folder, &entry[19..]) == Some(leader)
                {
                    found(pid);
                }
            }
        }
        call(libc::SYS_close, folder, 0, 0);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn members(_leader: pid_t, _found: impl FnMut(pid_t)) {}

#[cfg(target_os = "linux")]
const FOLDER: i32 = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;

/// That of the process with that number, in a folder of all; None for one that has ended.
#[cfg(target_os = "linux")]
fn session(folder: c_long, name: &[u8]) -> Option<pid_t> {
    let mut path = [0u8; 32];
    let length = name.iter().position(|&b| b == 0)?;
    path.get_mut(..length)?.copy_from_slice(&name[..length]);
    path.get_mut(length..length + 5)?.copy_from_slice(b"/stat");
    let mut line = [0u8; 512];
    // SAFETY: opens a file by a path with its zero, reads into the buffer, and closes it.
    let read = unsafe {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        let file = call(libc::SYS_openat, folder, path.as_ptr() as c_long, flags.into());
        if file < 0 {
            return None;
        }
        let read = call(libc::SYS_read, file, line.as_mut_ptr() as c_long, line.len().cast_signed() as c_long);
        call(libc::SYS_close, file, 0, 0);
        read
    };
    let line = line.get(..usize::try_from(read).ok()?)?;
    // `number (name) state parent group session`; the name may have brackets of its own.
    let mut fields = line.get(line.iter().rposition(|&b| b == b')')? + 2..)?.split(|&b| b == b' ');
    let state = fields.next()?;
    if state == b"Z" || state == b"X" {
        return None;
    }
    number(fields.nth(2)?)
}

/// The number that the text begins with, up to its zero or its end.
#[cfg(target_os = "linux")]
fn number(text: &[u8]) -> Option<pid_t> {
    let digits = text.split(|&b| b == 0).next().filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0, |n: pid_t, &digit| {
        let digit = digit.is_ascii_digit().then(|| pid_t::from(digit - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// # Safety
/// As the system call.
#[cfg(target_os = "linux")]
pub(super) unsafe fn call(number: c_long, a: c_long, b: c_long, c: c_long) -> c_long {
    // SAFETY: the caller's.
    unsafe { libc::syscall(number, a, b, c, 0, 0, 0) }
}
