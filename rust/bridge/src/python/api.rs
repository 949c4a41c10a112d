//! Python classes and callables that the package registers for Rust at import.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFunction, PyType};

pub(crate) struct Api {
    pub(crate) timed_out: Py<PyType>,
    pub(crate) internal_error: Py<PyType>,
    pub(crate) shutting_down: Py<PyType>,
    pub(crate) rejected: Py<PyType>,
    pub(crate) queue_full: Py<PyType>,
    pub(crate) rate_limited: Py<PyType>,
    pub(crate) circuit_open: Py<PyType>,
    pub(crate) reentered: Py<PyType>,
    pub(crate) not_accepted: Py<PyType>,
    pub(crate) map: Py<PyAny>,
    pub(crate) then: Py<PyAny>,
    pub(crate) attempt: Py<PyAny>,
    pub(crate) under: Py<PyAny>,
    /// The function that a callable calls in the end, and the attributes that the callable itself has.
    pub(crate) called: Py<PyAny>,
    /// The code object of a coroutine function with a callable's signature.
    pub(crate) code_of: Py<PyAny>,
    /// An effect as the text of the call that makes it.
    pub(crate) shown: Py<PyAny>,
    /// Raises the TypeError of a call with wrong arguments.
    pub(crate) refuse: Py<PyAny>,
    /// Makes the TypeError for an argument that should be an effect.
    pub(crate) not_an_effect: Py<PyAny>,
    /// A call's arguments as its function sees them.
    pub(crate) bound: Py<PyAny>,
    /// The same, with the defaults of arguments that were not passed.
    pub(crate) whole: Py<PyAny>,
    /// The name of the argument that has no hash.
    pub(crate) unhashable: Py<PyAny>,
    /// Begins a cached call as a task of its own.
    pub(crate) fly: Py<PyAny>,
    /// Starts the task that closes a stream whose time is up while its consumer does not pull.
    pub(crate) end_stream: Py<PyAny>,
    /// A pull beside one that has not begun.
    pub(crate) another_pull: Py<PyAny>,
    /// Waits for that task, and gives what it ended the stream with.
    pub(crate) stream_ended: Py<PyAny>,
    /// Waits for the end of another task's pull.
    pub(crate) stream_rests: Py<PyAny>,
    /// Tells a future that waits for that.
    pub(crate) tell_waiter: Py<PyAny>,
    /// Finds out whether the application traces.
    pub(crate) look_for_tracing: Py<PyAny>,
    /// The headers by which a server goes on with the current span's trace.
    pub(crate) outgoing: Py<PyAny>,
    /// Passes a message to `logging`.
    pub(crate) log: Py<PyAny>,
    /// Whether the logger of the area `policy` takes records of a level.
    pub(crate) hears_policy: Py<PyAny>,
    /// Reports a step that held the loop for long.
    pub(crate) slow: Py<PyAny>,
    /// Reports a failed call to the live page, while failures are shown.
    pub(crate) failed: Py<PyAny>,
    /// Gives up the permits held by blocks of abandoned generators.
    pub(crate) disown_abandoned: Py<PyAny>,
    /// Whether a task ended by a cancel that was not requested of it.
    pub(crate) is_cut: Py<PyAny>,
    /// Enters a shielded scope if a cancelled anyio scope cancels the current task again and again.
    pub(crate) shield: Py<PyAny>,
    /// asyncio's own functions that Rust calls.
    pub(crate) current_task: Py<PyAny>,
    /// The dictionary behind `current_task`, where that function is written in Python, as on CPython 3.11: reading it
    /// directly takes a third of the time.
    pub(crate) tasks: Option<Py<PyDict>>,
    pub(crate) running_loop: Py<PyAny>,
    pub(crate) task_type: Py<PyAny>,
    /// `Task.cancelling`, looked up once.
    cancelling: Py<PyAny>,
    /// The code of the callback that `asyncio.gather` leaves on its children; None where asyncio names it otherwise.
    pub(crate) gather_code: Py<PyAny>,
}

impl Api {
    /// The number of cancels requested of a task and not taken back.
    pub(crate) fn cancelling(&self, task: &Bound<'_, PyAny>) -> PyResult<i64> {
        let py = task.py();
        let count = if task.get_type().is(self.task_type.bind(py)) {
            self.cancelling.bind(py).call1((task,))?
        } else {
            task.call_method0(intern!(py, "cancelling"))?
        };
        count.extract()
    }
}

static API: PyOnceLock<Api> = PyOnceLock::new();

pub(crate) fn api(py: Python<'_>) -> &Api {
    API.get(py).expect("mountain_runtime calls bind() at import")
}

fn gather_code<'py>(asyncio: &Bound<'py, PyModule>) -> PyResult<Bound<'py, PyAny>> {
    for constant in asyncio.getattr("gather")?.getattr("__code__")?.getattr("co_consts")?.try_iter()? {
        let constant = constant?;
        if let Some(name) = constant.getattr_opt("co_name")?
            && name.eq("_done_callback")?
        {
            return Ok(constant);
        }
    }
    Ok(asyncio.py().None().into_bound(asyncio.py()))
}

fn tasks<'py>(asyncio: &Bound<'py, PyModule>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let in_python = asyncio.getattr("current_task")?.is_instance_of::<PyFunction>();
    if !in_python {
        return Ok(None);
    }
    let tasks = asyncio.getattr("tasks")?.getattr_opt("_current_tasks")?;
    Ok(tasks.and_then(|tasks| tasks.cast_into::<PyDict>().ok()))
}

/// Registers them; the package calls it once, at import.
#[pyfunction]
#[pyo3(signature = (**names))]
pub(crate) fn bind(py: Python<'_>, names: Option<Bound<'_, PyDict>>) -> PyResult<()> {
    let names = names.unwrap_or_else(|| PyDict::new(py));
    let get = |name: &str| -> PyResult<Bound<'_, PyAny>> {
        names.get_item(name)?.ok_or_else(|| pyo3::exceptions::PyTypeError::new_err(format!("bind() needs {name}=")))
    };
    let class = |name: &str| -> PyResult<Py<PyType>> { Ok(get(name)?.cast_into::<PyType>()?.unbind()) };
    let asyncio = py.import("asyncio")?;
    let task_type = py.import("_asyncio")?.getattr("Task")?;
    let new = Api {
        timed_out: class("timed_out")?,
        internal_error: class("internal_error")?,
        shutting_down: class("shutting_down")?,
        rejected: class("rejected")?,
        queue_full: class("queue_full")?,
        rate_limited: class("rate_limited")?,
        circuit_open: class("circuit_open")?,
        reentered: class("reentered")?,
        not_accepted: class("not_accepted")?,
        map: get("map")?.unbind(),
        then: get("then")?.unbind(),
        attempt: get("attempt")?.unbind(),
        under: get("under")?.unbind(),
        called: get("called")?.unbind(),
        code_of: get("code_of")?.unbind(),
        shown: get("shown")?.unbind(),
        refuse: get("refuse")?.unbind(),
        not_an_effect: get("not_an_effect")?.unbind(),
        bound: get("bound")?.unbind(),
        whole: get("whole")?.unbind(),
        unhashable: get("unhashable")?.unbind(),
        fly: get("fly")?.unbind(),
        end_stream: get("end_stream")?.unbind(),
        another_pull: get("another_pull")?.unbind(),
        stream_ended: get("stream_ended")?.unbind(),
        stream_rests: get("stream_rests")?.unbind(),
        tell_waiter: get("tell_waiter")?.unbind(),
        look_for_tracing: get("look_for_tracing")?.unbind(),
        outgoing: get("outgoing")?.unbind(),
        log: get("log")?.unbind(),
        hears_policy: get("hears_policy")?.unbind(),
        slow: get("slow")?.unbind(),
        failed: get("failed")?.unbind(),
        disown_abandoned: get("disown_abandoned")?.unbind(),
        is_cut: get("is_cut")?.unbind(),
        shield: get("shield")?.unbind(),
        tasks: tasks(&asyncio)?.map(Bound::unbind),
        current_task: asyncio.getattr("current_task")?.unbind(),
        running_loop: asyncio.getattr("_get_running_loop")?.unbind(),
        cancelling: task_type.getattr("cancelling")?.unbind(),
        task_type: task_type.unbind(),
        gather_code: gather_code(&asyncio)?.unbind(),
    };
    let _ = API.set(py, new);
    Ok(())
}
