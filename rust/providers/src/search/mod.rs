//! Searches: lines that match a pattern, in the files of a tree, by ripgrep's own crates.

#[cfg(fuzzing)]
pub mod fuzzing;
mod hit;
mod options;
mod search;
mod sink;

pub use hit::{Line, Match};
pub use options::{Case, Options, Wrong};
pub use search::Search;
