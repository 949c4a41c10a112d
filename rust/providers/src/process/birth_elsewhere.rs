//! Starts a child by the standard library, where there is no `clone`. It leads a group of its own, or a session, and
//! gets no signal when this process dies.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::pid_t;
use mountain_core::error::Error;

use crate::process::command::Command;
use crate::process::sys;

pub(super) struct Born {
    pub(super) pid: pid_t,
    pub(super) pidfd: Option<OwnedFd>,
}

pub(super) struct Nursery {
    nothing: OwnedFd,
}

impl Nursery {
    pub(super) fn new() -> io::Result<Self> {
        sys::block_signals();
        Ok(Nursery { nothing: File::options().read(true).write(true).open("/dev/null")?.into() })
    }

    pub(super) fn bear(
        &mut self,
        command: &Command,
        stdio: [Option<&OwnedFd>; 3],
        session: bool,
        number: &AtomicI32,
    ) -> Result<Born, Error> {
        let refused = |e: &io::Error| {
            let folder = command.folder().map(|f| OsStr::from_bytes(f.to_bytes()));
            let about_folder = folder.is_some_and(|f| !std::path::Path::new(f).is_dir());
            command.refused(e.raw_os_error().unwrap_or(libc::EAGAIN), about_folder)
        };
        let given = |fd: Option<&OwnedFd>| fd.unwrap_or(&self.nothing).try_clone().map(Stdio::from);
        let mut argv = command.argv();
        let mut c = std::process::Command::new(argv.next().unwrap_or_default());
        c.args(argv).env_clear().envs(command.pairs());
        if !session {
            c.process_group(0);
        }
        c.stdin(given(stdio[0]).map_err(|e| refused(&e))?).stdout(given(stdio[1]).map_err(|e| refused(&e))?);
        if stdio[2].is_some() {
            c.stderr(given(stdio[2]).map_err(|e| refused(&e))?);
        }
        if let Some(folder) = command.folder() {
            c.current_dir(OsStr::from_bytes(folder.to_bytes()));
        }
        let open = open_descriptors();
        // SAFETY: marks descriptors and lets signals through in the child, which is allowed after a fork, and allocates
        // nothing.
        unsafe {
            c.pre_exec(move || {
                sys::unblock_signals();
                if session {
                    libc::setsid();
                    sys::checked(libc::ioctl(0, libc::TIOCSCTTY as _, 0))?;
                }
                for &fd in &open {
                    libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
                }
                Ok(())
            });
        }
        // The standard library's child does nothing when it is dropped.
        let pid = c.spawn().map_err(|e| refused(&e))?.id().cast_signed();
        number.store(pid, Ordering::SeqCst);
        Ok(Born { pid, pidfd: None })
    }
}

fn open_descriptors() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|&fd| fd > 2).collect()
}
