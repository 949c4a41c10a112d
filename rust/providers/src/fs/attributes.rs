//! Extended attributes of a file, access control lists among them: all it has besides content, mode and owner.

use std::fs::File;
use std::io;
use std::path::Path;

/// Gives a new file those of the old one, whose path is no link. An error: its access control list could not be set.
#[cfg(target_os = "linux")]
pub(super) fn copy(old: &Path, new: &File) -> io::Result<()> {
    use std::ffi::{CStr, CString};
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;

    /// As long as Linux lets a list of names, or a value, be.
    const LONGEST: usize = 64 << 10;
    const ACCESS: &CStr = c"system.posix_acl_access";
    /// A write takes it from a file; so does being replaced.
    const CAPABILITY: &CStr = c"security.capability";

    let old = CString::new(old.as_os_str().as_bytes())?;
    // SAFETY: a plain system call with a path that ends in a zero; it only says how much room the names need.
    if unsafe { libc::llistxattr(old.as_ptr(), std::ptr::null_mut(), 0) } <= 0 {
        return Ok(()); // none, as most files have, or a file system that knows none
    }
    let mut names = vec![0u8; LONGEST];
    // SAFETY: as above, with room for as many bytes as it is told.
    let n = unsafe { libc::llistxattr(old.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(n).unwrap_or(0));
    let mut value = vec![0u8; LONGEST];
    for name in names.split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        if name == CAPABILITY {
            continue;
        }
        // SAFETY: as above.
        let n = unsafe { libc::lgetxattr(old.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        let Ok(n) = usize::try_from(n) else { continue };
        // SAFETY: a plain system call with a name that ends in a zero, and as many bytes as it is told.
        let set = unsafe { libc::fsetxattr(new.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), n, 0) };
        if set != 0 && name == ACCESS {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
pub(super) fn copy(_old: &Path, _new: &File) -> io::Result<()> {
    Ok(())
}
