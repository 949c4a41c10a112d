//! Errors of calls: failures of native operations, which the port turns into the host language's own exceptions, and
//! expired deadlines.

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A native failure.
#[derive(Debug)]
pub enum Error {
    /// Asked to stop before it had a result.
    Cancelled,
    /// The operating system reported an error.
    Os(Box<OsError>),
    /// An argument that only the native side could judge.
    Invalid(String),
    /// A policy's deadline passed.
    TimedOut(Box<TimedOut<Error>>),
    /// A policy did not let the call begin.
    Refused(Refused),
    /// A panic in native code: a bug of ours, contained.
    Panic(String),
    /// The last failure of that many attempts.
    Attempted(u32, Box<Error>),
    /// The failure with which a retry gave up, because its wait did not fit.
    GaveUp(Box<(Misfit, Error)>),
    /// The failure that the chaos at that place of the stack put in place of a call.
    Injected(usize, Box<Error>),
    /// The failure of the first attempt, and those of the others beside it.
    Beside(Box<(Error, Vec<Error>)>),
    /// A failure of a call inside another, with the host's name of that call: owners and attempts in it are those of
    /// its own stack.
    Of(Origin, Box<Error>),
    /// A failure of a call under a deadline from outside, with the host's name of that deadline.
    Under(Origin, Box<Error>),
    /// A failure of a call inside another: what the call inherited is that deadline of the other's.
    Within(Owner, Box<Error>),
    /// All contestants of a race failed.
    All(Vec<Error>),
    /// A provider's own failure, whose type the port knows.
    Other(Box<dyn Foreign>),
}

/// A provider's own type of failure.
pub trait Foreign: Any + Send + Sync + fmt::Debug {
    /// The errno of the builtin exception that it becomes, if it becomes one: by that a policy's `on` names it.
    fn errno(&self) -> Option<i32> {
        None
    }
}

/// The host's name of a call or of a deadline.
#[derive(Clone)]
pub struct Origin(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin")
    }
}

/// An errno with the paths that it is about.
#[derive(Debug)]
pub struct OsError {
    pub errno: i32,
    pub path: Option<OsString>,
    pub path2: Option<OsString>,
    /// The end of the message: a way to do it, where that is known.
    pub advice: Option<&'static str>,
}

impl Error {
    /// An `io::Error` with the path that it is about. Errors that carry no errno are reported as EIO.
    #[must_use]
    pub fn io(e: &std::io::Error, path: impl Into<Option<OsString>>) -> Self {
        const EIO: i32 = 5;
        Error::Os(Box::new(OsError { errno: e.raw_os_error().unwrap_or(EIO), path: path.into(), path2: None, advice: None }))
    }

    /// The failure, without the notes of policies of its own stack.
    pub fn itself(&self) -> &Self {
        match self {
            Error::GaveUp(gave_up) => gave_up.1.itself(),
            Error::Injected(_, e) => e.itself(),
            Error::Beside(all) => all.0.itself(),
            e => e,
        }
    }

    /// The message of a caught panic.
    #[must_use]
    pub fn panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string).or_else(|| payload.downcast_ref::<String>().cloned());
        Error::Panic(text.unwrap_or_else(|| "a panic without a message".into()))
    }
}

/// The owner of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No deadline.
    None,
    /// A deadline from outside this stack: of a `deadline()` block, or of the effect that this one runs in.
    Inherited,
    /// The timeout at that place of the stack, counted from the outside.
    Layer(usize),
}

impl Owner {
    /// Whether it is inside the layer at that place.
    pub fn inside(self, layer: usize) -> bool {
        matches!(self, Owner::Layer(i) if i > layer)
    }

    /// Whether the layer at that place is inside this.
    pub fn encloses(self, layer: usize) -> bool {
        match self {
            Owner::Layer(i) => layer > i,
            Owner::Inherited | Owner::None => true,
        }
    }

    /// Whether this deadline is inside that of `other`.
    pub fn within(self, other: Owner) -> bool {
        match other {
            Owner::Layer(i) => self.inside(i),
            Owner::Inherited | Owner::None => matches!(self, Owner::Layer(_)),
        }
    }
}

/// Time ran out: whose deadline, after how many attempts, and the last failure.
#[derive(Debug)]
pub struct TimedOut<E> {
    pub owner: Owner,
    pub attempts: u32,
    pub cause: Option<E>,
}

/// A wait that would have ended after the earliest deadline over it, and was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    pub wait: Duration,
    /// The owner of the deadline, and how much was left of it.
    pub owner: Owner,
    pub left: Duration,
}

/// A policy did not let a call begin: which, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The policy's place in the stack, counted from the outside.
    pub layer: usize,
    pub why: Reason,
    /// Which attempt it would have been, from 1 on.
    pub attempt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// That many calls wait already.
    Full(u32),
    /// The call's turn would come too late; there may be room after that time.
    Limited(Duration),
    /// The circuit is open; it may be tried after that time.
    Open(Duration),
    /// The call would wait for itself.
    Reentered,
    /// Nothing begins any more.
    Stopping,
}
