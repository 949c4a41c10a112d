//! The digest of a file's content.

use std::cell::RefCell;
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::value::Value;
use sha2::Digest;

use super::place::Place;
use super::source::Source;
use crate::pool::{self, Grip, Job, Step};

const PIECE: usize = 1 << 20;

thread_local! {
    /// One a thread, kept: a fresh one would be mapped and unmapped for every file.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Blake3,
    Sha256,
}

/// Yields 32 bytes.
pub struct Hash {
    pub place: Place,
    pub algorithm: Algorithm,
}

impl Hash {
    pub fn new(place: impl Into<Place>, algorithm: Algorithm) -> Self {
        Hash { place: place.into(), algorithm }
    }
}

impl Operation for Hash {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, algorithm) = (self.place.clone(), self.algorithm);
        pool::run(Grip::Firm, done, move |job| Step::Answer(hash(job, &place, algorithm)))
    }
}

fn hash(job: &Job, place: &Place, algorithm: Algorithm) -> Outcome {
    let source = Source::open(place, job)?;
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(PIECE, 0);
        let digest = match algorithm {
            Algorithm::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                source.read_pieces(buffer, |piece| _ = hasher.update(piece))?;
                hasher.finalize().as_bytes().to_vec()
            }
            Algorithm::Sha256 => {
                let mut hasher = sha2::Sha256::new();
                source.read_pieces(buffer, |piece| hasher.update(piece))?;
                hasher.finalize().to_vec()
            }
        };
        Ok(Value::Bytes(digest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, bytes, os_error, run, start};
    use mountain_core::error::Error;

    fn hex(outcome: Outcome) -> String {
        bytes(outcome).iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
    }

    #[test]
    fn published_vectors() {
        let folder = Folder::new();
        let path = folder.file("abc", b"abc");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(run(&Hash::new(&path, Algorithm::Sha256))), sha256);
        let blake3 = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        assert_eq!(hex(run(&Hash::new(&path, Algorithm::Blake3))), blake3);
        let empty = folder.file("empty", b"");
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(run(&Hash::new(&empty, Algorithm::Sha256))), sha256);
        let blake3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(hex(run(&Hash::new(&empty, Algorithm::Blake3))), blake3);
    }

    #[test]
    fn several_pieces_are_one_content() {
        let folder = Folder::new();
        let content: Vec<u8> = (0..(PIECE * 2 + 12345)).map(|i| (i % 251) as u8).collect();
        let path = folder.file("large", &content);
        assert_eq!(bytes(run(&Hash::new(&path, Algorithm::Blake3))), blake3::hash(&content).as_bytes());
        assert_eq!(bytes(run(&Hash::new(&path, Algorithm::Sha256))), sha2::Sha256::digest(&content).to_vec());
        // Some of the kernel's files say that they are empty.
        let version = std::fs::read("/proc/version").unwrap();
        assert_eq!(bytes(run(&Hash::new("/proc/version", Algorithm::Blake3))), blake3::hash(&version).as_bytes());
    }

    #[test]
    fn an_endless_file_is_hashed_until_it_is_aborted() {
        let call = start(&Hash::new("/dev/zero", Algorithm::Blake3));
        assert!(call.within(50).is_none());
        call.abort.abort();
        assert!(matches!(call.outcome(), Err(Error::Cancelled)));
    }

    #[test]
    fn errors_name_the_file() {
        let folder = Folder::new();
        let path = folder.path("absent");
        assert_eq!(os_error(run(&Hash::new(&path, Algorithm::Blake3))), (libc::ENOENT, Some(path)));
        assert_eq!(
            os_error(run(&Hash::new(folder.root(), Algorithm::Sha256))),
            (libc::EISDIR, Some(folder.root().to_path_buf()))
        );
    }
}
