//! A command line where a program and its arguments are meant.

use std::ffi::OsString;

use mountain_core::error::Foreign;

/// There is no such program, and its name is a whole command line.
#[derive(Debug)]
pub struct OneText(pub OsString);

impl Foreign for OneText {
    fn errno(&self) -> Option<i32> {
        Some(libc::ENOENT)
    }
}
