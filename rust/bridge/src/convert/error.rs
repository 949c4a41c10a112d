//! Native failures as Python's exceptions: its own for the operating system, the package's for what policies decide.

use std::time::Duration;

use mountain_core::error::{Error, Owner, Reason, Refused};
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyBaseExceptionGroup, PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::context::deadline_source::DeadlineSource;
use crate::convert::note;
use crate::convert::provided;
use crate::plan::Plan;
use crate::python::api::api;
use crate::python::os_error::message;
use crate::python::pyref::PyRef;

/// An exception of the package's: it names the effect, the policy that decided, and the attempt.
pub(crate) fn make(py: Python<'_>, class: &Py<PyType>, message: &str, effect: &str, policy: Option<&str>, attempt: u32) -> PyErr {
    let kwargs = PyDict::new(py);
    let made = kwargs
        .set_item("effect", effect)
        .and_then(|()| kwargs.set_item("policy", policy))
        .and_then(|()| kwargs.set_item("attempt", attempt))
        .and_then(|()| class.bind(py).call((message,), Some(&kwargs)));
    made.map_or_else(|e| e, PyErr::from_value)
}

/// `inherited` writes out the deadline that the effect inherited.
pub(crate) fn timed_out(
    py: Python<'_>,
    plan: &Plan,
    owner: Owner,
    attempts: u32,
    cause: Option<PyErr>,
    inherited: impl Fn() -> Option<String>,
) -> PyErr {
    let policy = plan.whose(py, owner, inherited);
    let (effect, call) = (plan.name.as_str(), plan.title());
    let limit = policy.as_deref().unwrap_or("its time limit");
    let message = match attempts {
        0 => format!("{call} was not started: {limit} had passed already"),
        n => format!(
            "{call} ran out of time: {limit} passed in attempt {n}. It may have run: retry only what may run \
             twice, or raise the limit"
        ),
    };
    let e = make(py, &api(py).timed_out, &message, effect, policy.as_deref(), attempts.max(1));
    e.set_cause(py, cause);
    if let (Owner::Layer(layer), Some((whole, around))) = (owner, plan.part_of()) {
        // A flight's: the policies around its cache know it for one of theirs.
        e.value(py).setattr(intern!(py, "_by"), (whole, around + layer)).ok();
    }
    e
}

/// A policy did not let the call begin.
pub(crate) fn refused(py: Python<'_>, plan: &Plan, refused: Refused) -> PyErr {
    // It is the runtime that stops, and its queue is none of the effect's policies.
    let known = if matches!(refused.why, Reason::Stopping) { None } else { plan.policy(py, refused.layer) };
    let policy = known.as_deref().unwrap_or("max_in_flight of its runtime");
    let (name, call, api) = (plan.name.as_str(), plan.title(), api(py));
    let (class, why, after) = match refused.why {
        Reason::Full(n) => {
            (&api.queue_full, format!("{policy} has {n} waiting already. Shed load, try later, or raise max_waiting"), None)
        }
        Reason::Limited(Duration::MAX) => {
            (&api.rate_limited, format!("{policy} will never have room for it"), Some(Duration::MAX))
        }
        Reason::Limited(after) => {
            let seconds = after.as_secs_f64();
            let why = format!("its turn at {policy} would come too late; there may be room in {seconds:.3} s");
            (&api.rate_limited, why, Some(after))
        }
        Reason::Open(Duration::MAX) => (&api.circuit_open, format!("{policy} is open until it is reset"), Some(Duration::MAX)),
        Reason::Open(after) => {
            let seconds = after.as_secs_f64();
            let why = format!("{policy} is open, what it protects has failed too often; try again in {seconds:.3} s");
            (&api.circuit_open, why, Some(after))
        }
        Reason::Stopping => (&api.shutting_down, "its runtime is shutting down".to_owned(), None),
        Reason::Reentered => (
            &api.reentered,
            format!(
                "at {policy} it would wait for what waits for it. Call what is inside without that policy, or under another one"
            ),
            None,
        ),
    };
    let e = make(py, class, &format!("{call} was not started: {why}"), name, known.as_deref(), refused.attempt);
    if let Some(after) = after {
        let seconds = if after == Duration::MAX { f64::INFINITY } else { after.as_secs_f64() };
        let _ = e.value(py).setattr(intern!(py, "retry_after"), seconds);
    }
    e
}

/// The submitted effect of that name is awaited by the cached call for which it waits.
pub(crate) fn circle(py: Python<'_>, name: &str) -> PyErr {
    let message = format!("effect '{name}' waits for the cached call that awaits it: neither can go on");
    make(py, &api(py).reentered, &message, name, None, 1)
}

pub(crate) fn internal(py: Python<'_>, effect: &str, what: &str) -> PyErr {
    let message = format!("a bug in mountain-runtime ended effect '{effect}': {what}. Other effects go on; please report it");
    make(py, &api(py).internal_error, &message, effect, None, 1)
}

pub(crate) fn to_python(py: Python<'_>, e: Error, plan: Option<&Plan>) -> PyErr {
    translated(py, e, plan, &|| None)
}

/// `inherited` writes out the deadline that the call inherited.
fn translated(py: Python<'_>, e: Error, plan: Option<&Plan>, inherited: &dyn Fn() -> Option<String>) -> PyErr {
    let name = plan.map_or("effect", |p| p.name.as_str());
    match e {
        Error::Cancelled => CancelledError::new_err(()),
        // OSError picks the class by errno: FileNotFoundError and its kin.
        Error::Os(os) => {
            let text = match os.advice {
                Some(advice) => format!("{}: {advice}", message(os.errno)),
                None => message(os.errno),
            };
            match (os.path, os.path2) {
                (None, _) => PyOSError::new_err((os.errno, text)),
                (Some(path), None) => PyOSError::new_err((os.errno, text, path)),
                (Some(path), Some(path2)) => PyOSError::new_err((os.errno, text, path, None::<i32>, path2)),
            }
        }
        Error::Invalid(what) => PyValueError::new_err(what),
        Error::TimedOut(t) => {
            let cause = t.cause.map(|c| translated(py, c, plan, inherited));
            match plan {
                Some(plan) => timed_out(py, plan, t.owner, t.attempts, cause, inherited),
                None => internal(py, name, "a timeout without a plan"),
            }
        }
        Error::Refused(r) => match plan {
            Some(plan) => refused(py, plan, r),
            None => internal(py, name, "a refusal without a plan"),
        },
        Error::Panic(what) => internal(py, name, &what),
        Error::Attempted(attempts, last) => {
            let e = translated(py, *last, plan, inherited);
            if let Some(plan) = plan {
                note::attempts(e.value(py), plan, attempts);
            }
            e
        }
        Error::GaveUp(gave_up) => {
            let (misfit, e) = *gave_up;
            let e = translated(py, e, plan, inherited);
            let whose = plan.and_then(|plan| plan.whose(py, misfit.owner, inherited)).unwrap_or_default();
            note::gave_up(e.value(py), &plan.map_or_else(|| "effect".to_owned(), Plan::title), &misfit, &whose);
            e
        }
        Error::Injected(layer, e) => {
            let e = translated(py, *e, plan, inherited);
            note::injected(e.value(py), &plan.and_then(|plan| plan.policy(py, layer)).unwrap_or_default());
            e
        }
        Error::Beside(all) => {
            let (first, others) = *all;
            let e = translated(py, first, plan, inherited);
            let others: Vec<_> = others.into_iter().map(|other| translated(py, other, plan, inherited)).collect();
            note::beside(e.value(py), name, &others);
            e
        }
        Error::Under(limit, e) => {
            translated(py, *e, plan, &|| DeadlineSource::of_origin(py, &limit).map(|source| source.text(py)))
        }
        Error::Within(owner, e) => {
            let of = |plan: &Plan, layer| plan.policy(py, layer).map(|policy| format!("{policy} of {}", plan.title()));
            let outer = || match owner {
                Owner::Layer(layer) => plan.and_then(|plan| of(plan, layer)),
                Owner::Inherited => inherited(),
                Owner::None => None,
            };
            translated(py, *e, plan, &outer)
        }
        Error::Of(origin, e) => {
            let inside = origin.0.downcast_ref::<PyRef>().map(|p| {
                // SAFETY: an origin is the reference to a plan.
                unsafe { p.clone_as::<Plan>(py) }
            });
            translated(py, *e, inside.as_ref().map(Bound::get).or(plan), inherited)
        }
        Error::Other(any) => match provided::exception(py, any) {
            Some(e) => e.unwrap_or_else(|e| e),
            None => internal(py, name, "a failure that no provider converts"),
        },
        Error::All(all) => {
            let all: Vec<_> = all.into_iter().map(|e| translated(py, e, plan, inherited).into_value(py)).collect();
            PyBaseExceptionGroup::new_err((format!("every effect of race '{name}' failed"), all))
        }
    }
}
