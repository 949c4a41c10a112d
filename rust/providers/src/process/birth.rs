//! Starts a child on Linux. It does so as `posix_spawn` does, by sharing memory until the new program runs, so that the
//! cost does not depend on the size of this process; and it has what `posix_spawn` lacks, the signal of the parent's
//! death.
//!
//!  1. All signals are blocked on the thread that starts children, for ever: no handler of this process runs in a
//!     child.
//!  2. `clone(CLONE_VM | CLONE_VFORK)`: the child runs on a stack of its own, in this memory; this thread stands still
//!     until 8.
//!  3. The child leads a group of its own, or a session, and writes its number where the guard looks.
//!  4. It asks to be killed when this thread ends. Should this process have ended before it asked, it ends itself.
//!  5. Signals that this process handles get their default back, since a handler must not run after 7; so do SIGPIPE
//!     and SIGXFSZ, which Python ignores. What else is ignored stays so.
//!  6. Its standard three are put in place, a session gets its terminal, its folder is changed, all other descriptors
//!     are closed.
//!  7. No signal is blocked any more.
//!  8. It becomes the program, the first one in the search that can be run, or leaves here what stood in the way, and
//!     ends.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{c_char, c_int, pid_t};
use mountain_core::error::Error;

use super::command::Command;
use super::sys;

pub(super) struct Born {
    pub(super) pid: pid_t,
    /// Becomes readable when the child ends; older systems have none.
    pub(super) pidfd: Option<OwnedFd>,
}

/// Buffers that each birth uses and the next one reuses.
pub(super) struct Nursery {
    stack: Stack,
    nothing: OwnedFd,
    closes_ranges: bool,
}

/// The child's input, and the place for the error that kept it from starting.
struct Birth {
    places: *const *const c_char,
    argv: *const *const c_char,
    environment: *const *const c_char,
    folder: *const c_char,
    stdio: [RawFd; 3],
    /// It leads a session, whose terminal is its stdin.
    session: bool,
    /// The descriptors to close, where the system cannot close a range.
    open: *const [RawFd],
    closes_ranges: bool,
    parent: pid_t,
    number: *const AtomicI32,
    errno: c_int,
    about_folder: bool,
}

impl Nursery {
    pub(super) fn new() -> io::Result<Self> {
        sys::block_signals();
        let nothing = sys::above_standard(File::options().read(true).write(true).open("/dev/null")?.into())?;
        // SAFETY: there are no such descriptors; the answer only says whether the system knows the call.
        let closes_ranges = unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) } == 0;
        Ok(Nursery { stack: Stack::new()?, nothing, closes_ranges })
    }

    /// `stdio`: none for stdin or stdout is /dev/null, none for stderr is this process's. The child's number is in
    /// `number` before it runs; negative if it leads a session, whose terminal is its stdin.
    pub(super) fn bear(
        &mut self,
        command: &Command,
        stdio: [Option<&OwnedFd>; 3],
        session: bool,
        number: &AtomicI32,
    ) -> Result<Born, Error> {
        let (places, argv, environment) = (command.places(), command.arguments(), command.environment());
        let fd = |fd: Option<&OwnedFd>, otherwise| fd.map_or(otherwise, AsRawFd::as_raw_fd);
        let nothing = self.nothing.as_raw_fd();
        let open = if self.closes_ranges { Vec::new() } else { open_descriptors() };
        let mut birth = Birth {
            places: places.as_ptr(),
            argv: argv.as_ptr(),
            environment: environment.as_ptr(),
            folder: command.folder().map_or(ptr::null(), |f| f.as_ptr()),
            stdio: [fd(stdio[0], nothing), fd(stdio[1], nothing), fd(stdio[2], -1)],
            session,
            open: &raw const *open,
            closes_ranges: self.closes_ranges,
            parent: std::process::id().cast_signed(),
            number,
            errno: 0,
            about_folder: false,
        };
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | if has_pidfds() { libc::CLONE_PIDFD } else { 0 };
        // SAFETY: `child` runs on the nursery's stack, which no other thread uses, and does what is allowed between a
        // fork and an exec; `birth` and all it points to outlive the child's use of them, because this thread goes on
        // only when the child has ended or runs its program.
        let pid = unsafe { libc::clone(child, self.stack.top(), flags, (&raw mut birth).cast::<c_void>(), &raw mut pidfd) };
        if pid < 0 {
            return Err(command.refused(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN), false));
        }
        // SAFETY: a descriptor that the call has just made for us. An older system leaves the -1.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        // SAFETY: the child wrote them in this memory, behind the compiler's back.
        let (errno, about_folder) =
            unsafe { (ptr::read_volatile(&raw const birth.errno), ptr::read_volatile(&raw const birth.about_folder)) };
        if errno != 0 {
            number.store(0, Ordering::SeqCst);
            sys::reap(pid);
            return Err(command.refused(errno, about_folder));
        }
        Ok(Born { pid, pidfd })
    }
}

/// Older systems do not know the flag, and leave the descriptor as it is. A test does as they do.
fn has_pidfds() -> bool {
    #[cfg(test)]
    if WITHOUT_PIDFDS.load(Ordering::SeqCst) {
        return false;
    }
    true
}

#[cfg(test)]
pub(super) static WITHOUT_PIDFDS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Steps 3 to 8. Nothing here allocates, locks or panics.
extern "C" fn child(birth: *mut c_void) -> c_int {
    // SAFETY: `bear` made it, and stands still until this ends. The calls are those that are allowed after a fork;
    // memory that they write is this stack's, `birth`'s and the `errno` of the thread that stands still.
    unsafe {
        let birth = &mut *birth.cast::<Birth>();
        if birth.session {
            libc::setsid();
            (*birth.number).store(-libc::getpid(), Ordering::SeqCst);
        } else {
            libc::setpgid(0, 0);
            (*birth.number).store(libc::getpid(), Ordering::SeqCst);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != birth.parent {
            libc::_exit(127);
        }
        restore_signals();
        for (target, &source) in (0..).zip(&birth.stdio) {
            if source >= 0 && libc::dup2(source, target) < 0 {
                return give_up(birth, false);
            }
        }
        if birth.session && libc::ioctl(0, libc::TIOCSCTTY as _, 0) < 0 {
            return give_up(birth, false);
        }
        if !birth.folder.is_null() && libc::chdir(birth.folder) < 0 {
            return give_up(birth, true);
        }
        if birth.closes_ranges {
            libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0);
        } else {
            for &fd in &*birth.open {
                libc::close(fd);
            }
        }
        sys::unblock_signals();
        let mut place = birth.places;
        let mut worse = 0;
        let mut last = libc::ENOENT;
        while !(*place).is_null() {
            libc::execve(*place, birth.argv, birth.environment);
            last = *libc::__errno_location();
            // A program that is not there is looked for elsewhere; one that is there and cannot be run is worth
            // telling.
            if worse == 0 && last != libc::ENOENT && last != libc::ENOTDIR {
                worse = last;
            }
            place = place.add(1);
        }
        *libc::__errno_location() = if worse == 0 { last } else { worse };
        give_up(birth, false)
    }
}

/// # Safety
/// In the child: `errno` says why.
unsafe fn give_up(birth: &mut Birth, about_folder: bool) -> c_int {
    // SAFETY: as in `child`; the thread that reads them stands still.
    unsafe {
        ptr::write_volatile(&raw mut birth.about_folder, about_folder);
        ptr::write_volatile(&raw mut birth.errno, *libc::__errno_location());
        libc::_exit(127)
    }
}

/// # Safety
/// In the child.
unsafe fn restore_signals() {
    // SAFETY: all zeros is a `sigaction` that says default, with no flags; its own copy of the table is changed.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=64 {
            let mut now: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, ptr::null(), &raw mut now) < 0 || now.sa_sigaction == libc::SIG_DFL {
                continue;
            }
            if now.sa_sigaction != libc::SIG_IGN || signal == libc::SIGPIPE || signal == libc::SIGXFSZ {
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
    }
}

fn open_descriptors() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|&fd| fd > 2).collect()
}

/// Memory for the child to run on, with a page below it that may not be touched.
struct Stack(*mut c_void);

// SAFETY: memory, used by one thread at a time.
unsafe impl Send for Stack {}

impl Stack {
    const SIZE: usize = 64 << 10;
    const GUARD: usize = 64 << 10;

    fn new() -> io::Result<Self> {
        // SAFETY: new memory, of which the lower part is then forbidden.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
            let start = libc::mmap(ptr::null_mut(), Self::SIZE + Self::GUARD, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if start == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            libc::mprotect(start, Self::GUARD, libc::PROT_NONE);
            Ok(Stack(start))
        }
    }

    /// Where it begins: stacks grow downwards on all that Linux runs on here.
    fn top(&mut self) -> *mut c_void {
        // SAFETY: the end of the memory, aligned as it must be.
        unsafe { self.0.add(Self::SIZE + Self::GUARD) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the memory that `new` made.
        unsafe { libc::munmap(self.0, Self::SIZE + Self::GUARD) };
    }
}
