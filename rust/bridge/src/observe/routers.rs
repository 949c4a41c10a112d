//! Figures of routers, their commands and their callers: each request is counted as it comes, and as it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mountain_core::telemetry::{CallerTally, CommandTally, ENDS, OTHER, RouterTally};
use mountain_core::time::Ticks;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::globals::{clock, telemetry};

/// The figures of one router, for as long as the program has it.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct RouterFigures(Arc<RouterTally>);

#[pymethods]
impl RouterFigures {
    #[new]
    #[pyo3(signature = (name, /))]
    fn new(name: &str) -> Self {
        let tally = telemetry().routers.of(name);
        tally.open();
        RouterFigures(tally)
    }

    /// Those of one command; of requests that name none, without a name.
    #[pyo3(signature = (name=None, /))]
    fn command(&self, name: Option<&str>) -> CommandFigures {
        CommandFigures(telemetry().of_command(&self.0, name.unwrap_or(OTHER)))
    }

    /// Those of one connection, until it is closed or dropped.
    #[pyo3(signature = (caller, address, /))]
    fn caller(&self, caller: &str, address: &str) -> CallerFigures {
        let (number, tally) = self.0.enter(caller, address);
        CallerFigures { tally, connection: Some((number, self.0.clone())) }
    }

    /// Those of the program itself.
    fn here(&self) -> CallerFigures {
        CallerFigures { tally: self.0.here(), connection: None }
    }
}

impl Drop for RouterFigures {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct CommandFigures(Arc<CommandTally>);

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct CallerFigures {
    tally: Arc<CallerTally>,
    connection: Option<(u64, Arc<RouterTally>)>,
}

#[pymethods]
impl CallerFigures {
    /// A request of it has come. The number is handed to `succeeded` or `ended`, of which one is called, once.
    #[pyo3(signature = (command, /))]
    fn begin(&self, command: &Bound<'_, CommandFigures>) -> u64 {
        self.tally.begin(&command.get().0);
        clock().ticks().bits()
    }

    #[pyo3(signature = (command, began, /))]
    fn succeeded(&self, command: &Bound<'_, CommandFigures>, began: u64) {
        self.end(command, began, 0);
    }

    /// It has ended with an error.
    #[pyo3(signature = (command, began, end, /))]
    fn ended(&self, command: &Bound<'_, CommandFigures>, began: u64, end: &str) -> PyResult<()> {
        self.end(command, began, place(end)?);
        Ok(())
    }

    /// A request of it was refused at once.
    #[pyo3(signature = (command, end, /))]
    fn refuse(&self, command: &Bound<'_, CommandFigures>, end: &str) -> PyResult<()> {
        self.tally.refuse(&command.get().0, place(end)?);
        Ok(())
    }

    /// The connection has ended.
    fn close(&self) {
        if let Some((number, router)) = &self.connection {
            router.leave(*number);
        }
    }
}

impl Drop for CallerFigures {
    fn drop(&mut self) {
        self.close();
    }
}

impl CallerFigures {
    fn end(&self, command: &Bound<'_, CommandFigures>, began: u64, end: usize) {
        self.tally.end(&command.get().0, end, clock().took(Ticks::from_bits(began)));
    }
}

fn place(end: &str) -> PyResult<usize> {
    let found = ENDS.into_iter().position(|each| each == end);
    found.ok_or_else(|| PyValueError::new_err(format!("no end of a request: {end}")))
}

/// Counts lines of recorded requests that were not written.
#[pyfunction]
#[pyo3(signature = (lines, /))]
pub(crate) fn record_lost(lines: u64) {
    telemetry().record_lost.fetch_add(lines, Ordering::Relaxed);
}
