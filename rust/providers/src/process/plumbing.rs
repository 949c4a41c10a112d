//! The descriptors of a child, and the ends of them that this process keeps.

use std::io;
use std::os::fd::OwnedFd;

use super::pty::{self, Size};
use super::sys;

/// Stdin, stdout and stderr on both sides. None of ours blocks.
pub(super) struct Plumbing {
    pub(super) ours: [Option<OwnedFd>; 3],
    pub(super) theirs: [Option<OwnedFd>; 3],
}

impl Plumbing {
    /// A pipe for stdout, and for the others if they are wanted.
    pub(super) fn pipes(stdin: bool, stderr: bool) -> io::Result<Self> {
        let pipe = |wanted: bool| if wanted { sys::pipe().map(Some) } else { Ok(None) };
        let (theirs_in, ours_in) = pipe(stdin)?.unzip();
        let (ours_out, theirs_out) = pipe(true)?.unzip();
        let (ours_err, theirs_err) = pipe(stderr)?.unzip();
        Plumbing { ours: [ours_in, ours_out, ours_err], theirs: [theirs_in, theirs_out, theirs_err] }.ready()
    }

    /// `stdin` and `stderr` as they are; stdout is this process's.
    pub(super) fn given(stdin: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        let stdout = sys::copy_of_stdout();
        let (stdin, stderr) = (sys::above_standard(stdin)?, sys::above_standard(stderr)?);
        Ok(Plumbing { ours: [None, None, None], theirs: [Some(stdin), stdout, Some(stderr)] })
    }

    /// One terminal for all three.
    pub(super) fn terminal(size: Size) -> io::Result<Self> {
        let (ours, theirs) = pty::open(size)?;
        // Each is watched by itself: for room to write, and for what there is to read.
        let ours = [Some(ours.try_clone()?), Some(ours), None];
        Plumbing { ours, theirs: [Some(theirs.try_clone()?), Some(theirs.try_clone()?), Some(theirs)] }.ready()
    }

    fn ready(self) -> io::Result<Self> {
        for ours in self.ours.iter().flatten() {
            sys::never_block(ours)?;
        }
        Ok(self)
    }
}
