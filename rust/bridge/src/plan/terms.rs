//! The terms of a call: its priority, the permits around it, and what the user's functions say of its arguments.

use std::sync::Arc;

use mountain_core::effect::{Holder, Keys, Term, Terms, Use};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::context;
use crate::plan::Plan;
use crate::plan::layer::Asks;
use crate::policy::keyed;
use crate::policy::reentry;
use crate::python::api::api;

impl Plan {
    /// The terms of a call with these arguments, for its layers: its priority, keys and costs, and the permits around
    /// it.
    pub(crate) fn terms(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Terms> {
        if !self.takes_terms {
            return Ok(Terms::default());
        }
        let py = args.py();
        let (priority, (held, flight)) = (context::priority(py)?, context::held_and_flight(py)?);
        let mut terms = Terms { priority, layers: self.ask(args, kwargs)?, held: None, flies: self.part_of().is_some(), flight };
        if let Some(held) = held {
            reentry::disown_abandoned(py, &held, || reentry::reenters(&self.stack, &terms, &held))?;
            terms.held = Some(Holder::from(held));
        }
        Ok(terms)
    }

    /// The arguments that the user passed.
    fn passed<'a, 'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&'a Bound<'py, PyDict>>,
    ) -> (Bound<'py, PyTuple>, Option<&'a Bound<'py, PyDict>>) {
        let args = if self.function.skip > 0 { args.get_slice(self.function.skip, args.len()) } else { args.clone() };
        (args, kwargs.filter(|kwargs| !kwargs.is_empty()))
    }

    /// The arguments of the call as the user's other functions are given them: without services, and by position as far
    /// as the signature allows.
    fn arguments<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<(Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>)> {
        let (py, (args, kwargs)) = (args.py(), self.passed(args, kwargs));
        let services = self.function.before_services.is_some_and(|before| before < args.len());
        // Arguments by position alone, without services, are what the functions are asked with: nothing is bound.
        match &self.function.itself {
            Some(function) if kwargs.is_some() || services => {
                Ok(api(py).bound.bind(py).call1((function, args, kwargs))?.extract()?)
            }
            _ => Ok((args, kwargs.cloned())),
        }
    }

    /// The result of the fallback at `layer`, for `error` or for the arguments of the call.
    pub(crate) fn stand_in<'py>(
        &self,
        layer: usize,
        error: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = error.py();
        match self.functions(layer).and_then(|of| of.to.as_ref()) {
            Some(to) if to.by_arguments => {
                let (args, kwargs) = self.arguments(args, kwargs)?;
                to.function.bind(py).call(args, kwargs.as_ref())
            }
            Some(to) => to.function.bind(py).call1((error,)),
            None => Ok(py.None().into_bound(py)),
        }
    }

    /// The keys and costs that the user's functions give for these arguments, by layer.
    fn ask(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Term>> {
        if self.asks.is_empty() {
            return Ok(Vec::new());
        }
        let py = args.py();
        let (whole, whole_kwargs) = self.passed(args, kwargs);
        let (args, kwargs) = self.arguments(args, kwargs)?;
        let term = |asks: &Asks| -> PyResult<Term> {
            let mut term = Term::default();
            if let Some((key, keys)) = &asks.key {
                let key = key.bind(py).call(&args, kwargs.as_ref())?;
                term.key = Some(keyed::intern(keys, &key)?);
            }
            if let Some((key, keys)) = &asks.call {
                let key = key.as_ref().map(|key| key.bind(py));
                term.key = Some(match key {
                    Some(key) => self.intern_call(Some(key), keys, &args, kwargs.as_ref())?,
                    // A service that is passed tells calls apart: what a test's fake gave is not what another gives.
                    None if self.function.before_services.is_some() => self.intern_call(None, keys, &whole, whole_kwargs)?,
                    None => self.intern_call(None, keys, &args, kwargs.as_ref())?,
                });
            }
            if let Some(cost) = &asks.cost {
                let cost = cost.bind(py).call(&args, kwargs.as_ref())?;
                let usable = |cost: &f64| *cost >= 0.0 && cost.is_finite();
                term.cost = cost.extract().ok().filter(usable).ok_or_else(|| {
                    let gave = cost.repr().map_or_else(|_| "?".into(), |r| r.to_string());
                    let call = self.title();
                    PyValueError::new_err(format!("cost= of {call} gave {gave}: it must be a finite number, 0 or more"))
                })?;
            }
            Ok(term)
        };
        self.asks.iter().map(term).collect()
    }

    /// The key of a whole call: (function, key(arguments)), or the function and all arguments where `key` is `None`.
    fn intern_call(
        &self,
        key: Option<&Bound<'_, PyAny>>,
        keys: &Arc<Keys>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Use> {
        let py = args.py();
        let function = match &self.function.itself {
            Some(function) => function.bind(py).clone(),
            None => PyString::new(py, &self.name).into_any(),
        };
        let call = if let Some(key) = key {
            PyTuple::new(py, [function.clone(), key.call(args, kwargs)?])?
        } else if self.function.itself.is_none()
            || (kwargs.is_none() && self.function.arity == Some(args.len()) && !self.function.method)
        {
            with(&function, args)?
        } else {
            let whole = api(py).whole.bind(py).call1((&function, self.function.method, args, kwargs))?;
            with(&function, whole.cast::<PyTuple>()?)?
        };
        keyed::intern(keys, &call).map_err(|e| {
            if !e.is_instance_of::<PyTypeError>(py) {
                return e;
            }
            let named = api(py).unhashable.bind(py).call1((&self.name, function, self.function.method, args, kwargs));
            named.map_or_else(|e| e, PyErr::from_value)
        })
    }
}

/// (function, *args).
fn with<'py>(function: &Bound<'py, PyAny>, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyTuple>> {
    let py = function.py();
    match args.len() {
        1 => PyTuple::new(py, [function, &args.get_item(0)?]),
        _ => PyTuple::new(py, std::iter::once(function.clone()).chain(args.iter()).collect::<Vec<_>>()),
    }
}
