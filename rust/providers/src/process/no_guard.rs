//! A stand-in on systems without a guard, where children outlive the kill of this process. Its table has one place,
//! which is never read.

use std::io;
use std::sync::atomic::AtomicI32;

pub(super) struct Guard {
    number: AtomicI32,
    pub(super) line: i32,
}

impl Guard {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Guard { number: AtomicI32::new(0), line: -1 })
    }

    pub(super) fn place(&mut self) -> Option<usize> {
        None
    }

    pub(super) fn number(&self, _place: Option<usize>) -> &AtomicI32 {
        &self.number
    }

    pub(super) fn vacate(&mut self, _place: Option<usize>) {}
}
