//! A new connection: the address, the socket, a tunnel through a proxy, TLS, and the protocol that both sides speak.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Url;

use super::failure::{Failed, Kind, message};
use super::forking::no_fork;
use super::hosts::Key;
use super::one::One;
use super::pool::{Place, Pool, Sender};
use super::settings::Settings;
use super::text::basic;

/// The most that an answer's headers may take, in bytes and in number.
const HEADER_BYTES: usize = 64 << 10;
const HEADERS: usize = 256;
/// The most that is read from a socket at a time.
const READ: usize = 64 << 10;
/// How long one address is tried before the next one is tried beside it (RFC 8305).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Stream = Box<dyn Duplex>;

/// Opens a connection. Its task holds the place until it ends.
pub(super) async fn open(pool: &Arc<Pool>, key: &Arc<Key>, place: Place, proxy: Option<&Url>) -> Result<Sender, Failed> {
    let settings = &pool.settings;
    let tls = if key.https { Some(tls(settings).await?) } else { None };
    let stream = match proxy {
        Some(proxy) => through(settings, proxy, key).await?,
        None => to_host(settings, &key.host, key.port).await?,
    };
    let Some(tls) = tls else { return speak_one(pool, key, place, stream).await };
    let name = ServerName::try_from(key.host.clone()).map_err(|e| Failed::new(Kind::Tls, format!("{}: {e}", key.host)))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|e| of_tls(&e, key))?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        speak_two(pool, key, place, Box::new(stream)).await
    } else {
        speak_one(pool, key, place, Box::new(stream)).await
    }
}

async fn tls(settings: &Arc<Settings>) -> Result<Arc<ClientConfig>, Failed> {
    if let Some(config) = settings.tls.get() {
        return Ok(config.clone());
    }
    // The system's store is read from the disk.
    let ours = settings.clone();
    let made = tokio::task::spawn_blocking(move || ours.trust.settings(ours.http2)).await;
    let config = made.map_err(|e| e.to_string()).flatten().map_err(|why| Failed::new(Kind::Tls, why))?;
    let _whole = no_fork();
    Ok(settings.tls.get_or_init(|| config).clone())
}

async fn speak_one(pool: &Arc<Pool>, key: &Arc<Key>, mut place: Place, stream: Stream) -> Result<Sender, Failed> {
    let mut builder = http1::Builder::new();
    builder.max_headers(HEADERS).max_header_size(HEADER_BYTES).max_buf_size(READ);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| no_connection(key, &e))?;
    place.connected();
    pool.speaks_one(key);
    let task = tokio::spawn(async move {
        // Its errors are those of its requests.
        let _ = connection.await;
        drop(place);
    });
    Ok(Sender::One(One::new(sender, task.abort_handle())))
}

async fn speak_two(pool: &Arc<Pool>, key: &Arc<Key>, mut place: Place, stream: Stream) -> Result<Sender, Failed> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.adaptive_window(true).max_header_list_size(HEADER_BYTES as u32);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| no_connection(key, &e))?;
    place.connected();
    pool.share(key, sender.clone());
    tokio::spawn(async move {
        let _ = connection.await;
        drop(place);
    });
    Ok(Sender::Two(sender))
}

fn no_connection(key: &Key, e: &dyn std::fmt::Display) -> Failed {
    Failed::new(Kind::Connect, format!("cannot connect to {}:{}: {}", key.host, key.port, message(e)))
}

fn of_tls(e: &io::Error, key: &Key) -> Failed {
    let whom = format!("{}:{}", key.host, key.port);
    match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Failed::new(Kind::Certificate, format!("the certificate of {whom} is not trusted: {why}"))
        }
        Some(e) => Failed::new(Kind::Tls, format!("TLS with {whom} failed: {e}")),
        None => Failed::of_io(Kind::Connect, e, &format!("TLS with {whom} failed")),
    }
}

/// A connection to that host, without a proxy.
async fn to_host(settings: &Settings, host: &str, port: u16) -> Result<Stream, Failed> {
    if let Some(path) = &settings.socket {
        let stream = UnixStream::connect(path).await;
        let what = format!("cannot connect to {}", path.display());
        return Ok(Box::new(stream.map_err(|e| Failed::of_io(Kind::Connect, &e, &what))?));
    }
    let found = resolve(settings, host, port).await?;
    let addresses: Vec<_> = found.iter().copied().filter(|at| settings.allowed.is_none_or(|allowed| allowed(at.ip()))).collect();
    if addresses.is_empty() {
        let text = format!("{host} is {}: not a public address, and public_only=True", found[0].ip());
        return Err(Failed::new(Kind::Forbidden, text));
    }
    // It connects to what was looked at: a second look could find another address.
    let stream =
        first(addresses).await.map_err(|e| Failed::of_io(Kind::Connect, &e, &format!("cannot connect to {host}:{port}")))?;
    // A small request leaves at once. A socket that refuses is slower, and works.
    let _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}

async fn resolve(settings: &Settings, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failed> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let unknown = |why: &str| Failed::new(Kind::Connect, format!("cannot resolve {host}: {why}"));
    let (name, lookup) = (host.to_owned(), settings.lookup);
    let looked = tokio::task::spawn_blocking(move || lookup(&name, port)).await;
    let found = looked.unwrap_or_else(|e| Err(e.into())).map_err(|e| {
        let text = message(&e);
        unknown(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text))
    })?;
    if found.is_empty() { Err(unknown("it has no address")) } else { Ok(found) }
}

/// The first address that answers, with a head start for each over the next.
async fn first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [only] = addresses[..] {
        return TcpStream::connect(only).await;
    }
    let mut trying = JoinSet::new();
    let mut left = addresses.into_iter();
    let mut failed = None;
    loop {
        if let Some(next) = left.next() {
            trying.spawn(TcpStream::connect(next));
        }
        let waits = left.len() > 0;
        tokio::select! {
            ended = trying.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(e))) => failed = Some(e),
                Some(Err(e)) => failed = Some(e.into()),
                None => return Err(failed.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if waits => {}
        }
    }
}

/// A connection by way of a proxy: for HTTPS a tunnel, else to the proxy itself.
async fn through(settings: &Arc<Settings>, proxy: &Url, key: &Key) -> Result<Stream, Failed> {
    let host = proxy.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let mut stream = to_host(settings, host, proxy.port_or_known_default().unwrap_or(80)).await?;
    if proxy.scheme() == "https" {
        let at = Key { https: true, host: host.to_owned(), port: proxy.port_or_known_default().unwrap_or(443) };
        let name = ServerName::try_from(host.to_owned()).map_err(|e| Failed::new(Kind::Tls, format!("{host}: {e}")))?;
        let mut config = ClientConfig::clone(&*tls(settings).await?);
        config.alpn_protocols.clear();
        let connector = TlsConnector::from(Arc::new(config));
        stream = Box::new(connector.connect(name, stream).await.map_err(|e| of_tls(&e, &at))?);
    }
    if key.https { tunnel(stream, proxy, key).await } else { Ok(stream) }
}

async fn tunnel(mut stream: Stream, proxy: &Url, key: &Key) -> Result<Stream, Failed> {
    const MOST: usize = 16 << 10;
    let whom = if key.host.contains(':') { format!("[{}]:{}", key.host, key.port) } else { format!("{}:{}", key.host, key.port) };
    let by = format!("proxy {}:{}", proxy.host_str().unwrap_or_default(), proxy.port_or_known_default().unwrap_or(80));
    let login = basic(proxy).map(|login| format!("Proxy-Authorization: {login}\r\n")).unwrap_or_default();
    let ask = format!("CONNECT {whom} HTTP/1.1\r\nHost: {whom}\r\n{login}\r\n");
    let failed = |e: &io::Error| Failed::of_io(Kind::Connect, e, &format!("{by} gave no tunnel to {whom}"));
    stream.write_all(ask.as_bytes()).await.map_err(|e| failed(&e))?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        // One by one: what follows the answer belongs to the tunnel.
        let byte = stream.read_u8().await.map_err(|e| failed(&e))?;
        answer.push(byte);
        if answer.len() > MOST {
            return Err(Failed::new(Kind::Protocol, format!("{by} answers with more than {MOST} bytes of headers")));
        }
    }
    let line = String::from_utf8_lossy(&answer[..answer.iter().position(|b| *b == b'\r').unwrap_or(0)]).into_owned();
    match line.split(' ').nth(1) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(stream),
        Some("403" | "407") => Err(Failed::new(Kind::Forbidden, format!("{by} gave no tunnel to {whom}: {line}"))),
        _ => Err(Failed::new(Kind::Connect, format!("{by} gave no tunnel to {whom}: {line}"))),
    }
}
