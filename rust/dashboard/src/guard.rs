//! Which requests are answered.
//!
//!  1. A probe, always: its answer is one word, and its callers send little (HTTP/1.0 without a Host, say).
//!  2. With a token, a request that carries it: as a bearer, as a cookie, or once in the address, which makes the
//!     cookie. A web page that made its own name point here has none of these.
//!  3. Without a token, on a loopback address, a request whose host is an IP address, localhost, or the host that was
//!     given: a name that an attacker has made point here is refused, whatever page the browser has come from (DNS
//!     rebinding).
//!  4. An Origin header, if there is one, must be the page's own.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use axum::http::{HeaderMap, StatusCode, Uri, header};

/// The longest header that is read, and the longest one of cookies, which all ports of a host share.
const LONGEST: usize = 512;
const COOKIES: usize = 16 * 1024;

/// `[token@]host:port`.
#[derive(Clone, Debug)]
pub struct Address {
    /// All addresses of its host; once it listens, the one where it does.
    pub at: Vec<SocketAddr>,
    /// The address as it was given, without the token.
    pub place: String,
    host: String,
    token: Option<String>,
    /// The token was made here, not given.
    pub made: bool,
}

#[derive(Debug)]
pub struct BadAddress(String);

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: write '127.0.0.1:9600', or 'token@0.0.0.0:9600' to be seen from elsewhere", self.0)
    }
}

impl Address {
    /// Parses an address. Elsewhere than on a loopback address there is a token: `made`, if none was given.
    pub fn parse(text: &str, made: impl FnOnce() -> String) -> Result<Self, BadAddress> {
        let bad = |why: &str| BadAddress(format!("a dashboard's address {why}"));
        let (token, place) = match text.rsplit_once('@') {
            Some(("", _)) => return Err(bad("has an empty token")),
            Some((token, place)) => (Some(token.to_owned()), place),
            None => (None, text),
        };
        let usable = |token: &String| token.bytes().all(|b| b.is_ascii_graphic() && !b";,\"\\&#%+=".contains(&b));
        if token.as_ref().is_some_and(|token| !usable(token)) {
            return Err(bad("has a token with characters that a cookie or an address cannot carry"));
        }
        let (host, port) = place.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
        if port.parse::<u16>().is_err() {
            return Err(bad("has a port that is none"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
        let found = place.to_socket_addrs().map_err(|e| bad(&format!("cannot be found ({e})")))?;
        let at: Vec<_> = found.collect();
        if at.is_empty() {
            return Err(bad("cannot be found"));
        }
        let needs_one = token.is_none() && !at.iter().all(|at| at.ip().is_loopback());
        let token = token.or_else(|| needs_one.then(made));
        Ok(Address { at, place: place.to_owned(), host, token, made: needs_one })
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The address, once it listens at `at`.
    #[must_use]
    pub(crate) fn bound(self, at: SocketAddr) -> Self {
        Address { at: vec![at], ..self }
    }

    fn port(&self) -> u16 {
        self.at.first().map_or(0, SocketAddr::port)
    }

    /// The address for a browser.
    pub(crate) fn url(&self) -> String {
        let at = self.at.first().map(ToString::to_string).unwrap_or_default();
        match &self.token {
            Some(token) => format!("http://{at}/?token={token}"),
            None => format!("http://{at}/"),
        }
    }

    /// The cookie's name: pages at other ports of this host have others.
    pub(crate) fn cookie(&self) -> String {
        format!("mountain_token_{}", self.port())
    }
}

/// The verdict on a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answer,
    /// The request has the token in its address: it is put into a cookie, and removed from the address.
    Admit,
    Refuse(StatusCode, &'static str),
}

/// The paths that report health. A slash at the end, as some tools write it, changes nothing.
pub(crate) const PROBES: [&str; 4] = ["/livez", "/readyz", "/livez/", "/readyz/"];

pub(crate) fn judge(address: &Address, headers: &HeaderMap, uri: &Uri) -> Verdict {
    if PROBES.contains(&uri.path()) {
        return Verdict::Answer;
    }
    // A host in the request line outranks the header (RFC 9112, 3.2.2).
    let header = text(headers, header::HOST, LONGEST);
    let host = uri.authority().map_or(header.ok().flatten(), |authority| Some(authority.as_str()));
    let Some(host) = host.filter(|_| header.is_ok()) else {
        return Verdict::Refuse(StatusCode::BAD_REQUEST, "no host\n");
    };
    if address.token.is_none() && !is_ours(address, host) {
        return Verdict::Refuse(StatusCode::FORBIDDEN, "a foreign host\n");
    }
    match text(headers, header::ORIGIN, LONGEST) {
        Ok(None) => {}
        Ok(Some(origin)) if origin.strip_prefix("http://") == Some(host) => {}
        _ => return Verdict::Refuse(StatusCode::FORBIDDEN, "a foreign origin\n"),
    }
    let Some(token) = &address.token else { return Verdict::Answer };
    let bearer = text(headers, header::AUTHORIZATION, LONGEST).ok().flatten().and_then(|h| h.strip_prefix("Bearer "));
    let cookies = text(headers, header::COOKIE, COOKIES).ok().flatten().unwrap_or_default();
    let ours = address.cookie();
    let cookie = cookies.split(';').filter_map(|c| c.trim().split_once('=')).find(|(name, _)| *name == ours);
    let query = uri.query().unwrap_or_default().split('&').filter_map(|q| q.split_once('=')).find(|(name, _)| *name == "token");
    if bearer.or(cookie.map(|(_, value)| value)).is_some_and(|given| same(given, token)) {
        return Verdict::Answer;
    }
    match query {
        Some((_, given)) if uri.path() == "/" && same(given, token) => Verdict::Admit,
        _ => Verdict::Refuse(StatusCode::UNAUTHORIZED, "the address that was logged has a token\n"),
    }
}

/// Whether the token is right, in a time that depends on neither: blake3 compares their hashes in constant time.
fn same(given: &str, token: &str) -> bool {
    given.len() <= LONGEST && blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes())
}

/// A header that is there once at most, and readable.
fn text(headers: &HeaderMap, name: header::HeaderName, longest: usize) -> Result<Option<&str>, ()> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if value.len() <= longest => value.to_str().map(Some).map_err(drop),
        _ => Err(()),
    }
}

fn is_ours(address: &Address, host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(ip, _)| ip),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case(&address.host)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, || "made".into()).expect("an address")
    }

    fn judged(address: &Address, uri: &str, headers: &[(header::HeaderName, &str)]) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).expect("a header"));
        }
        judge(address, &map, &uri.parse().expect("an address"))
    }

    fn refused(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Refuse(..))
    }

    #[test]
    fn loopback_needs_no_token_and_others_have_one() {
        assert_eq!(address("127.0.0.1:9600").token(), None);
        assert_eq!(address("localhost:0").token(), None);
        assert_eq!(address("[::1]:0").token(), None);
        assert_eq!(address("0.0.0.0:9600").token(), Some("made"));
        assert_eq!(address("secret@0.0.0.0:9600").token(), Some("secret"));
        for bad in
            ["", "9600", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "@127.0.0.1:1", "a b@127.0.0.1:1", "a;b@127.0.0.1:1"]
        {
            assert!(Address::parse(bad, String::new).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_foreign_host_or_origin_is_refused() {
        let address = address("127.0.0.1:9600");
        for host in ["127.0.0.1:9600", "localhost:9600", "LOCALHOST", "[::1]:9600", "192.168.1.7:80"] {
            assert_eq!(judged(&address, "/", &[(header::HOST, host)]), Verdict::Answer, "{host}");
        }
        for host in ["evil.example:9600", "127.0.0.1.evil.example", "localhost.evil.example", "", "[evil]"] {
            assert!(refused(&judged(&address, "/", &[(header::HOST, host)])), "{host}");
        }
        assert!(refused(&judged(&address, "/", &[])));
        for probe in PROBES {
            assert_eq!(judged(&address, probe, &[]), Verdict::Answer);
            assert_eq!(judged(&address, probe, &[(header::HOST, "evil.example")]), Verdict::Answer);
        }
        let whole = |uri| judged(&address, uri, &[(header::HOST, "localhost")]);
        assert_eq!(whole("http://127.0.0.1:9600/metrics"), Verdict::Answer);
        assert!(refused(&whole("http://evil.example/metrics")), "the request line counts");
        assert!(refused(&judged(&address, "/", &[(header::HOST, "localhost"), (header::HOST, "localhost")])));
        let with = |origin| judged(&address, "/", &[(header::HOST, "127.0.0.1:9600"), (header::ORIGIN, origin)]);
        assert_eq!(with("http://127.0.0.1:9600"), Verdict::Answer);
        for origin in ["http://evil.example", "http://localhost:9600", "https://127.0.0.1:9600", "null"] {
            assert!(refused(&with(origin)), "{origin}");
        }
    }

    #[test]
    fn only_the_token_lets_in() {
        let address = address("secret@0.0.0.0:9600");
        let host = (header::HOST, "10.0.0.1:9600");
        let with = |uri, name: header::HeaderName, value| judged(&address, uri, &[host.clone(), (name, value)]);
        assert_eq!(with("/metrics", header::AUTHORIZATION, "Bearer secret"), Verdict::Answer);
        assert_eq!(with("/events", header::COOKIE, "a=b; mountain_token_9600=secret"), Verdict::Answer);
        assert_eq!(judged(&address, "/?token=secret", std::slice::from_ref(&host)), Verdict::Admit);
        // By a name that only its network knows.
        let named = (header::HOST, "shop.example:9600");
        assert_eq!(judged(&address, "/?token=secret", std::slice::from_ref(&named)), Verdict::Admit);
        let scraped = [named.clone(), (header::AUTHORIZATION, "Bearer secret")];
        assert_eq!(judged(&address, "/metrics", &scraped), Verdict::Answer);
        assert!(refused(&judged(&address, "/metrics", &[named, (header::ORIGIN, "http://evil.example")])));
        for probe in ["/livez", "/readyz"] {
            assert_eq!(judged(&address, probe, std::slice::from_ref(&host)), Verdict::Answer);
        }
        for verdict in [
            judged(&address, "/", std::slice::from_ref(&host)),
            judged(&address, "/?token=secre", std::slice::from_ref(&host)),
            judged(&address, "/metrics?token=secret", std::slice::from_ref(&host)),
            with("/", header::AUTHORIZATION, "Bearer "),
            with("/", header::AUTHORIZATION, "secret"),
            with("/", header::COOKIE, "mountain_token_9600="),
        ] {
            assert!(refused(&verdict));
        }
    }
}
