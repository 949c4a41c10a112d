//! Who goes next where there is not room for all: priorities, and the lanes in which callers wait. No clock, no permit: who admits is above.

mod lanes;
mod turns;

pub use lanes::{Lanes, Link, Nodes, Order, Place};
pub use turns::{PATIENCE, Turns};

/// How urgent a call is. A lane a priority; within one, first come, first served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    pub const ALL: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];
}
