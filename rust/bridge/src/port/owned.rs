//! Handles that are kept until they have ended, also where all others drop them: the work that a runtime owns, which
//! its shutdown drains, cancels and reports, and the native calls of a loop. The engine knows a native call by its
//! place here. It holds no reference of its own, so that the collector sees all that there are, and ends a loop that is
//! dropped while calls are under way.

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::python::attached::Attached;

#[derive(Default)]
struct Table {
    handles: Vec<Option<Py<PyAny>>>,
    free: Vec<u32>,
}

#[derive(Default)]
pub(crate) struct Owned(Attached<Table>);

impl Owned {
    /// Keeps a handle; its place is for `release`.
    pub(crate) fn keep(&self, py: Python<'_>, handle: Py<PyAny>) -> u32 {
        let mut table = self.0.lock(py);
        let place = table.free.pop().unwrap_or_else(|| {
            table.handles.push(None);
            (table.handles.len() - 1) as u32
        });
        table.handles[place as usize] = Some(handle);
        place
    }

    /// The handle has ended. `None`: the collector, or the end of the loop, has emptied the table.
    pub(crate) fn release(&self, py: Python<'_>, place: u32) -> Option<Py<PyAny>> {
        let mut table = self.0.lock(py);
        let gone = table.handles.get_mut(place as usize)?.take();
        table.free.push(place);
        if table.free.len() == table.handles.len() && table.free.len() > 1024 {
            // A burst is over: its table goes back to the allocator.
            *table = Table::default();
        }
        gone
    }

    pub(crate) fn all(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.0.lock(py).handles.iter().flatten().map(|h| h.clone_ref(py)).collect()
    }

    /// Empties the table, and gives what was in it.
    pub(crate) fn take_all(&self, py: Python<'_>) -> impl Iterator<Item = Py<PyAny>> + use<> {
        std::mem::take(&mut *self.0.lock(py)).handles.into_iter().flatten()
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector is attached, and nothing of Python's runs here.
        let py = unsafe { Python::assume_attached() };
        let Some(table) = self.0.try_lock(py) else { return Ok(()) };
        table.handles.iter().flatten().try_for_each(|handle| visit.call(handle))
    }
}
