//! The conversions that providers bring for their own values and failures. A provider implements `Provided` or
//! `Failure` beside its effects; the module's start installs them all, before the first call.

use std::any::{Any, TypeId};
use std::sync::OnceLock;

use pyo3::prelude::*;

/// A type of value that an operation yields in a `Value::Other`.
pub(crate) trait Provided: Any + Send + Sized {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>>;
}

/// A type of failure that an operation ends with in an `Error::Other`.
pub(crate) trait Failure: Any + Send + Sync + Sized {
    fn into_exception(self, py: Python<'_>) -> PyResult<PyErr>;

    /// The full name of that exception's class, for logs and counts on threads that do not enter Python.
    fn class(&self) -> &'static str;
}

type AnyValue = Box<dyn Any + Send>;
type AnyFailure = Box<dyn Any + Send + Sync>;

struct OfValue {
    of: TypeId,
    into_python: for<'py> fn(Python<'py>, AnyValue) -> Option<PyResult<Bound<'py, PyAny>>>,
}

struct OfFailure {
    of: TypeId,
    into_exception: fn(Python<'_>, AnyFailure) -> Option<PyResult<PyErr>>,
    class: fn(&(dyn Any + Send + Sync)) -> Option<&'static str>,
}

/// The installed conversions. They are so few that a linear search is the fastest.
#[derive(Default)]
pub(crate) struct Conversions {
    values: Vec<OfValue>,
    failures: Vec<OfFailure>,
}

impl Conversions {
    pub(crate) fn value<T: Provided>(mut self) -> Self {
        fn into_python<T: Provided>(py: Python<'_>, any: AnyValue) -> Option<PyResult<Bound<'_, PyAny>>> {
            any.downcast::<T>().ok().map(|value| value.into_python(py))
        }
        self.values.push(OfValue { of: TypeId::of::<T>(), into_python: into_python::<T> });
        self
    }

    pub(crate) fn failure<T: Failure>(mut self) -> Self {
        let into_exception =
            |py: Python<'_>, any: AnyFailure| any.downcast().ok().map(|failure: Box<T>| failure.into_exception(py));
        let class = |any: &(dyn Any + Send + Sync)| any.downcast_ref().map(T::class);
        self.failures.push(OfFailure { of: TypeId::of::<T>(), into_exception, class });
        self
    }
}

static INSTALLED: OnceLock<Conversions> = OnceLock::new();

/// A second module object of the same process installs nothing new.
pub(crate) fn install(conversions: Conversions) {
    let _ = INSTALLED.set(conversions);
}

/// None: no provider converts this type.
pub(super) fn value(py: Python<'_>, any: AnyValue) -> Option<PyResult<Bound<'_, PyAny>>> {
    let of = (*any).type_id();
    let known = INSTALLED.get()?.values.iter().find(|known| known.of == of)?;
    (known.into_python)(py, any)
}

fn of_failure(any: &(dyn Any + Send + Sync)) -> Option<&'static OfFailure> {
    let of = any.type_id();
    INSTALLED.get()?.failures.iter().find(|known| known.of == of)
}

/// None: no provider converts this type.
pub(super) fn exception(py: Python<'_>, any: AnyFailure) -> Option<PyResult<PyErr>> {
    (of_failure(&*any)?.into_exception)(py, any)
}

/// None: no provider converts this type.
pub(super) fn class(any: &(dyn Any + Send + Sync)) -> Option<&'static str> {
    (of_failure(any)?.class)(any)
}
