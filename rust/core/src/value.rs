//! The results of native operations: plain data that any thread may own, turned into the host language's objects at the
//! port only.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A native result.
pub enum Value {
    Unit,
    Bool(bool),
    Int(i64),
    Bytes(Vec<u8>),
    /// Encoded text; decoding is the port's, which knows the codecs of its language.
    Text(Box<Text>),
    /// Buffers that the host allocated and a worker filled.
    Filled(Box<Filled>),
    List(Vec<Value>),
    /// Goes back to where it was taken from, unless it is handed over.
    Taken(Box<Taken>),
    /// A provider's own type, which the port knows.
    Other(Box<dyn Any + Send>),
}

/// A result that was taken from a source which goes on, such as a line from a pipe or a piece from a file. The call may
/// be cancelled after it has ended and before its caller goes on: dropped then, the value goes back, and the next call
/// has it.
pub struct Taken {
    value: Option<Value>,
    back: Option<Back>,
}

/// Has a value of its call go back.
pub type Back = Box<dyn FnOnce(Value) + Send>;

impl Taken {
    /// `back` runs where the value is dropped, under no lock of the caller's.
    pub fn value(value: Value, back: impl FnOnce(Value) + Send + 'static) -> Value {
        Value::Taken(Box::new(Taken { value: Some(value), back: Some(Box::new(back)) }))
    }

    /// The value is handed over now, and does not go back.
    pub fn keep(self) -> Value {
        self.split().0
    }

    /// The value, and its way back, which the caller answers for from now on.
    pub fn split(mut self) -> (Value, Back) {
        let back = self.back.take().unwrap_or_else(|| Box::new(drop));
        (self.value.take().unwrap_or(Value::Unit), back)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let (Some(value), Some(back)) = (self.value.take(), self.back.take()) {
            back(value);
        }
    }
}

/// Encoded text: `bytes` is `Bytes`, or `Filled` with one buffer.
pub struct Text {
    pub bytes: Value,
    pub encoding: Arc<str>,
    pub errors: Arc<str>,
}

/// Memory owned by the host language, one or more buffers, written by workers before it is handed over.
///
/// # Safety
/// `buffer(i)` is valid for writes of `size(i)` bytes while the memory lives, and buffers do not overlap.
pub unsafe trait Memory: Send + Sync + Any {
    fn buffers(&self) -> usize;
    fn size(&self, buffer: usize) -> usize;
    /// The start of a buffer. Two workers never write one buffer: a worker claims its number first.
    fn buffer(&self, buffer: usize) -> *mut u8;
}

/// Filled memory: the length of what each buffer holds. `tails` has the bytes that did not fit because a file grew
/// between its stat and its read.
pub struct Filled {
    pub memory: Arc<dyn Memory>,
    pub lengths: Vec<usize>,
    pub tails: Vec<(usize, Vec<u8>)>,
    /// One buffer is the result itself; several are a list.
    pub single: bool,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unit => f.write_str("Unit"),
            Value::Bool(b) => write!(f, "Bool({b})"),
            Value::Int(i) => write!(f, "Int({i})"),
            Value::Bytes(b) => write!(f, "Bytes({} bytes)", b.len()),
            Value::Text(_) => f.write_str("Text"),
            Value::Filled(x) => write!(f, "Filled({:?})", x.lengths),
            Value::List(v) => f.debug_list().entries(v).finish(),
            Value::Taken(taken) => write!(f, "Taken({:?})", taken.value),
            Value::Other(_) => f.write_str("Other"),
        }
    }
}
