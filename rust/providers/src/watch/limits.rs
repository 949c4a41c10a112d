//! The system's limits, as a log names them.

use std::fs;
use std::io;

use rustix::io::Errno;

fn setting(name: &str) -> String {
    let value = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap_or_default();
    format!("the setting fs.inotify.{name} (now {})", value.trim())
}

pub(super) fn full() -> String {
    format!("the system's limit of watches is reached; raise {}", setting("max_user_watches"))
}

/// The setting to raise where nothing can be watched because of that error.
pub(super) fn of_all(e: &io::Error) -> Option<String> {
    match Errno::from_io_error(e)? {
        Errno::MFILE => {
            let setting = setting("max_user_instances");
            Some(format!("all: raise {setting}, unless it is the limit of open files that is reached"))
        }
        Errno::NOSPC => Some(format!("all: {}", full())),
        _ => None,
    }
}
