//! A request from its start to its whole answer: redirects, the body, the check of the status.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method};
use mountain_core::effect::{Abort, Done, Host, Operation, Sink};
use mountain_core::error::Error;
use mountain_core::value::{Filled, Memory, Value};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use url::Url;

use super::ask::Ask;
use super::decode::{Decoder, too_large};
use super::failure::{Failed, Kind};
use super::json;
use super::pool::Pool;
use super::reactor;
use super::redirect::{Step, is_redirect};
use super::response::Response;
use super::send::{Answer, Coming, send};

/// Up to this size one more copy on the loop costs less than one more hop.
const SMALL: usize = 256 << 10;
/// The most of a redirect's body that is read for the sake of the connection.
const LEFTOVER: usize = 16 << 10;
/// How long such a body is waited for.
const STALLS: Duration = Duration::from_millis(100);
/// How long the body of an answer with a failing status is waited for, where no body was asked for as a whole.
const EXPLAINS: Duration = Duration::from_millis(500);
/// The most of it that its error has.
const EXPLAINED: usize = 64 << 10;

/// Yields the whole answer: a [`Response`] as `Value::Other`.
pub struct Fetch(pub Arc<Ask>);

impl Operation for Fetch {
    fn home(&self) -> Option<&'static Handle> {
        reactor::home()
    }

    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (ask, sink) = (self.0.clone(), done.sink());
        reactor::run(&self.0.settings, done, move |pool| async move {
            let mut response = fetch(&pool, &ask).await.map_err(|failed| ask.failed(failed))?;
            if response.body.len() > SMALL {
                response.built = json::build(&*sink, ask.settings.builder, &response.headers, &response.body).await?;
                let body = std::mem::take(&mut response.body);
                response.large = Some(hand_over(&*sink, &body).await?);
            }
            Ok(Value::Other(Box::new(response)))
        })
    }

    fn traced(&self, headers: &dyn Fn() -> Vec<(String, String)>) -> Option<Arc<dyn Operation>> {
        self.0.traced(headers).map(|ask| Arc::new(Fetch(ask)) as Arc<dyn Operation>)
    }

    fn may_repeat(&self) -> bool {
        self.0.method.is_idempotent()
    }
}

/// Copies a body into memory of the host, here rather than on the loop's thread.
async fn hand_over(sink: &dyn Sink, body: &[u8]) -> Result<Filled, Error> {
    let (give, given) = oneshot::channel();
    let then = move |memory| drop(give.send(memory));
    sink.allocate(vec![body.len()], Box::new(then));
    let memory: Arc<dyn Memory> = given.await.map_err(|_| Error::Cancelled)?;
    // SAFETY: the buffer is valid for as many bytes as it was asked for, and only this call has it.
    unsafe { std::ptr::copy_nonoverlapping(body.as_ptr(), memory.buffer(0), body.len()) };
    Ok(Filled { memory, lengths: vec![body.len()], tails: Vec::new(), single: true })
}

impl Ask {
    pub(super) fn failed(&self, failed: Failed) -> Error {
        Failed { repeatable: self.repeatable, ..failed }.into_error()
    }
}

async fn fetch(pool: &Arc<Pool>, ask: &Ask) -> Result<Response, Failed> {
    let (step, answer) = follow(pool, ask).await?;
    let status = answer.head.status.as_u16();
    let mut response = Response {
        status,
        version: answer.head.version,
        method: step.method.as_str().to_owned(),
        url: step.url,
        headers: answer.head.headers,
        body: Vec::new(),
        large: None,
        built: None,
        repeatable: ask.repeatable,
    };
    response.body =
        read(answer.body, &response.headers, &response.url, step.method == Method::HEAD, ask.settings.max_body).await?;
    answer.lease.done();
    if ask.check && status >= 400 { Err(of_status(response)) } else { Ok(response) }
}

pub(super) fn of_status(response: Response) -> Failed {
    let text = response.failing();
    Failed { response: Some(Box::new(response)), ..Failed::new(Kind::Status, text) }
}

/// The answer that is no redirect, and the request that it answers.
pub(super) async fn follow(pool: &Arc<Pool>, ask: &Ask) -> Result<(Step, Answer), Failed> {
    let mut step = ask.first_step();
    let mut followed = 0;
    loop {
        let body = if step.body { ask.body.clone() } else { Bytes::new() };
        let answer = send(pool, &step, &body, step.method.is_safe()).await?;
        let status = answer.head.status.as_u16();
        if ask.settings.redirects == 0 || !is_redirect(status, &answer.head.headers) {
            return Ok((step, answer));
        }
        if followed == ask.settings.redirects {
            let text = format!("{} was redirected more than redirects={followed} times, at last to {}", ask.url, step.url);
            return Err(Failed::new(Kind::Protocol, text));
        }
        followed += 1;
        let Answer { body, lease, head } = answer;
        let is_over = timeout(STALLS, skim(body, &step.url)).await.unwrap_or(false);
        step.follow(status, &head.headers)?;
        if is_over {
            lease.done();
        }
    }
}

/// True: the body is over, and was short.
async fn skim(mut body: Coming, url: &Url) -> bool {
    let mut seen = 0;
    while seen <= LEFTOVER {
        match body.frame(url).await {
            None => return true,
            Some(Ok(frame)) => seen += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => return false,
        }
    }
    false
}

/// The decoder of an answer's body. An answer to HEAD has none, whatever its headers say.
pub(super) fn decoder(headers: &HeaderMap, bare: bool, limit: usize) -> Result<Decoder, Failed> {
    let encoding = headers.get(CONTENT_ENCODING).filter(|_| !bare);
    let decoder = Decoder::new(encoding.map(|e| e.to_str().unwrap_or("?")), limit)?;
    Ok(decoder)
}

/// The explanation of a failing status. One that cannot be read is left out.
pub(super) async fn explanation(body: Coming, headers: &HeaderMap, url: &Url, bare: bool) -> Vec<u8> {
    timeout(EXPLAINS, read(body, headers, url, bare, EXPLAINED)).await.ok().and_then(Result::ok).unwrap_or_default()
}

async fn read(mut body: Coming, headers: &HeaderMap, url: &Url, bare: bool, limit: usize) -> Result<Vec<u8>, Failed> {
    if bare || body.is_end_stream() {
        return Ok(Vec::new());
    }
    let mut decoder = decoder(headers, bare, limit)?;
    if decoder.is_plain()
        && let Some(length) = headers.get(CONTENT_LENGTH).and_then(|n| n.to_str().ok()).and_then(|n| n.parse::<usize>().ok())
    {
        if length > limit {
            return Err(too_large(limit));
        }
        // A server's word costs no memory before its bytes are there.
        decoder.reserve(length.min(1 << 20));
    }
    while let Some(frame) = body.frame(url).await {
        if let Some(data) = frame?.data_ref() {
            decoder.put(data)?;
        }
    }
    decoder.end()?;
    Ok(decoder.take())
}
