//! An HTTP answer as a Python object, its headers, and how a request fails.

use ::http::HeaderMap;
use mountain_core::sync::Mutex;
use mountain_core::value::Value;
use mountain_providers::http::{self, Failed, Kind, version};
use pyo3::exceptions::{PyKeyError, PyOSError, PyPermissionError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};

use crate::convert::error;
use crate::convert::provided::Failure;
use crate::convert::provided::Provided;
use crate::convert::value;
use crate::effect::{Effect, Work};
use crate::plan::{Plan, plan};
use crate::providers::json;

/// The headers of an answer: a mapping that takes names in any case. Several values of one name are one, with commas.
#[pyclass(frozen, mapping, module = "mountain_runtime.http")]
pub(crate) struct Headers(HeaderMap);

/// A header's text: what is no UTF-8 is read as Latin-1.
fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).unwrap_or_else(|_| value.iter().map(|b| char::from(*b)).collect())
}

impl Headers {
    pub(crate) fn of(py: Python<'_>, headers: HeaderMap) -> PyResult<Py<Self>> {
        Py::new(py, Headers(headers))
    }

    fn joined(&self, name: &str) -> Option<String> {
        let mut values = self.0.get_all(name).iter().map(|value| text(value.as_bytes()));
        let first = values.next()?;
        Some(values.fold(first, |all, next| format!("{all}, {next}")))
    }
}

#[pymethods]
impl Headers {
    fn __len__(&self) -> usize {
        self.0.keys_len()
    }
    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<&str>().is_ok_and(|name| self.0.contains_key(name))
    }
    fn __getitem__(&self, name: &str) -> PyResult<String> {
        self.joined(name).ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pyo3::types::PyList::new(py, self.keys())?.try_iter()?.into_any())
    }
    /// Its names, in lower case.
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(::http::HeaderName::as_str).collect()
    }
    fn values(&self) -> Vec<String> {
        self.0.keys().filter_map(|name| self.joined(name.as_str())).collect()
    }
    fn items(&self) -> Vec<(&str, String)> {
        self.0.keys().filter_map(|name| Some((name.as_str(), self.joined(name.as_str())?))).collect()
    }
    #[pyo3(signature = (name, default = None, /))]
    fn get<'py>(&self, py: Python<'py>, name: &str, default: Option<Bound<'py, PyAny>>) -> Option<Bound<'py, PyAny>> {
        self.joined(name).map(|found| PyString::new(py, &found).into_any()).or(default)
    }
    /// All values of one name, as they came.
    #[pyo3(signature = (name, /))]
    fn all(&self, name: &str) -> Vec<String> {
        self.0.get_all(name).iter().map(|value| text(value.as_bytes())).collect()
    }
    fn __repr__(&self) -> String {
        let shown: Vec<_> = self.items().into_iter().map(|(name, value)| format!("{name:?}: {value:?}")).collect();
        format!("<Headers {{{}}}>", shown.join(", "))
    }
}

/// A whole answer.
#[pyclass(frozen, weakref, module = "mountain_runtime.http")]
pub(crate) struct Response {
    inner: http::Response,
    content: PyOnceLock<Py<PyBytes>>,
    headers: PyOnceLock<Py<Headers>>,
    /// The value of a large JSON body, until the first `json()`.
    built: Mutex<Option<Box<dyn http::Builder>>>,
}

impl Response {
    pub(crate) fn of(py: Python<'_>, mut inner: http::Response) -> PyResult<Self> {
        let content = PyOnceLock::new();
        if let Some(large) = inner.large.take() {
            let bytes = value::to_python(py, Value::Filled(Box::new(large)))?.cast_into::<PyBytes>()?;
            let _ = content.set(py, bytes.unbind());
        }
        let built = Mutex::new(inner.built.take());
        Ok(Response { inner, content, headers: PyOnceLock::new(), built })
    }

    fn bytes<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        self.content.get(py).map_or(&self.inner.body, |content| content.as_bytes(py))
    }
}

#[pymethods]
impl Response {
    #[getter]
    fn status(&self) -> u16 {
        self.inner.status
    }
    #[getter]
    fn url(&self) -> &str {
        self.inner.url.as_str()
    }
    #[getter]
    fn method(&self) -> &str {
        &self.inner.method
    }
    #[getter]
    fn version(&self) -> &'static str {
        version(self.inner.version)
    }
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<Headers>> {
        let headers = self.headers.get_or_try_init(py, || Headers::of(py, self.inner.headers.clone()))?;
        Ok(headers.clone_ref(py))
    }
    #[getter]
    fn content(&self, py: Python<'_>) -> Py<PyBytes> {
        self.content.get_or_init(py, || PyBytes::new(py, &self.inner.body).unbind()).clone_ref(py)
    }
    /// By the charset of its Content-Type, or as UTF-8.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let (None, Ok(text)) = (charset(&self.inner.headers), std::str::from_utf8(self.bytes(py))) {
            return Ok(PyString::new(py, text).into_any());
        }
        let charset = charset(&self.inner.headers).unwrap_or_else(|| "utf-8".to_owned());
        let known = py.import("codecs")?.call_method1("lookup", (&charset,)).is_ok();
        self.content(py).bind(py).call_method1("decode", (if known { charset.as_str() } else { "utf-8" }, "replace"))
    }
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let built = self.built.lock().take();
        if let Some(value) = built.and_then(|built| json::value(py, built)) {
            return Ok(value);
        }
        let read = LOADS.import(py, "json", "loads")?.call1((self.content(py),));
        read.inspect_err(|error| json::explain(py, error, &self.inner, self.bytes(py)))
    }
    /// The wait that the server asks for, in seconds.
    #[getter]
    fn retry_after(&self) -> Option<f64> {
        self.inner.retry_after()
    }
    /// To send its request twice does no harm, by its method or by its key.
    #[getter]
    fn repeatable(&self) -> bool {
        self.inner.repeatable
    }
    fn raise_for_status<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let inner = &slf.get().inner;
        if inner.status < 400 {
            return Ok(slf.clone());
        }
        Err(status_error(slf.py(), &inner.failing(), slf.clone())?)
    }
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Response {} {} {} bytes>", self.inner.status, self.inner.url, self.bytes(py).len())
    }
}

/// An answer whose body is read piece by piece.
#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct HttpBody {
    inner: http::Opened,
    headers: Py<Headers>,
}

#[pymethods]
impl HttpBody {
    #[getter]
    fn status(&self) -> u16 {
        self.inner.status
    }
    #[getter]
    fn url(&self) -> &str {
        self.inner.url.as_str()
    }
    #[getter]
    fn version(&self) -> &'static str {
        version(self.inner.version)
    }
    #[getter]
    fn headers(&self, py: Python<'_>) -> Py<Headers> {
        self.headers.clone_ref(py)
    }
    /// The effect that yields the next piece, or None at the end.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, Work::native(http::Next(self.inner.body.clone())), plan!(py, "http.read")?)
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.inner.body.close().map_err(|e| error::to_python(py, e, None))
    }
}

impl Provided for http::Piece {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        if let [whole] = &self.0[..] {
            return Ok(PyBytes::new(py, whole).into_any());
        }
        let size = self.0.iter().map(bytes::Bytes::len).sum();
        let bytes = PyBytes::new_with(py, size, |mut to| {
            for part in &self.0 {
                let (here, rest) = to.split_at_mut(part.len());
                here.copy_from_slice(part);
                to = rest;
            }
            Ok(())
        })?;
        Ok(bytes.into_any())
    }
}

impl Provided for http::Opened {
    fn into_python(mut self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let headers = Headers::of(py, std::mem::take(&mut self.headers))?;
        Ok(Bound::new(py, HttpBody { inner: self, headers })?.into_any())
    }
}

/// The charset that a Content-Type names.
fn charset(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(::http::header::CONTENT_TYPE)?.to_str().ok()?;
    let named = value
        .split(';')
        .skip(1)
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(named.1.trim().trim_matches('"').to_ascii_lowercase()).filter(|name| name != "utf-8")
}

impl Provided for http::Response {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, Response::of(py, self)?)?.into_any())
    }
}

/// The package's own class of that name.
fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("mountain_runtime.http")?.getattr(name)
}

fn status_error(py: Python<'_>, text: &str, response: Bound<'_, Response>) -> PyResult<PyErr> {
    Ok(PyErr::from_value(class(py, "StatusError")?.call1((text, response))?))
}

/// The exceptions are Python's own where it has one.
impl Failure for Failed {
    fn into_exception(self, py: Python<'_>) -> PyResult<PyErr> {
        let errno = mountain_core::error::Foreign::errno(&self);
        Ok(match (self.kind, self.response) {
            (Kind::Status, Some(response)) => status_error(py, &self.text, Bound::new(py, Response::of(py, *response)?)?)?,
            (Kind::Unanswered, _) => PyErr::from_value(class(py, "Unanswered")?.call1((errno, self.text, self.repeatable))?),
            (Kind::Forbidden, _) => PyPermissionError::new_err((errno, self.text)),
            (Kind::Connect, _) => PyOSError::new_err((errno, self.text)),
            (Kind::Certificate, _) => {
                PyErr::from_value(py.import("ssl")?.getattr("SSLCertVerificationError")?.call1((1, self.text))?)
            }
            (Kind::Tls, _) => PyErr::from_value(py.import("ssl")?.getattr("SSLError")?.call1((1, self.text))?),
            (Kind::Protocol | Kind::Status, _) => PyErr::from_value(class(py, "ProtocolError")?.call1((self.text,))?),
        })
    }

    fn class(&self) -> &'static str {
        match self.kind {
            Kind::Status => "mountain_runtime.http.StatusError",
            Kind::Unanswered => "mountain_runtime.http.Unanswered",
            Kind::Forbidden => "PermissionError",
            Kind::Connect => mountain_core::error::Foreign::errno(self).map_or("OSError", crate::python::os_error::class),
            Kind::Certificate => "ssl.SSLCertVerificationError",
            Kind::Tls => "ssl.SSLError",
            Kind::Protocol => "mountain_runtime.http.ProtocolError",
        }
    }
}
