//! Pseudo-terminals, which a program takes for the terminal in front of a person. The program gets one side, this
//! process reads and writes the other.

use std::ffi::{CStr, OsString};
use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::c_char;
use mountain_core::error::Error;

use super::sys::{above_standard, checked};

/// The number of columns and rows of a terminal, each from 1 to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub(super) columns: NonZeroU16,
    pub(super) rows: NonZeroU16,
}

impl Size {
    /// A cell takes 32 bytes, and a program may clear all of them with three.
    const MOST: u16 = 1000;

    pub fn new(columns: u16, rows: u16) -> Result<Self, Error> {
        let within = |n: u16| NonZeroU16::new(n).filter(|n| n.get() <= Self::MOST);
        match (within(columns), within(rows)) {
            (Some(columns), Some(rows)) => Ok(Size { columns, rows }),
            _ => Err(Error::Invalid(format!("a terminal has 1 to {} columns, and as many rows", Self::MOST))),
        }
    }
}

/// Both sides: ours, which never blocks once it is told so, and the program's.
pub(super) fn open(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    // SAFETY: plain system calls on a descriptor that the first has just made for us.
    let ours = unsafe {
        let ours = checked(libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC))?;
        let ours = above_standard(OwnedFd::from_raw_fd(ours))?;
        checked(libc::grantpt(ours.as_raw_fd()))?;
        checked(libc::unlockpt(ours.as_raw_fd()))?;
        ours
    };
    resize(&ours, size)?;
    let theirs = other_side(&ours)?;
    // SAFETY: all zeros is a `termios`, which the first call fills and the second reads.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        checked(libc::tcgetattr(theirs.as_raw_fd(), &raw mut settings))?;
        // Erase takes a whole character away.
        settings.c_iflag |= libc::IUTF8;
        checked(libc::tcsetattr(theirs.as_raw_fd(), libc::TCSANOW, &raw const settings))?;
    }
    Ok((ours, theirs))
}

fn other_side(ours: &OwnedFd) -> io::Result<OwnedFd> {
    let mut name: [c_char; 128] = [0; 128];
    // SAFETY: writes a text with its zero into the array; opens by it a descriptor that is ours.
    unsafe {
        #[cfg(target_os = "linux")]
        {
            let errno = libc::ptsname_r(ours.as_raw_fd(), name.as_mut_ptr(), name.len());
            if errno != 0 {
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            // Its memory is the call's own: pseudo-terminals are opened on one thread only.
            let theirs = libc::ptsname(ours.as_raw_fd());
            if theirs.is_null() {
                return Err(io::Error::last_os_error());
            }
            let length = libc::strnlen(theirs, name.len() - 1);
            std::ptr::copy_nonoverlapping(theirs, name.as_mut_ptr(), length);
        }
        let name = CStr::from_ptr(name.as_ptr());
        let theirs = checked(libc::open(name.as_ptr(), libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC))?;
        above_standard(OwnedFd::from_raw_fd(theirs))
    }
}

/// The system tells the group in the foreground by SIGWINCH.
pub(super) fn resize(ours: &OwnedFd, size: Size) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows.get(), ws_col: size.columns.get(), ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: reads the struct.
    checked(unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// The environment of a program in a terminal: it is told which kind of terminal it has, and asks for the size.
pub fn environment(ours: impl IntoIterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (OsString, OsString)> {
    let others = ours.into_iter().filter(|(name, _)| name != "TERM" && name != "COLUMNS" && name != "LINES");
    others.chain([("TERM".into(), "xterm-256color".into())])
}
