//! A native operation: work that needs no host language. It starts on any thread, reports once through [`Done`], and
//! can be aborted.

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
    /// Begins the work. Must not block: it is called on an event loop's thread.
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort;

    /// Begins the work under the earliest deadline over it. The caller acts on the deadline; the work only has to pass
    /// it on to whatever it begins, so that nothing waits for what would come too late.
    fn start_under(&self, host: &Arc<Host>, done: Done, over: Deadline) -> Abort {
        let _ = over;
        self.start(host, done)
    }

    /// Whether it may run again after it ran out of time, for a policy that asks for such work only: what timed out may
    /// have run.
    fn may_repeat(&self) -> bool {
        true
    }

    /// The tokio runtime that it runs on, where that is none of the host's: the policies around it run there too, and
    /// no step has to wake another thread.
    fn home(&self) -> Option<&'static tokio::runtime::Handle> {
        None
    }

    /// This work with the headers of a trace, for work that asks a server; `None`: it asks none, and makes none.
    fn traced(&self, headers: &dyn Fn() -> Vec<(String, String)>) -> Option<Arc<dyn Operation>> {
        let _ = headers;
        None
    }

    /// Whether a worker should begin it, because it spawns a task or does its little work at once.
    fn wants_a_worker(&self) -> bool {
        false
    }
}

/// Receives outcomes. `token` is the receiver's own number for the call.
pub trait Sink: Send + Sync {
    fn deliver(&self, token: usize, outcome: Outcome);

    /// Has the host allocate one buffer for each size, and passes them to `then`. Dropping `then` ends the call as
    /// cancelled.
    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>);

    /// Has the host run a short job on its own thread, between two messages. A host that is gone drops the job.
    fn on_host(&self, job: Box<dyn FnOnce() + Send>) {
        drop(job);
    }
}

/// The one right to report a call's outcome. Dropped unused, it reports a cancel, or the panic that unwinds: every call
/// is answered once.
pub struct Done {
    sink: Option<Arc<dyn Sink>>,
    token: usize,
    /// The call's priority where it has to wait for a thread.
    pub priority: Priority,
    /// The call's number in the queue in which it waits: kept here, where it costs no extra room.
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

    /// The receiver of the outcome, which also allocates buffers.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone().expect("an unanswered call has its sink")
    }

    /// Gives up the right to a collector of several outcomes.
    pub(super) fn into_parts(mut self) -> (Arc<dyn Sink>, usize) {
        (self.sink.take().expect("an unanswered call has its sink"), self.token)
    }

    /// Asks the host for buffers to read into; `then` runs on the host's thread and must not block.
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

/// Work that can be asked to end early.
pub trait Abortable: Send + Sync {
    fn abort(&self);

    /// The present state of the work, for a dump of all tasks.
    fn doing(&self) -> Doing {
        Doing::Running
    }
}

/// How to ask a started call to end. Its `Done` is answered in any case, once the call has ended.
pub enum Abort {
    /// The call cannot be asked, or has already ended.
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
