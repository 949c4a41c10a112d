//! Submitted calls that a holder of permits awaits, or leaves.

use pyo3::prelude::*;

use crate::context;
use crate::convert::error;
use crate::handle::Handle;

impl Handle {
    /// Notes that the current code, with its permits and as a part of its flight, waits for this submitted call. Fails
    /// where the call in turn waits for that flight.
    pub(super) fn awaited_here(&self, py: Python<'_>) -> PyResult<()> {
        let Some(work) = self.state.lock().work().cloned() else { return Ok(()) };
        let (held, flight) = context::held_and_flight(py)?;
        if work.awaited_by(held.as_ref(), flight.as_ref()) {
            return Ok(());
        }
        Err(error::circle(py, self.name()))
    }

    /// Notes that the current code waits for this submitted call no more, which goes on.
    pub(super) fn left_here(&self, py: Python<'_>) -> PyResult<()> {
        let Some(work) = self.state.lock().work().cloned() else { return Ok(()) };
        let (held, flight) = context::held_and_flight(py)?;
        work.left_by(held.as_ref(), flight.as_ref());
        Ok(())
    }
}
