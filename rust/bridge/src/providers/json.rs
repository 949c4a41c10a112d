//! The value of a large JSON answer, built on the loop's thread part by part, as `json.loads` builds it.

use std::any::Any;

use mountain_providers::http::{Builder, Part, Response, Step};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString};

use crate::python::pyref::PyRef;

/// A value under construction. Dropped by any thread.
#[derive(Default)]
struct Building {
    /// The containers that are open, and the key that a value in the last one gets.
    open: Vec<(PyRef, Option<PyRef>)>,
    /// By their numbers.
    keys: Vec<PyRef>,
    whole: Option<PyRef>,
}

pub(crate) fn builder() -> Box<dyn Builder> {
    Box::new(Building::default())
}

/// The value that was built.
pub(crate) fn value(py: Python<'_>, built: Box<dyn Builder>) -> Option<Bound<'_, PyAny>> {
    let built: Box<dyn Any> = built;
    built.downcast::<Building>().ok()?.whole.map(|whole| whole.into_bound(py))
}

/// A note on the error of an answer that is no JSON: its status, its type, and the begin of its body.
pub(crate) fn explain(py: Python<'_>, error: &PyErr, response: &Response, body: &[u8]) {
    const SHOWN: usize = 100;
    if !error.is_instance_of::<PyValueError>(py) {
        return;
    }
    let kind = response.headers.get("content-type").map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind = kind.map_or_else(|| "no Content-Type".to_owned(), |kind| format!("Content-Type {kind}"));
    let begin = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned();
    let begin = match body.len() {
        0 => "has no body".to_owned(),
        1..=SHOWN => format!("is {begin:?}"),
        _ => format!("begins with {begin:?}"),
    };
    let note = format!("the answer of {} has status {} and {kind}, and {begin}", response.url, response.status);
    // The error counts, with its note or without.
    let _ = error.value(py).call_method1("add_note", (note,));
}

impl Builder for Building {
    fn put(&mut self, part: Part) -> bool {
        // A value that Python refuses, such as a number with too many digits, is for `json` to report.
        Python::attach(|py| self.steps(py, &part)).is_ok()
    }
}

impl Building {
    fn steps(&mut self, py: Python<'_>, part: &Part) -> PyResult<()> {
        let mut rest = part.text.as_str();
        let mut text = |length: usize| {
            let (text, behind) = rest.split_at(length);
            rest = behind;
            PyString::new(py, text)
        };
        for step in &part.steps {
            let value = match *step {
                Step::Null => py.None().into_bound(py),
                Step::Bool(bool) => bool.into_pyobject(py)?.to_owned().into_any(),
                Step::Int(int) => int.into_pyobject(py)?.into_any(),
                Step::Long(length) => py.get_type::<PyInt>().call1((text(length),))?,
                Step::Float(float) => float.into_pyobject(py)?.into_any(),
                Step::Text(length) => text(length).into_any(),
                Step::NewKey(length) => {
                    let key = text(length);
                    self.keys.push(PyRef::new(key.clone().unbind()));
                    self.key(key);
                    continue;
                }
                Step::OnceKey(length) => {
                    self.key(text(length));
                    continue;
                }
                Step::Key(number) => {
                    // SAFETY: keys are texts.
                    let key = unsafe { self.keys[number as usize].clone_as::<PyString>(py) };
                    self.key(key);
                    continue;
                }
                Step::List => {
                    self.open.push((PyRef::new(PyList::empty(py).unbind()), None));
                    continue;
                }
                Step::Object => {
                    self.open.push((PyRef::new(PyDict::new(py).unbind()), None));
                    continue;
                }
                Step::End => match self.open.pop() {
                    Some((container, _)) => container.into_bound(py),
                    None => continue,
                },
            };
            self.add(py, value)?;
        }
        Ok(())
    }

    fn key(&mut self, key: Bound<'_, PyString>) {
        if let Some((_, next)) = self.open.last_mut() {
            *next = Some(PyRef::new(key.unbind()));
        }
    }

    fn add(&mut self, py: Python<'_>, value: Bound<'_, PyAny>) -> PyResult<()> {
        match self.open.last_mut() {
            None => {
                self.whole = Some(PyRef::new(value.unbind()));
                Ok(())
            }
            Some((object, key @ Some(_))) => match key.take() {
                // SAFETY: a container with a key is an object.
                Some(key) => unsafe { object.clone_as::<PyDict>(py) }.set_item(key.into_bound(py), value),
                None => Ok(()),
            },
            // SAFETY: the others are lists.
            Some((list, None)) => unsafe { list.clone_as::<PyList>(py) }.append(value),
        }
    }
}
