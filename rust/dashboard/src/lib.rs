//! The live page: an HTTP server on a thread of its own, which shows what the core counts and what the face pushes to it. It asks nobody anything:
//! no request of it ever waits for the program, nor the program for it.
//!
//!  - `board`, what the face says; `state`, all that is shown, as one JSON value, `history`, the last minutes, and `patch`, what
//!    has changed;
//!  - `hub`, who looks; `guard`, who may look; `page`, the files, which are part of the program; `server`, the thread.

mod board;
mod guard;
mod history;
mod hub;
mod page;
mod patch;
mod server;
mod state;

pub use board::{Board, Failure, Keys, Service};
pub use guard::{Address, BadAddress};
pub use server::{Serving, forget_parent, serve};
