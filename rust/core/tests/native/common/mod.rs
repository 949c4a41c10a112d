//! Fixtures of the tests of native work: a desk that collects answers, and scripted operations.

mod desk;
mod held;

pub(crate) use desk::{Answers, Desk};
pub(crate) use held::{Does, Held};

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Deadline, NativeOn, Operation, Outcome};
use mountain_core::error::{Error, OsError};
use mountain_core::policy::retry::{Backoff, Jitter};
use mountain_core::policy::{Layer, retry, timeout};
use mountain_core::runtime::Program;
use mountain_core::value::Value;

pub(crate) const ENOENT: i32 = 2;
pub(crate) const EAGAIN: i32 = 11;

pub(crate) const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub(crate) fn limit(limit: Duration) -> Layer {
    Layer::Timeout(timeout::Settings { limit })
}

/// A retry with that many seconds between attempts.
pub(crate) fn retry(attempts: u32, wait: f64) -> Layer {
    let backoff = Backoff { initial: wait, factor: 1.0, max: wait, jitter: Jitter::None };
    Layer::Retry(retry::Settings {
        attempts: Some(attempts),
        backoff: Some(backoff),
        max_retry_after: secs(60),
        budget: None,
        until: false,
    })
}

/// The operation under a stack whose retries go on from every OS error.
pub(crate) fn program(operation: impl Operation + 'static, stack: &[Layer]) -> Program {
    on(operation, stack, &vec![NativeOn::All; stack.len()])
}

/// The same with what each retry goes on from.
pub(crate) fn on(operation: impl Operation + 'static, stack: &[Layer], on: &[NativeOn]) -> Program {
    Program {
        observer: None,
        retries: None,
        limit: None,
        operation: Arc::new(operation),
        stack: stack.into(),
        on: on.into(),
        inherited: Deadline::NONE,
        watched: true,
        terms: Arc::default(),
        tally: None,
        origin: None,
    }
}

pub(crate) fn os(errno: i32) -> Outcome {
    Err(Error::Os(Box::new(OsError { errno, path: None, path2: None, advice: None })))
}

#[expect(clippy::unnecessary_wraps, reason = "an outcome, as operations give it")]
pub(crate) fn int(n: i64) -> Outcome {
    Ok(Value::Int(n))
}

/// The number in an outcome that must have one.
#[track_caller]
pub(crate) fn number(outcome: &Outcome) -> i64 {
    match outcome {
        Ok(Value::Int(n)) => *n,
        other => panic!("not a number: {other:?}"),
    }
}

/// The errno of an outcome that must have one, and after how many attempts it came.
#[track_caller]
pub(crate) fn attempts_and_errno(outcome: &Outcome) -> (u32, i32) {
    match outcome {
        Err(Error::Os(e)) => (1, e.errno),
        Err(Error::Attempted(attempts, last)) => match &**last {
            Error::Os(e) => (*attempts, e.errno),
            other => panic!("not an errno: {other:?}"),
        },
        other => panic!("not an errno: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn errno(outcome: &Outcome) -> i32 {
    attempts_and_errno(outcome).1
}
