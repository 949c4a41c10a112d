//! The native calls that tasks of a closed loop wait for end: a place in a queue, a turn, a file.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::handle::Handle;

/// Ends the native calls that tasks of `event_loop` wait for, by themselves or in a `gather` of asyncio's. None of
/// those tasks will run again.
pub(crate) fn let_go(event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = event_loop.py();
    let tasks = py.import("asyncio")?.call_method1(intern!(py, "all_tasks"), (event_loop,))?;
    for task in tasks.try_iter()? {
        let Some(waits_for) = task?.getattr_opt(intern!(py, "_fut_waiter"))? else { continue };
        let_go_of(&waits_for);
        if let Some(children) = waits_for.getattr_opt(intern!(py, "_children"))?
            && let Ok(children) = children.cast::<PyList>()
        {
            children.iter().for_each(|child| let_go_of(&child));
        }
    }
    Ok(())
}

/// Ends a native call, if it is one.
pub(crate) fn let_go_of(future: &Bound<'_, PyAny>) {
    if let Ok(handle) = future.cast::<Handle>() {
        handle.get().let_go();
    }
}
