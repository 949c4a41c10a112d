//! The drop of a handle: the record of a call that is still running is let go of, and an error that was never retrieved
//! is reported. A handle that a runtime owns, which ended with an error that no code ever asked for, reports that once.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::globals::clock;
use crate::handle::Handle;
use crate::handle::backing::{Now, Phase};

impl Handle {
    /// Reports the error to the loop's exception handler, or to asyncio's log where the loop is gone.
    fn report(&self, py: Python<'_>, e: &Py<PyAny>) -> PyResult<()> {
        let message = format!("the error of submitted effect '{}' was never retrieved", self.name());
        let context = PyDict::new(py);
        if let Ok(event_loop) = self.event_loop.get(py) {
            context.set_item("message", message)?;
            context.set_item("exception", e)?;
            event_loop.call_method1("call_exception_handler", (context,))?;
        } else {
            context.set_item("exc_info", e)?;
            py.import("logging")?.call_method1("getLogger", ("asyncio",))?.call_method("error", (message,), Some(&context))?;
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let s = self.state.get_mut();
        if s.record.is_running()
            && let Some(plan) = &self.plan
        {
            s.record.let_go(plan.get(), clock().now().since(self.created).as_nanos() as u64);
        }
        if s.retrieved {
            return;
        }
        let Now::Ended(phase @ Phase::Error(_)) = &mut s.now else { return };
        let Phase::Error(e) = std::mem::replace(phase, Phase::Cancelled) else { return };
        // A deallocation runs attached, but for one at the interpreter's end, when no handler is left.
        Python::try_attach(|py| {
            let pending = PyErr::take(py);
            if can_import(py)
                && let Err(x) = self.report(py, &e)
            {
                x.write_unraisable(py, None);
            }
            drop(e);
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }
}

/// Whether the interpreter still has its modules: the report imports some.
fn can_import(_py: Python<'_>) -> bool {
    // SAFETY: attached; gives a borrowed reference or null, and sets no error.
    let meta_path = unsafe { ffi::PySys_GetObject(c"meta_path".as_ptr()) };
    // SAFETY: compares addresses.
    !meta_path.is_null() && meta_path != unsafe { ffi::Py_None() }
}
