//! The bytes of a Python object, for a worker to read.

use std::sync::Arc;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::python::pyref::PyRef;

/// The payload of a `bytes` object. The object is immutable and kept alive.
pub(crate) struct Payload {
    _object: PyRef,
    start: *const u8,
    length: usize,
}
// SAFETY: the bytes never change and never move while `_object` lives, and that reference may be dropped anywhere.
unsafe impl Send for Payload {}
// SAFETY: as above.
unsafe impl Sync for Payload {}
impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Payload {
    /// Copies a mutable buffer (a bytearray, an array) and shares immutable bytes.
    pub(crate) fn of(data: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let bytes = match data.cast::<PyBytes>() {
            Ok(bytes) => bytes.clone(),
            Err(_) => PyBytes::new(data.py(), &PyBuffer::<u8>::get(data)?.to_vec(data.py())?),
        };
        let (start, length) = (bytes.as_bytes().as_ptr(), bytes.as_bytes().len());
        Ok(Arc::new(Payload { _object: PyRef::new(bytes.unbind()), start, length }))
    }
}
