//! inotify: one queue of the kernel's, with a watch on each folder.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use rustix::io::Errno;

/// Bytes that are read at once: about a thousand events.
const BUFFER: usize = 64 << 10;

pub(super) struct Kernel {
    queue: OwnedFd,
    buffer: Box<[MaybeUninit<u8>]>,
    /// The watches that there is room for.
    #[cfg(test)]
    pub(super) room: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A name is there: of something new, or in place of what had it.
    Made,
    Gone,
    /// The content or the attributes of what has the name.
    Touched,
    /// The folder itself was moved or removed.
    Moved,
    /// The file system that the folder is of is not mounted any more: its path may lead to another folder.
    Unmounted,
    /// The watch is no more.
    Ended,
    /// Events were lost.
    Lost,
}

pub(super) struct Event {
    pub(super) watch: i32,
    pub(super) what: What,
    pub(super) is_dir: bool,
    /// In the folder; empty where it is about the folder itself.
    pub(super) name: OsString,
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        let queue = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Kernel {
            queue,
            buffer: vec![MaybeUninit::uninit(); BUFFER].into_boxed_slice(),
            #[cfg(test)]
            room: usize::MAX,
        })
    }

    pub(super) fn queue(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Watches a folder. One that is watched already keeps its number, whatever name it has now.
    pub(super) fn watch(&mut self, folder: &Path, follow: bool) -> io::Result<i32> {
        #[cfg(test)]
        if self.room == 0 {
            return Err(Errno::NOSPC.into());
        }
        let mut flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::MODIFY;
        flags |= WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        flags |= WatchFlags::ONLYDIR | WatchFlags::EXCL_UNLINK;
        if !follow {
            flags |= WatchFlags::DONT_FOLLOW;
        }
        let watch = add_watch(&self.queue, folder, flags)?;
        #[cfg(test)]
        {
            self.room -= 1;
        }
        Ok(watch)
    }

    pub(super) fn unwatch(&mut self, watch: i32) {
        let _ = remove_watch(&self.queue, watch); // it may have ended by itself
    }

    /// Some of the events that wait; none if none do.
    pub(super) fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut reader = Reader::new(&self.queue, &mut self.buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let flags = event.events();
                    if let Some(what) = what(flags) {
                        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                        let (watch, is_dir) = (event.wd(), flags.contains(ReadFlags::ISDIR));
                        events.push(Event { watch, what, is_dir, name: name.unwrap_or_default() });
                    }
                }
                Err(Errno::AGAIN) => return Ok(events),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(events);
            }
        }
    }
}

fn what(flags: ReadFlags) -> Option<What> {
    let any = |of: ReadFlags| flags.intersects(of);
    Some(if any(ReadFlags::QUEUE_OVERFLOW) {
        What::Lost
    } else if any(ReadFlags::IGNORED) {
        What::Ended
    } else if any(ReadFlags::UNMOUNT) {
        What::Unmounted
    } else if any(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
        What::Moved
    } else if any(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
        What::Made
    } else if any(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
        What::Gone
    } else if any(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE | ReadFlags::ATTRIB) {
        What::Touched
    } else {
        return None;
    })
}
