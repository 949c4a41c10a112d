//! Python keys as the engine's numbers: Python hashes and compares them, while no lock is held.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Keys, Use};
use mountain_core::time::Instant;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::globals::clock;
use crate::python::pyref::{PyRef, empty_graveyard};

/// The keys of one policy. `rest` answers whether the state kept for a number may go.
pub(crate) fn keys(every: Duration, rest: impl Fn(u32, Instant) -> bool + Send + Sync + 'static) -> Arc<Keys> {
    // SAFETY: the tokens are made in `intern`, and each is forgotten once.
    Keys::new(|token| drop(unsafe { PyRef::from_token(token) }), every, rest)
}

/// The number of `key`, new or known.
pub(crate) fn intern(keys: &Arc<Keys>, key: &Bound<'_, PyAny>) -> PyResult<Use> {
    let new = Cell::new(false);
    let token = || {
        new.set(true);
        PyRef::new(key.clone().unbind()).into_token()
    };
    // SAFETY: the keys own what they ask about.
    let used = keys.intern(clock(), hash(key)?, token, |known| unsafe { same(key, known) })?;
    // The clock forgets unused keys on its own thread, and their references go to the graveyard: it is emptied here
    // too, for programs whose loops never drain.
    if new.get() {
        empty_graveyard(key.py());
    }
    Ok(used)
}

/// The number of `key`, if it has one.
pub(crate) fn find(keys: &Arc<Keys>, key: &Bound<'_, PyAny>) -> PyResult<Option<Use>> {
    // SAFETY: as in `intern`.
    keys.find(hash(key)?, |known| unsafe { same(key, known) })
}

fn hash(key: &Bound<'_, PyAny>) -> PyResult<u64> {
    match key.hash() {
        // Python's hash of a small number is the number itself; the table needs all bits.
        Ok(hash) => Ok((hash.cast_unsigned() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26)),
        Err(e) => {
            let py = key.py();
            let ours = PyTypeError::new_err(format!("a policy's key must be hashable, unlike {}", key.repr()?));
            ours.set_cause(py, Some(e));
            Err(ours)
        }
    }
}

/// # Safety
/// `known` is a token of `intern`, whose reference lives as long as this call.
unsafe fn same(key: &Bound<'_, PyAny>, known: usize) -> PyResult<bool> {
    // SAFETY: by the contract.
    let known = unsafe { Bound::from_borrowed_ptr(key.py(), known as *mut ffi::PyObject) };
    if known.is(key) { Ok(true) } else { known.eq(key) }
}

/// The number of a key's characters that are shown, at most.
const LONGEST: usize = 120;

/// A key as text, for people: calls the user's own `__str__`.
pub(crate) fn shown(py: Python<'_>, used: &Use) -> String {
    // SAFETY: `used` keeps the number in use, and with it the token's reference.
    let key = unsafe { Bound::from_borrowed_ptr(py, used.token() as *mut ffi::PyObject) };
    let text = match key.str() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("<{} cannot be shown>", key.get_type().name().map_or_else(|_| "a key".into(), |n| n.to_string())),
    };
    cut(&text)
}

/// A text cut to the length shown of a key.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// All keys that have a number.
pub(crate) fn all<'py>(py: Python<'py>, keys: &Keys) -> Vec<Bound<'py, PyAny>> {
    let mut found = Vec::new();
    let _ = keys.visit(|token| {
        // SAFETY: a reference that the keys own, whose lock is held; this is one more.
        found.push(unsafe { Bound::from_borrowed_ptr(py, token as *mut ffi::PyObject) });
        Ok::<_, ()>(())
    });
    found
}

pub(crate) fn traverse(keys: &Keys, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    keys.visit(|token| {
        // SAFETY: a reference that the keys own, whose lock is held; it is only looked at.
        let object = std::mem::ManuallyDrop::new(unsafe { PyRef::from_token(token) });
        // SAFETY: as above; the collector's thread is attached.
        let object = unsafe { object.as_unbound() };
        visit.call(&*object)
    })
}
