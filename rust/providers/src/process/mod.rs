//! Processes: children in groups of their own, or on terminals in sessions, each ended and reaped whatever becomes of
//! the call that started it.
//!
//! One thread, which lives as long as this process, starts all children, because the system ties the signal of a
//! parent's death to the thread that a child came from. It also serves their pipes and hears of their ends (`reactor`).
//! A guard, a process beside this one, ends the groups that are left when this process is killed (`guard`).
//! docs/decisions/0010-processes.md

mod answer;
#[cfg(target_os = "linux")]
mod birth;
#[cfg(not(target_os = "linux"))]
#[path = "birth_elsewhere.rs"]
mod birth;
mod child;
mod command;
mod completed;
mod desk;
mod fair;
#[cfg(all(fuzzing, feature = "terminal"))]
pub mod fuzzing;
mod groups;
#[cfg(target_os = "linux")]
mod guard;
#[cfg(not(target_os = "linux"))]
#[path = "no_guard.rs"]
mod guard;
mod inlet;
mod live;
mod one_text;
mod outlet;
mod plumbing;
mod pty;
mod reactor;
mod run;
#[cfg(feature = "terminal")]
mod screen;
#[cfg(not(feature = "terminal"))]
#[path = "no_screen.rs"]
mod screen;
mod session;
mod shared;
mod state;
mod sys;
mod turns;
mod whole;

pub use command::Command;
pub use completed::{Completed, Failed, Why};
pub use groups::{after_fork_in_parent, before_fork, forget_after_fork, sweep};
pub use live::{CloseStdin, Data, End, Live, Next, Open, Part, Send, Wait};
pub use one_text::OneText;
pub use pty::{Size, environment};
pub use run::Run;
#[cfg(feature = "terminal")]
pub use screen::Screen;

#[cfg(test)]
mod tests;
