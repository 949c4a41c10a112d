//! The order of callers where there is not room for all: priorities, and the lanes in which callers wait. It knows no
//! clock and no permit: admission is above.

mod lanes;
mod turns;

pub use lanes::{Lanes, Link, Nodes, Order, Place};
pub use turns::{PATIENCE, Turns};

/// The priority of a call. Each has a lane; within a lane, first come, first served.
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
