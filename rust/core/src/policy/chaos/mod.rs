//! Chaos: while it is on, a part of the calls fails, begins late, or does not begin until it is off again. Which ones
//! follows from a seed and the order of the calls.

mod layer;
mod machine;
mod state;

pub use layer::enter;
pub use machine::Settings;
pub use state::{Chaos, Figures};
