//! The end of a runtime's native side: its parts, in the order in which they end. Nothing here ends a part; the caller
//! ends what [`Teardown::next`] names.
//!
//!  1. Admission: nothing more begins, and calls that wait for a permit of the runtime are refused.
//!  2. Port: its event loop no longer leads to it.
//!  3. Timers: the sleeps of its calls are given up, with those calls that have not ended by now.
//!  4. Threads: its blocking threads have come back, or are abandoned.
//!  5. Tokio: its own workers end.
//!
//! Each part needs those after it and none before it: a worker may still fire a timer, a timer may still post to the
//! port's loop, and a call that is let in may start any of them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Admission,
    Port,
    Timers,
    Threads,
    Tokio,
}

impl Part {
    pub const ORDER: [Part; 5] = [Part::Admission, Part::Port, Part::Timers, Part::Threads, Part::Tokio];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Part::Admission => "admission",
            Part::Port => "port",
            Part::Timers => "timers",
            Part::Threads => "threads",
            Part::Tokio => "tokio",
        }
    }
}

/// How far a runtime has been torn down. A part that did not end in its time counts as ended, so that the next one goes
/// on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Teardown {
    ended: usize,
}

impl Teardown {
    /// The part that ends next; `None` when all have ended.
    pub fn next(&self) -> Option<Part> {
        Part::ORDER.get(self.ended).copied()
    }

    /// Marks the next part as ended.
    pub fn advance(&mut self) {
        self.ended += usize::from(self.next().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_comes_once_and_in_order() {
        let mut teardown = Teardown::default();
        let mut seen = Vec::new();
        while let Some(part) = teardown.next() {
            assert_eq!(teardown.next(), Some(part), "to ask is not to end");
            seen.push(part);
            teardown.advance();
        }
        teardown.advance();
        assert_eq!((seen.as_slice(), teardown.next()), (Part::ORDER.as_slice(), None));
        let names: std::collections::BTreeSet<_> = Part::ORDER.iter().map(|part| part.name()).collect();
        assert_eq!(names.len(), Part::ORDER.len());
    }
}
