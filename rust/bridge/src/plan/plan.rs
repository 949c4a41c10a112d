//! A plan: a stack of policies as the user wrote it, and as the engine runs it. Made where the effect is written,
//! shared by its calls.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use mountain_core::effect::NativeOn;
use mountain_core::observe::Count;
use mountain_core::observe::Tally;
use mountain_core::policy;
use mountain_core::sync::Mutex;
use mountain_core::telemetry::Labels;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};

use crate::globals::telemetry;
use crate::plan::functions::Functions;
use crate::plan::layer::{Asks, Layer, On};

/// The function that an effect calls, whose signature says what its arguments are.
#[derive(Default)]
pub(crate) struct Function {
    /// `None` where the effect has no function with a signature.
    pub(crate) itself: Option<Py<PyAny>>,
    /// So many leading arguments are not in the user's signature.
    pub(super) skip: usize,
    /// Its first argument is its `self`: a cache keeps that by identity.
    pub(super) method: bool,
    /// A call of so many arguments by position leaves none to a default; `None` where that is not known.
    pub(super) arity: Option<usize>,
    /// Before its first parameter that gets a service stand so many by position; `None` where it has no such parameter.
    pub(super) before_services: Option<usize>,
}

impl Function {
    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Function { itself: self.itself.as_ref().map(|itself| itself.clone_ref(py)), ..*self }
    }
}

/// Policies, whether the calls' arguments are known, and the plan under both.
type Around = (Py<PyTuple>, bool, Py<Plan>);

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
#[expect(clippy::struct_excessive_bools, reason = "facts about its layers, each apart")]
pub(crate) struct Plan {
    #[pyo3(get)]
    pub(super) policies: Py<PyTuple>,
    #[pyo3(get)]
    pub(crate) name: String,
    pub(crate) stack: Arc<[policy::Layer]>,
    /// The errors that each layer acts on.
    pub(super) on: Vec<On>,
    /// The same by errno; `None` where only Python can judge, so that the effect runs inline.
    pub(super) native_on: Option<Arc<[NativeOn]>>,
    /// Where the starts and ends of its calls are counted.
    pub(crate) tally: Arc<Tally>,
    /// Where retries and fallbacks are counted; a flight counts its own at the effect's.
    pub(crate) parts: Arc<Tally>,
    /// Some layer may call its inside more than once for one call.
    pub(crate) repeats: bool,
    /// The arguments of a call may be used more than once: by another attempt, or by what stands in.
    pub(crate) calls_again: bool,
    pub(crate) caches: bool,
    /// The user's functions that each layer calls with a call's arguments; empty where no layer has any.
    pub(super) asks: Vec<Asks>,
    /// Some layer needs the terms of a call.
    pub(super) takes_terms: bool,
    pub(crate) function: Function,
    /// The functions of each layer.
    pub(super) functions: Vec<Functions>,
    /// Memo of [`Plan::inside`], by layer.
    pub(super) inside: Mutex<Vec<(usize, Py<Plan>)>>,
    /// Memo of [`Plan::under`]: the last policies and their plan. No plan that holds functions of the user's is kept,
    /// as those may hold anything.
    pub(super) around: Mutex<Option<Around>>,
    /// Identifies the plan: an address may be used again.
    pub(super) number: u64,
    /// Of a part: the number of the whole stack's plan, and how many of its layers are around the part.
    pub(super) part_of: Option<(u64, usize)>,
    /// It passes on the value of an effect of its name, which is counted and watched itself: this is not.
    pub(crate) silent: bool,
    /// Its calls are streams.
    #[pyo3(get)]
    pub(super) streams: bool,
    /// How many of its policies, from the outermost, were put around the function's own.
    pub(super) added: AtomicUsize,
    /// A call of it has begun.
    pub(super) met: AtomicBool,
    /// Made when first asked for.
    pub(super) labels: OnceLock<Arc<Labels>>,
}

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (policies, layers, name, function = None, skip = 0, method = false, arity = None,
        before_services = None, streams = false))]
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
        before_services: Option<usize>,
        streams: bool,
    ) -> PyResult<Self> {
        let function = Function { itself: function, skip, method, arity, before_services };
        Ok(Plan { streams, ..Plan::of_layers(py, policies, &layers, name, function)? })
    }

    #[getter]
    fn function(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.function.itself.as_ref().map(|function| function.clone_ref(py))
    }

    #[getter]
    fn skip(&self) -> usize {
        self.function.skip
    }

    #[getter]
    fn method(&self) -> bool {
        self.function.method
    }

    #[getter]
    fn arity(&self) -> Option<usize> {
        self.function.arity
    }

    #[getter]
    fn before_services(&self) -> Option<usize> {
        self.function.before_services
    }

    #[getter]
    fn added(&self) -> usize {
        self.added.load(Ordering::Relaxed)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.policies)?;
        visit.call(&self.function.itself)?;
        self.functions.iter().try_for_each(|of| of.traverse(&visit))?;
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
    /// Some layer holds something of its calls, or counts them.
    pub(crate) fn takes_terms(&self) -> bool {
        self.takes_terms
    }

    /// Functions of the user's are asked about each call.
    pub(crate) fn asks_python(&self) -> bool {
        !self.asks.is_empty()
    }

    pub(crate) fn on(&self, layer: usize) -> &On {
        self.on.get(layer).unwrap_or(&On::Nothing)
    }

    pub(crate) fn native_on(&self) -> Option<&Arc<[NativeOn]>> {
        self.native_on.as_ref()
    }

    /// The number of the whole stack's plan, and how many of its layers are around this plan's.
    pub(crate) fn place(&self) -> (u64, usize) {
        self.part_of.unwrap_or((self.number, 0))
    }

    /// [`Plan::place`] of a part; `None` for a whole stack.
    pub(crate) fn part_of(&self) -> Option<(u64, usize)> {
        self.part_of
    }

    /// True for the first caller only.
    pub(crate) fn is_first(&self) -> bool {
        !self.met.load(Ordering::Relaxed) && !self.met.swap(true, Ordering::Relaxed)
    }

    /// `effect 'fetch'`, or `stream 'tokens'`.
    pub(crate) fn title(&self) -> String {
        format!("{} '{}'", if self.streams { "stream" } else { "effect" }, self.name)
    }

    /// Several attempts of one call may be under way at once.
    pub(crate) fn hedges(&self) -> bool {
        self.stack.iter().any(|layer| matches!(layer, policy::Layer::Hedge(_)))
    }

    /// Counts the attempts of a run after its first.
    pub(crate) fn count_attempts(&self, attempts: u32) {
        if attempts > 1 {
            self.parts.add(Count::Retried, u64::from(attempts - 1));
        }
    }

    /// The error that the chaos at `layer` makes.
    pub(crate) fn injected(&self, py: Python<'_>, layer: usize) -> PyResult<PyErr> {
        match self.functions(layer).and_then(|of| of.error.as_ref()) {
            Some(make) => make.bind(py).call0().map(PyErr::from_value),
            None => Err(PyRuntimeError::new_err("chaos without an error: this is a bug in mountain-runtime")),
        }
    }

    /// The policy at `layer` is a fallback.
    pub(crate) fn stands_in(&self, layer: usize) -> bool {
        self.stack.get(layer).is_some_and(policy::Layer::stands_in)
    }

    /// The functions of the layer at `layer`.
    pub(crate) fn functions(&self, layer: usize) -> Option<&Functions> {
        self.functions.get(layer)
    }

    /// The name of what stands in at `layer`; empty where that is no fallback.
    pub(crate) fn stand_in_name(&self, layer: usize) -> &str {
        self.functions(layer).and_then(|of| of.to.as_ref()).map_or("", |to| &to.name)
    }

    /// Counts a run that ended with a value of the fallback at `layer`.
    #[cold]
    #[inline(never)]
    pub(crate) fn count_stand_in(&self, layer: usize) {
        telemetry().degraded(&self.parts, self.stand_in_name(layer));
    }
}
