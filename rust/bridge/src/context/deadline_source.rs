//! The origin of an inherited deadline: a policy of the effect around, or a `deadline()` block. Its text is made only
//! where an error or a repr shows it.

use std::sync::Arc;

use mountain_core::error::Origin;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::python::pyref::PyRef;

/// `R` is the kind of reference: native work holds a `PyRef`, which any thread may drop.
pub(crate) struct DeadlineSource<R = Py<PyAny>> {
    /// The plan of the effect around; or, of a block, a tuple of its seconds and the name of its code.
    by: R,
    /// The place of the policy in the plan.
    layer: usize,
}

impl DeadlineSource {
    pub(crate) fn policy(plan: Py<PyAny>, layer: usize) -> Self {
        DeadlineSource { by: plan, layer }
    }

    pub(crate) fn block(block: Py<PyTuple>) -> Self {
        DeadlineSource { by: block.into_any(), layer: 0 }
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        DeadlineSource { by: self.by.clone_ref(py), layer: self.layer }
    }

    /// The same source, for native work to carry.
    pub(crate) fn into_origin(self) -> Origin {
        Origin(Arc::new(DeadlineSource { by: PyRef::new(self.by), layer: self.layer }))
    }

    pub(crate) fn of_origin(py: Python<'_>, origin: &Origin) -> Option<Self> {
        let source = origin.0.downcast_ref::<DeadlineSource<PyRef>>()?;
        // SAFETY: any object is a `PyAny`.
        let by = unsafe { source.by.clone_as::<PyAny>(py) };
        Some(DeadlineSource { by: by.unbind(), layer: source.layer })
    }

    /// `Timeout(3) of effect 'fetch'`, or `deadline(5) in 'main'`.
    pub(crate) fn text(&self, py: Python<'_>) -> String {
        self.written(py).unwrap_or_else(|_| "a limit around it".into())
    }

    fn written(&self, py: Python<'_>) -> PyResult<String> {
        let by = self.by.bind(py);
        if let Ok(block) = by.cast::<PyTuple>() {
            let (seconds, name): (Bound<'_, PyFloat>, String) = block.extract()?;
            let seconds: String = seconds.call_method1(intern!(py, "__format__"), (".12g",))?.extract()?;
            return Ok(if name.is_empty() { format!("deadline({seconds})") } else { format!("deadline({seconds}) in '{name}'") });
        }
        let policy = by.getattr(intern!(py, "policies"))?.get_item(self.layer)?.repr()?;
        let name: String = by.getattr(intern!(py, "name"))?.extract()?;
        let kind = if by.getattr(intern!(py, "streams"))?.is_truthy()? { "stream" } else { "effect" };
        Ok(format!("{policy} of {kind} '{name}'"))
    }

    /// The plan, or the block, and the place of the policy in the plan.
    pub(crate) fn by(&self) -> (&Py<PyAny>, usize) {
        (&self.by, self.layer)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.by)
    }
}
