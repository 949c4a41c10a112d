//! A program that is run to its end, and the outcome for its caller.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::Outcome;
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::answer::Pending;
use super::command::Command;
use super::completed::{Completed, Failed, Why};

pub(super) struct Whole {
    pub(super) pending: Pending,
    pub(super) command: Arc<Command>,
    /// An exit code other than 0 is a failure.
    pub(super) check: bool,
    /// How many bytes it may write.
    pub(super) most: Option<usize>,
}

impl Whole {
    /// `stopped`: its group was killed so long after its start; `too_much`: because of its output.
    pub(super) fn answer(self, completed: Completed, stopped: Option<Duration>, too_much: bool) -> (Pending, Outcome) {
        let why = match (self.most, stopped) {
            (Some(most), _) if too_much => Why::TooMuch(most),
            (_, Some(after)) => Why::Stopped(after),
            _ if self.check && completed.code != 0 => Why::Code,
            _ => return (self.pending, Ok(Value::Other(Box::new(completed)))),
        };
        (self.pending, Err(Error::Other(Box::new(Failed { command: self.command, completed, why }))))
    }
}
