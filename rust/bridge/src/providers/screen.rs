//! The screen of a terminal whose program a test plays.

use mountain_core::sync::Mutex;
use mountain_providers::process;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::providers::child::size;

/// The text is drawn as on the terminal of a process.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Screen(Mutex<process::Screen>);

#[pymethods]
impl Screen {
    #[new]
    #[pyo3(signature = (columns, rows, /))]
    fn new(columns: u16, rows: u16) -> PyResult<Self> {
        Ok(Screen(Mutex::new(process::Screen::blank(size(columns, rows)?))))
    }

    /// Yields the answers of the terminal to the program, which may ask where its cursor is.
    #[pyo3(signature = (data, /))]
    fn draw<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        let mut screen = self.0.lock();
        screen.put(data);
        while screen.draw() {}
        PyBytes::new(py, &screen.take_replies())
    }

    #[pyo3(signature = (columns, rows, /))]
    fn resize(&self, columns: u16, rows: u16) -> PyResult<()> {
        self.0.lock().resize(size(columns, rows)?);
        Ok(())
    }

    fn text(&self) -> String {
        self.0.lock().text()
    }
}
