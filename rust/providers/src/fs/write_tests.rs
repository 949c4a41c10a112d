use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use mountain_core::error::Error;
use mountain_core::value::Value;

use super::super::content::Bytes;
use super::{Data, Like, Place, Put, Write, put, split, write};
use crate::pool::{Grip, Step};
use crate::testing::{Call, Folder, Gate, os_error, run, start, start_job};

fn data(bytes: impl Into<Vec<u8>>) -> Data {
    Arc::new(bytes.into())
}

#[test]
fn whole_new_or_in_place_of_another() {
    let folder = Folder::new();
    let path = folder.path("file");
    for (durable, size) in [(true, 0), (false, 10), (true, 3 << 20), (false, (2 << 20) + 1)] {
        let content = vec![7u8; size];
        assert!(matches!(run(&Write::new(&path, data(content.clone()), durable)), Ok(Value::Unit)));
        assert!(fs::read(&path).unwrap() == content);
        assert_eq!(folder.names(), ["file"]);
    }
}

#[test]
fn mode_is_kept_and_a_new_file_has_what_open_gives() {
    let folder = Folder::new();
    let path = folder.file("old", b"x");
    for mode in [0o600, 0o640, 0o755] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        run(&Write::new(&path, data("y"), false)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
    }
    let (plain, new) = (folder.file("plain", b""), folder.path("new"));
    run(&Write::new(&new, data("y"), false)).unwrap();
    assert_eq!(fs::metadata(&new).unwrap().mode(), fs::metadata(&plain).unwrap().mode());
}

#[test]
fn links_are_followed() {
    let folder = Folder::new();
    let real = folder.file("below/real", b"old");
    folder.link("one", "below/real");
    let two = folder.link("two", "one");
    run(&Write::new(&two, data("new"), true)).unwrap();
    assert_eq!(fs::read(&real).unwrap(), b"new");
    assert!(two.is_symlink());
    folder.link("below/next", "made");
    let dangling = folder.link("dangling", "below/next");
    run(&Write::new(&dangling, data("made"), true)).unwrap();
    assert_eq!(fs::read(folder.path("below/made")).unwrap(), b"made");
    assert!(dangling.is_symlink());
    let around = folder.link("around", "around");
    assert_eq!(os_error(run(&Write::new(&around, data("x"), true))), (libc::ELOOP, Some(around)));
}

#[test]
fn names_as_long_as_the_system_allows() {
    let folder = Folder::new();
    for name in ["x".repeat(255), "é".repeat(127)] {
        let path = folder.path(&name);
        run(&Write::new(&path, data("new"), false)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}

#[test]
fn errors_name_the_file_and_leave_nothing() {
    let folder = Folder::new();
    let below = folder.path("absent/file");
    assert_eq!(os_error(run(&Write::new(&below, data("x"), true))), (libc::ENOENT, Some(below)));
    let root = folder.root();
    assert_eq!(os_error(run(&Write::new(root, data("x"), true))), (libc::EISDIR, Some(root.to_path_buf())));
    let slash = folder.path("new/");
    assert_eq!(os_error(run(&Write::new(&slash, data("x"), true))), (libc::EISDIR, Some(slash)));
    assert_eq!(os_error(run(&Write::new("", data("x"), true))).0, libc::ENOENT);
    assert!(matches!(run(&Write::new("a\0b", data("x"), true)), Err(Error::Invalid(_))));
    assert_eq!(folder.names(), Vec::<String>::new());
    assert_eq!(split(Path::new("name")), Ok((Path::new("."), &b"name"[..])));
    assert_eq!(split(Path::new("/a/b")), Ok((Path::new("/a/"), &b"b"[..])));
}

/// Bytes that let the test stop a write in its middle: the gate is passed before the first chunk.
struct Gated(Gate, Vec<u8>);

impl AsRef<[u8]> for Gated {
    fn as_ref(&self) -> &[u8] {
        self.0.wait();
        &self.1
    }
}

#[test]
fn aborted_before_the_commit_it_leaves_the_old_file() {
    let folder = Folder::new();
    let path = folder.file("file", b"old");
    let gate = Gate::default();
    let call = start(&Write::new(&path, Arc::new(Gated(gate.clone(), vec![1; 5 << 20])), true));
    gate.reached(1);
    call.abort.abort();
    assert!(call.within(20).is_none(), "answered when it has ended");
    gate.open();
    assert!(matches!(call.outcome(), Err(Error::Cancelled)));
    assert_eq!((folder.names(), fs::read(&path).unwrap()), (vec!["file".to_string()], b"old".to_vec()));
}

#[test]
fn whenever_it_is_aborted_the_file_is_whole_and_nothing_is_left() {
    let folder = Folder::new();
    let path = folder.path("file");
    let (old, new) = (vec![1u8; 1000], vec![2u8; 5 << 20]);
    let shared: Data = Arc::new(new.clone());
    for i in 0..200u32 {
        fs::write(&path, &old).unwrap();
        let call = start(&Write::new(&path, shared.clone(), false));
        (0..i * 100).for_each(|_| std::hint::spin_loop());
        call.abort.abort();
        let content = match call.outcome() {
            Ok(_) => &new,
            Err(Error::Cancelled) => &old,
            Err(other) => panic!("{other:?}"),
        };
        assert!(&fs::read(&path).unwrap() == content);
        assert_eq!(folder.names(), ["file"]);
    }
}

#[test]
fn the_last_moment_to_abort_is_the_commit() {
    let folder = Folder::new();
    let path = folder.path("file");
    let ours = path.clone();
    let gate = Gate::default();
    let closed = gate.clone();
    let call = start_job(Grip::Firm, move |job| {
        let outcome = write(job, &ours.into(), b"new", true);
        closed.wait(); // written, and not yet answered
        Step::Answer(outcome)
    });
    gate.reached(1);
    call.abort.abort();
    gate.open();
    assert!(call.outcome().is_ok() && path.exists());
}

#[test]
fn eight_writers_to_one_path() {
    let folder = Folder::new();
    let path = folder.path("file");
    for _ in 0..20 {
        let calls: Vec<Call> = (0..8u8).map(|i| start(&Write::new(&path, data(vec![i; 100_000]), false))).collect();
        for call in &calls {
            call.outcome().unwrap();
        }
        let content = fs::read(&path).unwrap();
        assert!(content.len() == 100_000 && content.iter().all(|&b| b == content[0]));
        assert_eq!(folder.names(), ["file"]);
    }
}

#[test]
fn pipes_and_devices_are_written_into() {
    let folder = Folder::new();
    assert!(run(&Write::new("/dev/null", data(vec![0; 3 << 20]), true)).is_ok());
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let fifo = folder.fifo("fifo");
    let content = vec![9u8; 300_000];
    let call = start(&Write::new(&fifo, data(content.clone()), true));
    assert!(fs::read(&fifo).unwrap() == content);
    assert!(call.outcome().is_ok());
    let waiting: Vec<Call> = (0..8).map(|_| start(&Write::new(&fifo, data("x"), true))).collect();
    assert!(waiting[7].within(50).is_none());
    for call in &waiting {
        call.abort.abort();
        assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
    }
    assert_eq!(folder.names(), ["fifo"]);
}

/// A write whose rename the system refuses with `refusal`.
fn refused(path: &Path, content: &'static [u8], durable: bool, refusal: i32) -> Result<Value, Error> {
    let target = path.to_path_buf();
    let job = start_job(Grip::Firm, move |job| {
        let old = fs::metadata(&target).ok();
        let at = Place::from(&target).at(true).unwrap();
        let content = Bytes { data: content, named: &target };
        let like = Like { of: old.as_ref().map(|old| (&*target, old)), ..Like::default() };
        let what = Put { named: &target, target: &target, at: &at, content: &content, like, durable };
        Step::Answer(put(job, &what, old.as_ref(), &|_, _| Err(io::Error::from_raw_os_error(refusal))))
    });
    job.outcome()
}

#[test]
fn a_file_whose_name_cannot_be_taken_over_is_written_in_place() {
    let folder = Folder::new();
    let path = folder.file("file", b"the old content");
    let inode = fs::metadata(&path).unwrap().ino();
    for (durable, refusal) in [(true, libc::EBUSY), (false, libc::EXDEV), (true, libc::EPERM), (false, libc::EACCES)] {
        for content in [b"short".as_slice(), b"longer than the old content".as_slice(), b"".as_slice()] {
            assert!(matches!(refused(&path, content, durable, refusal), Ok(Value::Unit)));
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }
    assert_eq!((folder.names(), fs::metadata(&path).unwrap().ino()), (vec!["file".to_string()], inode));
}

#[test]
fn another_refusal_is_an_error_and_changes_nothing() {
    let folder = Folder::new();
    let path = folder.file("file", b"old");
    for refusal in [libc::EIO, libc::ENOSPC, libc::EDQUOT] {
        assert_eq!(os_error(refused(&path, b"new", true, refusal)), (refusal, Some(path.clone())));
        assert_eq!((fs::read(&path).unwrap(), folder.names()), (b"old".to_vec(), vec!["file".to_string()]));
    }
    let new = folder.path("new");
    assert_eq!(os_error(refused(&new, b"new", true, libc::EBUSY)), (libc::EBUSY, Some(new)));
    let root = folder.root().to_path_buf();
    let refuses = os_error(refused(&folder.path("new"), b"new", true, libc::EACCES));
    assert_eq!((refuses.0, refuses.1.map(|path| path.components().collect())), (libc::EACCES, Some(root)));
    assert_eq!(folder.names(), ["file"]);
}

#[cfg(target_os = "linux")]
#[test]
fn files_of_the_kernel_s_are_written_into() {
    // No file can be made beside it.
    let path = Path::new("/proc/self/task").join(std::process::id().to_string()).join("comm");
    let old = fs::read(&path).unwrap();
    run(&Write::new(&path, data("mountain"), true)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"mountain\n");
    fs::write(&path, old).unwrap();
}
