//! A native operation: work that needs no host language. It starts on any thread, reports once through [`Done`], and can be aborted.

use std::sync::Arc;

use super::{Deadline, Starter};
use crate::error::Error;
use crate::observe::Doing;
use crate::schedule::Priority;
use crate::time::Clock;
use crate::value::{Memory, Value};

pub type Outcome = Result<Value, Error>;

/// Where native work runs.
pub struct Host {
    pub tokio: tokio::runtime::Handle,
    pub clock: Arc<Clock>,
    pub(super) starter: Starter,
}

impl Host {
    pub fn new(tokio: tokio::runtime::Handle, clock: Arc<Clock>) -> Arc<Self> {
        Arc::new(Host { tokio, clock, starter: Starter::default() })
    }
}

/// Work as a value: starting it twice does it twice.
pub trait Operation: Send + Sync {
    /// Begin. Must not block: it is called on an event loop's thread.
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort;

    /// The same under the earliest limit of what runs it, which tells it when that has passed. It need only be known to what it begins, so that none
    /// waits for what would come too late.
    fn start_under(&self, host: &Arc<Host>, done: Done, over: Deadline) -> Abort {
        let _ = over;
        self.start(host, done)
    }

    /// A worker had better begin it: it spawns a task, or does its little work as it begins.
    fn wants_a_worker(&self) -> bool {
        false
    }
}

/// Receives outcomes. `token` is the receiver's own name for the call.
pub trait Sink: Send + Sync {
    fn deliver(&self, token: usize, outcome: Outcome);

    /// Have the host language allocate one buffer a size, then go on with them. Dropping `then` ends the call as cancelled.
    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>);
}

/// The one right to report a call's outcome. Dropped unused, it reports a cancel, or the panic that drops it: a call never goes unanswered.
pub struct Done {
    sink: Option<Arc<dyn Sink>>,
    token: usize,
    /// How urgent it is, where it has to wait for a thread.
    pub priority: Priority,
    /// Its number in a queue, for what keeps it waiting there: in here it takes no room.
    pub(crate) number: u32,
}

impl Done {
    pub fn new(sink: Arc<dyn Sink>, token: usize) -> Self {
        Done { sink: Some(sink), token, priority: Priority::default(), number: 0 }
    }

    #[must_use]
    pub fn of(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    pub fn finish(mut self, outcome: Outcome) {
        if let Some(sink) = self.sink.take() {
            sink.deliver(self.token, outcome);
        }
    }

    /// Where the outcome will go: also the source of buffers.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone().expect("an unanswered call has its sink")
    }

    /// Hand the right over to whoever collects several outcomes into one.
    pub(super) fn into_parts(mut self) -> (Arc<dyn Sink>, usize) {
        (self.sink.take().expect("an unanswered call has its sink"), self.token)
    }

    /// Ask the host for buffers to read into; `then` runs on the host's thread and must not block.
    pub fn allocate(self, sizes: Vec<usize>, then: impl FnOnce(Arc<dyn Memory>, Done) + Send + 'static) {
        self.sink().allocate(sizes, Box::new(move |memory| then(memory, self)));
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            let why = if std::thread::panicking() { Error::Panic("a panic as it began".into()) } else { Error::Cancelled };
            sink.deliver(self.token, Err(why));
        }
    }
}

/// Can be asked to end early.
pub trait Abortable: Send + Sync {
    fn abort(&self);

    /// What it does at the moment, for who asks where everything stands.
    fn doing(&self) -> Doing {
        Doing::Running
    }
}

/// How to ask a started call to end. Its `Done` is answered all the same, when it has ended.
pub enum Abort {
    /// It cannot be asked, or has already ended.
    Never,
    Task(tokio::task::AbortHandle),
    Shared(Arc<dyn Abortable>),
}

impl Abort {
    pub fn abort(&self) {
        match self {
            Abort::Never => {}
            Abort::Task(task) => task.abort(),
            Abort::Shared(call) => call.abort(),
        }
    }

    pub fn doing(&self) -> Doing {
        match self {
            Abort::Never | Abort::Task(_) => Doing::Running,
            Abort::Shared(call) => call.doing(),
        }
    }
}
