//! Feeds: items that threads find, taken by a consumer batch by batch.

mod expecting;
mod feed;
mod state;

pub(crate) use feed::Shared;
pub use feed::{Batches, Feed, NextBatch};
pub(crate) use state::BATCH;
pub use state::Note;
#[cfg(test)]
pub(crate) use state::ROOM;
