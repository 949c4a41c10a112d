//! Notes on the user's exceptions. An exception that takes none (frozen, or with an `add_note` that fails) is raised
//! without.

use std::time::Duration;

use mountain_core::error::Misfit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::plan::Plan;
use crate::policy::keyed;

/// The error that is raised carries how often the call was tried.
pub(crate) fn attempts(e: &Bound<'_, PyAny>, plan: &Plan, attempts: u32) {
    // Of a hedge's attempts that of the first is raised.
    let which = if plan.hedges() { "" } else { "; this is the last failure" };
    note(e, &format!("{} was attempted ", plan.title()), &format!("{attempts} times{which}"));
}

/// Its retry gave up on it, because the wait did not fit that deadline.
pub(crate) fn gave_up(e: &Bound<'_, PyAny>, call: &str, misfit: &Misfit, limit: &str) {
    note(e, &format!("{call} was not tried again: "), &does_not_fit(misfit, limit));
}

/// It came from chaos, in place of a call.
pub(crate) fn injected(e: &Bound<'_, PyAny>, chaos: &str) {
    note(e, "raised in place of the call, by ", chaos);
}

/// The other attempts of a hedge have failed too.
pub(crate) fn beside(e: &Bound<'_, PyAny>, effect: &str, others: &[PyErr]) {
    const MOST: usize = 5;
    let py = e.py();
    let said = |other: &PyErr| {
        let text = other.value(py).repr().map_or_else(|_| other.get_type(py).to_string(), |r| r.to_string_lossy().into_owned());
        keyed::cut(&text)
    };
    let mut told = others.iter().take(MOST).map(said).collect::<Vec<_>>().join("; ");
    if others.len() > MOST {
        told = format!("{told}; and {} more", others.len() - MOST);
    }
    note(e, &format!("effect '{effect}' was hedged, and the attempts beside this one failed too: "), &told);
}

pub(crate) fn does_not_fit(misfit: &Misfit, limit: &str) -> String {
    // Beyond any clock's life: the wait was infinite.
    let endless = misfit.wait.as_secs_f64() > 1e9;
    let wait = if endless { "an endless wait".into() } else { format!("the wait of {}", seconds(misfit.wait)) };
    format!("{wait} does not fit {limit}, of which {} are left", seconds(misfit.left))
}

/// `7 s`, to the millisecond, or to two digits of what is less.
pub(crate) fn seconds(time: Duration) -> String {
    let exact = time.as_secs_f64();
    let digits = if exact == 0.0 || exact >= 0.01 { 3 } else { (1.0 - exact.log10().floor()) as usize };
    let text = format!("{exact:.digits$}");
    format!("{} s", if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text })
}

/// A note of ours that begins alike is replaced: one error that is raised for many calls has the last one's.
fn note(e: &Bound<'_, PyAny>, beginning: &str, rest: &str) {
    let py = e.py();
    let text = format!("{beginning}{rest}");
    if let Ok(Some(notes)) = e.getattr_opt(intern!(py, "__notes__"))
        && let Ok(notes) = notes.cast_exact::<PyList>()
    {
        let begins = |note: Bound<'_, PyAny>| {
            note.cast_exact::<PyString>().ok().and_then(|note| note.to_str().ok().map(|note| note.starts_with(beginning)))
        };
        if let Some(at) = notes.iter().position(|note| begins(note) == Some(true)) {
            let _ = notes.set_item(at, text);
            return;
        }
    }
    let _ = e.call_method1(intern!(py, "add_note"), (text,));
}
