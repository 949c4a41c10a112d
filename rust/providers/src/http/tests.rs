//! Requests to servers of a test's own addresses: every address of 127.0.0.0/8 is this machine.

use std::io;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use mountain_core::effect::Verdict;
use mountain_core::error::Error;

use super::ask::Ask;
use super::failure::{Failed, Kind, transient};
use super::fetch::Fetch;
use super::settings::Settings;
use super::tls::Trust;
use crate::testing::run;

/// Where redirects begin: to the tests, this address is public.
const PUBLIC: &str = "127.0.0.2";

fn is_allowed(ip: IpAddr) -> bool {
    ip == PUBLIC.parse::<IpAddr>().unwrap()
}

/// A server that redirects to what `to` makes of each path, and counts connections.
fn redirecting(address: &str, to: impl Fn(&str) -> String + Send + 'static) -> (u16, Arc<AtomicUsize>) {
    on(TcpListener::bind((address, 0)).unwrap(), to)
}

fn on(listener: TcpListener, to: impl Fn(&str) -> String + Send + 'static) -> (u16, Arc<AtomicUsize>) {
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let ours = count.clone();
    #[expect(clippy::disallowed_methods, reason = "a server of the test")]
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            ours.fetch_add(1, Ordering::SeqCst);
            let (mut stream, mut seen) = (stream.unwrap(), Vec::new());
            while !seen.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                seen.push(byte[0]);
            }
            let line = String::from_utf8_lossy(&seen);
            let location = to(line.split(' ').nth(1).unwrap_or("/"));
            let _ = write!(stream, "HTTP/1.1 302 F\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, count)
}

fn failed(url: &str) -> Failed {
    failed_under(url, Settings::new(Trust::default()))
}

fn failed_under(url: &str, settings: Settings) -> Failed {
    let settings = Arc::new(Settings { allowed: Some(is_allowed), ..settings });
    let ask = Ask::new(&settings, "GET", url, &[], Bytes::new(), true).unwrap();
    match run(&Fetch(Arc::new(ask))) {
        Err(e @ Error::Other(_)) => {
            assert_eq!(transient(&e), Verdict::No);
            let Error::Other(any) = e else { unreachable!() };
            let any: Box<dyn std::any::Any> = any;
            *any.downcast().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_redirect_leads_to_an_address_that_is_not_allowed() {
    let (inner, reached) = redirecting("127.0.0.1", |_| "/".to_owned());
    let (port, count) = redirecting(PUBLIC, move |path| match path {
        "/one" => format!("http://127.0.0.1:{inner}/"),
        "/two" => "/one".to_owned(),
        "/mapped" => format!("http://[::ffff:127.0.0.1]:{inner}/"),
        "/number" => format!("http://2130706433:{inner}/"),
        _ => format!("http://localhost:{inner}/"),
    });
    for path in ["one", "two", "mapped", "number", "name"] {
        let failed = failed(&format!("http://{PUBLIC}:{port}/{path}"));
        assert_eq!(failed.kind, Kind::Forbidden, "{path}: {failed:?}");
    }
    assert_eq!((reached.load(Ordering::SeqCst), count.load(Ordering::SeqCst)), (0, 6));
}

/// The first look finds the public address, later ones this machine.
#[expect(clippy::unnecessary_wraps, reason = "as a lookup is")]
fn changing(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static LOOKS: AtomicUsize = AtomicUsize::new(0);
    let first = LOOKS.fetch_add(1, Ordering::SeqCst) == 0;
    Ok(vec![SocketAddr::new(if first { PUBLIC } else { "127.0.0.1" }.parse().unwrap(), port)])
}

#[test]
fn a_name_that_changes_leads_to_what_was_looked_at() {
    let both = || {
        let public = TcpListener::bind((PUBLIC, 0)).unwrap();
        let port = public.local_addr().unwrap().port();
        Some((public, TcpListener::bind(("127.0.0.1", port)).ok()?))
    };
    let (public, inner) = std::iter::from_fn(|| Some(both())).flatten().next().unwrap();
    let (port, reached) = on(inner, |_| "/".to_owned());
    let (_, count) = on(public, move |_| format!("http://changing.test:{port}/again"));
    let settings = Settings { lookup: changing, ..Settings::new(Trust::default()) };
    let failed = failed_under(&format!("http://changing.test:{port}/"), settings);
    // The first request went where its check had looked; the redirect is looked up anew, and is refused.
    assert_eq!(failed.kind, Kind::Forbidden, "{failed:?}");
    assert_eq!((reached.load(Ordering::SeqCst), count.load(Ordering::SeqCst)), (0, 1));
}
