//! The only translation of values and errors between Python and the engine. Nothing here waits or decides.

pub(crate) mod child;
pub(crate) mod entry;
pub(crate) mod error;
pub(crate) mod fail;
pub(crate) mod note;
pub(crate) mod value;
