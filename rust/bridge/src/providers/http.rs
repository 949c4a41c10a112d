//! A client of `mountain_runtime.http`, and its requests as effects.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::effect::Operation;
use mountain_core::error::Error;
use mountain_core::sync::Mutex;
use mountain_providers::http::{self, Ask, Download, Fetch, Open, Proxies, Settings, Trust, defaults, proxy};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::convert::error;
use crate::effect::pretended::Pretended;
use crate::effect::{Effect, Given, Work};
use crate::globals::telemetry;
use crate::plan::layer;
use crate::plan::{Plan, plan};
use crate::providers::answer::{Headers, Response};
use crate::providers::json;
use crate::providers::path::path;
use crate::python::payload::Payload;

type Pairs = Vec<(String, String)>;

/// The bytes of a Python object as the body of a request.
struct Body(Arc<Payload>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// A pool of connections and what its requests share. Dropped, it closes.
#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct HttpClient(Arc<Settings>);

#[pymethods]
impl HttpClient {
    /// The ValueError names the setting. Reads the files of `ca` and `cert`.
    #[new]
    #[pyo3(signature = (
        *, base, headers, http2, connections, per_host, redirects, max_body, proxy, ca, cert, public_only, cookies
    ))]
    #[expect(clippy::too_many_arguments, reason = "as many as it has settings")]
    fn new(
        py: Python<'_>,
        base: &str,
        headers: Pairs,
        http2: bool,
        connections: usize,
        per_host: usize,
        redirects: usize,
        max_body: usize,
        proxy: Option<&str>,
        ca: Option<PathBuf>,
        cert: Option<(PathBuf, PathBuf)>,
        public_only: bool,
        cookies: bool,
    ) -> PyResult<Self> {
        let cert = cert.as_ref().map(|(chain, key)| (chain.as_path(), key.as_path()));
        let trust = Trust::read(ca.as_deref(), cert).map_err(|e| match e {
            Error::Invalid(why) => PyValueError::new_err(why),
            e => error::to_python(py, e, None),
        })?;
        let socket = base.strip_prefix("unix:").map(PathBuf::from);
        if let Some(why) = socket.as_deref().and_then(http::no_socket) {
            return Err(PyValueError::new_err(format!("base={base:?}: {why}")));
        }
        let proxies = match proxy {
            _ if socket.is_some() || public_only => Proxies::default(),
            Some("") => Proxies::default(),
            Some(text) => Proxies::all(self::proxy(text).map_err(|why| PyValueError::new_err(format!("proxy={text:?}: {why}")))?),
            None => Proxies::of_environment(|name| std::env::var(name).ok()).map_err(PyValueError::new_err)?,
        };
        let mut settings = Settings::new(trust);
        settings.headers = defaults(&headers).map_err(PyValueError::new_err)?;
        (settings.socket, settings.proxies) = (socket, proxies);
        settings.http2 = http2;
        settings.jar = cookies.then(http::Jar::default);
        if public_only {
            settings.allowed = Some(http::is_public);
        }
        settings.heard = |host, status| telemetry().hosts.of(host).count(status);
        settings.builder = Some(json::builder);
        (settings.connections, settings.per_host) = (connections, per_host);
        (settings.redirects, settings.max_body) = (redirects, max_body);
        let base = if settings.socket.is_some() { "http://localhost" } else { base };
        if !base.is_empty() {
            settings.base = Some(settings.address(base).map_err(|why| PyValueError::new_err(format!("base: {why}")))?);
        }
        Ok(HttpClient(Arc::new(settings)))
    }

    /// The effect of a request, whose value is a whole answer.
    #[pyo3(signature = (method, url, headers, body, check, /))]
    fn request<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        url: Bound<'py, PyAny>,
        headers: Option<Pairs>,
        body: Option<Bound<'py, PyAny>>,
        check: bool,
    ) -> PyResult<Bound<'py, Effect>> {
        let ask = Arc::new(self.ask(method, url.extract()?, headers, body, check)?);
        let args = PyTuple::new(py, [url])?;
        effect(py, "request", &ask, args, plan_of(py, method)?, || Fetch(ask.clone()))
    }

    /// The effect that sends a request, and yields its answer with the body still to be read.
    #[pyo3(signature = (method, url, headers, body, check, /))]
    fn open<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        url: Bound<'py, PyAny>,
        headers: Option<Pairs>,
        body: Option<Bound<'py, PyAny>>,
        check: bool,
    ) -> PyResult<Bound<'py, Effect>> {
        let ask = Arc::new(self.ask(method, url.extract()?, headers, body, check)?);
        let args = PyTuple::new(py, [url])?;
        effect(py, "open", &ask, args, plan!(py, "http.open")?, || Open(ask.clone()))
    }

    #[pyo3(signature = (url, to, headers, resume, progress, /))]
    fn download<'py>(
        &self,
        py: Python<'py>,
        url: Bound<'py, PyAny>,
        to: Bound<'py, PyAny>,
        headers: Option<Pairs>,
        resume: bool,
        progress: Option<Bound<'py, Progress>>,
    ) -> PyResult<Bound<'py, Effect>> {
        let ask = Arc::new(self.ask("GET", url.extract()?, headers, None, true)?);
        let file = path(&to)?;
        if let Some(told) = pretended(py, "download", &ask, (&url, &to, &progress))? {
            return Effect::of_call(py, told, PyTuple::new(py, [url, to])?, None, plan!(py, "http.download")?);
        }
        let progress = progress.map(|progress| progress.get().0.clone());
        let given = Given { args: PyTuple::new(py, [url, to])?.unbind(), options: None };
        let operation = Arc::new(Download { ask, to: file.into(), resume, progress });
        Effect::of(py, Work::Native { operation, given: Some(Box::new(given)) }, plan!(py, "http.download")?)
    }

    /// How many connections it has, and how many of these are idle.
    fn connections(&self) -> (usize, usize) {
        http::connections(self.0.id)
    }

    /// Idle connections close; those at work close when they are done. A request opens new ones.
    fn close(&self) {
        http::close(self.0.id);
    }
}

impl HttpClient {
    fn ask(&self, method: &str, url: &str, headers: Option<Pairs>, body: Option<Bound<'_, PyAny>>, check: bool) -> PyResult<Ask> {
        let body = match body {
            Some(data) => bytes::Bytes::from_owner(Body(Payload::of(&data)?)),
            None => bytes::Bytes::new(),
        };
        Ask::new(&self.0, method, url, &headers.unwrap_or_default(), body, check).map_err(PyValueError::new_err)
    }
}

impl Drop for HttpClient {
    fn drop(&mut self) {
        http::leave(&self.0);
    }
}

/// Answers all requests of a test.
static ANSWERS: Mutex<Option<Py<PyAny>>> = Mutex::new(None);
/// Whether any does: looked at by every request.
static PRETENDS: AtomicBool = AtomicBool::new(false);

/// From now on `answer(trace, kind, method, url, headers, body, check, repeatable, *args)` stands in for all requests;
/// None: they are sent. Yields what did so before.
#[pyfunction]
#[pyo3(signature = (answer, /))]
pub(crate) fn http_answers_with(answer: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
    PRETENDS.store(answer.is_some(), Ordering::Relaxed);
    std::mem::replace(&mut *ANSWERS.lock(), answer)
}

/// The stand-in for a request in a test; `None`: there is none. It gets `more` beside the request.
fn pretended<'py, M>(py: Python<'py>, kind: &str, ask: &Ask, more: M) -> PyResult<Option<Py<PyAny>>>
where
    M: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
{
    if !PRETENDS.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let Some(answer) = ANSWERS.lock().as_ref().map(|answer| answer.clone_ref(py)) else { return Ok(None) };
    let headers = Headers::of(py, ask.headers.clone())?;
    let (method, url, body) = (ask.method.as_str(), ask.url.as_str(), PyBytes::new(py, &ask.body));
    let asked = (kind, method, url, headers, body, ask.check, ask.repeatable).into_pyobject(py)?;
    let with = asked.as_any().add(more.into_pyobject(py)?)?.cast_into::<PyTuple>()?;
    Ok(Some(Bound::new(py, Pretended::new(answer, with))?.into_any().unbind()))
}

/// A request as an effect: native, or answered by a test. `args` are those of the call that makes it.
fn effect<'py, O: Operation + 'static>(
    py: Python<'py>,
    kind: &str,
    ask: &Ask,
    args: Bound<'py, PyTuple>,
    plan: Py<Plan>,
    operation: impl FnOnce() -> O,
) -> PyResult<Bound<'py, Effect>> {
    if let Some(told) = pretended(py, kind, ask, (args.get_item(0)?,))? {
        return Effect::of_call(py, told, args, None, plan);
    }
    let given = Given { args: args.unbind(), options: None };
    Effect::of(py, Work::Native { operation: Arc::new(operation()), given: Some(Box::new(given)) }, plan)
}

/// How far a download is: looked at while it runs.
#[pyclass(frozen, weakref, module = "mountain_runtime.http")]
pub(crate) struct Progress(Arc<http::Progress>);

#[pymethods]
impl Progress {
    #[new]
    fn new() -> Self {
        Progress(Arc::default())
    }
    /// The bytes that are written.
    #[getter]
    fn done(&self) -> u64 {
        self.0.done()
    }
    /// The bytes in all, where the server says so.
    #[getter]
    fn total(&self) -> Option<u64> {
        self.0.total()
    }
    fn __repr__(&self) -> String {
        let total = self.0.total().map_or_else(|| "?".to_owned(), |total| total.to_string());
        format!("<Progress {} of {total} bytes>", self.0.done())
    }
}

/// A test has written so many bytes.
#[pyfunction]
#[pyo3(signature = (progress, size, /))]
pub(crate) fn http_progressed(progress: &Bound<'_, Progress>, size: u64) {
    progress.get().0.begin(size, Some(size));
}

/// An answer that a test makes up.
#[pyfunction]
#[pyo3(signature = (method, url, status, headers, body, repeatable, /))]
pub(crate) fn http_response(
    py: Python<'_>,
    method: String,
    url: &str,
    status: u16,
    headers: Pairs,
    body: Vec<u8>,
    repeatable: bool,
) -> PyResult<Response> {
    let made = http::Response::made(method, url, status, &headers, body, repeatable).map_err(PyValueError::new_err)?;
    Response::of(py, made)
}

/// Requests are counted and named by their method.
fn plan_of(py: Python<'_>, method: &str) -> PyResult<Py<Plan>> {
    match method {
        "GET" => plan!(py, "http.get"),
        "POST" => plan!(py, "http.post"),
        "PUT" => plan!(py, "http.put"),
        "PATCH" => plan!(py, "http.patch"),
        "DELETE" => plan!(py, "http.delete"),
        "HEAD" => plan!(py, "http.head"),
        "OPTIONS" => plan!(py, "http.options"),
        _ => plan!(py, "http.request"),
    }
}

/// From now on that function, as an `on=`, is judged natively as `http.transient`.
#[pyfunction]
#[pyo3(signature = (function, /))]
pub(crate) fn http_transient_is(py: Python<'_>, function: Py<PyAny>) {
    layer::judges_natively(py, function, http::transient);
}
