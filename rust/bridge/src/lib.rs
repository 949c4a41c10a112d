//! mountain_runtime._native: translates between Python and the engine, and decides nothing.
//!
//! `port` and `bell` bring results to an event loop; `handle` is what one waits on; `leaf` and `run` drive a Python coroutine inside its own
//! task; `effect`, `function` and `plan` are the values that users build; `scope` is a runtime's share of the native side; `process` is what
//! there is once a process, and what a fork leaves behind.

mod bell;
mod context;
mod effect;
mod error;
mod face;
mod files;
mod function;
mod handle;
mod job;
mod leaf;
mod plan;
mod port;
mod process;
mod pyref;
mod run;
mod scope;
mod slots;
mod trial;
mod value;
mod walk;

/// docs/decisions/0008-allocator.md
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::context::{Limit, current_limit};
    #[pymodule_export]
    use super::effect::{Effect, call_effect, gather_native, is_native, race_native};
    #[pymodule_export]
    use super::face::bind;
    #[pymodule_export]
    use super::files::{Entry, fs_hash, fs_mkdir, fs_read, fs_read_many, fs_remove, fs_stat, fs_write};
    #[pymodule_export]
    use super::function::EffectFunction;
    #[pymodule_export]
    use super::handle::Handle;
    #[pymodule_export]
    use super::job::Job;
    #[pymodule_export]
    use super::plan::{Layer, Plan};
    #[pymodule_export]
    use super::process::{after_fork, effect_statistics, statistics};
    #[pymodule_export]
    use super::run::Run;
    #[pymodule_export]
    use super::scope::Scope;
    #[pymodule_export]
    use super::trial::{fail, noop, panic, sleep, tick};
    #[pymodule_export]
    use super::walk::Walk;

    use super::{Bound, PyModule, PyModuleMethods, PyResult, context, slots};

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = m.py();
        slots::install(py);
        m.add("DEBUG", cfg!(debug_assertions))?;
        m.add("limit_var", context::limit_var(py)?)?;
        m.add("scope_var", context::scope_var(py)?)?;
        m.add("accepted_var", context::accepted_var(py)?)
    }
}
