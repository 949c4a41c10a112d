//! Effects: leaves and native operations; the call that policies share, with its terms and keys; flights, groups and
//! submitted work; and whether native work is at rest. Nothing here knows a policy.

mod awaits;
mod begin;
mod call;
mod cancel;
mod flight;
mod group;
mod joined;
mod keys;
mod leaf;
mod native;
mod operation;
mod rest;
mod submitted;
mod terms;

pub use awaits::Awaits;
pub use begin::Starter;
pub use call::{Around, Call, Deadline, Gate, Trace, call_instead, call_leaf};
pub use cancel::{Asked, Received, enforced_at, was_enforced};
pub use flight::{Flight, Landed, Landing, Shared};
pub use group::{Group, Mode, Told};
pub use joined::Joined;
pub use keys::{Keys, Use};
pub use leaf::{Begin, Class, Course, Fault, Flights, GaveUp, Leaf, Verdict};
pub use native::{Judge, NativeLeaf, NativeOn, Retries};
pub use operation::{Abort, Abortable, Done, Host, Operation, Outcome, Sink};
pub use rest::{AtWork, at_rest};
pub use submitted::{Awaited, Submitted, each_permit};
pub use terms::{Holder, PermitContext, Term, Terms};
