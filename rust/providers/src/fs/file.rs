//! A file that is read and written in pieces. It has a position of its own, which a call moves only when it succeeds: a
//! cancelled read has read nothing, even if the cancel comes after the read and before its caller goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Weak};

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
    /// The call that was begun last, until its answer is taken.
    turn: Mutex<Weak<Turn>>,
}

/// Held by a call from its begin on, and by an answer that may still go back.
struct Turn;

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
    let opened = OpenFile { path: path.into(), mode, state, turn: Mutex::default() };
    let opened = Value::Other(Box::new(opened));
    if mode != Mode::New {
        return Ok(opened);
    }
    // Its caller may be cancelled by now, and would find the name taken in its next try.
    let (device, inode) = (about.dev(), about.ino());
    Ok(Taken::value(opened, move |_| {
        if fs::symlink_metadata(at.path()).is_ok_and(|now| (now.dev(), now.ino()) == (device, inode)) {
            drop(fs::remove_file(at.path()));
        }
    }))
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
        let Some(turn) = file.begin(&call) else {
            done.finish(Err(busy()));
            return Abort::Never;
        };
        pool::run(Grip::Firm, done, move |job| Step::Answer(file.answer(job, call, turn)))
    }
}

fn busy() -> Error {
    Error::Invalid("a file has one call at a time: await the one before".into())
}

impl OpenFile {
    /// The position, None while a call has the file or when it is closed.
    pub fn position(&self) -> Option<u64> {
        self.state.try_lock()?.as_ref().map(|state| state.position)
    }

    /// None: another call has begun, and its answer is not taken. Calls begin in the order of their callers, which the
    /// threads need not keep.
    fn begin(&self, call: &Call) -> Option<Arc<Turn>> {
        let turn = Arc::new(Turn);
        if matches!(call, Call::Close(..)) {
            return Some(turn);
        }
        let mut last = self.turn.lock();
        if last.strong_count() > 0 {
            return None;
        }
        *last = Arc::downgrade(&turn);
        Some(turn)
    }

    /// The value of a call that moves the position, which goes back with the value.
    fn moved(self: &Arc<Self>, state: &mut State, to: u64, value: Value, turn: Arc<Turn>) -> Value {
        let from = std::mem::replace(&mut state.position, to);
        let file = self.clone();
        Taken::value(value, move |_| {
            let turn = turn;
            if let Some(state) = file.state.lock().as_mut() {
                state.position = from;
            }
            drop(turn);
        })
    }

    fn answer(self: &Arc<Self>, job: &Job, call: Call, turn: Arc<Turn>) -> Outcome {
        let Some(mut held) = self.state.try_lock() else {
            return Err(busy());
        };
        if let Call::Close(keep, durable) = call {
            let state = held.take();
            drop(held);
            return state.map_or(Ok(Value::Unit), |state| self.close(state, keep, durable));
        }
        let Some(state) = held.as_mut() else {
            return Err(Error::Invalid("the file is closed".into()));
        };
        let fail = |e: io::Error| failure(&e, &self.path);
        match call {
            Call::Read(size) => {
                let piece = read_at(job, state.backing.file(), size, state.position, &fail)?;
                job.commit()?;
                let to = state.position + piece.len() as u64;
                Ok(self.moved(state, to, Value::Bytes(piece), turn))
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
                Ok(self.moved(state, position, value, turn))
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

/// How much is read between two looks at the abort, and how much room is made before there is anything to fill it.
const CHUNK: usize = 4 << 20;

/// As much as there is, up to `size`.
fn read_at(job: &Job, file: &File, size: usize, position: u64, fail: &dyn Fn(io::Error) -> Error) -> Result<Vec<u8>, Error> {
    let mut piece = Vec::new();
    if size > CHUNK {
        // More than the file has may be more than there is of memory.
        let left = file.metadata().map_err(fail)?.len().saturating_sub(position);
        let room = usize::try_from(left).unwrap_or(usize::MAX).clamp(CHUNK, size);
        piece.try_reserve_exact(room).map_err(|_| fail(io::Error::from_raw_os_error(libc::ENOMEM)))?;
    }
    while piece.len() < size {
        job.check()?;
        let want = (size - piece.len()).min(CHUNK);
        piece.try_reserve(want).map_err(|_| fail(io::Error::from_raw_os_error(libc::ENOMEM)))?;
        let Some(at) = position.checked_add(piece.len() as u64).and_then(|at| i64::try_from(at).ok()) else { break };
        let room = piece.spare_capacity_mut();
        // SAFETY: the range is the vector's spare room of at least `want` bytes; what is counted has been written.
        unsafe {
            match libc::pread(file.as_raw_fd(), room.as_mut_ptr().cast(), want, at) {
                0 => break,
                n if n > 0 => piece.set_len(piece.len() + n.cast_unsigned()),
                _ => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => {}
                    e => return Err(fail(e)),
                },
            }
        }
    }
    Ok(piece)
}
