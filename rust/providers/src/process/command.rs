//! A program to start: checked and laid out before it comes to the thread that starts it, where every moment counts.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::ptr;

#[cfg(target_os = "linux")]
use libc::c_char;
use mountain_core::error::{Error, OsError};
use mountain_core::sync::Mutex;

use super::one_text::OneText;

/// A program with its arguments, folder and environment.
#[derive(Debug)]
pub struct Command {
    argv: Vec<CString>,
    /// Where the program may be, in the order of the search.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the standard library searches by itself"))]
    places: Vec<CString>,
    folder: Option<CString>,
    environment: Vec<CString>,
    /// Whether its stderr is read, or goes where this process's goes.
    pub stderr: bool,
    /// Its stdin and its stderr in place of pipes, until it is started; its stdout then goes where this process's goes.
    given: Mutex<Option<(OwnedFd, OwnedFd)>>,
}

impl Command {
    /// `argv` has the program first; `environment` is all that it gets. An argument that no process can be given is
    /// `Error::Invalid`.
    pub fn new(
        argv: Vec<OsString>,
        folder: Option<OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        stderr: bool,
    ) -> Result<Self, Error> {
        let Some(program) = argv.first() else { return Err(Error::Invalid("a process needs a program to run".into())) };
        let mut path = None;
        let mut pairs = Vec::new();
        for (name, value) in environment {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(Error::Invalid("illegal environment variable name".into()));
            }
            let mut pair = name.clone().into_vec();
            pair.push(b'=');
            pair.extend(value.as_bytes());
            pairs.push(c_string(pair)?);
            if name == "PATH" {
                path = Some(value);
            }
        }
        let places = places(program, path.as_deref().unwrap_or(OsStr::new("/bin:/usr/bin")))?;
        let argv = argv.into_iter().map(|a| c_string(a.into_vec())).collect::<Result<_, _>>()?;
        let folder = folder.map(|f| c_string(f.into_vec())).transpose()?;
        Ok(Command { argv, places, folder, environment: pairs, stderr, given: Mutex::new(None) })
    }

    /// The same with these as its stdin and its stderr, and with this process's stdout.
    #[must_use]
    pub fn with_given(self, stdin: OwnedFd, stderr: OwnedFd) -> Self {
        Command { given: Mutex::new(Some((stdin, stderr))), ..self }
    }

    pub(super) fn take_given(&self) -> Option<(OwnedFd, OwnedFd)> {
        self.given.lock().take()
    }

    /// As it was given.
    pub fn argv(&self) -> impl Iterator<Item = &OsStr> {
        self.argv.iter().map(|a| OsStr::from_bytes(a.to_bytes()))
    }

    pub(super) fn folder(&self) -> Option<&CString> {
        self.folder.as_ref()
    }

    #[cfg(target_os = "linux")]
    pub(super) fn places(&self) -> Vec<*const c_char> {
        pointers(&self.places)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn arguments(&self) -> Vec<*const c_char> {
        pointers(&self.argv)
    }

    #[cfg(any(not(target_os = "linux"), test))]
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.environment.iter().filter_map(|pair| {
            let pair = pair.to_bytes();
            let middle = pair.iter().position(|&b| b == b'=')?;
            Some((OsStr::from_bytes(&pair[..middle]), OsStr::from_bytes(&pair[middle + 1..])))
        })
    }

    #[cfg(target_os = "linux")]
    pub(super) fn environment(&self) -> Vec<*const c_char> {
        pointers(&self.environment)
    }

    /// The system's refusal, about the folder or the program.
    pub(super) fn refused(&self, errno: i32, about_folder: bool) -> Error {
        let about = if about_folder { self.folder.as_ref() } else { None }.unwrap_or(&self.argv[0]);
        if errno == libc::ENOENT && !about_folder && is_line(about.to_bytes()) {
            return Error::Other(Box::new(OneText(OsStr::from_bytes(about.to_bytes()).to_owned())));
        }
        Error::Os(Box::new(OsError {
            errno,
            path: Some(OsStr::from_bytes(about.to_bytes()).to_owned()),
            path2: None,
            advice: None,
        }))
    }
}

/// Arguments follow the name of a program, or a file that there is.
fn is_line(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|&b| b == b' ') else { return false };
    !text[..end].contains(&b'/') || Path::new(OsStr::from_bytes(&text[..end])).is_file()
}

/// As `execvp` searches: a name without a slash in each folder of the path.
fn places(program: &OsStr, path: &OsStr) -> Result<Vec<CString>, Error> {
    let program = program.as_bytes();
    if program.contains(&b'/') {
        return Ok(vec![c_string(program.to_vec())?]);
    }
    let place = |folder: &[u8]| {
        let mut place = folder.to_vec();
        if !place.is_empty() && !place.ends_with(b"/") {
            place.push(b'/');
        }
        place.extend(program);
        c_string(place)
    };
    path.as_bytes().split(|&b| b == b':').map(place).collect()
}

fn c_string(bytes: Vec<u8>) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::Invalid("embedded null byte".into()))
}

/// As C wants them: with a null at the end.
#[cfg(target_os = "linux")]
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}
