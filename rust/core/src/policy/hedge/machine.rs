//! The decisions of a hedge: nothing here waits or reads a clock.

use std::time::Duration;

use crate::time::Instant;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Failed,
    /// By a decision that is not of its inside, such as a deadline around the hedge or a cancel: it is the call's.
    Decided,
    /// Asked to end, or lost: it says nothing.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Something outside has ended the call: no attempt begins.
    Closed,
    /// The outcome is known, and the other attempts are to end: they were asked, or not yet.
    Known {
        asked: bool,
    },
}

/// The attempts of one call.
///
/// One begins each `every` after the one before, as long as any is under way; a failure begins none. What an attempt
/// may not begin for at its time, such as an empty budget, is no reason to begin it later.
#[derive(Debug)]
pub(super) struct Race {
    every: Duration,
    /// When the next one is due.
    due: Instant,
    /// How many may be due yet.
    left: u32,
    hedged: bool,
    running: u32,
    phase: Phase,
}

impl Race {
    /// The first of at most `attempts` has begun at `began`.
    pub(super) fn new(attempts: u32, every: Option<Duration>, began: Instant) -> Self {
        let due = every.map_or(Instant::NEVER, |every| began.after(every));
        let every = every.unwrap_or(Duration::MAX);
        Race { every, due, left: attempts.saturating_sub(1), hedged: false, running: 1, phase: Phase::Open }
    }

    /// When another attempt is due; `NEVER` if none is to begin.
    pub(super) fn due(&self) -> Instant {
        if self.phase == Phase::Open && self.left > 0 && self.running > 0 { self.due } else { Instant::NEVER }
    }

    /// The one that is due at `now` begins, unless it may not.
    pub(super) fn begins(&mut self, now: Instant, may: bool) {
        self.left -= 1;
        self.due = now.after(self.every);
        self.running += u32::from(may);
        self.hedged |= may;
    }

    pub(super) fn ended(&mut self, how: Ended) {
        self.running -= 1;
        if matches!(how, Ended::Well | Ended::Decided) && matches!(self.phase, Phase::Open | Phase::Closed) {
            self.phase = Phase::Known { asked: false };
        }
    }

    /// One attempt is to go on to its end, and the others are not.
    pub(super) fn settles(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Known { asked: false };
        }
    }

    /// Something outside has asked the attempts to end.
    pub(super) fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed;
        }
    }

    /// Whether the attempts under way are to be asked to end: true once.
    pub(super) fn asks(&mut self) -> bool {
        let asks = self.phase == Phase::Known { asked: false };
        if asks {
            self.phase = Phase::Known { asked: true };
        }
        asks
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether further attempts have begun.
    pub(super) fn is_hedged(&self) -> bool {
        self.hedged
    }

    /// Whether all attempts have ended.
    pub(super) fn is_over(&self) -> bool {
        self.running == 0
    }
}
