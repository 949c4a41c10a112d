//! What the package hands down at import: its classes that Rust raises or builds, and its functions that Rust calls.

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
    pub(crate) map: Py<PyAny>,
    pub(crate) then: Py<PyAny>,
    pub(crate) attempt: Py<PyAny>,
    pub(crate) under: Py<PyAny>,
    /// What a callable calls in the end, and what it gives of its own.
    pub(crate) called: Py<PyAny>,
    /// The code of a coroutine function that takes what a callable takes.
    pub(crate) code_of: Py<PyAny>,
    /// An effect as one would write it.
    pub(crate) shown: Py<PyAny>,
    /// Raises the TypeError of wrong arguments.
    pub(crate) refuse: Py<PyAny>,
    /// The TypeError of what takes effects and got something else.
    pub(crate) not_an_effect: Py<PyAny>,
    /// A call's arguments as its function sees them.
    pub(crate) bound: Py<PyAny>,
    /// The same, with what was not given.
    pub(crate) whole: Py<PyAny>,
    /// Which argument has no hash.
    pub(crate) unhashable: Py<PyAny>,
    /// Begins a cached call as a task of its own.
    pub(crate) fly: Py<PyAny>,
    /// Whether the application traces is found out.
    pub(crate) look_for_tracing: Py<PyAny>,
    /// The native side has something to say.
    pub(crate) log: Py<PyAny>,
    /// Whether the logger of the area `policy` takes records of a level.
    pub(crate) hears_policy: Py<PyAny>,
    /// A step took long.
    pub(crate) slow: Py<PyAny>,
    /// A call failed, while failures are shown.
    pub(crate) failed: Py<PyAny>,
    /// Gives up the slots of abandoned generators.
    pub(crate) disown_abandoned: Py<PyAny>,
    /// Whether the cancel that came out of a task was asked for by nobody.
    pub(crate) is_cut: Py<PyAny>,
    /// Enters a shielded scope, if a cancelled one of anyio's asks the current task again and again.
    pub(crate) shield: Py<PyAny>,
    /// asyncio's own functions that Rust calls.
    pub(crate) current_task: Py<PyAny>,
    /// Where `current_task` looks, if it is written in Python, as on CPython 3.11: then to look for oneself takes a third of the time.
    pub(crate) tasks: Option<Py<PyDict>>,
    pub(crate) running_loop: Py<PyAny>,
    pub(crate) task_type: Py<PyAny>,
    /// Its method, which is looked up once.
    cancelling: Py<PyAny>,
    /// The code of the callback that `asyncio.gather` leaves on what it gathers; None where it has another name.
    pub(crate) gather_code: Py<PyAny>,
}

impl Api {
    /// How many cancels of that task have been asked for.
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

/// Called once, by the package.
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
        look_for_tracing: get("look_for_tracing")?.unbind(),
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
