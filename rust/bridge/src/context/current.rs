//! The loop that runs on this thread and the task that it steps.

use pyo3::prelude::*;

use crate::python::api::api;

/// Tells apart the tasks of which one may begin within another's step: the address of the current task where Python has
/// eager tasks (from 3.12 on), else 0; 0 also outside of any task.
pub(super) fn eager_task(py: Python<'_>) -> usize {
    let api = api(py);
    if api.tasks.is_some() {
        return 0;
    }
    // An error says that no loop runs.
    api.current_task.bind(py).call0().map_or(0, |task| if task.is_none() { 0 } else { task.as_ptr() as usize })
}

/// The running loop, or None.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let api = api(py);
    match &api.tasks {
        Some(_) => holder::running_loop(py).map_or_else(|| api.running_loop.bind(py).call0(), Ok),
        None => api.running_loop.bind(py).call0(),
    }
}

/// CPython 3.11 keeps the running loop in the thread's dictionary with the id of the process, and asks the system for
/// that id at each look: 100 of the 130 ns that this module saves. Our copy of the id changes with a fork only, of
/// which Python tells us.
mod holder {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use pyo3::prelude::*;
    use pyo3::{ffi, intern};

    use crate::globals::id;

    /// The head of `PyRunningLoopHolder` in `Modules/_asynciomodule.c`, 3.11.
    #[repr(C)]
    struct Holder {
        head: ffi::PyObject,
        event_loop: *mut ffi::PyObject,
        process: libc::pid_t,
    }

    /// The head of `PyDictObject`, 3.11.
    #[repr(C)]
    struct Dict {
        head: ffi::PyObject,
        used: ffi::Py_ssize_t,
        version: u64,
    }

    thread_local! {
        /// The dictionary's version at this thread's last look, and what it held: that is there while the version is
        /// the same.
        static LAST: Cell<(u64, *mut ffi::PyObject)> = const { Cell::new((0, std::ptr::null_mut())) };
    }

    /// `None` where the running loop cannot be read this way.
    pub(super) fn running_loop(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
        // SAFETY: the dictionary, its content and the type's name are borrowed from the interpreter, which runs nothing
        // else meanwhile: CPython 3.11 has its lock. The type tells a holder from other objects, and a holder's loop
        // does not change.
        unsafe {
            let of_thread = ffi::PyThreadState_GetDict();
            if of_thread.is_null() {
                return None;
            }
            // Every change of a dictionary gives it a version that no dictionary has had before.
            let version = (*of_thread.cast::<Dict>()).version;
            let (known, mut holder) = LAST.get();
            if known != version {
                holder = ffi::PyDict_GetItemWithError(of_thread, intern!(py, "__asyncio_running_event_loop__").as_ptr());
                LAST.set((version, holder));
            }
            if holder.is_null() || !is_holder(ffi::Py_TYPE(holder)) {
                return None;
            }
            let holder = &*holder.cast::<Holder>();
            // After a fork the parent's loop does not run here, even where its code goes on.
            if holder.process == id() { Bound::from_borrowed_ptr_or_opt(py, holder.event_loop) } else { None }
        }
    }

    /// Compares the type's name once, and its address from then on: the type is static.
    ///
    /// # Safety
    /// `class` is a type.
    unsafe fn is_holder(class: *mut ffi::PyTypeObject) -> bool {
        static KNOWN: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(std::ptr::null_mut());
        if class == KNOWN.load(Ordering::Relaxed) {
            return true;
        }
        // SAFETY: a type's name is a C string.
        let is = unsafe { std::ffi::CStr::from_ptr((*class).tp_name) } == c"_RunningLoopHolder";
        if is {
            KNOWN.store(class, Ordering::Relaxed);
        }
        is
    }
}

/// The running loop and the task that it steps; each may be None.
pub(crate) fn running(py: Python<'_>) -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>)> {
    let api = api(py);
    let event_loop = running_loop(py)?;
    let task = if event_loop.is_none() {
        None
    } else {
        match &api.tasks {
            Some(tasks) => tasks.bind(py).get_item(&event_loop)?,
            None => Some(api.current_task.bind(py).call1((&event_loop,))?),
        }
    };
    Ok((event_loop, task.unwrap_or_else(|| py.None().into_bound(py))))
}

/// The current asyncio task, or None.
pub(crate) fn current_task(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    running(py).map(|(_, task)| task)
}
