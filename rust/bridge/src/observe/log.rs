//! Log messages of the native side, queued from any thread until a loop's thread hands them over to `logging`.

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

/// The number of messages that may wait; beyond it the oldest is dropped.
const MOST: usize = 1024;

/// The area of changes of policies: those are on the live page too, whatever `logging` keeps.
const POLICY: &str = "policy";

static SAID: Mutex<VecDeque<Said>> = Mutex::new(VecDeque::new());
/// Whether messages may wait: the end of each run reads it.
static ANY: AtomicBool = AtomicBool::new(false);

struct Said {
    area: &'static str,
    /// In `logging`'s numbers.
    level: u8,
    message: Message,
    effect: Option<String>,
    attempt: Option<u32>,
}

enum Message {
    Ready(String),
    /// Text that only an attached thread can make.
    Later(Box<dyn FnOnce(Python<'_>) -> String + Send>),
}

/// The one subscriber of this module's own `tracing`. An event's target is its area.
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

/// Queues a message, which a loop's thread hands over a moment later.
pub(crate) fn say(area: &'static str, level: u8, message: String, effect: Option<String>, attempt: Option<u32>) {
    add(Said { area, level, message: Message::Ready(message), effect, attempt });
}

/// Logs a policy's change at once, and shows it on the live page.
#[pyfunction]
#[pyo3(signature = (level, message, /))]
pub(crate) fn log_change(py: Python<'_>, level: u8, message: String) {
    say(POLICY, level, message, None, None);
    hand_over(py);
}

/// Queues a policy's change. Its text is made when it is handed over.
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

/// Installs the subscriber.
pub(crate) fn listen() {
    // This fails in a second interpreter of one process, where the first one's subscriber stays.
    let _ = tracing::subscriber::set_global_default(ToLogging);
}

/// Hands all messages over to `logging`. A drain calls it, and the end of a run too, since a loop without native work
/// has no port.
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
        // Messages with an effect are about a call, such as its retries: the page shows those of policies only.
        if area == POLICY && effect.is_none() {
            dashboard::note_change(&message);
        }
        if let Err(e) = api(py).log.bind(py).call1((area, level, message, effect, attempt)) {
            e.write_unraisable(py, None);
        }
    }
}

/// In the child of a fork: drops the messages, unless a thread of the parent held their lock.
pub(crate) fn forget_parent() {
    if let Some(mut said) = SAID.try_lock() {
        // Not by a plain drop: a message may hold a key whose lock a thread of the parent held.
        std::mem::forget(std::mem::take(&mut *said));
    }
}
