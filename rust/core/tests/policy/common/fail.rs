//! The failures of the scripted leaf, one for each class that the engine tells apart.

use mountain_core::effect::{Class, Fault};
use mountain_core::error::{Owner, Refused, TimedOut};

#[derive(Debug)]
pub(crate) enum Fail {
    /// An ordinary failure; the number tells one from another.
    Plain(u32),
    /// From the chaos at that layer.
    Injected(usize),
    /// The answer to being asked to stop.
    Stopped,
    /// Must reach the caller, like an exit.
    Exit,
    Refused(Refused),
    TimedOut(Box<TimedOut<Fail>>),
}

impl Fault for Fail {
    fn timed_out(t: TimedOut<Self>) -> Self {
        Fail::TimedOut(Box::new(t))
    }

    fn refused(r: Refused) -> Self {
        Fail::Refused(r)
    }

    fn stopped() -> Self {
        Fail::Stopped
    }

    fn class(&self) -> Class {
        match self {
            Fail::Plain(_) | Fail::Injected(_) => Class::Failure,
            Fail::Stopped => Class::Stopped,
            Fail::Refused(r) => Class::Refused(Some(r.layer)),
            Fail::Exit => Class::Passes,
            Fail::TimedOut(t) => Class::TimedOut(t.owner),
        }
    }
}

impl Fail {
    /// The owner of the deadline, the number of attempts, and the cause.
    #[track_caller]
    pub(crate) fn parts(self) -> (Owner, u32, Option<Fail>) {
        match self {
            Fail::TimedOut(t) => (t.owner, t.attempts, t.cause),
            other => panic!("not a time-out: {other:?}"),
        }
    }
}
