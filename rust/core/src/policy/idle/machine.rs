//! The decision of an idle limit: a function of when the layer was entered, since when the consumer waits, and now.

use super::Settings;
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The wait may last until then.
    Until(Instant),
    /// It has lasted too long.
    Over,
}

impl Settings {
    /// The consumer waits `since` then. A wait that is older than the layer, as that for an attempt before, counts from
    /// when the layer was entered.
    pub(super) fn look(&self, entered: Instant, since: Instant, now: Instant) -> Look {
        match since.max(entered).after(self.limit) {
            until if until <= now => Look::Over,
            until => Look::Until(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_counts_from_its_beginning_but_not_from_before_the_layer() {
        let look = |limit, entered, since, now| {
            let idle = Settings { limit };
            idle.look(Instant::from_nanos(entered), Instant::from_nanos(since), Instant::from_nanos(now))
        };
        let limit = Duration::from_nanos(10);
        assert_eq!(look(limit, 0, 100, 105), Look::Until(Instant::from_nanos(110)));
        assert_eq!(look(limit, 0, 100, 110), Look::Over);
        assert_eq!(look(limit, 104, 100, 110), Look::Until(Instant::from_nanos(114)));
        assert_eq!(look(Duration::MAX, 0, 1, 2), Look::Until(Instant::NEVER));
    }
}
