//! Native values as Python objects, and the buffers that workers read into.

use std::any::Any;
use std::os::raw::c_char;
use std::sync::Arc;

use mountain_core::value::{Filled, Memory, Text, Value};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::convert::error;
use crate::convert::provided;
use crate::python::pyref::PyRef;

pub(crate) fn to_python(py: Python<'_>, v: Value) -> PyResult<Bound<'_, PyAny>> {
    Ok(match v {
        Value::Unit => py.None().into_bound(py),
        Value::Bool(b) => b.into_pyobject(py)?.to_owned().into_any(),
        Value::Int(i) => i.into_pyobject(py)?.into_any(),
        Value::Bytes(b) => PyBytes::new(py, &b).into_any(),
        Value::Text(text) => decode(py, *text)?,
        Value::Filled(filled) => filled_to_python(py, *filled)?,
        Value::List(items) => {
            let items = items.into_iter().map(|v| to_python(py, v)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Taken(taken) => to_python(py, taken.keep())?,
        Value::Other(any) => {
            provided::value(py, any).unwrap_or_else(|| Err(error::internal(py, "native", "a value that no provider converts")))?
        }
    })
}

/// A result on its way back to the source that it came from.
pub(crate) fn to_native(object: &Bound<'_, PyAny>) -> Value {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Value::Bytes(bytes.as_bytes().to_vec());
    }
    match object.cast::<PyList>() {
        Ok(items) => Value::List(items.iter().map(|item| to_native(&item)).collect()),
        Err(_) => Value::Unit,
    }
}

fn decode(py: Python<'_>, text: Text) -> PyResult<Bound<'_, PyAny>> {
    let Text { bytes, encoding, errors } = text;
    if let Value::Bytes(b) = &bytes
        && &*encoding == "utf-8"
        && &*errors == "strict"
        && let Ok(s) = std::str::from_utf8(b)
    {
        return Ok(PyString::new(py, s).into_any());
    }
    to_python(py, bytes)?.call_method1("decode", (&*encoding, &*errors))
}

/// Uninitialised `bytes` objects for workers to fill. No Python code has them until they are handed over, so writing to
/// them breaks no promise.
pub(crate) struct Buffers {
    /// `None` for an empty buffer: the empty `bytes` is shared and must not be written to.
    objects: Vec<Option<PyRef>>,
    sizes: Vec<usize>,
}

// SAFETY: each buffer is the whole payload of a `bytes` object of that size, made here and referred to from here only.
unsafe impl Memory for Buffers {
    fn buffers(&self) -> usize {
        self.sizes.len()
    }
    fn size(&self, buffer: usize) -> usize {
        self.sizes[buffer]
    }
    fn buffer(&self, buffer: usize) -> *mut u8 {
        match &self.objects[buffer] {
            // SAFETY: a `bytes` object; the payload's address is fixed.
            Some(object) => unsafe { (&raw mut (*object.as_ptr().cast::<ffi::PyBytesObject>()).ob_sval).cast() },
            None => std::ptr::NonNull::dangling().as_ptr(),
        }
    }
}

impl Buffers {
    pub(crate) fn allocate(py: Python<'_>, sizes: &[usize]) -> PyResult<Arc<dyn Memory>> {
        let objects = sizes
            .iter()
            .map(|&n| if n == 0 { Ok(None) } else { Self::bytes(py, n).map(|b| Some(PyRef::new(b.unbind()))) })
            .collect::<PyResult<_>>()?;
        Ok(Arc::new(Buffers { objects, sizes: sizes.to_vec() }))
    }

    fn bytes(py: Python<'_>, n: usize) -> PyResult<Bound<'_, PyAny>> {
        // SAFETY: without a source the payload is left uninitialised; one byte more than asked for holds the final
        // zero.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(std::ptr::null::<c_char>(), n.cast_signed())) }
    }

    fn take(&self, py: Python<'_>, buffer: usize, length: usize, tail: Option<&[u8]>) -> Py<PyAny> {
        let whole = match &self.objects[buffer] {
            // SAFETY: a live object; the new reference is ours.
            Some(object) => unsafe { Bound::from_borrowed_ptr(py, object.as_ptr()) },
            None => PyBytes::new(py, b"").into_any(),
        };
        if length == self.sizes[buffer] && tail.is_none() {
            return whole.unbind();
        }
        // The file changed under our hands: the odd case is copied.
        // SAFETY: `length` bytes of the buffer were written.
        let head = unsafe { std::slice::from_raw_parts(self.buffer(buffer), length) };
        PyBytes::new(py, &[head, tail.unwrap_or_default()].concat()).into_any().unbind()
    }
}

fn filled_to_python(py: Python<'_>, filled: Filled) -> PyResult<Bound<'_, PyAny>> {
    let memory: Arc<dyn Any + Send + Sync> = filled.memory;
    let Ok(buffers) = memory.downcast::<Buffers>() else {
        return Err(error::internal(py, "native", "memory that the bridge did not make"));
    };
    let mut items = Vec::with_capacity(filled.lengths.len());
    for (buffer, &length) in filled.lengths.iter().enumerate() {
        let tail = filled.tails.iter().find(|(i, _)| *i == buffer).map(|(_, t)| t.as_slice());
        items.push(buffers.take(py, buffer, length, tail));
    }
    if filled.single {
        return Ok(items.swap_remove(0).into_bound(py));
    }
    Ok(PyList::new(py, items)?.into_any())
}
