//! Entries for the fuzzer, in builds of its own: `rust/fuzz`.

use std::time::SystemTime;

use http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use super::decode::Decoder;
use super::fields::add;
use super::jar::Jar;
use super::proxy::{Proxies, proxy};
use super::redirect::Step;
use super::response::retry_after;
use super::settings::Settings;
use super::tls::Trust;

/// A Location, cookies, a Retry-After, an address, a header, a proxy and its exceptions: each line is all of these.
pub fn texts(data: &[u8]) {
    let home = Url::parse("https://a.test/x/y").unwrap();
    let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let secret = |name| (name, HeaderValue::from_static("secret"));
    let headers = HeaderMap::from_iter([AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].map(secret));
    let mut step = Step { method: Method::POST, url: home.clone(), headers, body: true };
    let jar = Jar::default();
    let mut left = false;
    for line in data.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            if step.follow(302, &HeaderMap::from_iter([(LOCATION, value.clone())])).is_ok() {
                left |= step.url.origin() != home.origin();
                assert_eq!(step.headers.is_empty(), left, "credentials at {}", step.url);
                assert!(step.url.username().is_empty() && step.url.password().is_none());
                assert!(matches!(step.url.scheme(), "http" | "https") && step.url.has_host());
            }
            jar.keep(&home, &HeaderMap::from_iter([(SET_COOKIE, value)]), now);
            if let Some(cookies) = jar.header(&home, now) {
                assert!(HeaderValue::from_str(&cookies).is_ok(), "{cookies:?} is no header");
            }
            for other in ["https://b.test/x/y", "https://b.a.test/x/y"] {
                assert!(jar.header(&Url::parse(other).unwrap(), now).is_none());
            }
        }
        let Ok(text) = std::str::from_utf8(line) else { continue };
        assert!(retry_after(text, now).is_none_or(|wait| wait >= 0.0));
        let settings = Settings { base: Some(home.clone()), ..Settings::new(Trust::default()) };
        let is_whole = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if let Ok(url) = settings.address(text) {
            assert!(is_whole(&url), "{url}");
            let starts = text.trim_start().to_ascii_lowercase();
            if !starts.starts_with("http") {
                assert_eq!(url.origin(), home.origin(), "{text:?} leads to {url}");
            }
        }
        let mut all = HeaderMap::new();
        if let Some((name, value)) = text.split_once('=')
            && add(&mut all, &[(name.into(), value.into())]).is_ok()
        {
            assert!(
                all.iter().all(|(name, value)| !name.as_str().contains(['\r', ':', ' ']) && !value.as_bytes().contains(&b'\r'))
            );
        }
        drop(proxy(text));
        let exceptions = Proxies::of_environment(|key| match key {
            "https_proxy" => Some("proxy.test:3128".to_owned()),
            "no_proxy" => Some(format!("{text},a.test")),
            _ => None,
        });
        assert!(exceptions.is_ok_and(|proxies| proxies.of(&home).is_none()));
    }
}

/// A packed body within its limit, whole and in pieces: both are the same bytes.
pub fn body(data: &[u8]) {
    let [how, limit, size, packed @ ..] = data else { return };
    let packing = [None, Some("gzip"), Some("deflate"), Some("br"), Some("zstd")][usize::from(how % 5)];
    let limit = usize::from(*limit) << 4;
    let unpack = |size: usize| {
        let mut decoder = Decoder::new(packing, limit).unwrap();
        let mut out = Vec::new();
        for piece in packed.chunks(size) {
            decoder.put(piece).ok()?;
            assert!(decoder.ready() <= limit);
            out.extend(decoder.take());
        }
        decoder.end().ok()?;
        out.extend(decoder.take());
        assert!(out.len() <= limit);
        Some(out)
    };
    let pieces = unpack(usize::from(*size).max(1));
    assert_eq!(unpack(packed.len().max(1)), pieces);
}
