//! The live page: an HTTP server on a thread of its own, which shows the core's figures and the state that the face
//! sets. No request ever waits for the program, nor the program for a request.
//!
//!  - `board`, the face's state; `state`, all that is shown, as one JSON value, with `policies`, `pools` and `routers`;
//!    `recent`, the last seconds, `history`, the last minutes, and `patch`, the changes;
//!  - `hub`, the open pages; `guard`, which requests are answered; `page`, the files, which are part of the program;
//!    `server`, the thread.

mod board;
mod guard;
mod history;
mod hub;
mod page;
mod patch;
mod policies;
mod pools;
mod recent;
mod routers;
mod server;
mod state;

pub use board::{Board, Failure, Keys, Service};
pub use guard::{Address, BadAddress};
pub use server::{Serving, forget_parent, serve};
