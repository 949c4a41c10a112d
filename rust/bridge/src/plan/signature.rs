//! The calls that a callable takes, read from its code once, so that wrong arguments are refused where the call is
//! written. Only Python refuses: this says which calls are sound beyond doubt, and Python binds the others.

use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyCode, PyDict, PyFunction, PyList, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use crate::plan::Plan;
use crate::python::api::api;

const VARARGS: u32 = 0x4;
const VARKEYWORDS: u32 = 0x8;
const COROUTINE: usize = 0x80;

pub(crate) struct Takes {
    /// A call by position alone is sound with `least` to `most` arguments; with none where `least` is the greater.
    least: usize,
    most: usize,
    by_name: ByName,
}

enum ByName {
    /// Nothing is known of the callable: every call passes.
    Anything,
    /// Only Python can tell.
    Asked,
    Code(Box<Code>),
}

/// The parameters of a Python function.
struct Code {
    names: Vec<Py<PyString>>,
    positional_only: usize,
    positional: usize,
    /// Of those by position, how many have no default.
    required: usize,
    /// Whether a parameter by name alone has no default, in their order.
    named_required: Vec<bool>,
    varargs: bool,
    varkeywords: bool,
    /// The arguments that a method or a partial adds, by position and by name.
    before: usize,
    preset: Option<Py<PyDict>>,
}

impl Takes {
    const ANYTHING: Takes = Takes { least: 0, most: usize::MAX, by_name: ByName::Anything };
    const ASKED: Takes = Takes { least: 1, most: 0, by_name: ByName::Asked };

    pub(crate) fn of(callable: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = callable.py();
        if let Ok(function) = callable.cast::<PyFunction>() {
            return Self::of_function(function, 0, None);
        }
        let called = api(py).called.bind(py).call1((callable,))?;
        if called.is_none() {
            return Ok(Self::ANYTHING);
        }
        let Ok(called) = called.cast_into::<PyTuple>() else { return Ok(Self::ASKED) };
        let (function, before, preset) = called.extract::<(Bound<'_, PyFunction>, Bound<'_, PyTuple>, Bound<'_, PyDict>)>()?;
        let preset = (!preset.is_empty()).then(|| preset.unbind());
        Self::of_function(&function, before.len(), preset)
    }

    fn of_function(function: &Bound<'_, PyFunction>, before: usize, preset: Option<Py<PyDict>>) -> PyResult<Self> {
        let py = function.py();
        let code = function.getattr(intern!(py, "__code__"))?;
        let number = |name| code.getattr(name)?.extract::<usize>();
        let positional = number(intern!(py, "co_argcount"))?;
        let by_name = number(intern!(py, "co_kwonlyargcount"))?;
        let flags = code.getattr(intern!(py, "co_flags"))?.extract::<u32>()?;
        let names = code.getattr(intern!(py, "co_varnames"))?.cast_into::<PyTuple>()?;
        let names = names.iter().take(positional + by_name).map(|name| Ok(name.cast_into::<PyString>()?.unbind()));
        let names = names.collect::<PyResult<Vec<_>>>()?;
        let defaults = function.getattr(intern!(py, "__defaults__"))?;
        let defaults = defaults.cast::<PyTuple>().map_or(0, PyTupleMethods::len);
        let named_defaults = function.getattr(intern!(py, "__kwdefaults__"))?;
        let has_default = |name: &Py<PyString>| named_defaults.cast::<PyDict>().is_ok_and(|d| d.contains(name).unwrap_or(false));
        let code = Code {
            positional_only: number(intern!(py, "co_posonlyargcount"))?,
            positional,
            required: positional.saturating_sub(defaults),
            named_required: names[positional..].iter().map(|name| !has_default(name)).collect(),
            names,
            varargs: flags & VARARGS != 0,
            varkeywords: flags & VARKEYWORDS != 0,
            before,
            preset,
        };
        let always_by_name = code.preset.is_some() || code.named_required.contains(&true);
        let (least, most) = match code.most().checked_sub(before) {
            Some(most) if !always_by_name => (code.required.saturating_sub(before), most),
            _ => (1, 0),
        };
        Ok(Takes { least, most, by_name: ByName::Code(Box::new(code)) })
    }

    /// Whether a call with `given` arguments by position, and these by name, is sound.
    #[inline]
    pub(crate) fn is_sound(&self, py: Python<'_>, given: usize, kwargs: Option<&Bound<'_, PyDict>>) -> bool {
        match kwargs {
            None if self.least <= given && given <= self.most => true,
            _ => self.is_sound_by_name(py, given, kwargs),
        }
    }

    #[inline(never)]
    fn is_sound_by_name(&self, py: Python<'_>, given: usize, kwargs: Option<&Bound<'_, PyDict>>) -> bool {
        match &self.by_name {
            ByName::Anything => true,
            ByName::Asked => false,
            ByName::Code(code) => code.is_sound(py, given, kwargs),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.by_name {
            ByName::Code(code) => visit.call(&code.preset),
            _ => Ok(()),
        }
    }
}

impl Code {
    fn most(&self) -> usize {
        if self.varargs { usize::MAX } else { self.positional }
    }

    fn is_sound(&self, py: Python<'_>, given: usize, kwargs: Option<&Bound<'_, PyDict>>) -> bool {
        let given = given + self.before;
        if given > self.most() {
            return false;
        }
        let mut missing = self.required.saturating_sub(given);
        let mut missing_named = self.named_required.iter().filter(|required| **required).count();
        let mut take = |name: &Bound<'_, PyAny>| match self.place(name) {
            None => self.varkeywords,
            Some(place) if place < given.min(self.positional) => false, // it is given by position too
            Some(place) => {
                if place < self.required {
                    missing -= 1;
                } else if place >= self.positional && self.named_required[place - self.positional] {
                    missing_named -= 1;
                }
                true
            }
        };
        if let Some(kwargs) = kwargs
            && !kwargs.iter().all(|(name, _)| take(&name))
        {
            return false;
        }
        if let Some(preset) = &self.preset {
            let again = |name: &Bound<'_, PyAny>| kwargs.is_some_and(|kwargs| kwargs.contains(name).unwrap_or(false));
            if !preset.bind(py).iter().all(|(name, _)| again(&name) || take(&name)) {
                return false;
            }
        }
        missing == 0 && missing_named == 0
    }

    /// The place of the parameter of that name, if it can be given by name. Names are interned, but for odd calls.
    fn place(&self, name: &Bound<'_, PyAny>) -> Option<usize> {
        let py = name.py();
        let found = self.names.iter().skip(self.positional_only).position(|each| each.as_ptr() == name.as_ptr());
        let equal =
            || self.names.iter().skip(self.positional_only).position(|each| each.bind(py).as_any().eq(name).unwrap_or(false));
        found.or_else(equal).map(|place| place + self.positional_only)
    }
}

/// A TypeError if `callable` cannot be called with one argument, for the method named `by`.
pub(crate) fn check_one(callable: &Bound<'_, PyAny>, by: &str) -> PyResult<()> {
    let py = callable.py();
    if !callable.is_callable() {
        let given = callable.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{by}() needs a function of the value, not {given}")));
    }
    // The signature of a callable written in C takes longer to read than all the rest, and is seldom wrong.
    if callable.is_instance_of::<PyCFunction>() || callable.cast::<PyType>().is_ok_and(is_static) {
        return Ok(());
    }
    // A function has one, a bound method its function's, and a function of effects one that says what it is.
    let code = callable.getattr_opt(intern!(py, "__code__")).ok().flatten();
    if let Some(code) = code.as_ref().and_then(|code| code.cast::<PyCode>().ok()) {
        let number = |name| code.getattr(name)?.extract::<usize>();
        if by == "map" && number(intern!(py, "co_flags"))? & COROUTINE != 0 {
            let name = callable.getattr(intern!(py, "__name__"))?;
            return Err(PyTypeError::new_err(format!(
                "map() takes a function of the value, and {name} is a coroutine function: under @effect it is for then({name})"
            )));
        }
        let one = number(intern!(py, "co_argcount"))? == 1 && number(intern!(py, "co_kwonlyargcount"))? == 0;
        if one && callable.is_instance_of::<PyFunction>() {
            return Ok(());
        }
    }
    let one = PyTuple::new(py, [py.None()])?;
    if Takes::of(callable)?.is_sound(py, 1, None) { Ok(()) } else { refuse(callable, &one, None) }
}

/// A TypeError unless all are subclasses of Exception.
pub(crate) fn check_errors(classes: &Bound<'_, PyTuple>) -> PyResult<()> {
    let base = classes.py().get_type::<PyException>();
    if classes.is_empty() {
        return Err(PyTypeError::new_err("attempt() needs the classes of the errors that are to be values"));
    }
    let is_class = |given: &Bound<'_, PyAny>| given.cast::<PyType>().is_ok_and(|class| class.is_subclass(&base).unwrap_or(false));
    let are_classes =
        |given: &Bound<'_, PyAny>| given.try_iter().is_ok_and(|mut each| each.all(|one| one.is_ok_and(|one| is_class(&one))));
    for class in classes.iter_borrowed() {
        if !is_class(&class) {
            let way = if class.is_instance(&base)? {
                format!(": write its class, attempt({})", class.get_type().name()?)
            } else if class.is_instance_of::<PyTuple>() || (class.is_instance_of::<PyList>() && are_classes(&class)) {
                ": classes are given one by one, write attempt(*errors)".into()
            } else {
                String::new()
            };
            return Err(PyTypeError::new_err(format!("attempt({}): must be a class of Exception{way}", class.repr()?)));
        }
    }
    Ok(())
}

/// A class that is written in C.
fn is_static(class: &Bound<'_, PyType>) -> bool {
    // SAFETY: a live class.
    unsafe { ffi::PyType_HasFeature(class.as_type_ptr(), ffi::Py_TPFLAGS_HEAPTYPE) == 0 }
}

/// Raises the TypeError of a call that is not sound, without frames of this package.
pub(crate) fn refuse(callable: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    let py = callable.py();
    api(py).refuse.bind(py).call1((callable, args, kwargs)).map(drop).inspect_err(|error| {
        error.set_traceback(py, None);
    })
}

/// Refuses generators for a plan that may use the arguments again, as they would be empty then: better no call than a
/// silently different one.
#[inline(never)]
pub(crate) fn refuse_generators(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>, plan: &Plan) -> PyResult<()> {
    // SAFETY: asks for the type only.
    let generator =
        |v: &Bound<'_, PyAny>| unsafe { ffi::PyGen_CheckExact(v.as_ptr()) != 0 || ffi::PyAsyncGen_CheckExact(v.as_ptr()) != 0 };
    let refuse = || {
        let (how, when) =
            if plan.repeats { ("be called again", "the second time") } else { ("call another with its arguments", "then") };
        let why = format!("may {how} and was given a generator, which would be empty {when}");
        PyTypeError::new_err(format!("{} {why}: pass a list, or make the generator inside", plan.title()))
    };
    if args.iter().any(|a| generator(&a)) || kwargs.is_some_and(|k| k.values().iter().any(|v| generator(&v))) {
        return Err(refuse());
    }
    Ok(())
}

/// A TypeError if `callable` does not take these arguments.
#[pyfunction]
#[pyo3(signature = (callable, args, kwargs, /))]
pub(crate) fn check_call(
    callable: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let py = callable.py();
    if Takes::of(callable)?.is_sound(py, args.len(), kwargs) { Ok(()) } else { refuse(callable, args, kwargs) }
}
