use std::fs;
use std::io::Write as _;

use mountain_core::error::Error;
use mountain_core::value::{Text, Value};

use super::{Encoding, Read, SMALL};
use crate::testing::{Call, Folder, Vectors, bytes, os_error, run, start, start_held};

fn noise(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

#[test]
fn small_and_large() {
    let folder = Folder::new();
    for size in [0, 1, 4096, SMALL - 1, SMALL, SMALL + 1, 5 << 20, (8 << 20) + 3] {
        let content = noise(size);
        let path = folder.file("file", &content);
        let outcome = run(&Read::bytes(&path));
        assert_eq!(matches!(outcome, Ok(Value::Bytes(_))), size <= SMALL, "{size}");
        assert!(bytes(outcome) == content, "{size}");
    }
}

#[test]
fn text_carries_its_codec() {
    let folder = Folder::new();
    for size in [10, SMALL + 10] {
        let path = folder.file("file", &noise(size));
        let encoding = Encoding { name: "latin-1".into(), errors: "strict".into() };
        let Ok(Value::Text(text)) = run(&Read::text(&path, encoding)) else { panic!("no text") };
        let Text { bytes: value, encoding, errors } = *text;
        assert_eq!((&*encoding, &*errors), ("latin-1", "strict"));
        assert!(bytes(Ok(value)) == noise(size));
    }
}

#[test]
fn a_file_that_changes_between_stat_and_read() {
    let folder = Folder::new();
    let size = SMALL * 2;
    for now in [0, 1, size - 1, size, size + 1, size + 511, size + 512, size + 513, size * 20] {
        let path = folder.file("file", &noise(size));
        let (call, held) = start_held(&Read::bytes(&path));
        let (sizes, then) = held.recv().unwrap();
        assert_eq!(sizes, [size]);
        fs::write(&path, noise(now)).unwrap();
        then(Vectors::of(&sizes));
        let outcome = call.outcome();
        let Ok(Value::Filled(filled)) = &outcome else { panic!("{outcome:?}") };
        assert_eq!((filled.lengths[0], filled.tails.len()), (now.min(size), usize::from(now > size)));
        assert!(bytes(outcome) == noise(now), "{now}");
    }
}

#[test]
fn while_the_host_makes_buffers() {
    let folder = Folder::new();
    let path = folder.file("file", &noise(SMALL * 2));
    let read = Read::bytes(&path);
    // Aborted.
    let (call, held) = start_held(&read);
    let (sizes, then) = held.recv().unwrap();
    call.abort.abort();
    assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
    then(Vectors::of(&sizes));
    assert!(call.within(20).is_none());
    // The host is gone.
    let (call, held) = start_held(&read);
    drop(held.recv().unwrap());
    assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
    // The file is gone.
    let (call, held) = start_held(&read);
    let (sizes, then) = held.recv().unwrap();
    fs::remove_file(&path).unwrap();
    then(Vectors::of(&sizes));
    assert_eq!(os_error(call.outcome()), (libc::ENOENT, Some(path)));
}

#[test]
fn what_the_kernel_makes_up_is_read_to_its_end() {
    assert_eq!(bytes(run(&Read::bytes("/proc/version"))), fs::read("/proc/version").unwrap());
    assert_eq!(bytes(run(&Read::bytes("/proc/sys/kernel/pid_max"))), fs::read("/proc/sys/kernel/pid_max").unwrap());
    assert!(bytes(run(&Read::bytes("/dev/null"))).is_empty());
    let maps = bytes(run(&Read::bytes("/proc/self/maps")));
    assert!(maps.len() > 2000 && maps.ends_with(b"\n"));
}

#[test]
fn errors_name_the_file() {
    let folder = Folder::new();
    let absent = folder.path("absent");
    assert_eq!(os_error(run(&Read::bytes(&absent))), (libc::ENOENT, Some(absent)));
    assert_eq!(os_error(run(&Read::bytes(folder.root()))), (libc::EISDIR, Some(folder.root().to_path_buf())));
    let around = folder.link("around", "around");
    assert_eq!(os_error(run(&Read::bytes(&around))), (libc::ELOOP, Some(around)));
    assert!(matches!(run(&Read::bytes("a\0b")), Err(Error::Invalid(text)) if text == "embedded null byte"));
}

#[test]
fn pipes_that_nobody_writes_are_aborted_and_the_pool_stays_usable() {
    let folder = Folder::new();
    let small = folder.file("small", b"x");
    let fifo = folder.fifo("fifo");
    let waiting: Vec<Call> = (0..8).map(|_| start(&Read::bytes(&fifo))).collect();
    assert_eq!(bytes(run(&Read::bytes(&small))), b"x");
    assert!(waiting.iter().all(|call| call.within(1).is_none()));
    for call in &waiting {
        call.abort.abort();
        assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
    }
    assert_eq!(bytes(run(&Read::bytes(&small))), b"x");
}

#[test]
fn a_pipe_is_read_until_its_writer_closes_it() {
    let folder = Folder::new();
    let fifo = folder.fifo("fifo");
    let call = start(&Read::bytes(&fifo));
    let mut writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    assert!(call.within(100).is_none(), "open and silent is not the end");
    let content = noise(300_000);
    writer.write_all(&content[..100_000]).unwrap();
    assert!(call.within(60).is_none());
    writer.write_all(&content[100_000..]).unwrap();
    drop(writer);
    assert!(bytes(call.outcome()) == content);
}
