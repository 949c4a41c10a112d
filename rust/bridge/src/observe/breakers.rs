//! Messages for the log and the live page about a breaker: which one, for which key, what it did and why.

use std::sync::Arc;

use mountain_core::effect::Use;
use mountain_core::error::Error;
use mountain_core::policy::breaker::{Cause, Change, Ended, State, Told};
use pyo3::prelude::*;

use crate::convert::class::class;
use crate::convert::fail::Fail;
use crate::convert::note::seconds;
use crate::globals::BREAKERS;
use crate::observe::log;
use crate::policy::keyed;

const INFO: u8 = 20;

/// Subscribes to the changes of breakers.
pub(crate) fn listen() {
    let _ = BREAKERS.set(heard);
}

fn heard(told: Told, ended: Ended<'_>) {
    let Told { name, key, change } = told;
    let did = did(change, error(&ended).as_deref());
    // Only an attached thread can show a key: the text is made when the message is handed over.
    log::say_later(INFO, move |py| said(py, name.as_ref(), key.as_ref(), &did));
    if matches!(change, Change::ByHand(_)) {
        // A call from Python may be followed by no run whose end hands over, so this does.
        Python::attach(log::hand_over);
    }
}

fn said(py: Python<'_>, name: Option<&Arc<str>>, key: Option<&Use>, did: &str) -> String {
    let name = name.map(|name| format!(" '{name}'")).unwrap_or_default();
    let key = key.map(|key| format!(" [{}]", keyed::shown(py, key))).unwrap_or_default();
    format!("breaker{name}{key} {did}").chars().flat_map(in_line).collect()
}

/// Escapes control characters: a name or a key may come from anywhere, and must not begin another line.
fn in_line(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

fn did(change: Change, error: Option<&str>) -> String {
    let of = error.map(|error| format!(" ({error})")).unwrap_or_default();
    match change {
        Change::Opened(Cause::InARow { failures: 1 }) => format!("opened: a call failed{of}"),
        Change::Opened(Cause::InARow { failures }) => format!("opened: {failures} failed in a row{of}"),
        Change::Opened(Cause::Rate { failures, calls }) => format!("opened: {failures} of {calls} failed{of}"),
        Change::Opened(Cause::Slow { slow, calls, limit }) => {
            format!("opened: {slow} of {calls} took longer than {}", seconds(limit))
        }
        Change::Opened(Cause::ProbeFailed { probes: 1 }) => format!("opened again: the probe failed{of}"),
        Change::Opened(Cause::ProbeFailed { .. }) => format!("opened again: a probe failed{of}"),
        Change::Opened(Cause::ProbesSlow { probes: 1, limit, .. }) => {
            format!("opened again: the probe took longer than {}", seconds(limit))
        }
        Change::Opened(Cause::ProbesSlow { slow, probes, limit }) => {
            format!("opened again: {slow} of {probes} probes took longer than {}", seconds(limit))
        }
        Change::HalfOpen { probes: 1 } => "half-open: a probe may pass".into(),
        Change::HalfOpen { probes } => format!("half-open: {probes} probes may pass"),
        Change::Closed { probes: 1 } => "closed: the probe passed".into(),
        Change::Closed { probes } => format!("closed: all {probes} probes passed"),
        Change::ByHand(State::Closed) => "closed by hand".into(),
        Change::ByHand(State::Isolated) => "isolated by hand".into(),
        Change::ByHand(State::Open | State::HalfOpen) => "opened by hand".into(),
    }
}

/// The type of the error by which the call failed, without its module.
fn error(ended: &Ended<'_>) -> Option<String> {
    const TIMED_OUT: &str = "TimedOut";
    let fault = match ended {
        Ended::Well => return None,
        Ended::OutOfTime => return Some(TIMED_OUT.into()),
        Ended::Failed(fault) => fault,
    };
    if let Some(e) = fault.downcast_ref::<Error>() {
        return class(e).rsplit('.').next().map(Into::into);
    }
    match fault.downcast_ref::<Fail>()? {
        // An error that was raised or judged on this thread, which is attached.
        Fail::Raised(e, _) => Python::attach(|py| Some(keyed::cut(&e.get_type(py).name().ok()?.to_string_lossy()))),
        Fail::TimedOut(_) => Some(TIMED_OUT.into()),
        Fail::NotAccepted(_) => Some("NotAccepted".into()),
        Fail::Stopped | Fail::Left | Fail::Refused(_) => None,
    }
}
