//! A whole answer.

use std::time::SystemTime;

use http::{HeaderMap, Version};
use mountain_core::value::Filled;
use url::Url;

use super::fields::add;
use super::json::Builder;

/// An answer with its body. `url` is the address that answered, after redirects.
pub struct Response {
    pub status: u16,
    pub version: Version,
    pub method: String,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// A large body, which is in memory of the host; `body` is empty then.
    pub large: Option<Filled>,
    /// The value of a large JSON body.
    pub built: Option<Box<dyn Builder>>,
    /// The request's method, or its key, says that it may be sent twice.
    pub repeatable: bool,
}

impl Response {
    /// One that no server has sent. The error says what is wrong with an argument.
    pub fn made(
        method: String,
        url: &str,
        status: u16,
        headers: &[(String, String)],
        body: Vec<u8>,
        repeatable: bool,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|e| format!("url {url:?}: {e}"))?;
        let mut all = HeaderMap::new();
        add(&mut all, headers)?;
        Ok(Response { status, version: Version::HTTP_11, method, url, headers: all, body, large: None, built: None, repeatable })
    }

    /// The message of its failure, where its status is one.
    pub fn failing(&self) -> String {
        format!("{} {} was answered with {}", self.method, self.url, self.status)
    }

    /// The wait that the server asks for, in seconds.
    pub fn retry_after(&self) -> Option<f64> {
        retry_after(self.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
    }
}

/// The version as a request line has it, without its prefix: "1.1".
pub fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// A Retry-After in seconds: a number, or a date, of which one that has passed is 0. `None` for what is neither.
pub(super) fn retry_after(text: &str, now: SystemTime) -> Option<f64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).map_or(0.0, |wait| wait.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_number_a_date_and_nonsense() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let date = |s: i64| httpdate::fmt_http_date(now.checked_add(Duration::from_secs(s.unsigned_abs())).unwrap());
        assert_eq!(retry_after("1", now), Some(1.0));
        assert_eq!(retry_after(&date(2), now), Some(2.0));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(0.0));
        assert_eq!(retry_after("9999999999", now), Some(9_999_999_999.0));
        assert!(retry_after(&"9".repeat(400), now).is_some_and(f64::is_infinite));
        for nonsense in ["abc", "", "-1", "1.5", "1e3", "+1", "1 s"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }
}
