//! Reading one file. A small one comes back at once; for a large one the host allocates the bytes, and a worker fills
//! them.

use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::value::{Filled, Memory, Text, Value};

use super::place::Place;
use super::source::Source;
use crate::pool::{self, Grip, Job, Step};

/// Up to this size one more copy on the loop costs less than one more hop.
const SMALL: usize = 64 << 10;

/// A codec by its name, and what it does with bytes that it cannot read.
#[derive(Clone)]
pub struct Encoding {
    pub name: Arc<str>,
    pub errors: Arc<str>,
}

/// Yields a file's bytes, or the text in them.
pub struct Read {
    pub place: Place,
    pub text: Option<Encoding>,
}

impl Read {
    pub fn bytes(place: impl Into<Place>) -> Self {
        Read { place: place.into(), text: None }
    }

    pub fn text(place: impl Into<Place>, encoding: Encoding) -> Self {
        Read { place: place.into(), text: Some(encoding) }
    }
}

impl Operation for Read {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, text) = (self.place.clone(), self.text.clone());
        pool::run(Grip::Loose, done, move |job| begin(job, place, text))
    }
}

fn begin(job: &Job, place: Place, text: Option<Encoding>) -> Step {
    let source = match Source::open(&place, job) {
        Ok(source) if source.size <= SMALL => {
            return Step::Answer(source.read_all().map(|bytes| decoded(Value::Bytes(bytes), text)));
        }
        Ok(source) => source,
        Err(e) => return Step::Answer(Err(e)),
    };
    let sizes = vec![source.size];
    // It is closed here and opened again: ten thousand reads that wait for their bytes must not hold ten thousand
    // descriptors.
    drop(source);
    let then = move |memory| -> pool::Work { Box::new(move |job| Step::Answer(fill(job, &place, memory, text))) };
    Step::Buffers { sizes, then: Box::new(then) }
}

fn fill(job: &Job, place: &Place, memory: Arc<dyn Memory>, text: Option<Encoding>) -> Outcome {
    let mut tail = Vec::new();
    let length = Source::open(place, job)?.read_buffer(&*memory, 0, &mut tail)?;
    let tails = if tail.is_empty() { Vec::new() } else { vec![(0, tail)] };
    let filled = Filled { memory, lengths: vec![length], tails, single: true };
    Ok(decoded(Value::Filled(Box::new(filled)), text))
}

fn decoded(bytes: Value, text: Option<Encoding>) -> Value {
    match text {
        None => bytes,
        Some(Encoding { name, errors }) => Value::Text(Box::new(Text { bytes, encoding: name, errors })),
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
