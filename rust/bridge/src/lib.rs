//! mountain_runtime._native: translates between Python and the engine, and decides nothing.
//!
//! One folder is one room, with one sentence at its top. A room imports only rooms above it in this list
//! (`tests/public/test_floors.py`):
//!  - `globals`
//!  - `python`
//!  - `context`
//!  - `policy`
//!  - `port`
//!  - `plan`
//!  - `convert`
//!  - `observe`
//!  - `scope`
//!  - `handle`
//!  - `run`
//!  - `stream`
//!  - `effect`
//!  - `runtime`
//!  - `providers`
//!  - `testing`

mod context;
mod convert;
mod effect;
mod globals;
mod handle;
mod observe;
mod plan;
mod policy;
mod port;
mod providers;
mod python;
mod run;
mod runtime;
mod scope;
mod stream;
mod testing;

/// docs/decisions/0008-allocator.md
#[global_allocator]
static GLOBAL: globals::allocator::Allocator = globals::allocator::Allocator;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::context::inherited_deadline::InheritedDeadline;
    #[pymodule_export]
    use super::context::permit_context::PyPermitContext;
    #[pymodule_export]
    use super::context::{current_deadline, current_permit_context, has_priorities};
    #[pymodule_export]
    use super::effect::collected::{start_without_task, start_without_tasks};
    #[pymodule_export]
    use super::effect::function::EffectFunction;
    #[pymodule_export]
    use super::effect::slot::{Slot, slot};
    #[pymodule_export]
    use super::effect::{Effect, adopt, call_effect, gather_native, is_native, race_native};
    #[pymodule_export]
    use super::handle::Handle;
    #[pymodule_export]
    use super::handle::calls::Calls;
    #[pymodule_export]
    use super::handle::collector::Collector;
    #[pymodule_export]
    use super::handle::ends::first_end;
    #[pymodule_export]
    use super::handle::job::Job;
    #[pymodule_export]
    use super::handle::jobs::Jobs;
    #[pymodule_export]
    use super::observe::dashboard::{Dashboard, note_failure};
    #[pymodule_export]
    use super::observe::log::log_change;
    #[pymodule_export]
    use super::observe::pools::{PoolFigures, counts_gained};
    #[pymodule_export]
    use super::observe::progress::WorkProgress;
    #[pymodule_export]
    use super::observe::routers::{CallerFigures, CommandFigures, RouterFigures, record_lost};
    #[pymodule_export]
    use super::observe::spans::{Tracing, ask_for_tracing, spans_dropped, trace};
    #[pymodule_export]
    use super::observe::statistics::{
        count_effects, effect_statistics, fallback_statistics, forget_unused_names, metrics_catalogue, metrics_text, statistics,
        stream_statistics,
    };
    #[pymodule_export]
    use super::plan::layer::Layer;
    #[pymodule_export]
    use super::plan::signature::check_call;
    #[pymodule_export]
    use super::plan::{Plan, own_name};
    #[pymodule_export]
    use super::policy::breaker::BreakerState;
    #[pymodule_export]
    use super::policy::cache::{BudgetState, CacheState};
    #[pymodule_export]
    use super::policy::chaos::ChaosState;
    #[pymodule_export]
    use super::policy::hedge::HedgeState;
    #[pymodule_export]
    use super::policy::limit::LimitState;
    #[pymodule_export]
    use super::policy::rate::RateState;
    #[pymodule_export]
    use super::port::flight_guard::Landing;
    #[cfg(feature = "http")]
    #[pymodule_export]
    use super::providers::answer::{Headers, HttpBody, Response};
    #[pymodule_export]
    use super::providers::batches::{Batches, fs_glob, fs_walk, fs_walk_beneath};
    #[pymodule_export]
    use super::providers::beneath::Beneath;
    #[pymodule_export]
    use super::providers::child::{Child, Completed};
    #[pymodule_export]
    use super::providers::entry::Entry;
    #[pymodule_export]
    use super::providers::file::{OpenFile, fs_open};
    #[pymodule_export]
    use super::providers::fs::{
        fs_append, fs_copy, fs_hash, fs_mkdir, fs_move, fs_private_folder, fs_read, fs_read_many, fs_remove, fs_remove_private,
        fs_remove_private_now, fs_stat, fs_write,
    };
    #[cfg(feature = "http")]
    #[pymodule_export]
    use super::providers::http::{HttpClient, Progress, http_answers_with, http_progressed, http_response, http_transient_is};
    #[pymodule_export]
    use super::providers::locked::{Locked, fs_lock};
    #[cfg(feature = "terminal")]
    #[pymodule_export]
    use super::providers::process::process_terminal;
    #[pymodule_export]
    use super::providers::process::{process_open, process_run, process_worker, sweep_groups};
    #[cfg(feature = "terminal")]
    #[pymodule_export]
    use super::providers::screen::Screen;
    #[cfg(feature = "search")]
    #[pymodule_export]
    use super::providers::search::{Match, Search};
    #[pymodule_export]
    use super::providers::watch::{Change, fs_watch};
    #[pymodule_export]
    use super::providers::{close_idle, needs};
    #[pymodule_export]
    use super::python::api::bind;
    #[pymodule_export]
    use super::run::Run;
    #[pymodule_export]
    use super::run::cancel::OwnCancel;
    #[pymodule_export]
    use super::runtime::fork::{after_fork, after_fork_in_parent, before_fork};
    #[pymodule_export]
    use super::scope::{Scope, current};
    #[pymodule_export]
    use super::stream::function::StreamFunction;
    #[pymodule_export]
    use super::stream::items::Items;
    #[pymodule_export]
    use super::stream::{Stream, call_stream};
    #[pymodule_export]
    use super::testing::trial::{fail, noop, panic, sleep, tick};
    #[pymodule_export]
    use super::testing::virtual_time::{advance, at_rest, at_work, hand_back, next_deadline, now, take_over};

    use super::context::vars;
    use super::observe::{breakers, log};
    use super::python::{free_list, type_slots};
    use super::stream::leaving::Leaving;
    #[pymodule_export]
    use super::stream::over::Over;
    use super::{Bound, PyModule, PyModuleMethods, PyResult, convert, globals, providers, scope};

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = m.py();
        globals::note_id();
        convert::provided::install(providers::conversions());
        log::listen();
        breakers::listen();
        type_slots::install::<Handle>(py);
        type_slots::install::<Run>(py);
        type_slots::install::<Slot>(py);
        type_slots::install::<Items>(py);
        type_slots::install_async::<Items>(py);
        type_slots::install::<Leaving>(py);
        type_slots::install::<Over>(py);
        free_list::install::<Effect>(py);
        free_list::install::<Handle>(py);
        free_list::install::<Run>(py);
        free_list::install::<Slot>(py);
        free_list::install::<Items>(py);
        free_list::install::<Leaving>(py);
        free_list::install::<Stream>(py);
        m.add("DEBUG", cfg!(debug_assertions))?;
        m.add("deadline_var", vars::deadline_var(py)?)?;
        m.add("PHASES", scope::PHASES)?;
        m.add("scope_var", vars::scope_var(py)?)?;
        m.add("priority_var", vars::priority_var(py)?)?;
        m.add("permit_context_var", vars::permit_context_var(py)?)?;
        m.add("serving_var", vars::serving_var(py)?)?;
        m.add("accepted_var", vars::accepted_var(py)?)
    }
}
