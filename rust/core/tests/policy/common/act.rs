//! The script of one call of a leaf.

use std::time::Duration;

use super::Fail;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Value(u32),
    Plain(u32),
    Stopped,
    Exit,
}

impl End {
    pub(crate) fn result(self) -> Result<u32, Fail> {
        match self {
            End::Value(n) => Ok(n),
            End::Plain(n) => Err(Fail::Plain(n)),
            End::Stopped => Err(Fail::Stopped),
            End::Exit => Err(Fail::Exit),
        }
    }
}

/// How a call answers when it is asked to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// It cleans up for so long and ends so.
    Ends(Duration, End),
    /// It goes on as if nothing had been said.
    GoesOn,
}

/// One call: it takes so long, ends so, and answers so when it is asked to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Act {
    pub(crate) takes: Duration,
    pub(crate) end: End,
    pub(crate) reply: Reply,
}

impl Act {
    /// Ends at once when it is asked to stop.
    pub(crate) fn new(takes: Duration, end: End) -> Self {
        Act { takes, end, reply: Reply::Ends(Duration::ZERO, End::Stopped) }
    }

    pub(crate) fn value(takes: Duration) -> Self {
        Act::new(takes, End::Value(7))
    }

    /// Fails at once.
    pub(crate) fn fails(n: u32) -> Self {
        Act::new(Duration::ZERO, End::Plain(n))
    }

    /// Would take an hour.
    pub(crate) fn hangs() -> Self {
        Act::value(Duration::from_hours(1))
    }

    pub(crate) fn asked(self, reply: Reply) -> Self {
        Act { reply, ..self }
    }
}
