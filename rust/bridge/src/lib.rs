//! mountain_runtime._native: translates between Python and the engine, and decides nothing.
//!
//! Floors, each importing only what stands above it in this list:
//!  - `allocator`; `face`, what Python hands down at import; `process`, what there is once a process; `watchers`, who looks at calls; `errno`, the system's refusals; `pyref`, references that may be dropped anywhere, `weak`, those that keep nothing alive, and `payload`, bytes; `attached`, state that attached threads alone look at;
//!    `limit_source`, where a limit comes from, `known`, who a task is, `context`, where the current code runs, and `level`, cancels that come again; `slots`, what pyo3 has no word for, and `idle`, memory of its objects;
//!  - `keyed`, keys as numbers, and `jitter`; `permits`, `rates`, `circuit` and `store`, the states of policies; `reentry`, who holds a permit;
//!    `layer`, one policy compiled, and `plan`, a stack of them; `takes`, which calls a callable takes; `note`, `error` and `value`, what comes back, as Python's; `entry` and `child`, two of its kinds; `callback`; `stage`;
//!  - `port` and `bell`, an event loop's queue of results; `landing`, where a flight ends; `owned`, a runtime's calls; `spans` and `watch`, what looks at a call; `gathered`,
//!    `backing`, what stands behind a handle, and `handle`, what one waits on; `job`, a thread's call, and `jobs`, those that wait for a thread; `dashboard`, and `log`, what the native side says; `ends`, how a group's parts end;
//!  - `fail`, how a coroutine fails; `retried` and `turned`, what the log says of retries and of breakers; `leaf` and `run`, one driven inside its own task, and `slow`, which says that it holds the loop up; `scope`, a runtime's share;
//!  - `effect`, `function`, `files`, `walk`, `processes`, `trial`, `slot`, the values that users build; `runtime`, which starts them; `reap`, what a
//!    closed loop lets go of; `drain`, which opens what the port has; `fork`, `statistics` and `virtual_time`.

mod allocator;
mod attached;
mod backing;
mod bell;
mod callback;
mod child;
mod circuit;
mod context;
mod dashboard;
mod drain;
mod effect;
mod ends;
mod entry;
mod errno;
mod error;
mod face;
mod fail;
mod files;
mod fork;
mod function;
mod gathered;
mod handle;
mod idle;
mod jitter;
mod job;
mod jobs;
mod keyed;
mod known;
mod landing;
mod layer;
mod leaf;
mod level;
mod limit_source;
mod log;
mod note;
mod owned;
mod payload;
mod permits;
mod plan;
mod port;
mod process;
mod processes;
mod pyref;
mod rates;
mod reap;
mod reentry;
mod retried;
mod run;
mod runtime;
mod scope;
mod slot;
mod slots;
mod slow;
mod spans;
mod stage;
mod statistics;
mod store;
mod takes;
mod trial;
mod turned;
mod value;
mod virtual_time;
mod walk;
mod watch;
mod watchers;
mod weak;

/// docs/decisions/0008-allocator.md
#[global_allocator]
static GLOBAL: allocator::Allocator = allocator::Allocator;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::child::{Child, Completed};
    #[pymodule_export]
    use super::circuit::Circuit;
    #[pymodule_export]
    use super::context::{Limit, Within, apart, current_limit, current_within, has_priorities};
    #[pymodule_export]
    use super::dashboard::{Dashboard, note_failure};
    #[pymodule_export]
    use super::effect::{Effect, adopt, call_effect, gather_native, is_native, race_native};
    #[pymodule_export]
    use super::entry::Entry;
    #[pymodule_export]
    use super::face::bind;
    #[pymodule_export]
    use super::files::{fs_hash, fs_mkdir, fs_read, fs_read_many, fs_remove, fs_stat, fs_write};
    #[pymodule_export]
    use super::fork::{after_fork, after_fork_in_parent, before_fork};
    #[pymodule_export]
    use super::function::EffectFunction;
    #[pymodule_export]
    use super::handle::Handle;
    #[pymodule_export]
    use super::job::Job;
    #[pymodule_export]
    use super::jobs::Jobs;
    #[pymodule_export]
    use super::landing::Landing;
    #[pymodule_export]
    use super::layer::Layer;
    #[pymodule_export]
    use super::permits::Permits;
    #[pymodule_export]
    use super::plan::Plan;
    #[pymodule_export]
    use super::processes::{
        process_close_stdin, process_end, process_next, process_open, process_run, process_send, process_wait, process_watch_end,
        process_watch_output, sweep_groups,
    };
    #[pymodule_export]
    use super::rates::Rates;
    #[pymodule_export]
    use super::run::Run;
    #[pymodule_export]
    use super::scope::Scope;
    #[pymodule_export]
    use super::slot::Slot;
    #[pymodule_export]
    use super::spans::{Tracing, ask_for_tracing, spans_dropped, trace};
    #[pymodule_export]
    use super::statistics::{count_effects, effect_statistics, forget_unused_names, metrics_catalogue, metrics_text, statistics};
    #[pymodule_export]
    use super::store::{Budget, Store};
    #[pymodule_export]
    use super::takes::check_call;
    #[pymodule_export]
    use super::trial::{fail, noop, panic, sleep, tick};
    #[pymodule_export]
    use super::virtual_time::{advance, at_rest, at_work, hand_back, next_deadline, now, take_over};
    #[pymodule_export]
    use super::walk::Walk;

    use super::{Bound, PyModule, PyModuleMethods, PyResult, context, idle, log, process, slots, turned};

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = m.py();
        process::note_id();
        log::listen();
        turned::listen();
        slots::install::<Handle>(py);
        slots::install::<Run>(py);
        slots::install::<Slot>(py);
        idle::install::<Effect>(py);
        idle::install::<Handle>(py);
        idle::install::<Run>(py);
        idle::install::<Slot>(py);
        m.add("DEBUG", cfg!(debug_assertions))?;
        m.add("limit_var", context::limit_var(py)?)?;
        m.add("scope_var", context::scope_var(py)?)?;
        m.add("priority_var", context::priority_var(py)?)?;
        m.add("within_var", context::within_var(py)?)?;
        m.add("serving_var", context::serving_var(py)?)?;
        m.add("accepted_var", context::accepted_var(py)?)
    }
}
