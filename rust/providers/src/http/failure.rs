//! The failures of requests, and which of them may be sent again.

use std::fmt;
use std::io;

use mountain_core::effect::Verdict;
use mountain_core::error::{Error, Foreign};

use super::response::Response;

/// The kind of a failure, which decides the exception that callers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection came about: nothing was sent.
    Connect,
    /// The address is not a public one, or the client may not go there.
    Forbidden,
    /// The server's certificate is not trusted, or is another's.
    Certificate,
    /// TLS failed otherwise.
    Tls,
    /// The request was sent, and no whole answer came.
    Unanswered,
    /// The answer is not HTTP, or exceeds a limit of the client.
    Protocol,
    /// The answer's status is 400 or above.
    Status,
}

/// A failed request. The text says what failed, to which address, and what to do.
pub struct Failed {
    pub kind: Kind,
    pub text: String,
    /// The system's number of the failure, if it has one.
    pub errno: Option<i32>,
    /// The request's method, or its key, says that it may be sent twice.
    pub repeatable: bool,
    /// The answer with a failing status.
    pub response: Option<Box<Response>>,
}

impl Failed {
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Failed { kind, text: text.into(), errno: None, repeatable: false, response: None }
    }

    pub fn of_io(kind: Kind, e: &io::Error, what: &str) -> Self {
        let errno = e.raw_os_error().or(match e.kind() {
            io::ErrorKind::TimedOut => Some(libc::ETIMEDOUT),
            _ => None,
        });
        Failed { errno, ..Failed::new(kind, format!("{what}: {}", message(e))) }
    }

    pub fn into_error(self) -> Error {
        Error::Other(Box::new(self))
    }

    /// Whether a retry may send the request again, and after how many seconds where the server says so.
    pub fn verdict(&self) -> Verdict {
        match (self.kind, &self.response) {
            (Kind::Connect, _) if passes(self.errno.unwrap_or(libc::EHOSTUNREACH)) => Verdict::Yes,
            (Kind::Unanswered, _) if self.repeatable => Verdict::Yes,
            (Kind::Status, Some(response)) if self.repeatable => match response.status {
                429 | 503 => response.retry_after().map_or(Verdict::Yes, Verdict::After),
                500 | 502 | 504 => Verdict::Yes,
                _ => Verdict::No,
            },
            _ => Verdict::No,
        }
    }
}

/// The errnos of connections that may come about later, or that have gone: those of ConnectionError, and of no way to
/// the host.
fn passes(errno: i32) -> bool {
    const GONE: [i32; 5] = [libc::EPIPE, libc::ESHUTDOWN, libc::ECONNABORTED, libc::ECONNREFUSED, libc::ECONNRESET];
    const NO_WAY: [i32; 4] = [libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ENETDOWN, libc::ETIMEDOUT];
    GONE.contains(&errno) || NO_WAY.contains(&errno)
}

/// The verdict of `http.transient` on a failure of native work. A limit's failure is the engine's to judge.
pub fn transient(e: &Error) -> Verdict {
    match e {
        Error::Other(any) => {
            let any: &dyn std::any::Any = &**any;
            any.downcast_ref::<Failed>().map_or(Verdict::No, Failed::verdict)
        }
        Error::Os(e) if passes(e.errno) => Verdict::Yes,
        Error::Attempted(_, e) | Error::Of(_, e) | Error::Under(_, e) | Error::Within(_, e) | Error::Injected(_, e) => {
            transient(e)
        }
        Error::GaveUp(gave_up) => transient(&gave_up.1),
        Error::Beside(all) => transient(&all.0),
        _ => Verdict::No,
    }
}

/// An error's own words, without the errno that the exception has anyway.
pub(super) fn message(e: &dyn fmt::Display) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

impl Foreign for Failed {
    fn errno(&self) -> Option<i32> {
        match self.kind {
            Kind::Connect => Some(self.errno.unwrap_or(libc::EHOSTUNREACH)),
            Kind::Unanswered => Some(libc::ECONNRESET),
            Kind::Forbidden => Some(libc::EACCES),
            Kind::Certificate | Kind::Tls | Kind::Protocol | Kind::Status => None,
        }
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}
