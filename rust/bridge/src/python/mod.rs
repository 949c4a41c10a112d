//! Parts of CPython and asyncio for which pyo3 has no API: type slots, references that any thread may drop, callbacks
//! of asyncio's own. Nothing here knows an effect.

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
