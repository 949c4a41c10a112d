//! The outcome of a program that was run to its end, for its caller.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::error::Foreign;

use super::command::Command;

/// The program's exit code and its output.
#[derive(Debug)]
pub struct Completed {
    /// A program that a signal ended has the signal's number, negative.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A program that started and did not end well.
#[derive(Debug)]
pub struct Failed {
    pub command: Arc<Command>,
    pub completed: Completed,
    pub why: Why,
}

impl Foreign for Failed {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It ended by itself with a code other than 0.
    Code,
    /// Its caller was aborted, so long after its start.
    Stopped(Duration),
    /// It wrote more than so many bytes.
    TooMuch(usize),
}
