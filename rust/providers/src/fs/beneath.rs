//! Folders that are opened beneath a root: no link, no `..` and no folder that is swapped meanwhile leads out of it.
//!
//! Linux resolves such a path itself (`openat2`). Elsewhere it is gone through name by name, each folder opened in the
//! one before without following links, which are read and gone through in the same way.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

/// As many links in a row as Linux follows.
pub(super) const LINKS: usize = 40;
/// How a folder is opened that is only gone through.
#[cfg(target_os = "linux")]
const LOOK: i32 = libc::O_PATH | libc::O_DIRECTORY;
#[cfg(not(target_os = "linux"))]
const LOOK: i32 = libc::O_DIRECTORY;

/// A folder that operations do not leave. Its own path is followed as any, each time that it is opened.
#[derive(Debug)]
pub struct Root {
    pub path: PathBuf,
    /// Name by name, also where the system could do it.
    pub by_steps: bool,
}

/// The links of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// Followed, within the root.
    Follow,
    Refuse,
}

impl Root {
    /// The folder `below` the root.
    pub(super) fn folder(&self, below: &Path) -> io::Result<File> {
        folder_in(&look(&self.path, 0)?, below, Links::Follow, self.by_steps)
    }
}

/// The folder `below` one that is open; no path leads out of that.
pub(super) fn folder_in(root: &File, below: &Path, links: Links, steps: bool) -> io::Result<File> {
    if below.as_os_str().is_empty() {
        return root.try_clone();
    }
    match if steps { None } else { by_system(root, below, links) } {
        Some(opened) => opened,
        None => by_steps(root.try_clone()?, below, links),
    }
}

/// A folder, to be gone through only.
pub(super) fn look(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(LOOK | flags).open(path)
}

/// The path of a folder that is open, whatever its name is by now.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "as elsewhere")]
pub(super) fn pinned(folder: &File) -> io::Result<PathBuf> {
    Ok(PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pinned(folder: &File) -> io::Result<PathBuf> {
    use std::os::unix::fs::MetadataExt;

    let about = folder.metadata()?;
    Ok(PathBuf::from(format!("/.vol/{}/{}", about.dev(), about.ino())))
}

/// A path that leads out of its root.
pub(super) fn outside() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

/// None: the system has no such call, or does not let us use it.
#[cfg(target_os = "linux")]
fn by_system(root: &File, below: &Path, links: Links) -> Option<io::Result<File>> {
    use std::ffi::CString;
    use std::os::fd::FromRawFd;
    use std::os::unix::ffi::OsStrExt;

    /// A rename beside the path makes the kernel ask for another try.
    const TRIES: usize = 64;

    let path = match CString::new(below.as_os_str().as_bytes()) {
        Ok(path) => path,
        Err(e) => return Some(Err(e.into())),
    };
    // SAFETY: the struct is plain numbers, for which zeros are valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (LOOK | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
    if links == Links::Refuse {
        how.resolve |= libc::RESOLVE_NO_SYMLINKS;
    }
    for _ in 0..TRIES {
        // SAFETY: a plain system call with an open descriptor, a path that ends in a zero, and a struct of that size.
        let fd = unsafe {
            libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<libc::open_how>())
        };
        if let Ok(fd @ 0..) = i32::try_from(fd) {
            // SAFETY: it was just opened, and has no other owner.
            return Some(Ok(unsafe { File::from_raw_fd(fd) }));
        }
        let e = io::Error::last_os_error();
        match e.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => {}
            Some(libc::EXDEV) => return Some(Err(outside())),
            Some(libc::ENOSYS | libc::EPERM) => return None,
            _ => return Some(Err(e)),
        }
    }
    None
}

#[cfg(not(target_os = "linux"))]
fn by_system(_root: &File, _below: &Path, _links: Links) -> Option<io::Result<File>> {
    None
}

/// A step of a path.
enum Part {
    Name(OsString),
    Up,
    /// The beginning of an absolute path.
    Out,
}

/// The steps of a path, the last one first.
fn parts(path: &Path) -> impl Iterator<Item = Part> + '_ {
    path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(Part::Name(name.to_owned())),
        Component::ParentDir => Some(Part::Up),
        Component::CurDir => None,
        Component::RootDir | Component::Prefix(_) => Some(Part::Out),
    })
}

fn by_steps(root: File, below: &Path, links: Links) -> io::Result<File> {
    // The folders on the way stay open: `..` goes back to the one before, and not to where a folder is by now.
    let (mut above, mut at) = (Vec::new(), root);
    let mut left: Vec<Part> = parts(below).collect();
    let mut followed = 0;
    while let Some(part) = left.pop() {
        match part {
            Part::Out => return Err(outside()),
            Part::Up => at = above.pop().ok_or_else(outside)?,
            Part::Name(name) => {
                let path = pinned(&at)?.join(name);
                match look(&path, libc::O_NOFOLLOW) {
                    Ok(next) => above.push(std::mem::replace(&mut at, next)),
                    Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => {
                        let Ok(link) = fs::read_link(&path) else { return Err(e) };
                        followed += 1;
                        if links == Links::Refuse || followed > LINKS {
                            return Err(io::Error::from_raw_os_error(libc::ELOOP));
                        }
                        left.extend(parts(&link));
                    }
                    Err(e) => return Err(e),
                }
            }
        }
    }
    Ok(at)
}
