//! The settings of a client, and its identity.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use tokio_rustls::rustls::ClientConfig;
use url::Url;

use super::jar::Jar;
use super::json::Builder;
use super::proxy::Proxies;
use super::tls::Trust;

/// Of one client. Its pool of connections is the reactor's, under `id`.
pub struct Settings {
    pub id: u64,
    /// Where its addresses begin.
    pub base: Option<Url>,
    /// The socket that all its connections go to, whatever the address says.
    pub socket: Option<PathBuf>,
    /// Sent with every request that has no header of that name.
    pub headers: HeaderMap,
    pub http2: bool,
    /// Connections at a time, in all and to one host.
    pub connections: usize,
    pub per_host: usize,
    pub redirects: usize,
    /// The bytes of a body, once it is unpacked.
    pub max_body: usize,
    pub proxies: Proxies,
    pub trust: Trust,
    /// Whether it may connect there; `None`: anywhere.
    pub allowed: Option<fn(IpAddr) -> bool>,
    /// Where cookies are kept; `None`: they are not.
    pub jar: Option<Jar>,
    /// Hears of each answer, by host and status; `None`: no answer came.
    pub heard: fn(&str, Option<u16>),
    /// Makes the builder of a large JSON answer's value; `None`: the value is not built in advance.
    pub builder: Option<fn() -> Box<dyn Builder>>,
    /// The addresses of a name. It may block.
    pub(super) lookup: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
    pub(super) tls: OnceLock<Arc<ClientConfig>>,
    /// Its client is gone: what is still asked for keeps no connection afterwards.
    pub(super) dropped: AtomicBool,
}

impl Settings {
    /// Those of a client that has none.
    pub fn new(trust: Trust) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Settings {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            base: None,
            socket: None,
            headers: HeaderMap::new(),
            http2: true,
            connections: 100,
            per_host: 16,
            redirects: 10,
            max_body: 64 << 20,
            proxies: Proxies::default(),
            trust,
            allowed: None,
            jar: None,
            heard: |_, _| {},
            builder: None,
            lookup: |host, port| (host, port).to_socket_addrs().map(Iterator::collect),
            tls: OnceLock::new(),
            dropped: AtomicBool::new(false),
        }
    }

    /// The address of `url`, which may begin at the base.
    pub fn address(&self, url: &str) -> Result<Url, String> {
        // A parser drops some of them, wherever they are.
        if url.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(format!("url {url:?}: an address has no control characters"));
        }
        let whole = url.get(..8).is_some_and(|start| {
            let start = start.to_ascii_lowercase();
            start.starts_with("http://") || start.starts_with("https://")
        });
        let parsed = match &self.base {
            Some(base) if !whole => {
                let joined = match (base.as_str().trim_end_matches('/'), url.trim_start_matches('/')) {
                    (base, "") => format!("{base}/"),
                    (base, rest) if rest.starts_with('?') => format!("{base}{rest}"),
                    (base, rest) => format!("{base}/{rest}"),
                };
                // The whole begins with the base: a path is no way to another host.
                Url::parse(&joined)
            }
            _ => Url::parse(url),
        };
        let parsed = parsed.map_err(|e| match e {
            url::ParseError::RelativeUrlWithoutBase => {
                format!("url {url:?} has no host: begin it with https://, or give the client a base")
            }
            e => format!("url {url:?}: {e}"),
        })?;
        match parsed.scheme() {
            "http" | "https" => Ok(parsed),
            other => Err(format!("url {url:?}: only http and https are spoken, not {other}: begin it with http:// or https://")),
        }
    }
}

/// The size of `sun_path`, with the zero at its end.
const LONGEST: usize = size_of::<libc::sockaddr_un>() - size_of::<libc::sa_family_t>();

/// The reason for which a unix socket cannot have that path.
pub fn no_socket(path: &Path) -> Option<&'static str> {
    let path = path.as_os_str().as_encoded_bytes();
    if path.contains(&0) {
        return Some("a socket's path has no zero byte");
    }
    (path.is_empty() || path.len() >= LONGEST).then_some("a socket's path has at most 107 bytes, and at least one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_begins_at_the_base() {
        let base = Some(Url::parse("http://a.test/v1/").unwrap());
        let settings = Settings { base, ..Settings::new(Trust::default()) };
        for (url, whole) in [
            ("/x", "http://a.test/v1/x"),
            ("x?q=1", "http://a.test/v1/x?q=1"),
            ("", "http://a.test/v1/"),
            ("?q", "http://a.test/v1?q"),
            ("//evil.test/", "http://a.test/v1/evil.test/"),
            ("@evil.test", "http://a.test/v1/@evil.test"),
            ("http://b.test", "http://b.test/"),
            ("HTTPS://b.test", "https://b.test/"),
        ] {
            assert_eq!(settings.address(url).unwrap().as_str(), whole);
        }
        let without = Settings::new(Trust::default());
        for url in ["http://a.test/\r\nX: y", "http://a.test\n/", "ht\ttp://a.test/", "http://a.test/\0"] {
            assert!(without.address(url).unwrap_err().contains("control characters"), "{url:?}");
        }
        assert!(without.address("/x").unwrap_err().contains("base"));
        assert!(without.address("ftp://x/").unwrap_err().contains("ftp"));
        assert_eq!(without.address("http://0x7f.1/").unwrap().host_str(), Some("127.0.0.1"));
    }
}
