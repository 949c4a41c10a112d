//! A body into a file, which is there whole or not at all. What a download that failed has written is kept beside it,
//! with the server's word on which version it was, and the next one goes on from there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use mountain_core::effect::{Abort, Done, Host, Operation};
use mountain_core::error::Error;
use mountain_core::value::Value;
use tokio::runtime::Handle;
use url::Url;

use super::ask::Ask;
use super::claim::claim;
use super::failure::{Failed, Kind};
use super::fetch::{explanation, follow, of_status};
use super::pool::Pool;
use super::progress::Progress;
use super::reactor;
use super::response::Response;
use super::send::{Answer, Coming};
use crate::fs::failure;

/// As much is written at a time.
const WRITE: usize = 1 << 20;

/// Yields the size of the file.
pub struct Download {
    pub ask: Arc<Ask>,
    pub to: Arc<Path>,
    pub resume: bool,
    pub progress: Option<Arc<Progress>>,
}

impl Operation for Download {
    fn home(&self) -> Option<&'static Handle> {
        reactor::home()
    }

    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (ask, to, resume, progress) = (self.ask.clone(), self.to.clone(), self.resume, self.progress.clone());
        reactor::run(&self.ask.settings, done, move |pool| async move {
            let at = to.clone();
            let mut part = blocking(&to, move || Part::open(&at, resume)).await?;
            part.progress = progress;
            if let Some(answer) = begin(&pool, &ask, &part).await? {
                return part.fill(&ask, answer).await;
            }
            // The server does not have that part any more.
            part.have = 0;
            match begin(&pool, &ask, &part).await? {
                Some(answer) => part.fill(&ask, answer).await,
                None => {
                    Err(ask.failed(Failed::new(Kind::Protocol, format!("{} has no such range, and none was asked for", ask.url))))
                }
            }
        })
    }

    fn traced(&self, headers: &dyn Fn() -> Vec<(String, String)>) -> Option<Arc<dyn Operation>> {
        let (to, resume, progress) = (self.to.clone(), self.resume, self.progress.clone());
        self.ask.traced(headers).map(|ask| Arc::new(Download { ask, to, resume, progress }) as Arc<dyn Operation>)
    }
}

/// Asks for what is missing. `None`: the server has no such part.
async fn begin(pool: &Arc<Pool>, ask: &Ask, part: &Part) -> Result<Option<(Url, Answer)>, Error> {
    let mut headers = ask.headers.clone();
    // A range is one of bytes as they are kept.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if part.have > 0
        && let Some(tag) = part.tag.as_ref().and_then(|tag| HeaderValue::from_str(tag).ok())
        && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", part.have))
    {
        headers.insert(RANGE, range);
        headers.insert(IF_RANGE, tag);
    }
    let ranged = headers.contains_key(RANGE);
    let ask = Ask {
        headers,
        settings: ask.settings.clone(),
        method: ask.method.clone(),
        url: ask.url.clone(),
        body: Bytes::new(),
        ..*ask
    };
    let (step, answer) = follow(pool, &ask).await.map_err(|failed| ask.failed(failed))?;
    let status = answer.head.status.as_u16();
    if status == 416 && ranged {
        return Ok(None);
    }
    if status >= 400 {
        let body = explanation(answer.body, &answer.head.headers, &step.url, step.method == Method::HEAD).await;
        let (method, headers) = (step.method.as_str().to_owned(), answer.head.headers);
        let version = answer.head.version;
        let large = None;
        let built = None;
        let response =
            Response { status, version, method, url: step.url, headers, body, large, built, repeatable: ask.repeatable };
        return Err(ask.failed(of_status(response)));
    }
    // An answer without the file, such as 304, is no reason to replace what is there.
    if !(200..300).contains(&status) {
        return Err(ask.failed(Failed::new(Kind::Protocol, format!("{} answers {status}, which has no file to keep", step.url))));
    }
    Ok(Some((step.url, answer)))
}

/// A file on its way. Dropped before it is whole, it goes, unless a later download can go on from it.
struct Part {
    /// `None` while it is written to.
    file: Option<File>,
    path: PathBuf,
    /// Where the server's word on the version is kept.
    note: PathBuf,
    to: Arc<Path>,
    /// How much is there already.
    have: u64,
    /// The version that this is a part of.
    tag: Option<String>,
    /// It stays when this is dropped.
    stays: bool,
    resume: bool,
    progress: Option<Arc<Progress>>,
}

impl Part {
    fn open(to: &Arc<Path>, resume: bool) -> io::Result<Self> {
        let Some(name) = to.file_name().filter(|_| !to.is_dir()) else {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        };
        let beside = |end: &str| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(end);
            to.with_file_name(hidden)
        };
        let (mut path, mut note) = (beside(".part"), beside(".part.tag"));
        let mut resume = resume;
        let file = if let Some(file) = claim(&path)? {
            file
        } else {
            // Another download is at it: this one has a file of its own.
            let own = format!(".{:016x}.part", fastrand::u64(..));
            (path, note, resume) = (beside(&own), beside(&format!("{own}.tag")), false);
            claim(&path)?.ok_or(io::ErrorKind::AlreadyExists)?
        };
        let tag = if resume { fs::read_to_string(&note).ok() } else { None };
        let have = if tag.is_some() { file.metadata()?.len() } else { 0 };
        Ok(Part { file: Some(file), path, note, to: to.clone(), have, tag, stays: have > 0, resume, progress: None })
    }

    async fn fill(mut self, ask: &Ask, (url, answer): (Url, Answer)) -> Result<Value, Error> {
        let headers = &answer.head.headers;
        let from = match answer.head.status.as_u16() {
            206 => self.goes_on(headers, &url).map_err(|failed| ask.failed(failed))?,
            _ => 0,
        };
        let length = headers.get(CONTENT_LENGTH).and_then(|n| n.to_str().ok()).and_then(|n| n.parse::<u64>().ok());
        if let Some(progress) = &self.progress {
            progress.begin(from, length.map(|length| from + length));
        }
        let (tag, to) = (validator(headers), self.to.clone());
        let resume = self.resume;
        self = blocking(&to, move || {
            self.start_at(from, tag.filter(|_| resume))?;
            Ok(self)
        })
        .await?;
        let written = self.write(answer.body, &url, ask).await?;
        answer.lease.done();
        let size = from + written;
        if length.is_some_and(|length| length != written) {
            return Err(ask.failed(Failed::new(Kind::Unanswered, format!("{url} sent {written} bytes of {length:?}"))));
        }
        blocking(&to, move || self.finish()).await?;
        Ok(Value::Int(size.cast_signed()))
    }

    /// Where the range that the server sends begins: right after what is there, or it is of no use.
    fn goes_on(&self, headers: &HeaderMap, url: &Url) -> Result<u64, Failed> {
        let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let begins = range.strip_prefix("bytes ").and_then(|range| range.split('-').next()).and_then(|n| n.parse().ok());
        let changed = validator(headers).is_some_and(|tag| self.tag.as_ref() != Some(&tag));
        match begins {
            Some(at) if at == self.have && self.have > 0 && !changed => Ok(at),
            _ => Err(Failed::new(Kind::Protocol, format!("{url} sends the range {range:?}, and {} bytes are there", self.have))),
        }
    }

    /// From here on the file is a part of the version `tag`.
    fn start_at(&mut self, from: u64, tag: Option<String>) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        if from == 0 {
            // Before the file changes: what is there is no part of another version.
            let _ = fs::remove_file(&self.note);
            file.set_len(0)?;
            if let Some(tag) = &tag {
                fs::write(&self.note, tag)?;
            }
            self.stays = tag.is_some();
        }
        file.seek(SeekFrom::Start(from)).map(drop)
    }

    async fn write(&mut self, mut body: Coming, url: &Url, ask: &Ask) -> Result<u64, Error> {
        let (mut written, mut buffer) = (0, Vec::new());
        loop {
            let next = body.frame(url).await;
            let over = next.is_none();
            let failed = match next {
                Some(Ok(frame)) => {
                    buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                    None
                }
                Some(Err(failed)) => Some(ask.failed(failed)),
                None => None,
            };
            if buffer.len() >= WRITE || ((over || failed.is_some()) && !buffer.is_empty()) {
                let more = buffer.len();
                buffer = self.append(buffer).await?;
                written += more as u64;
                if let Some(progress) = &self.progress {
                    progress.add(more);
                }
            }
            match failed {
                Some(failed) => return Err(failed),
                None if over => return Ok(written),
                None => {}
            }
        }
    }

    /// Gives the buffer back, empty.
    async fn append(&mut self, mut buffer: Vec<u8>) -> Result<Vec<u8>, Error> {
        let mut file = self.file.take().ok_or(Error::Cancelled)?;
        let (file, buffer) = blocking(&self.to, move || {
            file.write_all(&buffer)?;
            buffer.clear();
            Ok((file, buffer))
        })
        .await?;
        self.file = Some(file);
        Ok(buffer)
    }

    fn finish(mut self) -> io::Result<()> {
        let file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        file.sync_all()?;
        // Whatever happens next, this is no part of anything any more.
        self.stays = false;
        let _ = fs::remove_file(&self.note);
        fs::rename(&self.path, &self.to)?;
        self.stays = true;
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The name is on the disk when its folder is; some systems have no such call.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.stays {
            let _ = fs::remove_file(&self.path);
            let _ = fs::remove_file(&self.note);
        }
    }
}

/// The text that tells one version from another, byte for byte.
fn validator(headers: &HeaderMap) -> Option<String> {
    let of = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    of(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| of(LAST_MODIFIED))
}

/// Work on the disk, whose errors are about `path`.
async fn blocking<T: Send + 'static>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|e| failure(&e, path)),
        Err(e) => Err(Error::Panic(e.to_string())),
    }
}
