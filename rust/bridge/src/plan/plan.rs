//! A plan: a stack of policies as users wrote it, and as the engine runs it. Made where the effect is written, shared by all its calls.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use mountain_core::effect::{Holder, Keys, OnErrno, Term, Terms, Use};
use mountain_core::error::Owner;
use mountain_core::observe::{Count, Doing, Tally};
use mountain_core::policy;
use mountain_core::sync::Mutex;
use mountain_core::telemetry::{Labels, shortened};
use pyo3::exceptions::{PyBaseException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::context;
use crate::globals::telemetry;
use crate::plan::layer::{Asks, Layer, On, native_on, read_on};
use crate::policy::keyed;
use crate::policy::reentry;
use crate::python::api::api;

/// Policies, whether the calls' arguments are known, and the plan of both.
type Around = (Py<PyTuple>, bool, Py<Plan>);

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
    /// Some layer wants to know more of a call than that it is one.
    takes_terms: bool,
    /// The function that is called, whose signature says what its arguments are. None where there is none to ask.
    #[pyo3(get)]
    pub(crate) function: Option<Py<PyAny>>,
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
    /// The policies that were last put around it, and the plan that this made: whoever does it again has that. None that
    /// hold functions of the user's, which may hold anything.
    around: Mutex<Option<Around>>,
    /// Which plan it is: another one may come to have its address.
    number: u64,
    /// Of what stands inside a cache: the number of the whole stack's plan, and how many layers it has around.
    part_of: Option<(u64, usize)>,
    /// Around an effect of its name, which is counted and watched for itself: this is not.
    pub(crate) silent: bool,
    /// How many of its policies, from the outermost, were put around the function's own.
    added: AtomicUsize,
    /// A call of it has begun.
    met: AtomicBool,
    /// Made when somebody looks.
    labels: OnceLock<Arc<Labels>>,
}

/// The next plan's.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

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
        let on = layers.iter().map(|l| read_on(py, l)).collect::<PyResult<Vec<_>>>()?;
        let native_on = layers.iter().map(|l| native_on(py, l)).collect::<Option<Vec<_>>>().map(Into::into);
        let retries = layers.iter().any(|l| matches!(l.core, policy::Layer::Retry(_)));
        let caches = layers.iter().any(|l| matches!(l.core, policy::Layer::Cache(_)));
        let stack = layers.iter().map(|l| l.core.clone()).collect();
        let tally = telemetry().effects.of(&name);
        for layer in &layers {
            layer.known_as(&name);
        }
        let to = layers.iter().map(|l| l.to.as_ref().map(|to| to.clone_ref(py))).collect();
        let asks: Vec<Asks> = layers.iter().map(|l| l.asks.clone_ref(py)).collect();
        let asks = if asks.iter().any(Asks::any) { asks } else { Vec::new() };
        let takes_terms = layers.iter().any(|l| l.core.takes_terms());
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
            takes_terms,
            function,
            skip,
            method,
            arity,
            to,
            inside: Mutex::default(),
            around: Mutex::default(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            part_of: None,
            silent: false,
            added: AtomicUsize::new(0),
            met: AtomicBool::new(false),
            labels: OnceLock::new(),
        })
    }

    #[getter]
    fn added(&self) -> usize {
        self.added.load(Ordering::Relaxed)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.policies)?;
        visit.call(&self.function)?;
        self.to.iter().try_for_each(|to| visit.call(to))?;
        if let Some(inside) = self.inside.try_lock() {
            inside.iter().try_for_each(|(_, plan)| visit.call(plan))?;
        }
        if let Some(around) = self.around.try_lock()
            && let Some((policies, _, plan)) = &*around
        {
            visit.call(policies)?;
            visit.call(plan)?;
        }
        self.asks.iter().try_for_each(|asks| asks.traverse(&visit))?;
        self.on.iter().try_for_each(|on| on.traverse(&visit))
    }
}

impl Plan {
    /// A plan without policies.
    pub(crate) fn bare<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, Plan>> {
        Bound::new(py, Plan::new(py, PyTuple::empty(py).unbind(), Vec::new(), name.to_owned(), None, 0, false, None)?)
    }

    /// The plan by which a block of code waits for that policy: errors name both.
    pub(crate) fn of_block<'py>(policy: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, Plan>> {
        let py = policy.py();
        let policies = PyTuple::new(py, [policy])?.unbind();
        Bound::new(py, Plan::new(py, policies, Vec::new(), name.to_owned(), None, 0, false, None)?)
    }

    /// The plan of what only passes on what an effect of that name gives.
    pub(crate) fn silent<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, Plan>> {
        let plan = Plan::new(py, PyTuple::empty(py).unbind(), Vec::new(), name.to_owned(), None, 0, false, None)?;
        Bound::new(py, Plan { tally: Arc::default(), silent: true, ..plan })
    }

    /// Functions of the user's are asked about each call, which may know anything.
    pub(crate) fn asks_python(&self) -> bool {
        !self.asks.is_empty()
    }

    pub(crate) fn on(&self, layer: usize) -> &On {
        self.on.get(layer).unwrap_or(&On::Nothing)
    }

    pub(crate) fn native_on(&self) -> Option<&Arc<[OnErrno]>> {
        self.native_on.as_ref()
    }

    /// What a call with these arguments brings to the layers that queue it or count it.
    pub(crate) fn terms(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Terms> {
        if !self.takes_terms {
            return Ok(Terms::default());
        }
        let py = args.py();
        let (priority, (held, flight)) = (context::priority(py)?, context::within(py)?);
        let mut terms = Terms { priority, layers: self.ask(args, kwargs)?, held: None, flight };
        if let Some(held) = held {
            reentry::disown_abandoned(py, &held, || reentry::reenters(&self.stack, &terms, &held))?;
            terms.held = Some(Holder::from(held));
        }
        Ok(terms)
    }

    /// What the user's functions say of a call with these arguments, by layer.
    fn ask(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Term>> {
        if self.asks.is_empty() {
            return Ok(Vec::new());
        }
        let py = args.py();
        let args = if self.skip > 0 { args.get_slice(self.skip, args.len()) } else { args.clone() };
        // What was given by position is so already.
        let (args, kwargs) = match (&self.function, kwargs.filter(|k| !k.is_empty())) {
            (Some(function), Some(kwargs)) => {
                let bound = api(py).bound.bind(py).call1((function, args, kwargs))?;
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
        self.asks.iter().map(term).collect()
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
            let whole = api(py).whole.bind(py).call1((&function, self.method, args, kwargs))?;
            with(&function, whole.cast::<PyTuple>()?)?
        };
        keyed::intern(keys, &call).map_err(|e| {
            if !e.is_instance_of::<PyTypeError>(py) {
                return e;
            }
            let named = api(py).unhashable.bind(py).call1((&self.name, function, self.method, args, kwargs));
            named.map_or_else(|e| e, PyErr::from_value)
        })
    }

    /// The plan of the same under more policies, outermost first; `native_call` says that the calls' arguments are known.
    pub(crate) fn under<'py>(
        slf: &Bound<'py, Self>,
        policies: Bound<'py, PyTuple>,
        native_call: bool,
    ) -> PyResult<Bound<'py, Plan>> {
        let (py, me) = (slf.py(), slf.get());
        // Out of the lock: equality is Python's.
        let known = me.around.lock().as_ref().map(|(known, call, plan)| (known.clone_ref(py), *call, plan.clone_ref(py)));
        if let Some((known, call, plan)) = known
            && call == native_call
            && known.bind(py).eq(&policies).unwrap_or(false)
        {
            return Ok(plan.into_bound(py));
        }
        let plan = api(py).under.bind(py).call1((&policies, slf, native_call))?.cast_into::<Plan>()?;
        let made = plan.get();
        let more = made.policies.bind(py).len() - me.policies.bind(py).len();
        made.added.store(me.added.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        let functions =
            made.asks_python() || made.to.iter().any(Option::is_some) || made.on.iter().any(|on| matches!(on, On::Function(_)));
        if !functions {
            let replaced = me.around.lock().replace((policies.unbind(), native_call, plan.clone().unbind()));
            drop(replaced);
        }
        Ok(plan)
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
            takes_terms: stack.iter().any(policy::Layer::takes_terms),
            stack,
            function: me.function.as_ref().map(|f| f.clone_ref(py)),
            skip: me.skip,
            method: me.method,
            arity: me.arity,
            to: me.to[from..].iter().map(|to| to.as_ref().map(|to| to.clone_ref(py))).collect(),
            inside: Mutex::default(),
            around: Mutex::default(),
            number: me.number,
            part_of: Some({
                let (whole, around) = me.place();
                (whole, around + from)
            }),
            silent: false,
            added: AtomicUsize::new(0),
            met: AtomicBool::new(false),
            labels: OnceLock::new(),
        };
        let plan = Bound::new(py, plan)?;
        me.inside.lock().push((layer, plan.clone().unbind()));
        Ok(plan)
    }

    /// The number of the whole stack's plan, and how many of its layers stand around this one's.
    pub(crate) fn place(&self) -> (u64, usize) {
        self.part_of.unwrap_or((self.number, 0))
    }

    /// The same, of a part.
    pub(crate) fn part_of(&self) -> Option<(u64, usize)> {
        self.part_of
    }

    /// Nobody has asked this before.
    pub(crate) fn is_first(&self) -> bool {
        !self.met.load(Ordering::Relaxed) && !self.met.swap(true, Ordering::Relaxed)
    }

    /// What it and its policies are called where they are shown.
    pub(crate) fn labels(&self, py: Python<'_>) -> Arc<Labels> {
        if let Some(labels) = self.labels.get() {
            return labels.clone();
        }
        let policies = self.policies.bind(py).iter().map(|p| p.repr().map_or_else(|_| "?".into(), |r| r.to_string()));
        let layers = policies.map(|policy| shortened(&policy).into_owned()).collect();
        let made = Arc::new(Labels { effect: shortened(&self.name).into_owned(), layers });
        self.labels.get_or_init(|| made).clone()
    }

    /// What a call of it does, and the policy where it does that.
    pub(crate) fn told_of(&self, py: Python<'_>, doing: Doing) -> (&'static str, Option<String>) {
        let at = |layer| Some(self.labels(py).layer(layer)).filter(|label| !label.is_empty()).map(str::to_owned);
        match doing {
            Doing::Running => ("running", None),
            Doing::Waiting(layer) => ("waiting", at(layer)),
            Doing::BackingOff(layer) => ("backing off", at(layer)),
        }
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

    /// Whose limit it was, for a message; `inherited` writes out one that was.
    pub(crate) fn whose(&self, py: Python<'_>, owner: Owner, inherited: impl Fn() -> Option<String>) -> Option<String> {
        match owner {
            Owner::Layer(layer) => self.policy(py, layer),
            Owner::Inherited => Some(inherited().unwrap_or_else(|| "a limit around it".into())),
            Owner::Nobody => None,
        }
    }

    /// ` under Timeout(10), Retry(...)`, or nothing.
    pub(crate) fn describe(&self, py: Python<'_>) -> PyResult<String> {
        let policies: Vec<String> = self.policies.bind(py).iter().map(|p| Ok(p.repr()?.to_string())).collect::<PyResult<_>>()?;
        Ok(if policies.is_empty() { String::new() } else { format!(" under {}", policies.join(", ")) })
    }

    /// A run has ended with that error, after so many nanoseconds.
    pub(crate) fn count_error(&self, py: Python<'_>, error: &PyErr, took: u64) {
        let e = error.value(py);
        let is = |class: &Bound<'_, PyAny>| e.is_instance(class).unwrap_or(false);
        if is(api(py).timed_out.bind(py)) {
            self.tally.ended(Count::TimedOut, took);
        } else if is(api(py).rejected.bind(py)) {
            self.tally.ended(Count::Rejected, took);
        } else if e.is_instance_of::<pyo3::exceptions::asyncio::CancelledError>() {
            self.tally.ended(Count::Cancelled, took);
        } else {
            self.tally.took(took);
            let class = e.get_type().fully_qualified_name().map_or_else(|_| "?".into(), |name| name.to_string());
            telemetry().failed(&self.tally, &class);
            self.told_of_failure(py, error, &class);
        }
    }

    /// Whoever shows the last failures hears of it.
    fn told_of_failure(&self, py: Python<'_>, e: &PyErr, class: &str) {
        if !telemetry().live.is_on() {
            return;
        }
        // With its traceback, which CPython 3.11 gives to the exception only when it is caught.
        let value = e.clone_ref(py).into_value(py);
        if let Err(fault) = api(py).failed.bind(py).call1((&self.name, class, value)) {
            fault.write_unraisable(py, None);
        }
    }

    pub(crate) fn count_attempts(&self, attempts: u32) {
        if attempts > 1 {
            self.parts.add(Count::Retried, u64::from(attempts - 1));
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

/// One plan a function: its effects share a name and its counters.
macro_rules! plan {
    ($py:expr, $name:literal) => {{
        static PLAN: pyo3::sync::PyOnceLock<pyo3::Py<Plan>> = pyo3::sync::PyOnceLock::new();
        PLAN.get_or_try_init($py, || Plan::bare($py, $name).map(pyo3::Bound::unbind)).map(|p| p.clone_ref($py))
    }};
}
pub(crate) use plan;
