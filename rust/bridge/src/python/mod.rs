//! What the bridge needs of CPython, and pyo3 has no word for: type slots, references that any thread may drop, asyncio's own parts. Nothing here knows an effect.

pub(crate) mod api;
pub(crate) mod attached;
pub(crate) mod callback;
pub(crate) mod expected;
pub(crate) mod free_list;
pub(crate) mod known_loop;
pub(crate) mod os_error;
pub(crate) mod payload;
pub(crate) mod pyref;
pub(crate) mod seconds;
pub(crate) mod task_identity;
pub(crate) mod type_slots;
pub(crate) mod weak;
