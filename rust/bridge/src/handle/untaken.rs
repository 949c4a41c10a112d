//! A result that goes back to its source when its caller is cancelled.
//!
//!  1. A call ends with a value that was taken from a source which goes on.
//!  2. Its task looks at the result (`shown`), before the step in which it goes on.
//!  3. In that step the await takes the value.
//!
//! A cancel may come before each of them. Before 1 the answer is dropped, which has the value go back; after it the
//! await is left by an exception, and the handle lets the value go back (`goes_back`).

use mountain_core::value::Back;
use pyo3::prelude::*;

use crate::convert::value;
use crate::handle::Handle;
use crate::handle::backing::{Now, Phase, Untaken};

impl Untaken {
    /// Taken: it goes back no more.
    pub(super) fn take(self, py: Python<'_>) -> Phase {
        let object = match self {
            Untaken::Native(taken) => value::to_python(py, taken.keep()).map(Bound::unbind),
            Untaken::Shown(object, _back) => Ok(object),
        };
        object.map_or_else(|e| Phase::Error(e.into_value(py).into_any()), Phase::Value)
    }

    fn shown(self, py: Python<'_>) -> PyResult<(Py<PyAny>, Back)> {
        match self {
            Untaken::Native(taken) => {
                let (value, back) = taken.split();
                Ok((value::to_python(py, value)?.unbind(), back))
            }
            Untaken::Shown(object, back) => Ok((object, back)),
        }
    }
}

impl Handle {
    /// The value or the error that it ended with; `None` while it is pending. Counts as retrieving the error, not as
    /// taking the value.
    pub(super) fn outcome(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        let mut s = self.state.lock();
        let Some(untaken) = s.untaken() else { return self.outcome_of(py, s) };
        drop(s);
        let (phase, shown) = match untaken.shown(py) {
            Ok((object, back)) => {
                let shown = object.clone_ref(py);
                (Phase::Untaken(Box::new(Untaken::Shown(object, back))), Ok(shown))
            }
            Err(e) => (Phase::Error(e.clone_ref(py).into_value(py).into_any()), Err(e)),
        };
        self.state.lock().now = Now::Ended(phase);
        Some(shown)
    }

    /// The value of a call that has ended goes back to its source, if it was not taken.
    pub(super) fn goes_back(&self) {
        let untaken = self.state.lock().untaken();
        match untaken {
            Some(Untaken::Native(taken)) => drop(taken),
            Some(Untaken::Shown(object, back)) => {
                // SAFETY: a handle is left by code that runs, or by the collector.
                let py = unsafe { Python::assume_attached() };
                back(value::to_native(object.bind(py)));
            }
            None => {}
        }
    }
}
