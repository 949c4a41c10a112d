//! Which cancels of a task are ours, and which code acts on a deadline that was set in another task. A task only counts
//! the cancels that it receives: the count from before ours, beside the count after ours was taken back, tells.

use std::time::Duration;

use crate::time::Instant;

/// The code that set a deadline cancels the tasks beneath it as the deadline passes. An effect in another task waits so
/// much longer for that cancel before it acts itself: of two cancels the second would cut short the cleanup that the
/// first began.
const LAG: Duration = Duration::from_millis(10);
/// A cancel that arrived within this time before the effect acts is taken for that of the deadline's setter.
const LATELY: Duration = LAG.saturating_mul(3);

/// When an effect acts on a deadline at `at` that was set in another task.
pub fn enforced_at(at: Instant) -> Instant {
    at.after(LAG)
}

/// Whether the deadline's setter has cancelled the task already when an effect in it is about to act at `now`. The
/// task's last cancel from outside came at `came`.
pub fn was_enforced(came: Option<Instant>, now: Instant) -> bool {
    came.is_some_and(|came| now < came.after(LATELY))
}

/// Which side asked for the cancel with which code has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// We alone: the code's end is the answer to our cancel.
    Ours,
    /// Code outside did, alone or beside us: its cancel goes on.
    Outside,
    /// The code has not ended by a cancel.
    Nothing,
}

/// How many cancels a task had received when code began to run in it that we may cancel: cancels from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received(i64);

impl Received {
    /// `counted` by the task. A cancel that is counted and `undelivered` reaches the code that begins, and so counts as
    /// a later one from outside.
    pub fn new(counted: i64, undelivered: bool) -> Self {
        Received(counted - i64::from(counted > 0 && undelivered))
    }

    /// A cancel from outside has come since, and has not been taken back: the task counts `counted` without ours.
    pub fn has_more(self, counted: i64) -> bool {
        counted > self.0
    }

    /// The code has ended with an error: a `CancelledError` if `cancelled`. Our cancel was `sent`, or not; `counted` is
    /// without it.
    pub fn asked(self, counted: i64, sent: bool, cancelled: bool) -> Asked {
        if self.has_more(counted) {
            Asked::Outside
        } else if sent && cancelled {
            Asked::Ours
        } else {
            Asked::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Asked, Received, enforced_at, was_enforced};
    use crate::time::Instant;

    const AT: Instant = Instant::from_nanos(1_000_000_000);

    fn before(ms: u64) -> Instant {
        Instant::from_nanos(AT.nanos() - ms * 1_000_000)
    }

    #[test]
    fn a_cancel_of_ours_alone_is_ours() {
        for earlier in 0..3 {
            assert_eq!(Received::new(earlier, false).asked(earlier, true, true), Asked::Ours);
        }
    }

    #[test]
    fn a_cancel_from_outside_beside_ours_goes_on() {
        assert_eq!(Received::new(0, false).asked(1, true, true), Asked::Outside);
        assert_eq!(Received::new(2, false).asked(3, false, true), Asked::Outside);
    }

    #[test]
    fn another_error_than_the_cancel_is_the_codes_own_unless_a_cancel_stands() {
        assert_eq!(Received::new(0, false).asked(0, true, false), Asked::Nothing);
        assert_eq!(Received::new(0, false).asked(1, true, false), Asked::Outside);
    }

    #[test]
    fn a_cancel_that_was_taken_back_is_none() {
        assert_eq!(Received::new(1, false).asked(0, false, true), Asked::Nothing);
        assert_eq!(Received::new(1, false).asked(0, true, true), Asked::Ours);
    }

    #[test]
    fn a_cancel_on_its_way_as_the_code_begins_is_from_outside() {
        assert_eq!(Received::new(1, true).asked(1, true, true), Asked::Outside);
        assert_eq!(Received::new(1, true).asked(0, true, true), Asked::Ours);
    }

    #[test]
    fn a_cancel_on_its_way_that_was_taken_back_is_none() {
        assert_eq!(Received::new(0, true).asked(0, true, true), Asked::Ours);
    }

    #[test]
    fn an_effect_acts_after_the_setter_had_time_to() {
        assert_eq!(enforced_at(AT), AT.after(Duration::from_millis(10)));
        assert_eq!(enforced_at(Instant::NEVER), Instant::NEVER);
    }

    #[test]
    fn the_setters_cancel_is_the_one_that_came_lately() {
        assert!(!was_enforced(None, AT));
        assert!(was_enforced(Some(AT), AT));
        assert!(was_enforced(Some(before(29)), AT));
        assert!(!was_enforced(Some(before(30)), AT));
    }
}
