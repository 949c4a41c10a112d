//! Programs and groups of native operations on tokio. One thread and virtual time where order matters, workers and real
//! time in `workers`.

mod abort;
mod buffers;
mod common;
mod group;
mod group_abort;
mod limits;
mod program;
mod queued;
mod race;
mod rest;
mod starter;
mod workers;
