//! Writing over a file that cannot be replaced: its folder may not be written, it is a mount point, or a new file could
//! not be given its owner. That is not atomic: readers, and a machine that loses power, may see a part of it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mountain_core::error::Error;

use super::content::Content;
use super::failure::failure;

/// Whether the system refuses to replace a file in this way, and may still allow to write into it.
pub(super) fn instead(e: &io::Error) -> bool {
    // The folder: no right to write it, immutable, read-only, sticky with another's file; a folder of the kernel's,
    // where nothing can be made at all, says that nothing is there. The name: too long for a second file beside it.
    let folder = [libc::EACCES, libc::EPERM, libc::EROFS, libc::ENOENT, libc::ENAMETOOLONG];
    // The file: a mount point, as a file that is bound into a container is; on another system than its folder.
    let file = [libc::EBUSY, libc::EXDEV];
    e.raw_os_error().is_some_and(|errno| folder.contains(&errno) || file.contains(&errno))
}

/// Puts the content over what the file holds. The old content is cut off last: where there is no room for more, as much
/// as there was can still be written.
pub(super) fn over(path: &Path, named: &Path, content: &dyn Content, durable: bool) -> Result<(), Error> {
    let fail = |e: io::Error| failure(&e, named);
    // The path was the end of its links: a link that is there by now is not followed.
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(fail)?;
    let length = content.write_to(None, &mut file)?;
    file.set_len(length).map_err(fail)?;
    match if durable { file.sync_all() } else { Ok(()) } {
        // Files of the kernel's have nothing to sync.
        Err(e) if !matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Err(fail(e)),
        _ => Ok(()),
    }
}
