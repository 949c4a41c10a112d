//! HTTP: requests over connections that are kept, on one thread of their own.
//!
//! A request is an [`Ask`]; [`Fetch`] is the operation that sends it and reads its answer. A client is its settings:
//! its connections are the reactor's, found by the settings' id.

mod address;
mod ask;
mod body;
mod claim;
mod connect;
mod decode;
mod download;
mod failure;
mod fetch;
mod fields;
mod forking;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hosts;
mod jar;
mod json;
mod one;
mod pool;
mod progress;
mod proxy;
mod reactor;
mod redirect;
mod response;
mod send;
mod settings;
mod text;
mod tls;
mod whole;

pub use address::is_public;
pub use ask::{Ask, defaults};
pub use body::{Next, Open, Opened, Piece, Reader};
pub use download::Download;
pub use failure::{Failed, Kind, transient};
pub use fetch::Fetch;
pub use forking::after_fork as after_fork_in_parent;
pub use forking::before_fork;
pub use jar::Jar;
pub use json::{Builder, Part, Step};
pub use progress::Progress;
pub use proxy::{Proxies, proxy};
pub use reactor::{all_connections, close, close_idle, connections, forget_after_fork, leave, runtime};
pub use response::{Response, version};
pub use settings::{Settings, no_socket};
pub use tls::Trust;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
