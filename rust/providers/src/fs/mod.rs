//! Files: reads, durable writes, hashes, walks and what else a program asks of a file system. Each operation is one hop
//! to the pool's threads and one back.

mod append;
mod attributes;
mod beneath;
mod content;
mod copy;
mod entry;
mod failure;
mod file;
mod fresh;
mod glob;
mod hash;
mod in_place;
mod lock;
mod many;
mod meta;
mod names;
mod place;
mod read;
mod remove;
mod scan;
mod source;
pub(crate) mod tree;
mod walk;
mod walk_beneath;
mod write;

pub use append::Append;
pub use beneath::Root;
pub use copy::{Copy, Move};
pub use entry::Entry;
pub(crate) use failure::failure;
pub use file::{Call, Mode, OnFile, Open, OpenFile};
pub use glob::Glob;
pub use hash::{Algorithm, Hash};
pub use lock::{Lock, Locked};
pub use many::ReadMany;
pub use meta::{Mkdir, Stat};
pub use place::Place;
pub use read::{Encoding, Read};
pub use remove::Remove;
pub use walk::{glob, walk};
pub use walk_beneath::walk_beneath;
pub use write::{Data, Write};
