//! The engine: effects, the policies around them, and the clock for their deadlines. It knows no Python, no socket and
//! no file.
//!
//! Floors, each importing only from those to its left: `time`, `sync`, `value`, `error`, `observe`, `schedule` →
//! `effect` → `policy` → `telemetry` → `runtime`.

pub mod effect;
pub mod error;
pub mod observe;
pub mod policy;
pub mod runtime;
pub mod schedule;
pub mod sync;
pub mod telemetry;
pub mod time;
pub mod value;
