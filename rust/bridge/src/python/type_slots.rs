//! Type slots that pyo3 does not offer: `am_send`, which ends an await without a StopIteration object, and a
//! `tp_iternext` that makes that object only when it must. Measured: 0.15 us an await.

use std::ffi::c_int;
use std::marker::PhantomData;

use pyo3::exceptions::PyStopIteration;
use pyo3::impl_::trampoline::{MethodDef, iternextfunc, setattrofunc};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{Borrowed, PyTypeInfo, ffi};

/// One step of an iterator that an await drives.
pub(crate) enum Step<'py> {
    Yield(Bound<'py, PyAny>),
    Return(Bound<'py, PyAny>),
    Error(PyErr),
}

impl<'py> Step<'py> {
    /// The step as a method of an iterator returns it.
    pub(crate) fn into_next(self) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Step::Yield(v) => Ok(v),
            Step::Return(v) => Err(PyStopIteration::new_err((v.unbind(),))),
            Step::Error(e) => Err(e),
        }
    }
}

pub(crate) trait Steps: PyTypeInfo {
    fn step<'py>(slf: &Bound<'py, Self>) -> Step<'py>;
}

/// An async iterator that is its own awaitable, and is told of each pull that it is asked for.
pub(crate) trait Asked: PyTypeInfo {
    /// The awaitable of a pull. `None`: the iterator itself.
    fn ask<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>>;
}

// pyo3 must know that the thread is attached, or a `Py` dropped here waits in its pool. Its public ways to tell it cost
// more and do not work in a subinterpreter, so these type slots use pyo3's own hidden trampolines: a pyo3 that changes
// them does not compile here.

struct Trampoline<T>(PhantomData<T>);

impl<T: Steps> MethodDef<iternextfunc::Func> for Trampoline<T> {
    const METH: iternextfunc::Func = iternext::<T>;
}
/// pyo3 has no trampoline for `am_send`; this one has its shape: three pointers in, a number out.
impl<T: Steps> MethodDef<setattrofunc::Func> for Trampoline<T> {
    const METH: setattrofunc::Func = send::<T>;
}

/// # Safety
/// Called by the interpreter through the type slot of `T`'s type, so `o` is a `T` and the thread is attached.
unsafe extern "C" fn am_send<T: Steps>(
    o: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    out: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: by the contract of the type slot; `send` takes the third pointer for what it is.
    match unsafe { setattrofunc::<Trampoline<T>>(o, value, out.cast()) } {
        RETURN => ffi::PySendResult::PYGEN_RETURN,
        NEXT => ffi::PySendResult::PYGEN_NEXT,
        _ => {
            // SAFETY: by the contract of the type slot.
            unsafe { *out = std::ptr::null_mut() };
            ffi::PySendResult::PYGEN_ERROR
        }
    }
}

const RETURN: c_int = ffi::PySendResult::PYGEN_RETURN as c_int;
const NEXT: c_int = ffi::PySendResult::PYGEN_NEXT as c_int;

/// # Safety
/// As `am_send`, whose `out` is passed as an object.
unsafe fn send<T: Steps>(
    py: Python<'_>,
    o: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    out: *mut ffi::PyObject,
) -> PyResult<c_int> {
    // SAFETY: by the contract of the type slot.
    let slf = unsafe { Bound::from_borrowed_ptr(py, o).cast_into_unchecked::<T>() };
    let (what, object) = match T::step(&slf) {
        Step::Yield(v) => (NEXT, v),
        Step::Return(v) => (RETURN, v),
        Step::Error(e) => return Err(e),
    };
    // SAFETY: as above.
    unsafe { *out.cast::<*mut ffi::PyObject>() = object.into_ptr() };
    Ok(what)
}

/// # Safety
/// As `am_send`.
unsafe fn iternext<T: Steps>(py: Python<'_>, o: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: by the contract of the type slot.
    let slf = unsafe { Bound::from_borrowed_ptr(py, o).cast_into_unchecked::<T>() };
    match T::step(&slf) {
        Step::Yield(v) => return Ok(v.into_ptr()),
        Step::Error(e) => return Err(e),
        // No exception at all stands for None.
        Step::Return(v) if v.is_none() => {}
        // SAFETY: a live object; an exception is set, as null demands.
        Step::Return(v) => unsafe {
            // A tuple or an exception would be taken for the arguments of StopIteration.
            if ffi::PyTuple_Check(v.as_ptr()) != 0 || ffi::PyExceptionInstance_Check(v.as_ptr()) != 0 {
                return Err(PyStopIteration::new_err((v.unbind(),)));
            }
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, v.as_ptr());
        },
    }
    Ok(std::ptr::null_mut())
}

/// # Safety
/// Called by the interpreter through a type slot, with a live object.
unsafe extern "C" fn itself(o: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: by the contract.
    unsafe { ffi::Py_NewRef(o) }
}

/// # Safety
/// Called by the interpreter through the type slot of `T`'s type, so `o` is a `T` and the thread is attached.
unsafe extern "C" fn asked<T: Asked>(o: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: by the contract. The new reference is the caller's.
    unsafe {
        let py = Python::assume_attached();
        match T::ask(&Borrowed::from_ptr(py, o).cast_unchecked::<T>()) {
            Ok(None) => ffi::Py_NewRef(o),
            Ok(Some(another)) => another.into_ptr(),
            Err(e) => {
                e.restore(py);
                std::ptr::null_mut()
            }
        }
    }
}

/// Sets these type slots on `T`, which is its own iterator.
pub(crate) fn install<T: Steps>(py: Python<'_>) {
    let tp = T::type_object_raw(py);
    // SAFETY: a heap type of ours, changed before any instance exists; it has `__await__`, so the table is there.
    unsafe {
        (*(*tp).tp_as_async).am_send = Some(am_send::<T>);
        (*(*tp).tp_as_async).am_await = Some(itself);
        (*tp).tp_iternext = Some(iternextfunc::<Trampoline<T>>);
        ffi::PyType_Modified(tp);
    }
}

/// Sets the type slots of an async iterator that is its own awaitable: neither an item nor the loop's beginning goes
/// through a method.
pub(crate) fn install_async<T: Steps + Asked>(py: Python<'_>) {
    let tp = T::type_object_raw(py);
    // SAFETY: as in `install`.
    unsafe {
        (*(*tp).tp_as_async).am_aiter = Some(itself);
        (*(*tp).tp_as_async).am_anext = Some(asked::<T>);
        ffi::PyType_Modified(tp);
    }
}

/// A new object of a type with a free list. A block from that list is untracked: the object is tracked again once its
/// fields are written.
pub(crate) fn tracked<T>(py: Python<'_>, value: impl Into<pyo3::PyClassInitializer<T>>) -> PyResult<Bound<'_, T>>
where
    T: pyo3::PyClass,
{
    let object = Bound::new(py, value)?;
    track(&object);
    Ok(object)
}

/// Has the collector track the object. On a free-threaded build only one thread may do so: the object's maker, or the
/// task that enters it.
pub(crate) fn track<T: pyo3::PyClass>(object: &Bound<'_, T>) {
    // SAFETY: a live object of a type that takes part in garbage collection.
    unsafe {
        if ffi::PyObject_GC_IsTracked(object.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(object.as_ptr().cast());
        }
    }
}

/// A new object that is part of no cycle yet: the collector ignores it until [`track_later`].
#[cfg(not(Py_GIL_DISABLED))]
pub(crate) fn untracked<T>(py: Python<'_>, value: impl Into<pyo3::PyClassInitializer<T>>) -> PyResult<Bound<'_, T>>
where
    T: pyo3::PyClass,
{
    let object = Bound::new(py, value)?;
    // SAFETY: as above.
    unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
    Ok(object)
}

/// Has the collector track an object of [`untracked`].
pub(crate) fn track_later<T: pyo3::PyClass>(object: &Bound<'_, T>) {
    if cfg!(not(Py_GIL_DISABLED)) {
        track(object);
    }
}

/// On a free-threaded build two threads might track one object at once, which is an error: it is tracked from the
/// start.
#[cfg(Py_GIL_DISABLED)]
pub(crate) use tracked as untracked;

/// `Cls[item]`.
pub(crate) fn alias<'py>(cls: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static ALIAS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    ALIAS.import(cls.py(), "types", "GenericAlias")?.call1((cls, item))
}

/// The exception passed to `throw`: an instance, or a type with its value.
pub(crate) fn thrown(typ: Bound<'_, PyAny>, val: Option<Bound<'_, PyAny>>) -> PyErr {
    PyErr::from_value(val.filter(|val| !val.is_none()).unwrap_or(typ))
}
