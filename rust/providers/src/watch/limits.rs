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

pub(super) fn instances(e: &io::Error) -> Vec<String> {
    if Errno::from_io_error(e) != Some(Errno::MFILE) {
        return Vec::new();
    }
    vec![format!("all: raise {}, unless it is the limit of open files that is reached", setting("max_user_instances"))]
}
