//! The calls that wait for something of a child, and their answers.

use mountain_core::effect::{AtWork, Done, Outcome};

/// A waiting caller; virtual time waits with it, unless it only keeps watch.
pub(super) type Pending = (Done, Option<AtWork>);
/// Given when no lock is held: the receiver of one may call back at once.
pub(super) type Answers = Vec<(Pending, Outcome)>;

pub(super) fn give(answers: Answers) {
    for ((done, _at_work), outcome) in answers {
        done.finish(outcome);
    }
}
