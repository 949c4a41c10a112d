//! The only translation of values and errors between Python and the engine. Nothing here waits or decides.

pub(crate) mod class;
pub(crate) mod error;
pub(crate) mod fail;
pub(crate) mod not_accepted;
pub(crate) mod note;
pub(crate) mod provided;
pub(crate) mod value;
