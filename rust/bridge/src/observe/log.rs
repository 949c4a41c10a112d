//! What the native side has to say, on its way to `logging`: kept here, from whatever thread, until a loop's thread in passing hands it over.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::observe::dashboard;
use crate::port::registry;
use crate::python::api::api;

/// Messages that wait; the oldest go first.
const MOST: usize = 1024;

/// The area in which policies say how they change: that is on the live page, too, whatever `logging` keeps.
const POLICY: &str = "policy";

static SAID: Mutex<VecDeque<Said>> = Mutex::new(VecDeque::new());
/// There may be some: the end of each run looks here.
static ANY: AtomicBool = AtomicBool::new(false);

struct Said {
    area: &'static str,
    /// As `logging` numbers them.
    level: u8,
    message: Message,
    effect: Option<String>,
    attempt: Option<u32>,
}

enum Message {
    Ready(String),
    /// Only an attached thread can say it.
    Later(Box<dyn FnOnce(Python<'_>) -> String + Send>),
}

/// The one subscriber of this module's own `tracing`. The areas are our targets.
struct ToLogging;

#[derive(Default)]
struct Fields {
    message: String,
    effect: Option<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "effect" => self.effect = Some(format!("{value:?}")),
            name => {
                let _ = write!(self.message, " {name}={value:?}");
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "effect" => self.effect = Some(value.to_owned()),
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }
}

impl Subscriber for ToLogging {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && !metadata.target().contains("::")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        say(event.metadata().target(), level, fields.message, fields.effect, None);
    }
}

/// A loop's thread hands it over to `logging`, a moment later.
pub(crate) fn say(area: &'static str, level: u8, message: String, effect: Option<String>, attempt: Option<u32>) {
    add(Said { area, level, message: Message::Ready(message), effect, attempt });
}

/// The same of a policy that has changed, in words that are made when it is handed over.
pub(crate) fn say_later(level: u8, message: impl FnOnce(Python<'_>) -> String + Send + 'static) {
    add(Said { area: POLICY, level, message: Message::Later(Box::new(message)), effect: None, attempt: None });
}

fn add(new: Said) {
    let oldest = {
        let mut said = SAID.lock();
        let oldest = if said.len() >= MOST { said.pop_front() } else { None };
        said.push_back(new);
        oldest
    };
    drop(oldest);
    ANY.store(true, Ordering::Release);
    registry::call_one();
}

/// From now on it is heard.
pub(crate) fn listen() {
    // Twice in one process, in a second interpreter: the first one hears.
    let _ = tracing::subscriber::set_global_default(ToLogging);
}

/// On an attached thread: what was said goes to `logging`. A drain does that, and the end of a run, as a loop that has no native work has no port.
#[inline]
pub(crate) fn hand_over(py: Python<'_>) {
    if ANY.load(Ordering::Acquire) {
        hand_over_all(py);
    }
}

#[cold]
fn hand_over_all(py: Python<'_>) {
    ANY.store(false, Ordering::Release);
    let Some(said) = SAID.try_lock().filter(|said| !said.is_empty()).map(|mut said| std::mem::take(&mut *said)) else { return };
    for Said { area, level, message, effect, attempt } in said {
        let message = match message {
            Message::Ready(message) => message,
            Message::Later(make) => make(py),
        };
        // What is of an effect's call is the call's, as that it is tried again.
        if area == POLICY && effect.is_none() {
            dashboard::note_change(&message);
        }
        if let Err(e) = api(py).log.bind(py).call1((area, level, message, effect, attempt)) {
            e.write_unraisable(py, None);
        }
    }
}

/// In the child of a fork: a parent's thread may have been at it.
pub(crate) fn forget_parent() {
    if let Some(mut said) = SAID.try_lock() {
        // A key that is named in one may be locked for ever.
        std::mem::forget(std::mem::take(&mut *said));
    }
}
