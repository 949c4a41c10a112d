//! The protocol of async iterators, by the slots of their types: an `async for` uses the same.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::{ffi, intern};

use crate::run::driving::is_old_coroutine;

/// The async iterator that an object is, or makes.
pub(super) fn iterator_of<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = given.py();
    let slots = |o: &Bound<'_, PyAny>| {
        // SAFETY: reads the slots of a live object's type.
        unsafe { (*ffi::Py_TYPE(o.as_ptr())).tp_as_async.as_ref().map(|slots| (slots.am_anext.is_some(), slots.am_aiter)) }
    };
    match slots(given) {
        Some((_, Some(aiter))) => {
            // SAFETY: the slot of that object's type gives an owned reference, or null with an error.
            let made = unsafe { Bound::from_owned_ptr_or_err(py, aiter(given.as_ptr()))? };
            Ok(slots(&made).is_some_and(|slots| slots.0).then_some(made))
        }
        Some((true, None)) => Ok(Some(given.clone())),
        _ => Ok(None),
    }
}

/// The iterator that an await of the next item drives.
#[inline]
pub(super) fn next_of(source: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = source.py();
    // SAFETY: a live object, whose type had the slot as the iteration began; the result is owned, or null with an
    // error.
    let next = unsafe {
        let slots = (*ffi::Py_TYPE(source.as_ptr())).tp_as_async.as_ref();
        let Some(anext) = slots.and_then(|slots| slots.am_anext) else {
            return Err(PyTypeError::new_err("a stream's source is no async iterator any more"));
        };
        Bound::from_owned_ptr_or_err(py, anext(source.as_ptr()))?
    };
    awaited(&next)
}

/// The iterator that an await of the close of `source` drives; `None` where it has none to call.
pub(super) fn close_of(source: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    let name = intern!(source.py(), "aclose");
    // SAFETY: asks for the type only.
    let close = if unsafe { ffi::PyAsyncGen_CheckExact(source.as_ptr()) } != 0 {
        // No object of the bound method is made.
        source.call_method0(name)?
    } else {
        match source.getattr_opt(name)? {
            Some(close) => close.call0()?,
            None => return Ok(None),
        }
    };
    awaited(&close).map(Some)
}

/// The iterator that an await of `given` drives.
#[inline]
pub(super) fn awaited(given: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = given.py();
    // SAFETY: asks for the type, and calls the slot of a live object's type, which gives an owned reference, or null
    // with an error.
    unsafe {
        if ffi::PyCoro_CheckExact(given.as_ptr()) != 0 {
            return Ok(given.clone().unbind());
        }
        let slots = (*ffi::Py_TYPE(given.as_ptr())).tp_as_async.as_ref();
        if let Some(await_) = slots.and_then(|slots| slots.am_await) {
            return Bound::from_owned_ptr_or_err(py, await_(given.as_ptr())).map(Bound::unbind);
        }
    }
    if is_old_coroutine(given)? {
        return Ok(given.clone().unbind());
    }
    Err(PyTypeError::new_err(format!("a stream's source gave {}, which cannot be awaited", given.get_type().name()?)))
}
