//! An answer whose body is read piece by piece: the next piece is read from the socket when it is asked for, so that a
//! slow reader slows its server.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use hyper::body::Frame;
use mountain_core::effect::{Abort, Done, Host, Operation};
use mountain_core::error::Error;
use mountain_core::value::{Taken, Value};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use url::Url;

use super::ask::Ask;
use super::decode::Decoder;
use super::failure::Failed;
use super::fetch::{decoder, explanation, follow, of_status};
use super::reactor;
use super::response::Response;
use super::send::{Coming, Lease};
use super::settings::Settings;

/// A piece is about as large where more has come already.
const PIECE: usize = 256 << 10;
/// As much is unpacked at a time: a thousand times that is still no burden.
const BITE: usize = 1 << 10;

/// An answer up to its body.
pub struct Opened {
    pub status: u16,
    pub version: Version,
    pub method: String,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Arc<Reader>,
}

/// A body in the middle of being read. Dropped or closed before its end, its connection closes.
pub struct Reader {
    settings: Arc<Settings>,
    repeatable: bool,
    state: Mutex<State>,
}

enum State {
    Reading(Box<Reading>),
    /// All has been read.
    Over,
    /// The reason for which there is no more to read.
    Closed(&'static str),
}

struct Reading {
    body: Coming,
    decoder: Decoder,
    /// Parts of the next piece, ready for the caller.
    parts: Vec<Bytes>,
    /// Has come, and is not unpacked yet.
    pending: Bytes,
    /// A failure that was found behind a piece, for the next call.
    failed: Option<Failed>,
    lease: Lease,
    url: Url,
}

/// Bytes as they have come, in parts that were not copied.
pub struct Piece(pub Vec<Bytes>);

/// Yields an [`Opened`] as `Value::Other`.
pub struct Open(pub Arc<Ask>);

impl Operation for Open {
    fn home(&self) -> Option<&'static Handle> {
        reactor::home()
    }

    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let ask = self.0.clone();
        reactor::run(&self.0.settings, done, move |pool| async move {
            let (step, answer) = follow(&pool, &ask).await.map_err(|failed| ask.failed(failed))?;
            let (status, version, headers) = (answer.head.status.as_u16(), answer.head.version, answer.head.headers);
            let (method, url) = (step.method.as_str().to_owned(), step.url);
            if ask.check && status >= 400 {
                let body = explanation(answer.body, &headers, &url, step.method == Method::HEAD).await;
                let large = None;
                let built = None;
                let response = Response { status, version, method, url, headers, body, large, built, repeatable: ask.repeatable };
                return Err(ask.failed(of_status(response)));
            }
            let decoder = decoder(&headers, step.method == Method::HEAD, ask.settings.max_body).map_err(|e| ask.failed(e))?;
            let reading = Reading {
                body: answer.body,
                decoder,
                parts: Vec::new(),
                pending: Bytes::new(),
                failed: None,
                lease: answer.lease,
                url: url.clone(),
            };
            let body = Reader {
                settings: ask.settings.clone(),
                repeatable: ask.repeatable,
                state: Mutex::const_new(State::Reading(Box::new(reading))),
            };
            Ok(Value::Other(Box::new(Opened { status, version, method, url, headers, body: Arc::new(body) })))
        })
    }

    fn traced(&self, headers: &dyn Fn() -> Vec<(String, String)>) -> Option<Arc<dyn Operation>> {
        self.0.traced(headers).map(|ask| Arc::new(Open(ask)) as Arc<dyn Operation>)
    }

    fn may_repeat(&self) -> bool {
        self.0.method.is_idempotent()
    }
}

/// Yields the next [`Piece`] of a body as a `Value::Taken`, or `Value::Unit` at its end. Aborted, it loses nothing.
pub struct Next(pub Arc<Reader>);

impl Operation for Next {
    fn home(&self) -> Option<&'static Handle> {
        reactor::home()
    }

    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let reader = self.0.clone();
        reactor::run(&self.0.settings, done, move |_pool| async move {
            let mut state = reader.state.lock().await;
            let read = match &mut *state {
                State::Reading(reading) => reading.piece().await,
                State::Over => return Ok(Value::Unit),
                State::Closed(why) => return Err(Error::Invalid((*why).into())),
            };
            match read {
                Ok(Some(piece)) => {
                    drop(state);
                    Ok(Taken::value(Value::Other(Box::new(piece)), move |value| reader.put_back(value)))
                }
                Ok(None) => {
                    if let State::Reading(over) = std::mem::replace(&mut *state, State::Over) {
                        over.lease.done();
                    }
                    Ok(Value::Unit)
                }
                Err(failed) => {
                    *state = State::Closed("the body has failed, and has no more to read: ask for it again");
                    Err(Failed { repeatable: reader.repeatable, ..failed }.into_error())
                }
            }
        })
    }

    /// A piece that has gone by does not come again.
    fn may_repeat(&self) -> bool {
        false
    }
}

impl Reader {
    /// A piece that did not reach its caller is the next one again.
    fn put_back(&self, value: Value) {
        let parts = match value {
            Value::Bytes(bytes) => vec![bytes.into()],
            Value::Other(piece) => piece.downcast::<Piece>().map(|piece| piece.0).unwrap_or_default(),
            _ => return,
        };
        // A call that has the body already came before the piece's caller had gone on: that is a misuse.
        if let Ok(mut state) = self.state.try_lock()
            && let State::Reading(reading) = &mut *state
        {
            reading.parts.splice(..0, parts);
        }
    }

    /// Ends it: what has not been read is not read any more.
    pub fn close(&self) -> Result<(), Error> {
        match self.state.try_lock() {
            Ok(mut state) => {
                *state = State::Closed("the body is closed: read it within its block");
                Ok(())
            }
            Err(_) => Err(Error::Invalid("a body is closed while another task reads it".into())),
        }
    }
}

impl Reading {
    /// The next bytes, all that have come up to a size. `None`: the body is over.
    async fn piece(&mut self) -> Result<Option<Piece>, Failed> {
        if self.decoder.is_plain() {
            return self.plain().await;
        }
        Ok(self.unpacked().await?.map(|bytes| Piece(vec![bytes.into()])))
    }

    async fn plain(&mut self) -> Result<Option<Piece>, Failed> {
        while self.parts.is_empty() {
            match self.more().await? {
                None => return Ok(None),
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => self.parts.push(bytes),
            }
        }
        // The connection gets its turns to read what has come meanwhile. Aborted there, the parts stay for the next
        // call.
        let mut waits = false;
        while self.parts.iter().map(Bytes::len).sum::<usize>() < PIECE && !self.body.is_end_stream() {
            match self.look() {
                Poll::Ready(Some(Ok(frame))) => {
                    self.parts.extend(frame.into_data());
                    waits = false;
                }
                Poll::Ready(Some(Err(failed))) => {
                    self.failed = Some(failed);
                    break;
                }
                Poll::Pending if !waits => {
                    waits = true;
                    tokio::task::yield_now().await;
                }
                // The end is found again by the next call.
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(Some(Piece(std::mem::take(&mut self.parts))))
    }

    async fn unpacked(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        if !self.parts.is_empty() {
            return Ok(Some(std::mem::take(&mut self.parts).concat()));
        }
        loop {
            while !self.pending.is_empty() && self.decoder.ready() < PIECE {
                let bite = self.pending.split_to(self.pending.len().min(BITE));
                self.decoder.put(&bite)?;
            }
            if self.decoder.ready() > 0 {
                return Ok(Some(self.decoder.take()));
            }
            let Some(bytes) = self.more().await? else {
                self.decoder.end()?;
                return Ok(Some(self.decoder.take()).filter(|rest| !rest.is_empty()));
            };
            self.pending = bytes;
        }
    }

    /// The next frame, if it is there.
    fn look(&mut self) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        self.body.poll(&mut Context::from_waker(Waker::noop()), &self.url)
    }

    async fn more(&mut self) -> Result<Option<Bytes>, Failed> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        match self.body.frame(&self.url).await {
            None => Ok(None),
            Some(frame) => Ok(Some(frame?.into_data().unwrap_or_default())),
        }
    }
}
