//! Headers as a user gives them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that say how a message ends or how a connection goes on: the client's own to write. A second one of them is
/// how a request is smuggled into another.
pub(super) const OURS: [&str; 8] =
    ["content-length", "transfer-encoding", "connection", "upgrade", "keep-alive", "proxy-connection", "te", "trailer"];

/// The error names a header that the client writes itself.
pub(super) fn refuse_ours(headers: &[(String, String)]) -> Result<(), String> {
    match headers.iter().find(|(name, _)| OURS.contains(&name.to_ascii_lowercase().as_str())) {
        Some((name, _)) => Err(format!("header {name:?}: the client writes it itself")),
        None => Ok(()),
    }
}

/// Each name replaces what was there before; the same name twice is two values.
pub(super) fn add(all: &mut HeaderMap, headers: &[(String, String)]) -> Result<(), String> {
    let mut replaced = Vec::new();
    for (name, text) in headers {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("header {name:?}: no name of a header"))?;
        let text = value(name, text)?;
        if replaced.contains(&key) {
            all.append(key, text);
        } else {
            all.insert(key.clone(), text);
            replaced.push(key);
        }
    }
    Ok(())
}

pub(super) fn value(name: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| format!("header {name:?}: a value has no control characters"))
}
