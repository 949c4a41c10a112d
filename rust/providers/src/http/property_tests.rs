//! The texts of servers, users and the environment, whatever they are.

use std::time::SystemTime;

use http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use url::Url;

use super::address::is_public;
use super::decode::Decoder;
use super::fields::add;
use super::proxy::Proxies;
use super::redirect::Step;
use super::response::retry_after;
use super::settings::Settings;
use super::tls::Trust;

/// Text that comes near to an address, and text that does not.
fn address() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("http://".to_owned()),
        Just("//".to_owned()),
        Just("\\\\".to_owned()),
        Just("@".to_owned()),
        Just(":".to_owned()),
        Just("#".to_owned()),
        Just("..".to_owned()),
        Just("evil.test".to_owned()),
        Just("a.test".to_owned()),
        Just("\t".to_owned()),
        "[a-z0-9%?&=./]{0,6}",
        any::<String>(),
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn step(url: &str) -> Step {
    let secret = |name| (name, HeaderValue::from_static("secret"));
    let headers = HeaderMap::from_iter([AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].map(secret));
    Step { method: Method::POST, url: Url::parse(url).unwrap(), headers, body: true }
}

proptest! {
    #[test]
    fn a_wait_is_a_number_or_none(text in any::<String>()) {
        prop_assert!(retry_after(&text, SystemTime::now()).is_none_or(|wait| wait >= 0.0));
    }

    #[test]
    fn exceptions_of_a_proxy_are_read_and_cover_themselves(text in any::<String>(), name in "[a-z]{1,8}\\.test") {
        let of = |except: String| {
            let get = move |key: &str| match key {
                "http_proxy" => Some("proxy.test:3128".to_owned()),
                "no_proxy" => Some(except.clone()),
                _ => None,
            };
            Proxies::of_environment(get).unwrap()
        };
        let url = Url::parse(&format!("http://{name}/")).unwrap();
        of(text.clone()).of(&url);
        let excepted = of(format!("{text},{name}"));
        prop_assert!(excepted.of(&url).is_none());
    }

    #[test]
    fn a_path_under_a_base_leads_to_no_other_host(path in address()) {
        let base = Some(Url::parse("http://a.test/v1").unwrap());
        let settings = Settings { base, ..Settings::new(Trust::default()) };
        let starts = path.get(..8).unwrap_or(&path).to_ascii_lowercase();
        if !starts.starts_with("http://") && !starts.starts_with("https://")
            && let Ok(url) = settings.address(&path)
        {
            prop_assert_eq!(url.host_str(), Some("a.test"));
            prop_assert!(url.username().is_empty() && url.password().is_none());
        }
    }

    #[test]
    fn a_redirect_takes_no_credentials_to_another_origin(to in address()) {
        let Ok(value) = HeaderValue::from_bytes(to.as_bytes()) else { return Ok(()) };
        let (mut step, home) = (step("http://a.test/x"), Url::parse("http://a.test/").unwrap());
        if step.follow(302, &HeaderMap::from_iter([(LOCATION, value)])).is_ok() {
            prop_assert_eq!(step.url.origin() == home.origin(), step.headers.contains_key(AUTHORIZATION));
            prop_assert_eq!(step.headers.contains_key(AUTHORIZATION), step.headers.contains_key(COOKIE));
            prop_assert!(step.url.username().is_empty() && matches!(step.url.scheme(), "http" | "https"));
        }
    }

    #[test]
    fn a_header_is_one_header(name in any::<String>(), value in any::<String>()) {
        let mut all = HeaderMap::new();
        if add(&mut all, &[(name, value)]).is_ok() {
            let (name, value) = all.iter().next().unwrap();
            prop_assert!(!name.as_str().contains(['\r', '\n', ':', ' ']));
            prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }

    #[test]
    fn no_body_outgrows_its_limit(
        packing in prop_oneof![Just(None), Just(Some("gzip")), Just(Some("deflate")), Just(Some("br")), Just(Some("zstd"))],
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
        limit in 0_usize..500,
    ) {
        let mut decoder = Decoder::new(packing, limit).unwrap();
        for piece in &pieces {
            if decoder.put(piece).is_err() {
                break;
            }
            prop_assert!(decoder.ready() <= limit);
        }
        prop_assert!(decoder.take().len() <= limit);
    }

    #[test]
    fn an_address_of_this_machine_is_never_public(low in any::<u32>()) {
        let v4 = std::net::Ipv4Addr::from_bits(127 << 24 | low >> 8);
        for ip in [v4.into(), v4.to_ipv6_mapped().into(), v4.to_ipv6_compatible().into()] {
            prop_assert!(!is_public(ip), "{}", ip);
        }
    }
}
