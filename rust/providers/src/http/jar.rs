//! The cookies of a client that keeps them (RFC 6265). A cookie goes back to the host that set it, and to no other: a
//! wider Domain would need the list of all public suffixes, or reach strangers.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::SET_COOKIE;
use mountain_core::sync::Mutex;
use url::Url;

use super::forking::no_fork;

/// The number that is kept at most, and the length of one.
const MOST: usize = 3000;
const LONGEST: usize = 4096;

#[derive(Default)]
pub struct Jar(Mutex<Vec<Cookie>>);

struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
    secure: bool,
    /// `None`: it goes with the client.
    ends: Option<SystemTime>,
}

impl Jar {
    /// The cookies for that address, as the header has them.
    pub(super) fn header(&self, url: &Url, now: SystemTime) -> Option<String> {
        let _whole = no_fork();
        let mut jar = self.0.lock();
        jar.retain(|cookie| !cookie.has_ended(now));
        let mut found: Vec<_> = jar.iter().filter(|cookie| cookie.is_for(url)).collect();
        found.sort_by_key(|cookie| Reverse(cookie.path.len()));
        let texts: Vec<_> = found.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        Some(texts.join("; ")).filter(|text| !text.is_empty())
    }

    /// Keeps those that an answer from that address sets.
    pub(super) fn keep(&self, url: &Url, headers: &HeaderMap, now: SystemTime) {
        for text in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let Some(cookie) = Cookie::read(text, url, now) else { continue };
            let _whole = no_fork();
            let mut jar = self.0.lock();
            let same = jar.iter().position(|c| (&c.host, &c.path, &c.name) == (&cookie.host, &cookie.path, &cookie.name));
            match same {
                Some(at) if cookie.has_ended(now) => drop(jar.remove(at)),
                Some(at) => jar[at] = cookie,
                None if cookie.has_ended(now) => {}
                None => {
                    if jar.len() == MOST {
                        jar.remove(0);
                    }
                    jar.push(cookie);
                }
            }
        }
    }
}

impl Cookie {
    fn read(text: &str, url: &Url, now: SystemTime) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || text.len() > LONGEST {
            return None;
        }
        let folder = url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut path = if folder.is_empty() { "/" } else { folder };
        let (mut secure, mut expires, mut age, mut is_wide) = (false, None, None, false);
        for part in parts {
            let (key, text) = part.split_once('=').map_or((part, ""), |(key, text)| (key.trim(), text.trim()));
            match key.to_ascii_lowercase().as_str() {
                "path" if text.starts_with('/') => path = text,
                "secure" => secure = true,
                "domain" => is_wide = !text.is_empty(),
                "expires" => expires = httpdate::parse_http_date(text).ok().or(expires),
                "max-age" => age = text.parse::<i64>().ok().or(age),
                _ => {}
            }
        }
        // A cookie that is secure, or says so in its name, does not come by a way that is not.
        let says_secure = name.starts_with("__Secure-") || name.starts_with("__Host-");
        let is_strange = name.starts_with("__Host-") && (path != "/" || is_wide);
        if (secure && url.scheme() != "https") || (says_secure && !secure) || is_strange {
            return None;
        }
        let ends = match age {
            Some(seconds) if seconds <= 0 => Some(SystemTime::UNIX_EPOCH),
            Some(seconds) => now.checked_add(Duration::from_secs(seconds.unsigned_abs())),
            None => expires,
        };
        let (host, path) = (url.host_str()?.to_owned(), path.to_owned());
        Some(Cookie { host, path, name: name.to_owned(), value: value.to_owned(), secure, ends })
    }

    fn has_ended(&self, now: SystemTime) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    fn is_for(&self, url: &Url) -> bool {
        let rest = url.path().strip_prefix(self.path.as_str());
        let below = rest.is_some_and(|rest| self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/'));
        below && url.host_str() == Some(&self.host) && (!self.secure || url.scheme() == "https")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn keep(jar: &Jar, url: &str, cookies: &[&str]) {
        let mut all = HeaderMap::new();
        for text in cookies {
            all.append(SET_COOKIE, HeaderValue::from_str(text).unwrap());
        }
        jar.keep(&Url::parse(url).unwrap(), &all, now());
    }

    fn sent(jar: &Jar, url: &str) -> String {
        jar.header(&Url::parse(url).unwrap(), now()).unwrap_or_default()
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_and_path() {
        let jar = Jar::default();
        keep(&jar, "http://a.test/x/y", &["a=1", "b=2; Path=/", "c=3; Domain=test; Path=/x/y", "d=\"4\"; HttpOnly; Path=x"]);
        assert_eq!(sent(&jar, "http://a.test/x/y"), "c=3; a=1; d=\"4\"; b=2");
        assert_eq!(sent(&jar, "http://a.test:81/x"), "a=1; d=\"4\"; b=2");
        assert_eq!(sent(&jar, "http://a.test/xy"), "b=2");
        assert_eq!(sent(&jar, "http://b.a.test/x/y") + &sent(&jar, "http://b.test/x/y"), "");
    }

    #[test]
    fn a_later_one_replaces_it_and_the_past_ends_it() {
        let jar = Jar::default();
        keep(&jar, "http://a.test/", &["a=1", "b=1", "a=2", "c=1; Max-Age=0", "d=1; Max-Age=9999999999999999"]);
        assert_eq!(sent(&jar, "http://a.test/"), "a=2; b=1; d=1");
        keep(&jar, "http://a.test/", &["a=; Max-Age=-1", "b=; Expires=Sun, 06 Nov 1994 08:49:37 GMT", "d=1; Max-Age=5"]);
        assert_eq!(sent(&jar, "http://a.test/"), "d=1");
        let later = now() + Duration::from_secs(5);
        assert_eq!(jar.header(&Url::parse("http://a.test/").unwrap(), later), None);
    }

    #[test]
    fn a_secure_one_takes_no_other_way() {
        let jar = Jar::default();
        keep(&jar, "http://a.test/", &["a=1; Secure", "__Secure-b=1", "__Host-c=1; Path=/", "=1", "nothing"]);
        assert_eq!(sent(&jar, "https://a.test/"), "");
        keep(&jar, "https://a.test/", &["a=1; Secure", "__Secure-b=1", "__Host-c=1; Secure; Path=/; Domain=a.test"]);
        assert_eq!(sent(&jar, "https://a.test/") + &sent(&jar, "http://a.test/"), "a=1");
    }

    #[test]
    fn no_server_fills_the_memory() {
        let jar = Jar::default();
        keep(&jar, "http://a.test/", &[&format!("a={}", "x".repeat(LONGEST))]);
        for number in 0..=MOST {
            keep(&jar, "http://a.test/", &[&format!("n{number}=1")]);
        }
        assert_eq!(jar.0.lock().len(), MOST);
        assert!(!sent(&jar, "http://a.test/").contains("n0="));
    }
}
