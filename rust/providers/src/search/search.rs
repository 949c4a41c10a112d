//! Lines of the files of a tree that match a pattern, found on all cores by ripgrep's own crates.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder};
use ignore::overrides::Override;
use ignore::{DirEntry, WalkState};
use mountain_core::error::Error;
use mountain_core::sync::Mutex;

use super::hit::Match;
use super::options::{Options, Wrong};
use super::sink::FileSink;
use crate::feed::{Feed, Shared};
use crate::fs::{failure, tree};

/// The longest line, or in a search over lines the largest file, that a thread holds in memory.
const LARGEST: usize = 128 << 20;
/// A file of more bytes may have made the searcher's buffer grow, which is 64 KiB at first: UTF-16 takes up to half as
/// many again in UTF-8.
const FITS: usize = 32 << 10;

/// A search that can be made: its pattern and its globs are compiled.
pub struct Search {
    root: PathBuf,
    matcher: RegexMatcher,
    globs: Override,
    options: Arc<Options>,
}

impl Search {
    pub fn new(pattern: &str, root: impl Into<PathBuf>, options: Options) -> Result<Self, Wrong> {
        let root = root.into();
        let (matcher, globs) = (options.matcher(pattern)?, options.globs(&root)?);
        Ok(Search { root, matcher, globs, options: Arc::new(options) })
    }

    /// The matches, those of a file one after another, files in no order. What cannot be read below the root is noted;
    /// a root that cannot be read is the outcome.
    pub fn begin(&self) -> Feed<Match> {
        let (root, matcher, globs, options) = (self.root.clone(), self.matcher.clone(), self.globs.clone(), self.options.clone());
        Feed::new("search", "mountain-search", move |feed| {
            let mut builder = tree::builder(&root, options.ignore_files);
            builder.hidden(!options.hidden).overrides(globs);
            if options.ignore_files {
                builder.add_custom_ignore_filename(".rgignore");
            }
            let run = Run { root: &root, options: &options, feed, turn: Mutex::default() };
            builder.build_parallel().run(|| {
                let (mut searcher, matcher, run) = (new_searcher(&options), matcher.clone(), &run);
                Box::new(move |seen| run.visit(seen, &mut searcher, &matcher))
            });
        })
    }
}

fn new_searcher(options: &Options) -> Searcher {
    let mut builder = SearcherBuilder::new();
    builder.line_number(true).multi_line(options.multiline).heap_limit(Some(LARGEST));
    builder.before_context(options.context).after_context(options.context).max_matches(options.max_per_file);
    builder.build()
}

struct Run<'a> {
    root: &'a Path,
    options: &'a Options,
    feed: &'a Shared<Match>,
    turn: Mutex<()>,
}

impl Run<'_> {
    fn visit(&self, seen: Result<DirEntry, ignore::Error>, searcher: &mut Searcher, matcher: &RegexMatcher) -> WalkState {
        let entry = match seen {
            Ok(entry) => entry,
            Err(e) => {
                if let Some(e) = tree::of_root(&e) {
                    self.feed.fail(failure(e, self.root));
                    return WalkState::Quit;
                }
                return tree::go_on(self.feed.warn(e.to_string()));
            }
        };
        if let Some(e) = entry.error()
            && !self.feed.warn(e.to_string())
        {
            return WalkState::Quit;
        }
        let named = entry.depth() == 0;
        match self.is_searched(&entry, named) {
            Ok(true) => {}
            Ok(false) => return tree::go_on(!self.feed.is_closed()),
            Err(e) => {
                self.feed.fail(e);
                return WalkState::Quit;
            }
        }
        // As in ripgrep, a file that the caller named is searched beyond its null bytes.
        let binary = if named { BinaryDetection::none() } else { BinaryDetection::quit(0) };
        searcher.set_binary_detection(binary);
        tree::go_on(self.search(entry.path(), searcher, matcher, named))
    }

    /// Whether it is a file. The root may be a link to one, but no pipe, whose other end may never write.
    fn is_searched(&self, entry: &DirEntry, named: bool) -> Result<bool, Error> {
        if !named {
            return Ok(entry.file_type().is_some_and(|t| t.is_file()));
        }
        let about = std::fs::metadata(entry.path()).map_err(|e| failure(&e, self.root))?;
        if !about.is_file() && !about.is_dir() {
            return Err(Error::Invalid(format!("{}: neither a folder nor a file", self.root.display())));
        }
        Ok(about.is_file())
    }

    /// False: the feed is closed.
    fn search(&self, path: &Path, searcher: &mut Searcher, matcher: &RegexMatcher, named: bool) -> bool {
        // Without blocking, which means nothing to a file, in case that it is a pipe by now.
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(e) if named => {
                self.feed.fail(failure(&e, self.root));
                return false;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return !self.feed.is_closed(), // it went away meanwhile
            Err(e) => return self.feed.warn(format!("{}: {e}", path.display())),
        };
        let path: Arc<Path> = tree::as_given(self.root, path.to_path_buf()).into();
        let max = self.options.max_per_file.unwrap_or(u64::MAX);
        let mut sink = FileSink::new(self.feed, &self.turn, matcher, &path, self.options.context, max);
        let mut file = Watched { file, feed: self.feed, read: 0 };
        let ended = searcher.search_reader(matcher, &mut file, &mut sink);
        if file.read > FITS {
            // The size of the buffer says what is found before a null byte, and the memory that a thread holds.
            *searcher = new_searcher(self.options);
        }
        if !sink.end() {
            return false;
        }
        match ended {
            Err(e) => self.feed.warn(format!("{}: {e}", path.display())),
            Ok(()) => match sink.binary() {
                Some((offset, found)) => {
                    let what = format!("{}: binary data from byte {offset} on", path.display());
                    if found { self.feed.warn(what) } else { self.feed.remark(what) }
                }
                None => true,
            },
        }
    }
}

/// A file that is read no further once its search is over.
struct Watched<'a> {
    file: File,
    feed: &'a Shared<Match>,
    /// Bytes, so far.
    read: usize,
}

impl io::Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.feed.is_closed() {
            return Err(io::Error::other("the search is over"));
        }
        let read = self.file.read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
