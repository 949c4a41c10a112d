//! One request, sent over one connection, up to the answer's headers.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, Request, Uri};
use hyper::body::{Body, Frame, Incoming};
use tokio_rustls::rustls;
use url::{Host, Position, Url};

use super::ask::outgoing;
use super::connect;
use super::failure::{Failed, Kind, message};
use super::hosts::Key;
use super::one::One;
use super::pool::{Got, Pool, Sender};
use super::redirect::Step;
use super::text::basic;
use super::whole::Whole;

/// A connection that has gone before a byte of the request was on it costs another look, so many times.
const LOOKS: usize = 50;

/// An answer whose body is still to be read.
pub(super) struct Answer {
    pub head: http::response::Parts,
    pub body: Coming,
    pub lease: Lease,
}

/// An answer's body as it comes.
pub(super) struct Coming {
    body: Incoming,
    two: bool,
}

impl Coming {
    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, url: &Url) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        Pin::new(&mut self.body).poll_frame(cx).map(|next| match next {
            // For hyper a stream that its server gives up "without an error", as it goes away, ends the body.
            None if self.two && !self.body.is_end_stream() => Some(Err(cut_off(url))),
            next => next.map(|frame| frame.map_err(|e| unanswered(&e, url))),
        })
    }

    pub(super) async fn frame(&mut self, url: &Url) -> Option<Result<Frame<Bytes>, Failed>> {
        poll_fn(|cx| self.poll(cx, url)).await
    }
}

/// An HTTP/1 connection in use. It goes back when the body is read; dropped before, it closes.
pub(super) struct Lease {
    pool: Arc<Pool>,
    key: Arc<Key>,
    one: Option<One>,
}

impl Lease {
    pub(super) fn done(self) {
        // A server that has answered before it has read the whole request may never read the rest: no other request
        // waits for that.
        if let Some(one) = self.one.filter(|one| one.send.is_ready()) {
            self.pool.put_back(&self.key, one);
        }
    }
}

/// Sends it. Only a request that no server can have begun is sent anew by itself; `safe` says that it changes nothing
/// at the server, so that one that a kept connection has lost may be sent once more.
pub(super) async fn send(pool: &Arc<Pool>, step: &Step, body: &Bytes, safe: bool) -> Result<Answer, Failed> {
    let jar = pool.settings.jar.as_ref();
    let with = jar.and_then(|jar| jar.header(&step.url, SystemTime::now())).and_then(|cookies| with_cookies(step, &cookies));
    let sent = over_one(pool, with.as_ref().unwrap_or(step), body, safe).await;
    if let (Some(jar), Ok(answer)) = (jar, &sent) {
        jar.keep(&step.url, &answer.head.headers, SystemTime::now());
    }
    let host = &step.url[Position::BeforeHost..Position::AfterPort];
    (pool.settings.heard)(host, sent.as_ref().ok().map(|answer| answer.head.status.as_u16()));
    sent
}

/// The request with these cookies behind those that it was given.
fn with_cookies(step: &Step, cookies: &str) -> Option<Step> {
    let mut headers = step.headers.clone();
    let given = headers.get(COOKIE).and_then(|given| given.to_str().ok());
    let text = given.map_or_else(|| cookies.to_owned(), |given| format!("{given}; {cookies}"));
    headers.insert(COOKIE, text.parse().ok()?);
    Some(Step { method: step.method.clone(), url: step.url.clone(), headers, body: step.body })
}

async fn over_one(pool: &Arc<Pool>, step: &Step, body: &Bytes, safe: bool) -> Result<Answer, Failed> {
    let proxy = if pool.settings.socket.is_some() { None } else { pool.settings.proxies.of(&step.url) };
    let key = Arc::new(key(&step.url)?);
    let forward = proxy.filter(|_| !key.https);
    let mut lost = false;
    for _ in 0..LOOKS {
        let (sender, fresh) = match pool.acquire(&key).await {
            Got::Connection(sender) => (sender, false),
            Got::Place(place) => (connect::open(pool, &key, place, proxy).await?, true),
        };
        match sender {
            Sender::One(mut one) => {
                // It has closed.
                if one.send.ready().await.is_err() {
                    if fresh {
                        return Err(closed_early(&key));
                    }
                    continue;
                }
                let request = request_one(step, body, forward)?;
                match one.send.try_send_request(request).await {
                    Ok(answer) => {
                        let (head, body) = answer.into_parts();
                        let body = Coming { body, two: false };
                        return Ok(Answer { head, body, lease: Lease { pool: pool.clone(), key, one: Some(one) } });
                    }
                    Err(e) if e.message().is_some() && fresh => return Err(closed_early(&key)),
                    Err(e) if e.message().is_some() => {}
                    Err(e) if safe && !fresh && !lost && is_lost(e.error()) => {
                        lost = true;
                        pool.forget(&key);
                    }
                    Err(e) => return Err(unanswered(e.error(), &step.url)),
                }
            }
            Sender::Two(mut two) => {
                if two.ready().await.is_err() {
                    continue;
                }
                match two.try_send_request(request_two(step, body)?).await {
                    Ok(answer) => {
                        let (head, body) = answer.into_parts();
                        let body = Coming { body, two: true };
                        return Ok(Answer { head, body, lease: Lease { pool: pool.clone(), key, one: None } });
                    }
                    Err(e) if e.message().is_some() || never_begun(e.error()) => {}
                    // Without a body, its first frame may have been the last, too.
                    Err(e) if (safe || !body.is_empty()) && waited_for_a_stream(e.error()) => {}
                    Err(e) => return Err(unanswered(e.error(), &step.url)),
                }
            }
        }
    }
    Err(closed_early(&key))
}

fn key(url: &Url) -> Result<Key, Failed> {
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(ip)) => ip.to_string(),
        Some(Host::Ipv6(ip)) => ip.to_string(),
        None => return Err(Failed::new(Kind::Protocol, format!("{url} has no host"))),
    };
    Ok(Key { https: url.scheme() == "https", host, port: url.port_or_known_default().unwrap_or(80) })
}

fn request_one(step: &Step, body: &Bytes, proxy: Option<&Url>) -> Result<Request<Whole>, Failed> {
    let from = if proxy.is_some() { Position::BeforeScheme } else { Position::BeforePath };
    let mut headers = outgoing(step, body, false);
    if let Some(login) = proxy.and_then(basic)
        && let Ok(login) = login.parse()
    {
        headers.insert(http::header::PROXY_AUTHORIZATION, login);
    }
    request(step, &step.url[from..Position::AfterQuery], headers, body)
}

fn request_two(step: &Step, body: &Bytes) -> Result<Request<Whole>, Failed> {
    request(step, &step.url[..Position::AfterQuery], outgoing(step, body, true), body)
}

fn request(step: &Step, target: &str, headers: HeaderMap, body: &Bytes) -> Result<Request<Whole>, Failed> {
    let uri: Uri = target.parse().map_err(|e| Failed::new(Kind::Protocol, format!("{}: {e}", step.url)))?;
    let mut request = Request::new(Whole::new(body.clone()));
    *request.method_mut() = step.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The connection ended with no byte of an answer.
fn is_lost(e: &hyper::Error) -> bool {
    e.is_incomplete_message() || e.is_canceled() || e.is_closed() || io(e).is_some_and(|io| io.raw_os_error().is_some())
}

/// The server says that it has not begun the request: refused, or after the last that it took before it goes away.
fn never_begun(e: &hyper::Error) -> bool {
    e.source().and_then(|inner| inner.downcast_ref::<h2::Error>()).is_some_and(|e| {
        e.is_remote() && (e.is_go_away() || e.is_reset()) && { e.is_go_away() || e.reason() == Some(h2::Reason::REFUSED_STREAM) }
    })
}

/// The server went away while the request waited for a stream of its own: its body has not left. hyper has no name for
/// it.
fn waited_for_a_stream(e: &hyper::Error) -> bool {
    e.is_user() && e.to_string().starts_with("dispatch task is gone")
}

fn closed_early(key: &Key) -> Failed {
    Failed::new(Kind::Connect, format!("{}:{} closed the connection before the request was sent", key.host, key.port))
}

/// The error of the socket, or of what was read from it, that is behind it.
fn io(e: &hyper::Error) -> Option<&io::Error> {
    let mut cause = e.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref() {
            return Some(io);
        }
        cause = inner.source();
    }
    None
}

/// The failure of a request that was sent.
fn unanswered(e: &hyper::Error, url: &Url) -> Failed {
    let whom = &url[..Position::BeforePath];
    let cause = e.source().map(|inner| format!(": {}", message(&inner))).unwrap_or_default();
    if let Some(e) = self::io(e).and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Failed::new(Kind::Tls, format!("TLS with {whom} failed: {e}"));
    }
    // Chunks that are none are errors of reading, to hyper.
    let is_malformed = |io: &io::Error| matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
    if e.is_parse() || self::io(e).is_some_and(is_malformed) {
        return Failed::new(
            Kind::Protocol,
            format!("{whom} answers what is no HTTP within the client's limits: {}{cause}", message(e)),
        );
    }
    if let Some(inner) = e.source().and_then(|inner| inner.downcast_ref::<h2::Error>())
        && inner.get_io().is_none()
        && !inner.is_go_away()
    {
        return Failed::new(Kind::Protocol, format!("{whom} broke off: {inner}. The request may have run"));
    }
    cut_off(url)
}

fn cut_off(url: &Url) -> Failed {
    let whom = &url[..Position::BeforePath];
    let text =
        format!("{whom} closed the connection without a whole answer. The request may have run: repeat only what may run twice");
    Failed::new(Kind::Unanswered, text)
}
