//! Says for which Python this is built: `cfg(Py_GIL_DISABLED)` is a free-threaded one.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
