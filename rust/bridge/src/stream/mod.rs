//! Streams: work that gives many items, as a value, and its items as they are pulled.

pub(crate) mod function;
pub(crate) mod items;
pub(crate) mod leaving;
pub(crate) mod over;
mod protocol;
mod value;

pub(crate) use value::{Stream, call_stream};
