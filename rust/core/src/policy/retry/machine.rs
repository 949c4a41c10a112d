//! The decision of a retry after a failure, or a value that is not accepted: a function of its count, the verdict,
//! `now` and the deadline over it.

use std::time::Duration;

use super::Settings;
use crate::effect::{Deadline, GaveUp, Verdict};
use crate::error::Misfit;
use crate::time::{Instant, seconds};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The failure is the result.
    GiveUp(GaveUp),
    /// Call again at that time.
    Again(Instant),
    /// The deadline has passed: its owner's time is up.
    TimeIsUp,
}

/// `attempt` is the number of the one that failed, counted from 1; `dice` is in [0, 1).
pub(super) fn decide(s: &Settings, attempt: u32, verdict: Verdict, now: Instant, over: Deadline, dice: f64) -> Decision {
    if s.attempts.is_some_and(|most| attempt >= most) {
        return Decision::GiveUp(GaveUp::Attempts);
    }
    if verdict == Verdict::No {
        return Decision::GiveUp(GaveUp::Unnamed);
    }
    let limited = over.at != Instant::NEVER;
    if limited && now >= over.at {
        return Decision::TimeIsUp;
    }
    let backoff = || s.backoff.map_or(Duration::ZERO, |backoff| backoff.wait(attempt, dice));
    let wait = match verdict {
        Verdict::After(asked) => asked_for(asked, s.max_retry_after).unwrap_or_else(backoff),
        Verdict::Wait(wait) => wait,
        Verdict::Yes | Verdict::No => backoff(),
    };
    let at = now.after(wait);
    if limited && at >= over.at {
        return Decision::GiveUp(GaveUp::TooLate(Misfit { wait, owner: over.owner, left: over.at.since(now) }));
    }
    Decision::Again(at)
}

/// The verdict leaves the wait to the backoff.
pub(super) fn leaves_the_wait(s: &Settings, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Yes => true,
        Verdict::After(asked) => asked_for(asked, s.max_retry_after).is_none(),
        Verdict::No | Verdict::Wait(_) => false,
    }
}

/// The delay that a server asked for, capped; `None` for nonsense.
fn asked_for(asked: f64, cap: Duration) -> Option<Duration> {
    seconds(asked).map(|d| d.min(cap))
}

#[cfg(test)]
mod tests {
    use super::super::{Backoff, Jitter};
    use super::*;
    use crate::error::Owner;

    const SECOND: u64 = 1_000_000_000;
    fn settings(attempts: Option<u32>) -> Settings {
        let backoff = Backoff { initial: 1.0, factor: 2.0, max: 5.0, jitter: Jitter::None };
        Settings { attempts, backoff: Some(backoff), max_retry_after: Duration::from_mins(1), budget: None, until: false }
    }
    fn at(s: u64) -> Instant {
        Instant::from_nanos(s * SECOND)
    }

    #[test]
    fn counts_attempts_in_total() {
        let s = settings(Some(3));
        assert_eq!(decide(&s, 1, Verdict::Yes, at(0), Deadline::NONE, 0.0), Decision::Again(at(1)));
        assert_eq!(decide(&s, 2, Verdict::Yes, at(0), Deadline::NONE, 0.0), Decision::Again(at(2)));
        assert_eq!(decide(&s, 3, Verdict::Yes, at(0), Deadline::NONE, 0.0), Decision::GiveUp(GaveUp::Attempts));
        assert_eq!(decide(&s, 1, Verdict::No, at(0), Deadline::NONE, 0.0), Decision::GiveUp(GaveUp::Unnamed));
        assert!(matches!(decide(&settings(None), u32::MAX, Verdict::Yes, at(0), Deadline::NONE, 0.0), Decision::Again(_)));
    }

    #[test]
    fn a_wait_that_would_outlast_the_deadline_is_not_slept() {
        let over = Deadline { at: at(5), owner: Owner::Layer(0) };
        let s = settings(None);
        let too_late = |wait, left| {
            let (wait, left) = (Duration::from_secs(wait), Duration::from_secs(left));
            Decision::GiveUp(GaveUp::TooLate(Misfit { wait, owner: Owner::Layer(0), left }))
        };
        assert_eq!(decide(&s, 2, Verdict::Yes, at(1), over, 0.0), Decision::Again(at(3)));
        assert_eq!(decide(&s, 3, Verdict::Yes, at(3), over, 0.0), too_late(4, 2));
        assert_eq!(decide(&s, 1, Verdict::After(7.0), at(4), over, 0.0), too_late(7, 1));
    }

    #[test]
    fn time_is_up_when_it_has_passed_and_not_before() {
        let over = Deadline { at: at(5), owner: Owner::Layer(0) };
        let s = settings(None);
        let just_before = Instant::from_nanos(5 * SECOND - 1);
        assert_eq!(decide(&s, 1, Verdict::After(0.0), just_before, over, 0.0), Decision::Again(just_before));
        for verdict in [Verdict::After(0.0), Verdict::After(7.0), Verdict::Yes] {
            assert_eq!(decide(&s, 1, verdict, at(5), over, 0.0), Decision::TimeIsUp);
        }
        assert_eq!(decide(&s, 1, Verdict::No, at(5), over, 0.0), Decision::GiveUp(GaveUp::Unnamed));
    }

    #[test]
    fn a_delay_from_a_server_is_believed_within_reason() {
        let s = settings(None);
        let wait = |asked| decide(&s, 1, Verdict::After(asked), at(0), Deadline::NONE, 0.0);
        assert_eq!(wait(1e10), Decision::Again(at(60)));
        assert_eq!(wait(f64::INFINITY), Decision::Again(at(60)));
        assert_eq!(wait(-1.0), Decision::Again(at(1)));
        assert_eq!(wait(f64::NAN), Decision::Again(at(1)));
        assert_eq!(wait(0.0), Decision::Again(at(0)));
        assert_eq!(wait(7.0), Decision::Again(at(7)));
    }

    #[test]
    fn a_function_gives_the_wait_that_the_verdict_leaves_open() {
        let s = Settings { backoff: None, ..settings(Some(9)) };
        let left = |verdict| leaves_the_wait(&s, verdict);
        assert!(left(Verdict::Yes) && left(Verdict::After(-1.0)) && left(Verdict::After(f64::NAN)));
        assert!(!left(Verdict::No) && !left(Verdict::After(0.0)) && !left(Verdict::Wait(Duration::ZERO)));
        let wait = |wait, over| decide(&s, 1, Verdict::Wait(wait), at(0), over, 0.0);
        assert_eq!(wait(Duration::from_hours(1), Deadline::NONE), Decision::Again(at(3600)), "it has no cap");
        let over = Deadline { at: at(5), owner: Owner::Layer(0) };
        assert!(matches!(wait(Duration::MAX, over), Decision::GiveUp(GaveUp::TooLate(_))));
        assert_eq!(wait(Duration::MAX, Deadline::NONE), Decision::Again(Instant::NEVER));
    }
}
