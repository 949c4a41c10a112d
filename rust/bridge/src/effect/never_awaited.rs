//! The RuntimeWarning of an effect that was built and forgotten, as asyncio gives for a coroutine.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;

/// Whether an effect was awaited, composed, adopted or closed. One that was not warns when it is dropped.
#[derive(Default)]
pub(super) struct Used(AtomicBool);

impl Used {
    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The effect of that name is dropped.
    pub(super) fn dropped(&mut self, name: &str) {
        if !*self.0.get_mut() {
            warn(name);
        }
    }
}

#[cold]
fn warn(name: &str) {
    Python::try_attach(|py| {
        // A drop may come while an exception is on its way: that is put back as it was.
        let pending = PyErr::take(py);
        let message = CString::new(format!("effect '{name}' was never awaited")).unwrap_or_default();
        if let Err(e) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1) {
            e.write_unraisable(py, None);
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}
