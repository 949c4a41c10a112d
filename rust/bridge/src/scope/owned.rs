//! The calls that a runtime owns: they go on when their handles are dropped, until they end.

use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

#[derive(Default)]
struct Table {
    handles: Vec<Option<Py<PyAny>>>,
    free: Vec<u32>,
}

#[derive(Default)]
pub(crate) struct Owned(Mutex<Table>);

impl Owned {
    /// Keep a handle; its place is for `release`.
    pub(crate) fn keep(&self, handle: Py<PyAny>) -> u32 {
        let mut table = self.0.lock();
        let place = table.free.pop().unwrap_or_else(|| {
            table.handles.push(None);
            (table.handles.len() - 1) as u32
        });
        table.handles[place as usize] = Some(handle);
        place
    }

    /// An owned handle has ended.
    pub(crate) fn release(&self, place: u32) {
        let gone = {
            let mut table = self.0.lock();
            // Cleared by the collector, it has none.
            let Some(gone) = table.handles.get_mut(place as usize).map(Option::take) else { return };
            table.free.push(place);
            if table.free.len() == table.handles.len() && table.free.len() > 1024 {
                // A burst is over: its table goes back to the allocator.
                *table = Table::default();
            }
            gone
        };
        drop(gone);
    }

    pub(crate) fn all(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.0.lock().handles.iter().flatten().map(|h| h.clone_ref(py)).collect()
    }

    pub(crate) fn clear(&self) {
        let gone = std::mem::take(&mut *self.0.lock());
        drop(gone);
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(table) = self.0.try_lock() else { return Ok(()) };
        table.handles.iter().flatten().try_for_each(|handle| visit.call(handle))
    }
}
