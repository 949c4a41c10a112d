//! The server: one thread with a small tokio of its own. It starts with a listener that is bound already, and ends when
//! it is told to.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use futures_util::stream;
use mountain_core::sync::Mutex;
use mountain_core::telemetry::{Telemetry, openmetrics, prometheus};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval, sleep};

use crate::board::Board;
use crate::guard::{Address, Verdict, judge};
use crate::hub::{Hub, Told};
use crate::page::FILES;
use crate::state::Maker;

/// The pause after a connection that could not be accepted.
const REST: Duration = Duration::from_secs(1);
/// A connection to which nothing has been written for this long is closed: its client is idle or does not read. Events
/// are more frequent.
const QUIET: Duration = Duration::from_secs(20);
/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 64;
/// The page may only show what this server sends.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Shown {
    telemetry: &'static Telemetry,
    hub: Arc<Hub>,
    address: Arc<Address>,
}

/// A running server, which stops when this is dropped.
pub struct Serving {
    pub at: SocketAddr,
    /// The address for a browser, with the token.
    pub url: String,
    fd: RawFd,
    forks: u32,
    hub: Arc<Hub>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How many forks this process is from the first one.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The listening sockets of this process.
static LISTENING: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// In the child of a fork: the threads and the connections are the parent's.
pub fn forget_parent() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    // If a thread of the parent held the lock at the fork it stays locked here: the port is then held a little longer.
    let Some(mut listening) = LISTENING.try_lock() else { return };
    for fd in std::mem::take(&mut *listening) {
        // Closes the child's copy, so that the port is free when the parent ends.
        // SAFETY: nothing in the child uses the descriptor: its user was a thread of the parent's.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

impl Serving {
    /// Whether a page is open.
    pub fn is_watched(&self) -> bool {
        self.hub.is_watched()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if FORKS.load(Ordering::SeqCst) != self.forks {
            // The parent's: its thread is not here to be told or waited for.
            std::mem::forget((self.stop.take(), self.thread.take()));
            return;
        }
        LISTENING.lock().retain(|fd| *fd != self.fd);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread waits for no connection, and ends at once.
            let _ = thread.join();
        }
    }
}

/// Shows `telemetry` and `board` at `address`, from now on, with a new state each `every`. Fails if the address is
/// taken.
pub fn serve(
    telemetry: &'static Telemetry,
    board: Arc<Board>,
    address: Address,
    program: String,
    every: Duration,
) -> io::Result<Serving> {
    let listener = TcpListener::bind(address.at.as_slice())?;
    listener.set_nonblocking(true)?;
    let (at, fd) = (listener.local_addr()?, listener.as_raw_fd());
    let address = address.bound(at);
    let url = address.url();
    LISTENING.lock().push(fd);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let hub = Arc::new(Hub::new(board, Maker::new(telemetry, program)));
    let shown = Shown { telemetry, hub: hub.clone(), address: Arc::new(address) };
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("mountain-dashboard".into()).spawn(move || {
        tokio.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let listener = Few { listener, places: Arc::new(Semaphore::new(CONNECTIONS)) };
            let hub = shown.hub.clone();
            tokio::select! {
                _ = axum::serve(listener, router(shown)) => {}
                () = tick(&hub, every) => {}
                _ = stopped => {}
            }
        });
        // Open connections are closed.
        tokio.shutdown_background();
    })?;
    Ok(Serving { at, url, fd, forks: FORKS.load(Ordering::SeqCst), hub, stop: Some(stop), thread: Some(thread) })
}

async fn tick(hub: &Hub, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    let mut last = ticks.tick().await;
    loop {
        let now = ticks.tick().await.max(Instant::now());
        hub.tick((now - last).as_secs_f64());
        last = now;
    }
}

fn router(shown: Shown) -> Router {
    let files = FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(|| async { ([(header::CONTENT_TYPE, *kind)], *text) }))
    });
    files
        .route("/events", get(events))
        .route("/metrics", get(metrics))
        .route("/metrics/", get(metrics))
        .route("/livez", get(livez))
        .route("/livez/", get(livez))
        .route("/readyz", get(readyz))
        .route("/readyz/", get(readyz))
        .layer(middleware::from_fn_with_state(shown.clone(), guarded))
        .with_state(shown)
}

async fn guarded(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    let mut response = match judge(&shown.address, request.headers(), request.uri()) {
        Verdict::Answer => next.run(request).await,
        Verdict::Admit => {
            let token = shown.address.token().unwrap_or_default();
            let cookie = format!("{}={token}; HttpOnly; SameSite=Strict; Path=/", shown.address.cookie());
            (StatusCode::SEE_OTHER, [(header::LOCATION, "/".to_owned()), (header::SET_COOKIE, cookie)]).into_response()
        }
        Verdict::Refuse(status, why) => (status, why).into_response(),
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn events(State(shown): State<Shown>) -> Response {
    let Some(listener) = shown.hub.listen() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many look already\n").into_response();
    };
    let told = stream::unfold(listener, |mut listener| async move {
        let event = match listener.next().await? {
            Told::Snapshot(state) => Event::default().event("snapshot").data(state),
            Told::Delta(delta) => Event::default().event("delta").data(delta),
        };
        Some((Ok::<_, Infallible>(event), listener))
    });
    Sse::new(told).keep_alive(KeepAlive::default()).into_response()
}

async fn metrics(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let open =
        headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("application/openmetrics-text"));
    let (kind, text) = if open {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", openmetrics(shown.telemetry))
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", prometheus(shown.telemetry))
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn livez(State(shown): State<Shown>) -> Response {
    let live = shown.hub.board().live(shown.telemetry.clock.now());
    probe(live, "live\n", "the event loop does not answer\n")
}

async fn readyz(State(shown): State<Shown>) -> Response {
    probe(shown.hub.board().ready(), "ready\n", "not ready\n")
}

fn probe(good: bool, yes: &'static str, no: &'static str) -> Response {
    if good { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) }.into_response()
}

/// A listener with a bounded number of connections.
struct Few {
    listener: tokio::net::TcpListener,
    places: Arc<Semaphore>,
}

struct Connection {
    stream: TcpStream,
    quiet: Pin<Box<Sleep>>,
    #[expect(dead_code, reason = "held as long as the connection is")]
    place: OwnedSemaphorePermit,
}

impl Drop for Connection {
    /// Shut down, so that the other end sees it even if a forked child has a copy of the socket.
    fn drop(&mut self) {
        let _ = SockRef::from(&self.stream).shutdown(Shutdown::Both);
    }
}

impl Listener for Few {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { std::future::pending().await };
            match self.listener.accept().await {
                Ok((stream, from)) => return (Connection { stream, quiet: Box::pin(sleep(QUIET)), place }, from),
                // Out of descriptors, say, which come back.
                Err(_) => sleep(REST).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.quiet.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if matches!(written, Poll::Ready(Ok(n)) if n > 0) {
            self.quiet = Box::pin(sleep(QUIET));
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
