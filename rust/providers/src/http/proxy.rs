//! Which proxy a request goes through: the client's own, or that of the environment.

use std::net::IpAddr;

use url::{Host, Url};

/// The proxies of a client, by the scheme of what is asked for, and the exceptions.
#[derive(Debug, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    except: Vec<Exception>,
}

/// One entry of NO_PROXY.
#[derive(Debug, PartialEq)]
enum Exception {
    All,
    /// A network, as its address and the length of its prefix.
    Network(IpAddr, u8),
    /// A name, and all names below it; only at that port, if there is one.
    Name(String, Option<u16>),
}

impl Proxies {
    pub fn all(proxy: Url) -> Self {
        Proxies { http: Some(proxy.clone()), https: Some(proxy), except: Vec::new() }
    }

    /// As curl reads the environment. HTTP_PROXY in capitals is not believed in a CGI program, where a client's header
    /// `Proxy` sets it.
    pub fn of_environment(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let read = |name: &str| -> Result<Option<Url>, String> {
            let upper = name.to_ascii_uppercase();
            let capitals = if name == "http_proxy" && get("REQUEST_METHOD").is_some() { None } else { get(&upper) };
            let Some(text) = get(name).filter(|t| !t.is_empty()).or(capitals).filter(|t| !t.is_empty()) else { return Ok(None) };
            proxy(&text).map(Some).map_err(|why| format!("{upper}={text:?}: {why}"))
        };
        let all = read("all_proxy")?;
        let except = get("no_proxy").or_else(|| get("NO_PROXY")).unwrap_or_default();
        Ok(Proxies {
            http: read("http_proxy")?.or_else(|| all.clone()),
            https: read("https_proxy")?.or(all),
            except: exceptions(&except),
        })
    }

    pub fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { self.https.as_ref() } else { self.http.as_ref() }?;
        let port = url.port_or_known_default().unwrap_or(0);
        let excepted = url.host().is_some_and(|host| self.except.iter().any(|e| e.covers(&host, port)));
        (!excepted).then_some(proxy)
    }
}

/// The address of a proxy: without a scheme, `http://`.
pub fn proxy(text: &str) -> Result<Url, String> {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    let url = url.map_err(|e| e.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(format!("a proxy is reached by http or https, not {other}")),
    }
}

fn exceptions(text: &str) -> Vec<Exception> {
    text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).map(exception).collect()
}

fn exception(entry: &str) -> Exception {
    if entry == "*" {
        return Exception::All;
    }
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if let Some((ip, bits)) = entry.split_once('/')
        && let (Ok(ip), Ok(bits)) = (bare(ip), bits.parse::<u8>())
    {
        return Exception::Network(ip, bits);
    }
    if let Ok(ip) = bare(entry) {
        return Exception::Network(ip, 128);
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().ok()),
        _ => (entry, None),
    };
    if let (Ok(ip), None) = (bare(name), port) {
        return Exception::Network(ip, 128);
    }
    let name = name.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
    Exception::Name(name, port)
}

impl Exception {
    fn covers(&self, host: &Host<&str>, at: u16) -> bool {
        match (self, host) {
            (Exception::All, _) => true,
            (Exception::Network(net, bits), Host::Ipv4(ip)) => within(IpAddr::V4(*ip), *net, *bits),
            (Exception::Network(net, bits), Host::Ipv6(ip)) => within(ip.to_canonical(), *net, *bits),
            (Exception::Network(..), Host::Domain(_)) => false,
            (Exception::Name(name, port), host) => {
                let host = host.to_string().to_ascii_lowercase();
                let host = host.trim_end_matches('.');
                port.is_none_or(|port| port == at)
                    && (host == name || host.strip_suffix(name.as_str()).is_some_and(|left| left.ends_with('.')))
            }
        }
    }
}

fn within(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    let (ip, net, width) = match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) => (u128::from(ip.to_bits()), u128::from(net.to_bits()), 32),
        (IpAddr::V6(ip), IpAddr::V6(net)) => (ip.to_bits(), net.to_bits(), 128),
        _ => return false,
    };
    let shift = width - u32::from(bits).min(width);
    ip.checked_shr(shift).unwrap_or(0) == net.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(except: &str, url: &str) -> bool {
        let get = |name: &str| match name {
            "all_proxy" => Some("proxy.test:3128".to_owned()),
            "NO_PROXY" => Some(except.to_owned()),
            _ => None,
        };
        Proxies::of_environment(get).unwrap().of(&Url::parse(url).unwrap()).is_some()
    }

    #[test]
    fn an_exception_may_be_a_network() {
        assert!(!goes("10.0.0.0/8", "http://10.1.2.3/"));
        assert!(goes("10.0.0.0/8", "http://11.1.2.3/"));
        assert!(!goes("x.test, 192.168.0.0/31", "https://192.168.0.1:8443/"));
        assert!(goes("192.168.0.0/31", "http://192.168.0.2/"));
        assert!(!goes("0.0.0.0/0", "http://8.8.8.8/"));
        assert!(goes("0.0.0.0/0", "http://[2001:4860::1]/"));
        assert!(!goes("2001:4860::/32", "http://[2001:4860::1]/"));
        assert!(!goes("10.0.0.0/8", "http://[::ffff:10.0.0.1]/"));
        assert!(!goes("127.0.0.1", "http://127.0.0.1:80/") && goes("127.0.0.1", "http://127.0.0.2/"));
        assert!(!goes("::1", "http://[::1]/") && !goes("[::1]", "http://[::1]/"));
    }

    #[test]
    fn an_exception_may_be_a_name() {
        for except in ["test.org", ".test.org", "*.test.org", "TEST.org.", "test.org:80", "*"] {
            assert!(!goes(except, "http://a.test.org/"), "{except}");
        }
        assert!(goes("test.org", "http://attest.org/") && goes("test.org:81", "http://test.org/"));
        assert!(goes("10.0.0.0/8", "http://10.test/"));
    }

    #[test]
    fn a_clients_header_does_not_choose_the_proxy() {
        let get = |name: &str| match name {
            "HTTP_PROXY" => Some("evil.test".to_owned()),
            "REQUEST_METHOD" => Some("GET".to_owned()),
            _ => None,
        };
        assert!(Proxies::of_environment(get).unwrap().of(&Url::parse("http://a.test").unwrap()).is_none());
        assert!(proxy("socks5://x:1").unwrap_err().contains("socks5"));
    }
}
