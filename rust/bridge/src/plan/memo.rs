//! Plans that are derived from a plan, made once: the same under more policies, and the layers inside one of its
//! layers.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::plan::Plan;
use crate::plan::functions::Functions;
use crate::plan::layer::On;
use crate::python::api::api;

impl Plan {
    /// The plan of the same work under more policies, outermost first; `given` are the arguments of a native call that
    /// knows them.
    pub(crate) fn under<'py>(
        slf: &Bound<'py, Self>,
        policies: Bound<'py, PyTuple>,
        given: Option<&Bound<'py, PyTuple>>,
    ) -> PyResult<Bound<'py, Plan>> {
        let (py, me) = (slf.py(), slf.get());
        // Outside of the lock: comparing runs Python code.
        let known = me.around.lock().as_ref().map(|(known, call, plan)| (known.clone_ref(py), *call, plan.clone_ref(py)));
        if let Some((known, call, plan)) = known
            && call == given.is_some()
            && known.bind(py).eq(&policies).unwrap_or(false)
        {
            return Ok(plan.into_bound(py));
        }
        let plan = api(py).under.bind(py).call1((&policies, slf, given))?.cast_into::<Plan>()?;
        let made = plan.get();
        let more = made.policies.bind(py).len() - me.policies.bind(py).len();
        made.added.store(me.added.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        let functions = made.asks_python()
            || made.functions.iter().any(Functions::any)
            || made.on.iter().any(|on| matches!(on, On::Function(_)));
        if !functions {
            let replaced = me.around.lock().replace((policies.unbind(), given.is_some(), plan.clone().unbind()));
            drop(replaced);
        }
        Ok(plan)
    }

    /// The plan of the layers inside `layer`, for a flight: a run of those as work of its own.
    pub(crate) fn inside<'py>(slf: &Bound<'py, Self>, layer: usize) -> PyResult<Bound<'py, Plan>> {
        let (py, me) = (slf.py(), slf.get());
        let known = me.inside.lock().iter().find(|(at, _)| *at == layer).map(|(_, plan)| plan.clone_ref(py));
        if let Some(known) = known {
            return Ok(known.into_bound(py));
        }
        let plan = Bound::new(py, me.part(py, layer))?;
        me.inside.lock().push((layer, plan.clone().unbind()));
        Ok(plan)
    }
}
