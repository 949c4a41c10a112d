//! Walking a tree on all cores, in batches that grow as their consumer slows down.
//!
//! Yields files, links and folders below the root in no particular order; the root itself only if it is no folder, as
//! `find` does with `-mindepth 1`. What may not be read below the root is skipped and noted; a root that may not be
//! read is the outcome.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::{DirEntry, WalkBuilder, WalkState};
use mountain_core::effect::{Abort, Abortable, AtWork, Done, Host, Operation};
use mountain_core::error::Error;
use mountain_core::sync::{Condvar, Mutex};
use mountain_core::value::Value;

use super::entry::Entry;
use super::failure::failure;

/// The largest batch: what a loop can turn into objects without a stall.
const BATCH: usize = 256;
/// How many entries wait at most; then the walk does.
const ROOM: usize = 16 * BATCH;

/// A walk. It begins with the first batch that is asked for, and stops when it is dropped.
pub struct Walk(Arc<Shared>);

struct Shared {
    root: PathBuf,
    ignore_files: bool,
    follow_symlinks: bool,
    process: u32,
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Default)]
struct State {
    started: bool,
    closed: bool,
    ended: bool,
    ready: VecDeque<Entry>,
    failed: Option<Error>,
    skipped: Vec<String>,
    /// The call that waits for a batch, with virtual time, and the number of the request.
    asked: Option<(Done, AtWork)>,
    requests: u64,
}

impl Walk {
    /// `ignore_files`: leave out what .gitignore, .ignore and git's own excludes leave out. Hidden files are always
    /// walked.
    pub fn new(root: impl Into<PathBuf>, ignore_files: bool, follow_symlinks: bool) -> Self {
        Walk(Arc::new(Shared {
            root: root.into(),
            ignore_files,
            follow_symlinks,
            process: std::process::id(),
            state: Mutex::default(),
            room: Condvar::new(),
        }))
    }

    /// The next batch: `Value::Other(Box<Vec<Entry>>)`, or `Value::Unit` at the end. One request at a time.
    pub fn next(&self, done: Done) -> Abort {
        let shared = &self.0;
        if shared.elsewhere() {
            done.finish(Err(Error::Invalid("a walk cannot go on in a forked process: begin another one there".into())));
            return Abort::Never;
        }
        let mut state = shared.state.lock();
        if state.asked.is_some() {
            drop(state);
            done.finish(Err(Error::Invalid("a walk yields one batch at a time: await the one before".into())));
            return Abort::Never;
        }
        if !state.started && !state.closed {
            state.started = true;
            if let Err(e) = shared.clone().spawn() {
                state.failed = Some(Error::io(&e, None));
                state.ended = true;
            }
        }
        state.asked = Some((done, AtWork::begin()));
        state.requests += 1;
        let number = state.requests;
        let answer = state.answer();
        if state.ready.len() <= ROOM / 2 {
            shared.room.notify_all();
        }
        drop(state);
        match answer {
            Some(((done, _at_work), outcome)) => {
                done.finish(outcome);
                Abort::Never
            }
            None => Abort::Shared(Arc::new(Request { shared: shared.clone(), number })),
        }
    }

    /// The entries skipped since the last call, a message each.
    pub fn take_skipped(&self) -> Vec<String> {
        if self.0.elsewhere() { Vec::new() } else { std::mem::take(&mut self.0.state.lock().skipped) }
    }

    /// Stop. A request that waits is answered as cancelled, later ones with the end.
    pub fn close(&self) {
        if self.0.elsewhere() {
            return;
        }
        let asked = {
            let mut state = self.0.state.lock();
            (state.closed, state.ended) = (true, true);
            state.ready = VecDeque::new();
            state.asked.take()
        };
        self.0.room.notify_all();
        drop(asked);
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.close();
    }
}

/// The next batch of a walk, as an operation. Started again, it yields the batch after.
pub struct NextBatch(pub Arc<Walk>);

impl Operation for NextBatch {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        self.0.next(done)
    }
}

struct Request {
    shared: Arc<Shared>,
    number: u64,
}

impl Abortable for Request {
    fn abort(&self) {
        if self.shared.elsewhere() {
            return;
        }
        let asked = {
            let mut state = self.shared.state.lock();
            if state.requests == self.number { state.asked.take() } else { None }
        };
        drop(asked);
    }
}

impl State {
    /// The call that waits, with the batch that there is for it; None without either.
    fn answer(&mut self) -> Option<((Done, AtWork), Result<Value, Error>)> {
        if self.ready.is_empty() && !self.ended {
            return None;
        }
        let done = self.asked.take()?;
        let outcome = if !self.ready.is_empty() {
            let size = self.ready.len().min(BATCH);
            Ok(Value::Other(Box::new(self.ready.drain(..size).collect::<Vec<Entry>>())))
        } else if let Some(e) = self.failed.take() {
            Err(e)
        } else {
            Ok(Value::Unit)
        };
        Some((done, outcome))
    }
}

impl Shared {
    /// In a forked child: the walk's threads do not exist, and its lock may be held for ever.
    fn elsewhere(&self) -> bool {
        std::process::id() != self.process
    }

    /// A thread that leads the walk's others. Not one of the pool's: it waits for a consumer who may need the pool to
    /// go on.
    #[expect(clippy::disallowed_methods, reason = "a walk's threads live as long as the walk, and wait for its consumer")]
    fn spawn(self: Arc<Self>) -> io::Result<()> {
        std::thread::Builder::new().name("mountain-walk".into()).spawn(move || self.run()).map(drop)
    }

    fn run(&self) {
        let walked = catch_unwind(AssertUnwindSafe(|| self.walk()));
        let answer = {
            let mut state = self.state.lock();
            state.ended = true;
            if let Err(payload) = walked {
                state.failed = Some(Error::panic(&*payload));
            }
            state.answer()
        };
        if let Some(((done, _at_work), outcome)) = answer {
            done.finish(outcome);
        }
    }

    fn walk(&self) {
        // The crate reads "-" as the standard input.
        let dash = self.root == Path::new("-");
        let mut builder = WalkBuilder::new(if dash { Path::new("./-") } else { &self.root });
        let rules = self.ignore_files;
        builder.hidden(false).parents(rules).ignore(rules).git_ignore(rules).git_global(rules).git_exclude(rules);
        builder.follow_links(self.follow_symlinks).threads(std::thread::available_parallelism().map_or(1, usize::from));
        builder.build_parallel().run(|| Box::new(|seen| self.visit(seen)));
    }

    fn visit(&self, seen: Result<DirEntry, ignore::Error>) -> WalkState {
        match seen {
            Ok(entry) if entry.depth() == 0 && entry.file_type().is_some_and(|t| t.is_dir()) => self.go_on(),
            Ok(entry) => match look(&entry) {
                Ok(entry) => self.push(self.as_given(entry)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.go_on(), // it went away meanwhile
                Err(e) => self.skip(format!("{}: {e}", entry.path().display())),
            },
            Err(e) => self.problem(&e),
        }
    }

    fn problem(&self, e: &ignore::Error) -> WalkState {
        if e.depth() == Some(0)
            && let Some(e) = e.io_error()
        {
            self.state.lock().failed = Some(failure(e, &self.root));
            return WalkState::Quit;
        }
        match dangling(e) {
            Some(link) => self.push(self.as_given(link)),
            None => self.skip(e.to_string()),
        }
    }

    /// Undo what [`Shared::walk`] did to a root of "-".
    fn as_given(&self, mut entry: Entry) -> Entry {
        if self.root == Path::new("-")
            && let Ok(path) = entry.path.strip_prefix(".")
        {
            entry.path = path.to_path_buf();
        }
        entry
    }

    fn go_on(&self) -> WalkState {
        if self.state.lock().closed { WalkState::Quit } else { WalkState::Continue }
    }

    fn skip(&self, message: String) -> WalkState {
        self.state.lock().skipped.push(message);
        self.go_on()
    }

    fn push(&self, entry: Entry) -> WalkState {
        let answer = {
            let mut state = self.state.lock();
            state = self.room.wait_while(state, |s| s.ready.len() >= ROOM && !s.closed);
            if state.closed {
                return WalkState::Quit;
            }
            state.ready.push_back(entry);
            state.answer()
        };
        if let Some(((done, _at_work), outcome)) = answer {
            done.finish(outcome);
        }
        WalkState::Continue
    }
}

fn look(entry: &DirEntry) -> io::Result<Entry> {
    let path = entry.path();
    // The crate follows a link that is the root, and then forgets that it did.
    let about = if entry.depth() == 0 || (entry.path_is_symlink() && entry.file_type().is_some_and(|t| !t.is_symlink())) {
        std::fs::metadata(path)?
    } else {
        std::fs::symlink_metadata(path)?
    };
    Ok(Entry::new(path.to_path_buf(), &about, entry.path_is_symlink()))
}

/// A link that was to be followed and leads nowhere is an entry, like any link.
fn dangling(e: &ignore::Error) -> Option<Entry> {
    e.io_error()?;
    let ignore::Error::WithPath { path, .. } = e else { return None };
    let about = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_symlink)?;
    Some(Entry::new(path.clone(), &about, true))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
