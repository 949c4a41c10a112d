//! A file that is read and written in pieces. It has a position of its own, which a call moves only when it succeeds: a
//! cancelled read has read nothing, even if the cancel comes after the read and before its caller goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::error::Error;
use mountain_core::sync::Mutex;
use mountain_core::value::{Taken, Value};

use super::failure::{errno, failure};
use super::fresh::Replacement;
use super::place::Place;
use super::write::Data;
use crate::pool::{self, Grip, Job, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads a file that is there.
    Read,
    /// Writes a new content, which takes the name at the end.
    Replace,
    /// Makes a file that is not there yet.
    New,
    /// Reads a file that is there, and writes over it.
    Update,
    /// Adds to the end of a file, or makes it.
    Append,
}

/// Yields an [`OpenFile`] as `Value::Other`.
pub struct Open {
    pub place: Place,
    pub mode: Mode,
}

impl Open {
    pub fn new(place: impl Into<Place>, mode: Mode) -> Self {
        Open { place: place.into(), mode }
    }
}

impl Operation for Open {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, mode) = (self.place.clone(), self.mode);
        pool::run(Grip::Firm, done, move |job| Step::Answer(open(job, &place, mode)))
    }
}

/// An open file. Dropped before its end, a new content is gone.
pub struct OpenFile {
    path: Arc<Path>,
    mode: Mode,
    /// None: it is closed. One call at a time has it.
    state: Mutex<Option<State>>,
}

struct State {
    backing: Backing,
    position: u64,
}

enum Backing {
    Plain(File),
    Replacement(Replacement),
}

impl Backing {
    fn file(&mut self) -> &mut File {
        match self {
            Backing::Plain(file) => file,
            Backing::Replacement(new) => new.file(),
        }
    }
}

fn open(job: &Job, place: &Place, mode: Mode) -> Outcome {
    job.check()?;
    let path = place.path();
    let fail = |e: io::Error| failure(&e, path);
    let at = place.at(true).map_err(fail)?;
    let mut options = OpenOptions::new();
    options.custom_flags(at.flags());
    match mode {
        Mode::Read => options.read(true),
        Mode::New => options.read(true).write(true).create_new(true),
        Mode::Update => options.read(true).write(true),
        Mode::Append => options.append(true).create(true),
        Mode::Replace => &mut options,
    };
    let mut backing = if mode == Mode::Replace {
        Backing::Replacement(Replacement::create(place)?)
    } else {
        Backing::Plain(options.open(at.path()).map_err(fail)?)
    };
    let about = backing.file().metadata().map_err(fail)?;
    if !about.is_file() {
        return Err(errno(if about.is_dir() { libc::EISDIR } else { libc::ESPIPE }, path));
    }
    let position = if mode == Mode::Append { about.len() } else { 0 };
    let state = Mutex::new(Some(State { backing, position }));
    Ok(Value::Other(Box::new(OpenFile { path: path.into(), mode, state })))
}

/// One call on an open file.
#[derive(Clone)]
pub enum Call {
    /// Yields up to so many bytes; none at the end.
    Read(usize),
    /// A call that has begun is not aborted.
    Write(Data),
    /// From the beginning, or with true from the end. Yields the new position.
    Seek(i64, bool),
    Truncate(u64),
    /// The end. With true, a new content takes the name, and what was written is on disk.
    Close(bool, bool),
}

pub struct OnFile {
    pub file: Arc<OpenFile>,
    pub call: Call,
}

impl Operation for OnFile {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (file, call) = (self.file.clone(), self.call.clone());
        pool::run(Grip::Firm, done, move |job| Step::Answer(file.answer(job, call)))
    }
}

impl OpenFile {
    /// The position, None while a call has the file or when it is closed.
    pub fn position(&self) -> Option<u64> {
        self.state.try_lock()?.as_ref().map(|state| state.position)
    }

    /// The value of a call that moves the position, which goes back with the value.
    fn moved(self: &Arc<Self>, state: &mut State, to: u64, value: Value) -> Value {
        let from = std::mem::replace(&mut state.position, to);
        let file = self.clone();
        Taken::value(value, move |_| {
            // A call that already has the file came before its answer was awaited: it has the last word.
            let Some(mut held) = file.state.try_lock() else { return };
            if let Some(state) = held.as_mut().filter(|state| state.position == to) {
                state.position = from;
            }
        })
    }

    fn answer(self: &Arc<Self>, job: &Job, call: Call) -> Outcome {
        let Some(mut held) = self.state.try_lock() else {
            return Err(Error::Invalid("a file has one call at a time: await the one before".into()));
        };
        if let Call::Close(keep, durable) = call {
            let Some(state) = held.take() else { return Ok(Value::Unit) };
            return self.close(state, keep, durable);
        }
        let Some(state) = held.as_mut() else {
            return Err(Error::Invalid("the file is closed".into()));
        };
        let fail = |e: io::Error| failure(&e, &self.path);
        match call {
            Call::Read(size) => {
                let mut piece = vec![0; size];
                let n = read_at(state.backing.file(), &mut piece, state.position).map_err(fail)?;
                job.commit()?;
                piece.truncate(n);
                let to = state.position + n as u64;
                Ok(self.moved(state, to, Value::Bytes(piece)))
            }
            Call::Write(data) => {
                job.commit()?;
                let data = (*data).as_ref();
                if self.mode == Mode::Append {
                    state.backing.file().write_all(data).map_err(fail)?;
                } else {
                    state.backing.file().write_all_at(data, state.position).map_err(fail)?;
                }
                state.position += data.len() as u64;
                Ok(Value::Unit)
            }
            Call::Seek(offset, from_end) => {
                let base = if from_end { state.backing.file().metadata().map_err(fail)?.len() } else { 0 };
                let Some(position) = base.checked_add_signed(offset) else {
                    return Err(errno(libc::EINVAL, &self.path));
                };
                job.commit()?;
                let value = Value::Int(i64::try_from(position).unwrap_or(i64::MAX));
                Ok(self.moved(state, position, value))
            }
            Call::Truncate(size) => {
                job.commit()?;
                state.backing.file().set_len(size).map(|()| Value::Unit).map_err(fail)
            }
            Call::Close(..) => Ok(Value::Unit),
        }
    }

    fn close(&self, state: State, keep: bool, durable: bool) -> Outcome {
        match state.backing {
            Backing::Plain(file) if keep && durable && self.mode != Mode::Read => {
                file.sync_all().map_err(|e| failure(&e, &self.path))?;
            }
            Backing::Plain(_) => {}
            Backing::Replacement(new) if keep => new.take_name(&self.path, durable)?,
            Backing::Replacement(new) => drop(new),
        }
        Ok(Value::Unit)
    }
}

/// As much as there is, up to the piece's size.
fn read_at(file: &File, piece: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
