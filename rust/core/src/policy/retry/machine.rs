//! What a retry decides after a failure: a function of its count, the verdict of `on`, `now` and the deadline over it.

use std::time::Duration;

use super::Settings;
use crate::effect::{Deadline, Verdict};
use crate::time::{Instant, seconds};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The failure is the result.
    GiveUp,
    /// Call again at that time.
    Again(Instant),
    /// The wait would end after the deadline: its owner's time is up now.
    TooLate,
}

/// `attempt` is the number of the one that failed, counted from 1; `dice` is in [0, 1).
pub(super) fn decide(s: &Settings, attempt: u32, verdict: Verdict, now: Instant, over: Deadline, dice: f64) -> Decision {
    if verdict == Verdict::No || s.attempts.is_some_and(|most| attempt >= most) {
        return Decision::GiveUp;
    }
    let wait = match verdict {
        Verdict::After(asked) => asked_for(asked, s.max_retry_after).unwrap_or_else(|| s.backoff.wait(attempt, dice)),
        _ => s.backoff.wait(attempt, dice),
    };
    let at = now.after(wait);
    if at >= over.at && over.at != Instant::NEVER { Decision::TooLate } else { Decision::Again(at) }
}

/// The delay that a server asked for, capped; nonsense is no answer.
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
        Settings { attempts, backoff, max_retry_after: Duration::from_mins(1), budget: None }
    }
    fn at(s: u64) -> Instant {
        Instant::from_nanos(s * SECOND)
    }

    #[test]
    fn counts_attempts_in_total() {
        let s = settings(Some(3));
        assert_eq!(decide(&s, 1, Verdict::Yes, at(0), Deadline::NONE, 0.0), Decision::Again(at(1)));
        assert_eq!(decide(&s, 2, Verdict::Yes, at(0), Deadline::NONE, 0.0), Decision::Again(at(2)));
        assert_eq!(decide(&s, 3, Verdict::Yes, at(0), Deadline::NONE, 0.0), Decision::GiveUp);
        assert_eq!(decide(&s, 1, Verdict::No, at(0), Deadline::NONE, 0.0), Decision::GiveUp);
        assert!(matches!(decide(&settings(None), u32::MAX, Verdict::Yes, at(0), Deadline::NONE, 0.0), Decision::Again(_)));
    }

    #[test]
    fn a_wait_that_would_outlast_the_deadline_is_not_slept() {
        let over = Deadline { at: at(5), owner: Owner::Layer(0) };
        let s = settings(None);
        assert_eq!(decide(&s, 2, Verdict::Yes, at(1), over, 0.0), Decision::Again(at(3)));
        assert_eq!(decide(&s, 3, Verdict::Yes, at(3), over, 0.0), Decision::TooLate);
        assert_eq!(decide(&s, 1, Verdict::After(0.0), at(5), over, 0.0), Decision::TooLate);
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
}
