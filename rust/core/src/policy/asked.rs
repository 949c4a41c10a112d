//! The decisions of a limit on time, once it has passed and what it encloses was asked to stop: nothing here waits or
//! reads a clock.

use crate::effect::Class;
use crate::error::Owner;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The time has passed and the leaf was asked to stop.
    Asked,
}

/// The result of a call whose inside failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Pass,
    /// `TimedOut`, with the failure as its cause.
    Late,
    /// `TimedOut`: the failure is only the answer to being asked to stop.
    Stopped,
}

impl State {
    /// Judges a failure of the inside of `mine`. A value never comes here, however late: it wins.
    pub(super) fn failed(self, class: Class, mine: Owner) -> End {
        match (self, class) {
            (State::Open, _) | (State::Asked, Class::Passes) => End::Pass,
            // A retry inside has already reported that the time of this deadline, or of one around it, is up.
            (State::Asked, Class::TimedOut(owner)) if !owner.within(mine) => End::Pass,
            (State::Asked, Class::Stopped) => End::Stopped,
            (State::Asked, Class::Failure | Class::Refused(_) | Class::TimedOut(_)) => End::Late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn only_what_follows_the_asking_is_late() {
        for class in [Class::Failure, Class::Stopped, Class::Passes, Class::TimedOut(Owner::Layer(1))] {
            assert_eq!(State::Open.failed(class, Owner::Layer(0)), End::Pass);
        }
        let asked = |class| State::Asked.failed(class, Owner::Layer(0));
        assert_eq!(asked(Class::Failure), End::Late);
        assert_eq!(asked(Class::TimedOut(Owner::Layer(1))), End::Late);
        assert_eq!(asked(Class::Stopped), End::Stopped);
        assert_eq!(asked(Class::Passes), End::Pass);
    }

    #[test]
    fn an_expired_deadline_is_said_once() {
        let asked = |owner, mine| State::Asked.failed(Class::TimedOut(owner), mine);
        assert_eq!(asked(Owner::Layer(1), Owner::Layer(1)), End::Pass);
        assert_eq!(asked(Owner::Layer(0), Owner::Layer(1)), End::Pass);
        assert_eq!(asked(Owner::Inherited, Owner::Layer(0)), End::Pass);
        assert_eq!(asked(Owner::Inherited, Owner::Inherited), End::Pass);
        assert_eq!(asked(Owner::Layer(0), Owner::Inherited), End::Late);
    }
}
