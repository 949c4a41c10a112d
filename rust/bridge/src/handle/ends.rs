//! The end of the first of several futures that decides: a failure in a gather, a success in a race.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit};

use crate::handle::Handle;
use crate::handle::backing::{Backing, Now, Phase};
use crate::port::Port;
use crate::python::type_slots::track_later;

/// The done callback of each.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(super) struct Ends {
    left: AtomicUsize,
    of_race: bool,
    found: Py<Handle>,
}

#[pymethods]
impl Ends {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        self.ended(future)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.found)
    }
}

impl Ends {
    fn ended(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = future.py();
        let last = self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        let found = self.found.bind(py);
        if !found.get().pending() {
            return Ok(());
        }
        if self.decides(future)? {
            Handle::resolve(found, Phase::Value(future.clone().unbind()), false)
        } else if last {
            Handle::resolve(found, Phase::Value(py.None()), false)
        } else {
            Ok(())
        }
    }

    /// Of a gather: a failure or a cancel. Of a race: a success, a cancel, or what is no mere failure.
    fn decides(&self, future: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = future.py();
        let error = if let Ok(handle) = future.cast_exact::<Handle>() {
            let mut s = handle.get().state.lock();
            match &s.now {
                Now::Ended(Phase::Error(e) | Phase::Shared(e, _)) => {
                    let e = e.clone_ref(py).into_bound(py);
                    s.retrieved = true;
                    Some(e)
                }
                Now::Ended(Phase::Value(_) | Phase::Untaken(_)) => None,
                Now::Ended(Phase::Cancelled) | Now::Pending(..) => return Ok(true),
            }
        } else {
            if future.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
                return Ok(true);
            }
            Some(future.call_method0(intern!(py, "exception"))?).filter(|error| !error.is_none())
        };
        Ok(match error {
            Some(error) => !self.of_race || !error.is_instance_of::<PyException>(),
            None => self.of_race,
        })
    }
}

/// A handle that ends with the first of `futures` to decide; with None when all have ended and none did.
#[pyfunction]
#[pyo3(signature = (futures, of_race, /))]
pub(crate) fn first_end<'py>(futures: &Bound<'py, PyList>, of_race: bool) -> PyResult<Bound<'py, Handle>> {
    let py = futures.py();
    let port = Port::current(py)?;
    let found = Handle::new(py, &port.get().event_loop, None, Backing::Parked)?;
    if futures.is_empty() {
        Handle::resolve(&found, Phase::Value(py.None()), false)?;
        return Ok(found);
    }
    let ends = Bound::new(py, Ends { left: AtomicUsize::new(futures.len()), of_race, found: found.clone().unbind() })?;
    for future in futures {
        let Ok(handle) = future.cast_exact::<Handle>() else {
            future.call_method1(intern!(py, "add_done_callback"), (&ends,))?;
            continue;
        };
        let pending = {
            let mut s = handle.get().state.lock();
            let pending = s.pending();
            if pending {
                s.add_callback((ends.clone().into_any().unbind(), None));
            }
            pending
        };
        if pending {
            track_later(handle);
        } else {
            ends.get().ended(&future)?;
        }
    }
    Ok(found)
}
