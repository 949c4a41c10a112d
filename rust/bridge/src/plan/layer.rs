//! One policy, compiled: the engine's layer, with the parts that only Python can judge: the errors it acts on, and its
//! functions of a call.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Judge, Keys, NativeOn};
use mountain_core::policy::{self, idle, retry, timeout};
use pyo3::exceptions::{PyException, PyOSError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::globals::telemetry;
use crate::plan::functions::{Functions, StandIn};
use crate::policy::breaker::BreakerState;
use crate::policy::cache::{BudgetState, CacheState};
use crate::policy::chaos::ChaosState;
use crate::policy::hedge::HedgeState;
use crate::policy::jitter::jitter_of;
use crate::policy::limit::LimitState;
use crate::policy::rate::RateState;
use crate::python::api::api;
use crate::python::os_error::errnos_of;
use crate::python::seconds::to_seconds;

/// One compiled policy.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Layer {
    pub(crate) core: policy::Layer,
    on: Option<Py<PyAny>>,
    pub(crate) functions: Functions,
    pub(crate) asks: Asks,
    /// The keys of the policy's state, also where its calls have none.
    keys: Option<Arc<Keys>>,
}

/// The functions that a layer calls with the arguments of each call.
#[derive(Default)]
pub(crate) struct Asks {
    pub(crate) key: Option<(Py<PyAny>, Arc<Keys>)>,
    pub(crate) cost: Option<Py<PyAny>>,
    /// A cache's key: a function's value, or with `None` the whole call.
    pub(crate) call: Option<(Option<Py<PyAny>>, Arc<Keys>)>,
}

impl Asks {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        let key = self.key.as_ref().map(|(key, keys)| (key.clone_ref(py), keys.clone()));
        let call = self.call.as_ref().map(|(key, keys)| (key.as_ref().map(|key| key.clone_ref(py)), keys.clone()));
        Asks { key, cost: self.cost.as_ref().map(|cost| cost.clone_ref(py)), call }
    }

    pub(crate) fn any(&self) -> bool {
        self.key.is_some() || self.cost.is_some() || self.call.is_some()
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
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
    #[pyo3(signature = (on, until, attempts, backoff, max_retry_after, budget, /))]
    fn retry(
        on: Option<Py<PyAny>>,
        until: Option<Py<PyAny>>,
        attempts: Option<u32>,
        backoff: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = to_seconds)] max_retry_after: Duration,
        budget: Option<PyRef<'_, BudgetState>>,
    ) -> PyResult<Self> {
        let (backoff, function) = match backoff.cast::<PyTuple>() {
            Ok(settings) => {
                let (initial, factor, max, jitter): (f64, f64, f64, String) = settings.extract()?;
                (Some(retry::Backoff { initial, factor, max, jitter: jitter_of(&jitter)? }), None)
            }
            Err(_) => (None, Some(backoff.clone().unbind())),
        };
        let budget = budget.map(|budget| budget.0.clone());
        let layer = retry::Settings { attempts, backoff, max_retry_after, budget, until: until.is_some() };
        let functions = Functions { until, backoff: function, ..Functions::default() };
        Ok(Layer { on, functions, ..Layer::of(policy::Layer::Retry(layer)) })
    }

    #[staticmethod]
    #[pyo3(signature = (permits, key, /))]
    fn limit(permits: &Bound<'_, LimitState>, key: Option<Py<PyAny>>) -> Self {
        let permits = permits.get();
        let key = key.map(|key| (key, permits.keys.clone()));
        Layer { asks: Asks { key, ..Asks::default() }, ..Layer::of(policy::Layer::Limit(permits.limit.clone())) }
    }

    #[staticmethod]
    #[pyo3(signature = (rates, key, cost, /))]
    fn rate(rates: &Bound<'_, RateState>, key: Option<Py<PyAny>>, cost: Option<Py<PyAny>>) -> Self {
        let rates = rates.get();
        let key = key.map(|key| (key, rates.keys.clone()));
        Layer { asks: Asks { key, cost, call: None }, ..Layer::of(policy::Layer::Rate(rates.rate.clone())) }
    }

    #[staticmethod]
    #[pyo3(signature = (circuit, on, key, /))]
    fn breaker(circuit: &Bound<'_, BreakerState>, on: Py<PyAny>, key: Option<Py<PyAny>>) -> Self {
        let circuit = circuit.get();
        let key = key.map(|key| (key, circuit.keys.clone()));
        let of = Layer::of(policy::Layer::Breaker(circuit.breaker.clone()));
        Layer { on: Some(on), asks: Asks { key, ..Asks::default() }, keys: Some(circuit.keys.clone()), ..of }
    }

    #[staticmethod]
    #[pyo3(signature = (store, key, /))]
    fn cache(store: &Bound<'_, CacheState>, key: Option<Py<PyAny>>) -> Self {
        let store = store.get();
        let asks = Asks { key: None, cost: None, call: Some((key, store.keys.clone())) };
        Layer { asks, ..Layer::of(policy::Layer::Cache(store.cache.clone())) }
    }

    #[staticmethod]
    #[pyo3(signature = (to, name, by_arguments, on, /))]
    fn fallback(to: Py<PyAny>, name: &str, by_arguments: bool, on: Py<PyAny>) -> Self {
        let functions = Functions { to: Some(StandIn::new(to, name, by_arguments)), ..Functions::default() };
        Layer { on: Some(on), functions, ..Layer::of(policy::Layer::Fallback) }
    }

    #[staticmethod]
    #[pyo3(signature = (state, make, /))]
    fn chaos(state: &Bound<'_, ChaosState>, make: Py<PyAny>) -> Self {
        let functions = Functions { error: Some(make), ..Functions::default() };
        Layer { functions, ..Layer::of(policy::Layer::Chaos(state.get().0.clone())) }
    }

    #[staticmethod]
    #[pyo3(signature = (seconds, /))]
    fn idle(#[pyo3(from_py_with = to_seconds)] seconds: Duration) -> Self {
        Layer::of(policy::Layer::Idle(idle::Settings { limit: seconds }))
    }

    #[staticmethod]
    #[pyo3(signature = (hedge, key, /))]
    fn hedge(hedge: &Bound<'_, HedgeState>, key: Option<Py<PyAny>>) -> Self {
        let hedge = hedge.get();
        let key = key.map(|key| (key, hedge.keys.clone()));
        Layer { asks: Asks { key, ..Asks::default() }, ..Layer::of(policy::Layer::Hedge(hedge.hedge.clone())) }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.on)?;
        self.functions.traverse(&visit)?;
        self.asks.traverse(&visit)
    }
}

impl Layer {
    /// Lists its state under this name in metrics and on the live page, unless the state has a name.
    pub(crate) fn known_as(&self, name: &str) {
        let (known, keys) = (&telemetry().policies, self.asks.key.as_ref().map(|(_, keys)| keys));
        match (&self.core, &self.keys) {
            (policy::Layer::Limit(limit), _) => known.limit(limit, keys, name),
            (policy::Layer::Rate(rate), _) => known.rate(rate, keys, name),
            (policy::Layer::Breaker(breaker), Some(keys)) => known.breaker(breaker, keys, name),
            (policy::Layer::Cache(cache), _) => known.cache(cache, name),
            (policy::Layer::Retry(retry::Settings { budget: Some(budget), .. }), _) => known.budget(budget, name),
            (policy::Layer::Hedge(hedge), _) => known.hedge(hedge, name),
            (policy::Layer::Chaos(chaos), _) => known.chaos(chaos, name),
            _ => {}
        }
    }

    fn of(core: policy::Layer) -> Self {
        Layer { core, on: None, functions: Functions::default(), asks: Asks::default(), keys: None }
    }
}

/// The errors that a layer acts on, as Python judges them.
pub(crate) enum On {
    /// The layer has no `on=`.
    Nothing,
    /// `rejected` are the named classes that are subclasses of Rejected: a rejection matches only those.
    Classes {
        named: Py<PyTuple>,
        rejected: Py<PyTuple>,
    },
    Function(Py<PyAny>),
}

impl On {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            On::Nothing => On::Nothing,
            On::Classes { named, rejected } => On::Classes { named: named.clone_ref(py), rejected: rejected.clone_ref(py) },
            On::Function(f) => On::Function(f.clone_ref(py)),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            On::Nothing => Ok(()),
            On::Classes { named, rejected } => visit.call(named).and_then(|()| visit.call(rejected)),
            On::Function(f) => visit.call(f),
        }
    }
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

pub(crate) fn read_on(py: Python<'_>, layer: &Layer) -> PyResult<On> {
    let Some(on) = &layer.on else { return Ok(On::Nothing) };
    let on = on.bind(py);
    match classes(on)? {
        Some(named) => {
            let of_rejected = api(py).rejected.bind(py);
            let own: Vec<_> = named.iter().filter(|c| c.is_subclass(of_rejected).unwrap_or(false)).cloned().collect();
            Ok(On::Classes { named: PyTuple::new(py, named)?.unbind(), rejected: PyTuple::new(py, own)?.unbind() })
        }
        None if on.is_callable() => Ok(On::Function(on.clone().unbind())),
        None => Err(PyTypeError::new_err("a retry's on= is an exception class, a tuple of them, or a function")),
    }
}

/// The functions of an `on=` that a provider has natively too.
static JUDGES: PyOnceLock<(Py<PyAny>, Judge)> = PyOnceLock::new();

/// From now on `function`, as an `on=`, is that native one.
#[cfg(feature = "http")]
pub(crate) fn judges_natively(py: Python<'_>, function: Py<PyAny>, native: Judge) {
    let _ = JUDGES.set(py, (function, native));
}

/// `on` as native work needs it. `None`: a class or function that only Python can judge, so the effect runs inline.
pub(crate) fn native_on(py: Python<'_>, layer: &Layer) -> Option<NativeOn> {
    // Values and stand-ins are Python objects.
    if matches!(layer.core, policy::Layer::Cache(_)) || layer.functions.take_values() {
        return None;
    }
    // So are the errors of chaos, but for those of the operating system.
    if let policy::Layer::Chaos(chaos) = &layer.core
        && chaos.settings.fail > 0.0
        && chaos.settings.errno.is_none()
    {
        return None;
    }
    let Some(on) = &layer.on else { return Some(NativeOn::Errnos(Vec::new())) };
    if let Some((function, judge)) = JUDGES.get(py)
        && on.is(function)
    {
        return Some(NativeOn::Judged(*judge));
    }
    let mut errnos = Vec::new();
    for class in classes(on.bind(py)).ok()?? {
        // To a breaker each failure of native work counts. A retry on Exception acts on more than OS errors: only
        // Python can judge.
        let all = matches!(layer.core, policy::Layer::Breaker(_)) && class.is(py.get_type::<PyException>());
        if all || class.is(py.get_type::<PyOSError>()) {
            return Some(NativeOn::All);
        }
        errnos.extend(errnos_of(&class).ok()??);
    }
    Some(NativeOn::Errnos(errnos))
}
