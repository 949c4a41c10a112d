//! The request that follows a redirect: a function of the request and the answer.

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, Method};
use url::Url;

use super::failure::{Failed, Kind};

/// Headers that show who asks. They stay with the origin that they were given for.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// The parts of a request that a redirect may change.
pub(super) struct Step {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// The body goes along.
    pub body: bool,
}

/// Whether an answer sends the request elsewhere.
pub(super) fn is_redirect(status: u16, headers: &HeaderMap) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308) && headers.contains_key(LOCATION)
}

impl Step {
    /// The request that follows. Credentials that have been left behind do not come back.
    pub(super) fn follow(&mut self, status: u16, answer: &HeaderMap) -> Result<(), Failed> {
        let to = answer.get(LOCATION).map_or(&[][..], |to| to.as_bytes());
        let to = String::from_utf8_lossy(to);
        let bad = |why: &str| Failed::new(Kind::Protocol, format!("{} sends to {to:?}: {why}", self.url));
        let mut next = self.url.join(&to).map_err(|e| bad(&e.to_string()))?;
        if !matches!(next.scheme(), "http" | "https") {
            return Err(bad("only http and https are spoken"));
        }
        // A server does not choose the login of its client.
        let _ = (next.set_username(""), next.set_password(None));
        if next.fragment().is_none() {
            next.set_fragment(self.url.fragment());
        }
        if next.origin() != self.url.origin() {
            for name in CREDENTIALS {
                self.headers.remove(name);
            }
        }
        let becomes_get = match status {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = false;
            for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
                self.headers.remove(name);
            }
        }
        self.headers.remove(http::header::HOST);
        self.url = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn step(url: &str) -> Step {
        let mut headers = HeaderMap::new();
        for name in CREDENTIALS {
            headers.insert(name, HeaderValue::from_static("secret"));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Step { method: Method::POST, url: Url::parse(url).unwrap(), headers, body: true }
    }

    fn sent(step: &mut Step, status: u16, to: &str) -> Result<(), Failed> {
        let answer = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(to).unwrap())]);
        step.follow(status, &answer)
    }

    #[test]
    fn credentials_stay_with_their_origin_and_do_not_come_back() {
        for other in ["http://b.test/", "https://a.test/", "http://a.test:81/", "//b.test/"] {
            let mut step = step("http://a.test/x");
            sent(&mut step, 307, "/y").unwrap();
            assert!(CREDENTIALS.iter().all(|name| step.headers.contains_key(name)));
            sent(&mut step, 307, other).unwrap();
            assert!(!CREDENTIALS.iter().any(|name| step.headers.contains_key(name)), "{other}");
            sent(&mut step, 307, "http://a.test/x").unwrap();
            assert!(!CREDENTIALS.iter().any(|name| step.headers.contains_key(name)), "{other}");
        }
    }

    #[test]
    fn the_method_changes_as_browsers_change_it() {
        for (status, method, body) in
            [(301, "GET", false), (302, "GET", false), (303, "GET", false), (307, "POST", true), (308, "POST", true)]
        {
            let mut step = step("http://a.test/x");
            sent(&mut step, status, "y?z").unwrap();
            assert_eq!((step.method.as_str(), step.body, step.url.as_str()), (method, body, "http://a.test/y?z"));
            assert_eq!(step.headers.contains_key(CONTENT_TYPE), body);
        }
    }

    #[test]
    fn a_redirect_to_another_scheme_or_with_a_login_is_not_followed_so() {
        assert!(sent(&mut step("http://a.test/"), 302, "file:///etc/passwd").is_err());
        let mut step = step("http://a.test/");
        sent(&mut step, 302, "http://me:secret@a.test/").unwrap();
        assert_eq!(step.url.as_str(), "http://a.test/");
    }
}
