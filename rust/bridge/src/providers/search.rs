//! The effect of `mountain_runtime.search`, and a match as a Python object.

use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use mountain_providers::search::{self, Case, Line, Options};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::convert::provided::Provided;
use crate::plan::{Plan, plan};
use crate::providers::batches::Batches;
use crate::providers::path::path;

/// A line that matches, or with `multiline` a run of lines: `line` is the number of the first, counted from 1. `column`
/// is where the match begins in `text` as the file has it, in bytes, counted from 0. `before` and `after` are the lines
/// around it. Bytes that are no UTF-8 are surrogate-escaped, in `path`, too.
///
/// Of more than 8 KiB, `text` is a part with the match in it: `cut` then has how many bytes are left out before and
/// after it, and is None otherwise.
#[pyclass(frozen, eq, hash, module = "mountain_runtime.search")]
#[derive(PartialEq)]
pub(crate) struct Match(search::Match);

impl Hash for Match {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.0.path, self.0.line, self.0.column).hash(state);
    }
}

#[pymethods]
impl Match {
    #[new]
    #[pyo3(signature = (path, line, column, text, before = vec![], after = vec![], cut = None))]
    fn new(
        path: PathBuf,
        line: u64,
        column: usize,
        text: &Bound<'_, PyString>,
        before: Vec<Bound<'_, PyString>>,
        after: Vec<Bound<'_, PyString>>,
        cut: Option<(usize, usize)>,
    ) -> PyResult<Self> {
        let lines = |of: Vec<Bound<'_, PyString>>| of.iter().map(encoded).collect::<PyResult<Vec<_>>>();
        let (text, before, after) = (encoded(text)?, lines(before)?, lines(after)?);
        Ok(Match(search::Match { path: path.into(), line, column, text, cut, before, after }))
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["path", "line", "column", "text", "before", "after", "cut"])
    }

    #[getter]
    fn path(&self) -> &OsStr {
        self.0.path.as_os_str()
    }
    #[getter]
    fn line(&self) -> u64 {
        self.0.line
    }
    #[getter]
    fn column(&self) -> usize {
        self.0.column
    }
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        decoded(py, &self.0.text)
    }
    #[getter]
    fn before<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        lines(py, &self.0.before)
    }
    #[getter]
    fn after<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        lines(py, &self.0.after)
    }
    #[getter]
    fn cut(&self) -> Option<(usize, usize)> {
        self.0.cut
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = self.path().into_pyobject(py)?.repr()?;
        let text = self.text(py)?.repr()?;
        let (line, column) = (self.0.line, self.0.column);
        let mut shown = vec![format!("path={path}, line={line}, column={column}, text={text}")];
        for (name, around) in [("before", &self.0.before), ("after", &self.0.after)] {
            if !around.is_empty() {
                shown.push(format!("{name}={}", lines(py, around)?.repr()?));
            }
        }
        if let Some((before, after)) = self.0.cut {
            shown.push(format!("cut=({before}, {after})"));
        }
        Ok(format!("Match({})", shown.join(", ")))
    }
}

fn lines<'py>(py: Python<'py>, lines: &[Line]) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, lines.iter().map(|line| decoded(py, line)).collect::<PyResult<Vec<_>>>()?)
}

fn decoded<'py>(py: Python<'py>, line: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(line) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => PyString::from_encoded_object(&PyBytes::new(py, line), Some(c"utf-8"), Some(c"surrogateescape")),
    }
}

fn encoded(line: &Bound<'_, PyString>) -> PyResult<Line> {
    let bytes = line.call_method1("encode", ("utf-8", "surrogateescape"))?;
    Ok(bytes.cast::<PyBytes>()?.as_bytes().into())
}

/// A batch of a search.
impl Provided for Vec<search::Match> {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let found = self.into_iter().map(|found| Bound::new(py, Match(found))).collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, found)?.into_any())
    }
}

/// The options of a search, as a dict has them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own, as a caller writes it")]
pub(crate) struct Question {
    literal: bool,
    case: String,
    word: bool,
    multiline: bool,
    include: Vec<String>,
    exclude: Vec<String>,
    hidden: bool,
    ignore_files: bool,
    context: usize,
    max_per_file: Option<u64>,
}

/// A search that has not begun. One that cannot be is a ValueError.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Search(search::Search);

#[pymethods]
impl Search {
    #[new]
    #[pyo3(signature = (pattern, root, options, /))]
    fn new(pattern: &str, root: &Bound<'_, PyAny>, options: Question) -> PyResult<Self> {
        let case = match options.case.as_str() {
            "sensitive" => Case::Sensitive,
            "insensitive" => Case::Insensitive,
            "smart" => Case::Smart,
            other => {
                let why = format!("case={other:?}: must be 'sensitive', 'insensitive' or 'smart'");
                return Err(PyValueError::new_err(why));
            }
        };
        let options = Options {
            literal: options.literal,
            case,
            word: options.word,
            multiline: options.multiline,
            include: options.include,
            exclude: options.exclude,
            hidden: options.hidden,
            ignore_files: options.ignore_files,
            context: options.context,
            max_per_file: options.max_per_file,
        };
        let search = search::Search::new(pattern, path(root)?, options);
        search.map(Search).map_err(|e| PyValueError::new_err(e.to_string()))
    }

    /// Begins it, each time once more.
    fn begin(&self, py: Python<'_>) -> PyResult<Batches> {
        Ok(Batches { from: Arc::new(self.0.begin()), plan: plan!(py, "search.batch")? })
    }
}
