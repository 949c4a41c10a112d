//! How a native operation fails. The port turns each of these into the host language's own exception.

use std::ffi::OsString;

use crate::effect::TimedOut;

/// A native failure.
#[derive(Debug)]
pub enum Error {
    /// Asked to stop before it had a result.
    Cancelled,
    /// The operating system said no.
    Os(Box<OsError>),
    /// An argument that only the native side could judge.
    Invalid(String),
    /// A policy's time limit passed.
    TimedOut(Box<TimedOut<Error>>),
    /// A panic in native code: a bug of ours, contained.
    Panic(String),
    /// All contestants of a race failed.
    All(Vec<Error>),
}

/// An errno with the paths that it is about.
#[derive(Debug)]
pub struct OsError {
    pub errno: i32,
    pub path: Option<OsString>,
    pub path2: Option<OsString>,
}

impl Error {
    /// An `io::Error` with the path that it is about. Errors that carry no errno are reported as EIO.
    #[must_use]
    pub fn io(e: &std::io::Error, path: impl Into<Option<OsString>>) -> Self {
        const EIO: i32 = 5;
        Error::Os(Box::new(OsError { errno: e.raw_os_error().unwrap_or(EIO), path: path.into(), path2: None }))
    }

    /// What a caught panic said.
    #[must_use]
    pub fn panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string).or_else(|| payload.downcast_ref::<String>().cloned());
        Error::Panic(text.unwrap_or_else(|| "a panic without a message".into()))
    }
}
