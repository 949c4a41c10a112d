//! Log records of retries: a DEBUG record for each, an INFO record for a retry that gives up. With those levels off no
//! text is made.
//!
//! `logging`'s levels are read on an attached thread only: for native work when it starts.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Course, GaveUp, Retries};
use mountain_core::error::{Error, Owner};
use mountain_core::policy::Layer;
use mountain_core::telemetry::Labels;
use pyo3::prelude::*;

use crate::context::deadline_source::DeadlineSource;
use crate::convert::class::class;
use crate::convert::note;
use crate::observe::log;
use crate::plan::Plan;
use crate::python::api::api;
use crate::python::os_error::{know_classes, message};

const DEBUG: u8 = 10;
const INFO: u8 = 20;
const AREA: &str = "policy";

fn level(course: Course) -> u8 {
    match course {
        Course::Again(_) => DEBUG,
        Course::GivesUp(_) => INFO,
    }
}

/// Whether a handler takes records of this kind.
pub(crate) fn is_heard(py: Python<'_>, course: Course) -> bool {
    hears(py, level(course))
}

fn hears(py: Python<'_>, level: u8) -> bool {
    api(py).hears_policy.bind(py).call1((level,)).and_then(|heard| heard.is_truthy()).unwrap_or(false)
}

/// The budget's name of the retry at `layer`, for `told`.
pub(crate) fn budget(stack: &[Layer], layer: usize) -> String {
    let Some(Layer::Retry(settings)) = stack.get(layer) else { return String::new() };
    let name = settings.budget.as_ref().and_then(|budget| budget.lock().name.clone());
    name.map(|name| format!(" '{name}'")).unwrap_or_default()
}

/// Logs a retry of a run, on its loop's thread.
pub(crate) fn say(py: Python<'_>, plan: &Plan, attempt: u32, course: Course, of: &str, error: &Bound<'_, PyAny>) {
    let kind = error.get_type().fully_qualified_name().map_or_else(|_| "?".into(), |name| name.to_string());
    let said = error.str().map(|text| text.to_string()).unwrap_or_default();
    write(py, &plan.name, attempt, level(course), told(&plan.title(), attempt, course, of, &kind, &said));
}

/// Logs that the result of a run's attempt is not accepted, and that another follows.
pub(crate) fn say_unaccepted(py: Python<'_>, effect: &str, attempt: u32, wait: Duration) {
    let wait = note::seconds(wait);
    let text = format!("effect '{effect}' gave a result that is not accepted in attempt {attempt} and is tried again in {wait}");
    write(py, effect, attempt, DEBUG, text);
}

fn write(py: Python<'_>, effect: &str, attempt: u32, level: u8, text: String) {
    if let Err(e) = api(py).log.bind(py).call1((AREA, level, text, effect, attempt, true)) {
        e.write_unraisable(py, None);
    }
}

/// The callback that logs a native effect's retries, if a handler takes those.
pub(crate) fn natively(py: Python<'_>, plan: &Plan, source: Option<&DeadlineSource>) -> Option<Retries> {
    if !plan.repeats || !hears(py, INFO) {
        return None;
    }
    let debug = hears(py, DEBUG);
    know_classes(py).ok()?;
    let (labels, inherited): (Arc<Labels>, _) = (plan.labels(py), source.map(|source| source.text(py)));
    let stack = plan.stack.clone();
    Some(Arc::new(move |layer, attempt, course, e: &Error| {
        if level(course) == DEBUG && !debug {
            return;
        }
        let of = match course {
            Course::GivesUp(GaveUp::TooLate(misfit)) => match misfit.owner {
                Owner::Layer(layer) => labels.layer(layer).to_owned(),
                _ => inherited.as_deref().unwrap_or("a limit around it").to_owned(),
            },
            Course::GivesUp(GaveUp::Budget) => budget(&stack, layer),
            _ => String::new(),
        };
        let text = told(&format!("effect '{}'", labels.effect), attempt, course, &of, class(e), &said(e, &labels));
        log::say(AREA, level(course), text, Some(labels.effect.clone()), Some(attempt));
    }))
}

/// The text of the exception that Python would raise.
fn said(e: &Error, labels: &Labels) -> String {
    match e {
        Error::TimedOut(t) => match t.owner {
            Owner::Layer(layer) => format!("{} passed", labels.layer(layer)),
            _ => String::new(),
        },
        Error::GaveUp(gave_up) => said(&gave_up.1, labels),
        Error::Injected(_, e) => said(e, labels),
        Error::Beside(all) => said(&all.0, labels),
        Error::Os(os) => {
            let path = os.path.as_ref().map(|path| format!(": '{}'", path.to_string_lossy())).unwrap_or_default();
            format!("[Errno {}] {}{path}", os.errno, message(os.errno))
        }
        Error::Invalid(what) => what.clone(),
        // An error of an inner call, whose layers are not those of `labels`.
        Error::Attempted(_, e) | Error::Of(_, e) | Error::Under(_, e) | Error::Within(_, e) => said(e, &Labels::default()),
        _ => String::new(),
    }
}

/// The record's text. `of` names the deadline that the wait does not fit, or the budget.
fn told(call: &str, attempt: u32, course: Course, of: &str, kind: &str, said: &str) -> String {
    /// The number of bytes of the error's text that are kept.
    const MOST: usize = 500;
    let said = &said[..said.floor_char_boundary(MOST)];
    let error = if said.is_empty() { kind.to_owned() } else { format!("{kind}: {said}") };
    match course {
        Course::Again(wait) => {
            format!("{call} failed in attempt {attempt} and is tried again in {}: {error}", note::seconds(wait))
        }
        Course::GivesUp(why) => {
            let why = match why {
                GaveUp::Attempts => "it may make no more".to_owned(),
                GaveUp::Unnamed => "on= does not name the failure".to_owned(),
                GaveUp::Refused => "the next was refused".to_owned(),
                GaveUp::Budget => format!("nothing is left of its retry budget{of}"),
                GaveUp::TooLate(misfit) => note::does_not_fit(&misfit, of),
            };
            format!("{call} gave up after attempt {attempt}, {why}: {error}")
        }
    }
}
