//! A plan: a stack of policies as users wrote it, and as the engine runs it. Made where the effect is written, shared by all its calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mountain_core::effect::{Holder, Keys, OnErrno, Term, Terms, Use};
use mountain_core::error::Owner;
use mountain_core::observe::{Tally, count};
use mountain_core::policy::{self, retry, timeout};
use mountain_core::sync::Mutex;
use pyo3::exceptions::{PyBaseException, PyException, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::circuit::Circuit;
use crate::context::{self, to_seconds};
use crate::face::face;
use crate::jitter::jitter_of;
use crate::keyed;
use crate::permits::Permits;
use crate::process;
use crate::rates::Rates;
use crate::store::{Budget, Store};

/// One compiled policy.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Layer {
    core: policy::Layer,
    on: Option<Py<PyAny>>,
    /// What stands in, of a fallback.
    to: Option<Py<PyAny>>,
    asks: Asks,
}

/// What a layer wants to know of a call, from the call's arguments.
#[derive(Default)]
struct Asks {
    key: Option<(Py<PyAny>, Arc<Keys>)>,
    cost: Option<Py<PyAny>>,
    /// The whole call is the key, or what a function makes of it.
    call: Option<(Option<Py<PyAny>>, Arc<Keys>)>,
}

impl Asks {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        let key = self.key.as_ref().map(|(key, keys)| (key.clone_ref(py), keys.clone()));
        let call = self.call.as_ref().map(|(key, keys)| (key.as_ref().map(|key| key.clone_ref(py)), keys.clone()));
        Asks { key, cost: self.cost.as_ref().map(|cost| cost.clone_ref(py)), call }
    }

    fn any(&self) -> bool {
        self.key.is_some() || self.cost.is_some() || self.call.is_some()
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some((key, _)) = &self.key {
            visit.call(key)?;
        }
        if let Some((key, _)) = &self.call {
            visit.call(key)?;
        }
        visit.call(&self.cost)
    }
}

#[pymethods]
impl Layer {
    #[staticmethod]
    #[pyo3(signature = (seconds, /))]
    fn timeout(#[pyo3(from_py_with = to_seconds)] seconds: Duration) -> Self {
        Layer::of(policy::Layer::Timeout(timeout::Settings { limit: seconds }))
    }

    #[staticmethod]
    #[pyo3(signature = (on, attempts, initial, factor, max, jitter, max_retry_after, budget = None))]
    #[expect(clippy::too_many_arguments, reason = "as many as it has settings")]
    fn retry(
        on: Py<PyAny>,
        attempts: Option<u32>,
        initial: f64,
        factor: f64,
        max: f64,
        jitter: &str,
        #[pyo3(from_py_with = to_seconds)] max_retry_after: Duration,
        budget: Option<PyRef<'_, Budget>>,
    ) -> PyResult<Self> {
        let backoff = retry::Backoff { initial, factor, max, jitter: jitter_of(jitter)? };
        let budget = budget.map(|budget| budget.0.clone());
        let layer = policy::Layer::Retry(retry::Settings { attempts, backoff, max_retry_after, budget });
        Ok(Layer { on: Some(on), ..Layer::of(layer) })
    }

    #[staticmethod]
    #[pyo3(signature = (permits, key, /))]
    fn limit(permits: &Bound<'_, Permits>, key: Option<Py<PyAny>>) -> Self {
        let permits = permits.get();
        let key = key.map(|key| (key, permits.keys.clone()));
        Layer { asks: Asks { key, ..Asks::default() }, ..Layer::of(policy::Layer::Limit(permits.limit.clone())) }
    }

    #[staticmethod]
    #[pyo3(signature = (rates, key, cost, /))]
    fn rate(rates: &Bound<'_, Rates>, key: Option<Py<PyAny>>, cost: Option<Py<PyAny>>) -> Self {
        let rates = rates.get();
        let key = key.map(|key| (key, rates.keys.clone()));
        Layer { asks: Asks { key, cost, call: None }, ..Layer::of(policy::Layer::Rate(rates.rate.clone())) }
    }

    #[staticmethod]
    #[pyo3(signature = (circuit, on, key, /))]
    fn breaker(circuit: &Bound<'_, Circuit>, on: Py<PyAny>, key: Option<Py<PyAny>>) -> Self {
        let circuit = circuit.get();
        let key = key.map(|key| (key, circuit.keys.clone()));
        let of = Layer::of(policy::Layer::Breaker(circuit.breaker.clone()));
        Layer { on: Some(on), asks: Asks { key, ..Asks::default() }, ..of }
    }

    #[staticmethod]
    #[pyo3(signature = (store, key, /))]
    fn cache(store: &Bound<'_, Store>, key: Option<Py<PyAny>>) -> Self {
        let store = store.get();
        let asks = Asks { key: None, cost: None, call: Some((key, store.keys.clone())) };
        Layer { asks, ..Layer::of(policy::Layer::Cache(store.cache.clone())) }
    }

    #[staticmethod]
    #[pyo3(signature = (to, on, /))]
    fn fallback(to: Py<PyAny>, on: Py<PyAny>) -> Self {
        Layer { on: Some(on), to: Some(to), ..Layer::of(policy::Layer::Fallback) }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.on)?;
        visit.call(&self.to)?;
        self.asks.traverse(&visit)
    }
}

impl Layer {
    fn of(core: policy::Layer) -> Self {
        Layer { core, on: None, to: None, asks: Asks::default() }
    }
}

/// What a retry goes on from, as Python says it.
pub(crate) enum On {
    /// Not a retry.
    Nothing,
    /// `rejected` are those of the named classes that a rejection must match: only a class of its own tree names it.
    Classes {
        named: Py<PyTuple>,
        rejected: Py<PyTuple>,
    },
    Function(Py<PyAny>),
}

impl On {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            On::Nothing => On::Nothing,
            On::Classes { named, rejected } => On::Classes { named: named.clone_ref(py), rejected: rejected.clone_ref(py) },
            On::Function(f) => On::Function(f.clone_ref(py)),
        }
    }
}

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
#[expect(clippy::struct_excessive_bools, reason = "what was found out about its layers and its function, each apart")]
pub(crate) struct Plan {
    #[pyo3(get)]
    policies: Py<PyTuple>,
    #[pyo3(get)]
    pub(crate) name: String,
    pub(crate) stack: Arc<[policy::Layer]>,
    on: Vec<On>,
    /// The same for native errors; `None` where only Python can judge.
    native_on: Option<Arc<[OnErrno]>>,
    pub(crate) tally: Arc<Tally>,
    /// Where retries and fallbacks are counted: those of a flight, too, at the effect's own.
    pub(crate) parts: Arc<Tally>,
    pub(crate) retries: bool,
    pub(crate) caches: bool,
    /// By layer; empty where none asks.
    asks: Vec<Asks>,
    /// Some layer queues or counts calls.
    queues: bool,
    /// The function that is called, whose signature says what its arguments are. None where there is none to ask.
    #[pyo3(get)]
    function: Option<Py<PyAny>>,
    /// The first ones are none of the function's.
    #[pyo3(get)]
    skip: usize,
    /// What caches ask: its first argument is its `self`; calls of so many arguments by position are whole.
    #[pyo3(get)]
    method: bool,
    #[pyo3(get)]
    arity: Option<usize>,
    /// What stands in, by layer.
    to: Vec<Option<Py<PyAny>>>,
    /// The plans of what stands inside its caches, by layer.
    inside: Mutex<Vec<(usize, Py<Plan>)>>,
    /// Of what stands inside a cache: the address of the whole stack's plan, and how many layers it has around.
    part_of: Option<(usize, usize)>,
}

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (policies, layers, name, function = None, skip = 0, method = false, arity = None))]
    #[expect(clippy::too_many_arguments, reason = "what there is to know of a function")]
    fn new(
        py: Python<'_>,
        policies: Py<PyTuple>,
        layers: Vec<PyRef<'_, Layer>>,
        name: String,
        function: Option<Py<PyAny>>,
        skip: usize,
        method: bool,
        arity: Option<usize>,
    ) -> PyResult<Self> {
        let on = layers.iter().map(|l| read_on(py, l.on.as_ref())).collect::<PyResult<Vec<_>>>()?;
        let native_on = layers.iter().map(|l| native_on(py, l)).collect::<Option<Vec<_>>>().map(Into::into);
        let retries = layers.iter().any(|l| matches!(l.core, policy::Layer::Retry(_)));
        let caches = layers.iter().any(|l| matches!(l.core, policy::Layer::Cache(_)));
        let stack = layers.iter().map(|l| l.core.clone()).collect();
        let tally = process::tally(&name);
        let to = layers.iter().map(|l| l.to.as_ref().map(|to| to.clone_ref(py))).collect();
        let asks: Vec<Asks> = layers.iter().map(|l| l.asks.clone_ref(py)).collect();
        let asks = if asks.iter().any(Asks::any) { asks } else { Vec::new() };
        let queues = layers.iter().any(|l| queues(&l.core));
        Ok(Plan {
            policies,
            name,
            stack,
            on,
            native_on,
            parts: tally.clone(),
            tally,
            retries,
            caches,
            asks,
            queues,
            function,
            skip,
            method,
            arity,
            to,
            inside: Mutex::default(),
            part_of: None,
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.policies)?;
        visit.call(&self.function)?;
        self.to.iter().try_for_each(|to| visit.call(to))?;
        if let Some(inside) = self.inside.try_lock() {
            inside.iter().try_for_each(|(_, plan)| visit.call(plan))?;
        }
        self.asks.iter().try_for_each(|asks| asks.traverse(&visit))?;
        for on in &self.on {
            match on {
                On::Nothing => {}
                On::Classes { named, rejected } => {
                    visit.call(named)?;
                    visit.call(rejected)?;
                }
                On::Function(f) => visit.call(f)?,
            }
        }
        Ok(())
    }
}

impl Plan {
    /// A plan without policies.
    pub(crate) fn bare<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, Plan>> {
        Bound::new(py, Plan::new(py, PyTuple::empty(py).unbind(), Vec::new(), name.to_owned(), None, 0, false, None)?)
    }

    pub(crate) fn on(&self, layer: usize) -> &On {
        self.on.get(layer).unwrap_or(&On::Nothing)
    }

    pub(crate) fn native_on(&self) -> Option<&Arc<[OnErrno]>> {
        self.native_on.as_ref()
    }

    /// What a call with these arguments brings to the layers that queue it or count it.
    pub(crate) fn terms(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Terms> {
        if !self.queues {
            return Ok(Terms::default());
        }
        let py = args.py();
        let (priority, (held, flight)) = (context::priority(py)?, context::within(py)?);
        let held = held.map(Holder::from);
        if self.asks.is_empty() {
            return Ok(Terms { priority, layers: Vec::new(), held, flight });
        }
        let args = if self.skip > 0 { args.get_slice(self.skip, args.len()) } else { args.clone() };
        // What was given by position is so already.
        let (args, kwargs) = match (&self.function, kwargs.filter(|k| !k.is_empty())) {
            (Some(function), Some(kwargs)) => {
                let bound = face(py).bound.bind(py).call1((function, args, kwargs))?;
                bound.extract::<(Bound<'_, PyTuple>, Option<Bound<'_, PyDict>>)>()?
            }
            (_, kwargs) => (args, kwargs.cloned()),
        };
        let term = |asks: &Asks| -> PyResult<Term> {
            let mut term = Term::default();
            if let Some((key, keys)) = &asks.key {
                let key = key.bind(py).call(&args, kwargs.as_ref())?;
                term.key = Some(keyed::intern(keys, &key)?);
            }
            if let Some((key, keys)) = &asks.call {
                let key = key.as_ref().map(|key| key.bind(py));
                term.key = Some(self.intern_call(key, keys, &args, kwargs.as_ref())?);
            }
            if let Some(cost) = &asks.cost {
                let cost = cost.bind(py).call(&args, kwargs.as_ref())?;
                let usable = |cost: &f64| *cost >= 0.0 && cost.is_finite();
                term.cost = cost.extract().ok().filter(usable).ok_or_else(|| {
                    let gave = cost.repr().map_or_else(|_| "?".into(), |r| r.to_string());
                    let name = &self.name;
                    PyValueError::new_err(format!("cost= of effect '{name}' gave {gave}: it must be a finite number, 0 or more"))
                })?;
            }
            Ok(term)
        };
        let layers = self.asks.iter().map(term).collect::<PyResult<_>>()?;
        Ok(Terms { priority, layers, held, flight })
    }

    /// The key of a whole call: (function, ...), with what `key` makes of the arguments, or the arguments.
    fn intern_call(
        &self,
        key: Option<&Bound<'_, PyAny>>,
        keys: &Arc<Keys>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Use> {
        let py = args.py();
        let function = match &self.function {
            Some(function) => function.bind(py).clone(),
            None => PyString::new(py, &self.name).into_any(),
        };
        let call = if let Some(key) = key {
            PyTuple::new(py, [function.clone(), key.call(args, kwargs)?])?
        } else if self.function.is_none() || (kwargs.is_none() && self.arity == Some(args.len()) && !self.method) {
            with(&function, args)?
        } else {
            let whole = face(py).whole.bind(py).call1((&function, self.method, args, kwargs))?;
            with(&function, whole.cast::<PyTuple>()?)?
        };
        keyed::intern(keys, &call).map_err(|e| {
            if !e.is_instance_of::<PyTypeError>(py) {
                return e;
            }
            let named = face(py).unhashable.bind(py).call1((&self.name, function, self.method, args, kwargs));
            named.map_or_else(|e| e, PyErr::from_value)
        })
    }

    /// The plan of what stands inside the cache at `layer`. It counts its ends for itself: those of the calls are
    /// counted where they are made.
    pub(crate) fn inside<'py>(slf: &Bound<'py, Self>, layer: usize) -> PyResult<Bound<'py, Plan>> {
        let (py, me) = (slf.py(), slf.get());
        let known = me.inside.lock().iter().find(|(at, _)| *at == layer).map(|(_, plan)| plan.clone_ref(py));
        if let Some(known) = known {
            return Ok(known.into_bound(py));
        }
        let from = layer + 1;
        let policies = me.policies.bind(py).get_slice(from, me.policies.bind(py).len());
        let asks = me.asks.get(from..).map_or_else(Vec::new, |asks| asks.iter().map(|asks| asks.clone_ref(py)).collect());
        let stack: Arc<[policy::Layer]> = me.stack[from..].into();
        let plan = Plan {
            policies: policies.unbind(),
            name: me.name.clone(),
            on: me.on[from..].iter().map(|on| on.clone_ref(py)).collect(),
            native_on: me.native_on.as_ref().map(|on| on[from..].into()),
            tally: Arc::default(),
            parts: me.parts.clone(),
            retries: stack.iter().any(|l| matches!(l, policy::Layer::Retry(_))),
            caches: stack.iter().any(|l| matches!(l, policy::Layer::Cache(_))),
            asks,
            queues: stack.iter().any(queues),
            stack,
            function: me.function.as_ref().map(|f| f.clone_ref(py)),
            skip: me.skip,
            method: me.method,
            arity: me.arity,
            to: me.to[from..].iter().map(|to| to.as_ref().map(|to| to.clone_ref(py))).collect(),
            inside: Mutex::default(),
            part_of: Some({
                let (whole, around) = me.place(slf);
                (whole, around + from)
            }),
        };
        let plan = Bound::new(py, plan)?;
        me.inside.lock().push((layer, plan.clone().unbind()));
        Ok(plan)
    }

    /// The address of the whole stack's plan, and how many of its layers stand around this one's.
    pub(crate) fn place(&self, itself: &Bound<'_, Self>) -> (usize, usize) {
        self.part_of.unwrap_or((itself.as_ptr() as usize, 0))
    }

    /// The same, of a part.
    pub(crate) fn part_of(&self) -> Option<(usize, usize)> {
        self.part_of
    }

    /// What the fallback at `layer` gives for an error.
    pub(crate) fn stand_in<'py>(
        &self,
        py: Python<'py>,
        layer: usize,
        error: &Bound<'py, PyBaseException>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.to.get(layer).and_then(Option::as_ref) {
            Some(to) => to.bind(py).call1((error,)),
            None => Ok(py.None().into_bound(py)),
        }
    }

    /// A policy as it is written, for a message.
    pub(crate) fn policy(&self, py: Python<'_>, layer: usize) -> Option<String> {
        let policy = self.policies.bind(py).get_item(layer).ok()?;
        Some(policy.repr().map_or_else(|_| "?".into(), |r| r.to_string()))
    }

    /// Whose limit it was, for a message.
    pub(crate) fn whose(&self, py: Python<'_>, owner: Owner) -> Option<String> {
        match owner {
            Owner::Layer(layer) => self.policy(py, layer),
            Owner::Inherited => Some("deadline".into()),
            Owner::Nobody => None,
        }
    }

    /// ` under Timeout(10), Retry(...)`, or nothing.
    pub(crate) fn describe(&self, py: Python<'_>) -> PyResult<String> {
        let policies: Vec<String> = self.policies.bind(py).iter().map(|p| Ok(p.repr()?.to_string())).collect::<PyResult<_>>()?;
        Ok(if policies.is_empty() { String::new() } else { format!(" under {}", policies.join(", ")) })
    }

    pub(crate) fn count_error(&self, e: &Bound<'_, PyAny>) {
        let py = e.py();
        let is = |class: &Bound<'_, PyAny>| e.is_instance(class).unwrap_or(false);
        if is(face(py).timed_out.bind(py)) {
            count(&self.tally.timed_out);
        } else if is(face(py).rejected.bind(py)) {
            count(&self.tally.rejected);
        } else if e.is_instance_of::<pyo3::exceptions::asyncio::CancelledError>() {
            count(&self.tally.cancelled);
        } else {
            count(&self.tally.failed);
        }
    }

    pub(crate) fn count_attempts(&self, attempts: u32) {
        if attempts > 1 {
            self.parts.retried.fetch_add(u64::from(attempts - 1), Ordering::Relaxed);
        }
    }
}

/// A call as one tuple.
fn with<'py>(function: &Bound<'py, PyAny>, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyTuple>> {
    let py = function.py();
    match args.len() {
        1 => PyTuple::new(py, [function, &args.get_item(0)?]),
        _ => PyTuple::new(py, std::iter::once(function.clone()).chain(args.iter()).collect::<Vec<_>>()),
    }
}

/// It queues calls, or counts them, or has a key.
fn queues(layer: &policy::Layer) -> bool {
    !matches!(layer, policy::Layer::Timeout(_) | policy::Layer::Retry(_) | policy::Layer::Fallback)
}

/// The classes of an `on=`, or `None` for a function.
fn classes<'py>(on: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyType>>>> {
    if let Ok(class) = on.cast::<PyType>() {
        return Ok(Some(vec![class.clone()]));
    }
    match on.cast::<PyTuple>() {
        Ok(tuple) => Ok(Some(tuple.iter().map(pyo3::Bound::cast_into::<PyType>).collect::<Result<_, _>>()?)),
        Err(_) => Ok(None),
    }
}

fn read_on(py: Python<'_>, on: Option<&Py<PyAny>>) -> PyResult<On> {
    let Some(on) = on else { return Ok(On::Nothing) };
    let on = on.bind(py);
    match classes(on)? {
        Some(named) => {
            let of_rejected = face(py).rejected.bind(py);
            let own: Vec<_> = named.iter().filter(|c| c.is_subclass(of_rejected).unwrap_or(false)).cloned().collect();
            Ok(On::Classes { named: PyTuple::new(py, named)?.unbind(), rejected: PyTuple::new(py, own)?.unbind() })
        }
        None if on.is_callable() => Ok(On::Function(on.clone().unbind())),
        None => Err(PyTypeError::new_err("a retry's on= is an exception class, a tuple of them, or a function")),
    }
}

/// The errnos that CPython maps to each subclass of OSError (PEP 3151).
const ERRNOS: &[(&str, &[i32])] = &[
    ("BlockingIOError", &[libc::EAGAIN, libc::EALREADY, libc::EWOULDBLOCK, libc::EINPROGRESS]),
    ("ChildProcessError", &[libc::ECHILD]),
    ("ConnectionError", &[libc::EPIPE, libc::ESHUTDOWN, libc::ECONNABORTED, libc::ECONNREFUSED, libc::ECONNRESET]),
    ("BrokenPipeError", &[libc::EPIPE, libc::ESHUTDOWN]),
    ("ConnectionAbortedError", &[libc::ECONNABORTED]),
    ("ConnectionRefusedError", &[libc::ECONNREFUSED]),
    ("ConnectionResetError", &[libc::ECONNRESET]),
    ("FileExistsError", &[libc::EEXIST]),
    ("FileNotFoundError", &[libc::ENOENT]),
    ("InterruptedError", &[libc::EINTR]),
    ("IsADirectoryError", &[libc::EISDIR]),
    ("NotADirectoryError", &[libc::ENOTDIR]),
    ("PermissionError", &[libc::EACCES, libc::EPERM]),
    ("ProcessLookupError", &[libc::ESRCH]),
    ("TimeoutError", &[libc::ETIMEDOUT]),
];

/// `on` by errno. `None`: a class or function that only Python can judge, so the effect runs inline.
fn native_on(py: Python<'_>, layer: &Layer) -> Option<OnErrno> {
    // What they give is Python's.
    if matches!(layer.core, policy::Layer::Cache(_) | policy::Layer::Fallback) {
        return None;
    }
    let Some(on) = &layer.on else { return Some(Some(Vec::new())) };
    let mut errnos = Vec::new();
    for class in classes(on.bind(py)).ok()?? {
        // Whatever native work fails with is a failure to a breaker. A retry that names everything goes on from more than the system's errors.
        let all = matches!(layer.core, policy::Layer::Breaker(_)) && class.is(py.get_type::<PyException>());
        if all || class.is(py.get_type::<PyOSError>()) {
            return Some(None);
        }
        // The builtin classes only: a user's subclass of the same name is not what an errno makes.
        let builtin = class.is_subclass(&py.get_type::<PyOSError>()).ok()? && class.module().ok()?.to_str().ok()? == "builtins";
        if !builtin {
            return None;
        }
        let name: Bound<'_, PyString> = class.name().ok()?;
        let name = name.to_str().ok()?;
        errnos.extend(ERRNOS.iter().find(|(n, _)| *n == name)?.1);
    }
    Some(Some(errnos))
}
