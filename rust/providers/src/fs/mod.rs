//! Files: reads, durable writes, hashes, walks and what else a program asks of a file system. Each operation is one hop
//! to the pool's threads and one back.

mod attributes;
mod entry;
mod failure;
mod hash;
mod in_place;
mod many;
mod meta;
mod read;
mod remove;
mod source;
mod walk;
mod write;

pub use entry::Entry;
pub use hash::{Algorithm, Hash};
pub use many::ReadMany;
pub use meta::{Mkdir, Stat};
pub use read::{Encoding, Read};
pub use remove::Remove;
pub use walk::{NextBatch, Walk};
pub use write::{Data, Write};
