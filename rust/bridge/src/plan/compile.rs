//! From layers to a plan: the one place where a plan is built.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use mountain_core::effect::NativeOn;
use mountain_core::observe::Tally;
use mountain_core::policy;
use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::globals::telemetry;
use crate::plan::functions::Functions;
use crate::plan::layer::{Asks, Layer, On, native_on, read_on};
use crate::plan::{Function, Plan};

/// The number of the next plan.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// The compiled parts of one layer.
struct Compiled {
    core: policy::Layer,
    on: On,
    /// `on` by errno; `None` where only Python can judge.
    native_on: Option<NativeOn>,
    asks: Asks,
    functions: Functions,
}

impl Compiled {
    fn of(py: Python<'_>, layer: &Layer) -> PyResult<Self> {
        Ok(Compiled {
            core: layer.core.clone(),
            on: read_on(py, layer)?,
            native_on: native_on(py, layer),
            asks: layer.asks.clone_ref(py),
            functions: layer.functions.clone_ref(py),
        })
    }
}

impl Plan {
    /// Every plan is built here. Its calls, retries and fallbacks are counted at `tally`.
    fn build(policies: Py<PyTuple>, name: String, layers: Vec<Compiled>, function: Function, tally: Arc<Tally>) -> Self {
        let stack: Arc<[_]> = layers.iter().map(|layer| layer.core.clone()).collect();
        let native_on = layers.iter().map(|layer| layer.native_on.clone()).collect::<Option<_>>();
        let asks = layers.iter().any(|layer| layer.asks.any());
        let by_arguments = layers.iter().any(|layer| layer.functions.to.as_ref().is_some_and(|to| to.by_arguments));
        let (mut on, mut functions, mut asked) = (Vec::with_capacity(layers.len()), Vec::with_capacity(layers.len()), Vec::new());
        for layer in layers {
            on.push(layer.on);
            functions.push(layer.functions);
            if asks {
                asked.push(layer.asks);
            }
        }
        Plan {
            policies,
            name,
            on,
            native_on,
            parts: tally.clone(),
            tally,
            repeats: stack.iter().any(policy::Layer::repeats),
            calls_again: stack.iter().any(policy::Layer::repeats) || by_arguments,
            caches: stack.iter().any(|layer| matches!(layer, policy::Layer::Cache(_))),
            asks: asked,
            takes_terms: stack.iter().any(policy::Layer::takes_terms),
            stack,
            function,
            functions,
            inside: Mutex::default(),
            around: Mutex::default(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            part_of: None,
            silent: false,
            streams: false,
            added: AtomicUsize::new(0),
            met: AtomicBool::new(false),
            labels: OnceLock::new(),
        }
    }

    /// The plan of a stack as the user wrote it. The state of its policies is known by its name, unless it has one.
    pub(super) fn of_layers(
        py: Python<'_>,
        policies: Py<PyTuple>,
        layers: &[PyRef<'_, Layer>],
        name: String,
        function: Function,
    ) -> PyResult<Self> {
        let compiled = layers.iter().map(|layer| Compiled::of(py, layer)).collect::<PyResult<_>>()?;
        for layer in layers {
            layer.known_as(&name);
        }
        Ok(Plan::named(policies, name, compiled, function))
    }

    /// A plan whose calls are counted under its name.
    fn named(policies: Py<PyTuple>, name: String, layers: Vec<Compiled>, function: Function) -> Self {
        let tally = telemetry().effects.of(&name);
        Self::build(policies, name, layers, function, tally)
    }

    /// A plan without policies.
    pub(crate) fn bare<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, Plan>> {
        Self::without_layers(PyTuple::empty(py), name)
    }

    /// The same under a name that the package gives itself.
    pub(crate) fn ours<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, Plan>> {
        own_name(name);
        Self::bare(py, name)
    }

    /// The plan by which a block of code waits for that policy: errors name both.
    pub(crate) fn of_block<'py>(policy: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, Plan>> {
        Self::without_layers(PyTuple::new(policy.py(), [policy])?, name)
    }

    /// The plan of work that only passes on the value of an effect of that name.
    pub(crate) fn silent<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, Plan>> {
        let plan = Plan::named(PyTuple::empty(py).unbind(), name.to_owned(), Vec::new(), Function::default());
        Bound::new(py, Plan { tally: Arc::default(), silent: true, ..plan })
    }

    fn without_layers<'py>(policies: Bound<'py, PyTuple>, name: &str) -> PyResult<Bound<'py, Plan>> {
        let py = policies.py();
        Bound::new(py, Plan::named(policies.unbind(), name.to_owned(), Vec::new(), Function::default()))
    }

    /// The plan of the layers inside `layer`, which counts the ends of its calls apart: the ends of the whole stack's
    /// calls are counted where those are made.
    pub(super) fn part(&self, py: Python<'_>, layer: usize) -> Self {
        let from = layer + 1;
        let policies = self.policies.bind(py).get_slice(from, self.policies.bind(py).len()).unbind();
        let layers = (from..self.stack.len()).map(|at| self.compiled(py, at)).collect();
        let (number, around) = self.place();
        Plan {
            tally: Arc::default(),
            number: self.number,
            part_of: Some((number, around + from)),
            ..Plan::build(policies, self.name.clone(), layers, self.function.clone_ref(py), self.parts.clone())
        }
    }

    /// The layer at `at`, to be built into another plan.
    fn compiled(&self, py: Python<'_>, at: usize) -> Compiled {
        Compiled {
            core: self.stack[at].clone(),
            on: self.on[at].clone_ref(py),
            native_on: self.native_on.as_ref().map(|on| on[at].clone()),
            asks: self.asks.get(at).map_or_else(Asks::default, |asks| asks.clone_ref(py)),
            functions: self.functions[at].clone_ref(py),
        }
    }
}

/// Says that the package gives this name itself: however many others there are, it is counted by its own.
#[pyfunction]
#[pyo3(signature = (name, /))]
pub(crate) fn own_name(name: &str) {
    telemetry().effects.ours(name);
}

/// One plan a function: its effects share a name and its counters.
macro_rules! plan {
    ($py:expr, $name:literal) => {{
        static PLAN: pyo3::sync::PyOnceLock<pyo3::Py<Plan>> = pyo3::sync::PyOnceLock::new();
        PLAN.get_or_try_init($py, || Plan::ours($py, $name).map(pyo3::Bound::unbind)).map(|p| p.clone_ref($py))
    }};
}
pub(crate) use plan;
