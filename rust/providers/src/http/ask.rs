//! A request as a value.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, RANGE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use super::decode::OFFERED;
use super::fields::{add, refuse_ours, value};
use super::redirect::Step;
use super::settings::Settings;
use super::text::basic;

/// A request as it was written. Sending it twice asks twice.
#[derive(Clone)]
pub struct Ask {
    pub settings: Arc<Settings>,
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// A status of 400 or above is a failure.
    pub check: bool,
    /// To be sent twice does no harm, by its method or by its key.
    pub repeatable: bool,
}

impl Ask {
    /// The error says what is wrong with an argument.
    pub fn new(
        settings: &Arc<Settings>,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: Bytes,
        check: bool,
    ) -> Result<Self, String> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is no method"))?;
        if method == Method::CONNECT {
            return Err("CONNECT makes a tunnel: that is what proxy= is for".into());
        }
        let mut url = settings.address(url)?;
        let mut all = settings.headers.clone();
        refuse_ours(headers)?;
        add(&mut all, headers)?;
        if let Some(login) = basic(&url) {
            all.entry(AUTHORIZATION).or_insert(value(AUTHORIZATION.as_str(), &login)?);
            let _ = (url.set_username(""), url.set_password(None));
        }
        // A part of a packed body is of no use.
        if !all.contains_key(RANGE) {
            all.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static(OFFERED));
        }
        let repeatable = method.is_idempotent() || all.contains_key("idempotency-key");
        Ok(Ask { settings: settings.clone(), method, url, headers: all, body, check, repeatable })
    }

    /// The same with the headers of a trace, beside those that were given.
    pub(super) fn traced(&self, headers: &dyn Fn() -> Vec<(String, String)>) -> Option<Arc<Self>> {
        let mut all = HeaderMap::new();
        // A propagator's header that cannot be sent is left out.
        for pair in headers() {
            let pair = [pair];
            let _ = refuse_ours(&pair).and_then(|()| add(&mut all, &pair));
        }
        if all.is_empty() {
            return None;
        }
        all.extend(self.headers.clone());
        Some(Arc::new(Ask { headers: all, ..self.clone() }))
    }

    pub(super) fn first_step(&self) -> Step {
        Step { method: self.method.clone(), url: self.url.clone(), headers: self.headers.clone(), body: true }
    }
}

/// Headers as a client has them before each request: those of the user, over those that every client sends.
pub fn defaults(headers: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut all = HeaderMap::new();
    all.insert(http::header::USER_AGENT, HeaderValue::from_static(concat!("mountain-runtime/", env!("CARGO_PKG_VERSION"))));
    all.insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
    refuse_ours(headers)?;
    add(&mut all, headers)?;
    Ok(all)
}

/// The headers of a step as they go out, in the order of HTTP/1.
pub(super) fn outgoing(step: &Step, body: &Bytes, two: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(step.headers.len() + 2);
    if !two && !step.headers.contains_key(HOST) {
        let host = step.url.host_str().unwrap_or_default();
        let host = step.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if let Ok(host) = HeaderValue::from_str(&host) {
            headers.insert(HOST, host);
        }
    }
    headers.extend(step.headers.clone());
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    let has_body = matches!(step.method, Method::POST | Method::PUT | Method::PATCH);
    if has_body || !body.is_empty() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::OURS;
    use crate::http::tls::Trust;

    fn ask(method: &str, headers: &[(&str, &str)]) -> Result<Ask, String> {
        let settings = Arc::new(Settings { headers: defaults(&[]).unwrap(), ..Settings::new(Trust::default()) });
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Ask::new(&settings, method, "http://me:x@a.test:81/", &headers, Bytes::new(), true)
    }

    #[test]
    fn a_header_smuggles_no_other() {
        for (name, text) in
            [("x", "a\r\nContent-Length: 5"), ("x", "a\nb"), ("x\r\ny", "a"), ("x", "a\0"), ("", "a"), ("x:", "a")]
        {
            assert!(ask("GET", &[(name, text)]).is_err(), "{name:?} {text:?}");
        }
        for name in OURS {
            assert!(ask("GET", &[(name, "1")]).is_err_and(|e| e.contains("itself")), "{name}");
        }
        assert!(ask("GET /x HTTP/1.1\r\n", &[]).is_err() && ask("CONNECT", &[]).is_err());
    }

    #[test]
    fn what_may_be_sent_twice() {
        let repeatable = |method: &str, headers: &[(&str, &str)]| ask(method, headers).unwrap().repeatable;
        assert!(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].iter().all(|method| repeatable(method, &[])));
        assert!(!repeatable("POST", &[]) && !repeatable("PATCH", &[]));
        assert!(repeatable("POST", &[("Idempotency-Key", "1")]));
    }

    #[test]
    fn headers_of_a_request_replace_the_clients() {
        let ask = ask("GET", &[("User-Agent", "mine"), ("a", "1"), ("A", "2"), ("Range", "bytes=0-1")]).unwrap();
        let sent = outgoing(&ask.first_step(), &ask.body, false);
        assert_eq!(sent.get_all("user-agent").iter().count(), 1);
        assert_eq!(sent.get_all("a").iter().count(), 2);
        assert_eq!(sent["host"], "a.test:81");
        assert_eq!(sent["authorization"], "Basic bWU6eA==");
        assert!(!sent.contains_key("accept-encoding") && ask.url.as_str() == "http://a.test:81/");
    }
}
