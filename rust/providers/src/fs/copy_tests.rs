use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::testing::{Folder, os_error, run, start_job};

fn to_copy(from: &Path, to: &Path) -> Outcome {
    run(&Copy::new(from, to, true))
}

#[test]
fn content_and_permissions_are_copied_and_nothing_is_left_over() {
    let folder = Folder::new();
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let from = folder.file("from", &content);
    fs::set_permissions(&from, fs::Permissions::from_mode(0o750)).unwrap();
    let to = folder.path("to");
    for _ in 0..2 {
        to_copy(&from, &to).unwrap();
        assert!(fs::read(&to).unwrap() == content);
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o750);
        fs::write(&to, "old, to be replaced").unwrap();
    }
    to_copy(Path::new("/proc/version"), &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), fs::read("/proc/version").unwrap());
    to_copy(&to, &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), fs::read("/proc/version").unwrap());
    assert_eq!(folder.names(), ["from", "to"]);
}

#[test]
fn the_rest_is_copied_where_the_system_does_not() {
    let folder = Folder::new();
    let from = folder.file("from", &vec![7; 2_500_000]);
    let mut to = File::create(folder.path("to")).unwrap();
    let (source, named) = (File::open(&from).unwrap(), Path::new("to"));
    let content = FileContent { from: &source, path: &from, named };
    assert_eq!(content.copy_rest(None, &mut to, 0).unwrap(), 2_500_000);
    assert!(fs::read(folder.path("to")).unwrap() == vec![7; 2_500_000]);
}

#[test]
fn errors_of_copies_name_the_side() {
    let folder = Folder::new();
    let file = folder.file("file", b"x");
    let missing = folder.path("missing");
    assert_eq!(os_error(to_copy(&missing, &file)), (libc::ENOENT, Some(missing.clone())));
    assert_eq!(os_error(to_copy(folder.root(), &file)), (libc::EISDIR, Some(folder.root().into())));
    assert_eq!(os_error(to_copy(&file, folder.root())), (libc::EISDIR, Some(folder.root().into())));
    assert_eq!(os_error(to_copy(&folder.fifo("fifo"), &file)).0, libc::EINVAL);
    assert_eq!(os_error(to_copy(&file, &folder.path("fifo"))).0, libc::EINVAL);
    let below = missing.join("below");
    assert_eq!(os_error(to_copy(&file, &below)).0, libc::ENOENT);
    assert_eq!((fs::read(&file).unwrap(), folder.names()), (b"x".to_vec(), vec!["fifo".into(), "file".into()]));
}

#[test]
fn moves_replace_files_and_name_both_sides_in_errors() {
    let folder = Folder::new();
    let (from, to) = (folder.file("from", b"new"), folder.file("to", b"old"));
    run(&Move::new(&from, &to, true)).unwrap();
    assert_eq!((fs::read(&to).unwrap(), folder.names()), (b"new".to_vec(), vec!["to".to_string()]));
    match run(&Move::new(&from, &to, true)) {
        Err(Error::Os(e)) => {
            assert_eq!((e.errno, e.path, e.path2), (libc::ENOENT, Some(from.into()), Some(to.into())));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_goes_to_another_file_system_as_a_copy_and_a_folder_does_not() {
    let folder = Folder::new();
    let (from, to) = (folder.file("from", b"new"), folder.path("to"));
    let elsewhere = |_: &Path, _: &Path| Err(io::Error::from_raw_os_error(libc::EXDEV));
    let moved = |from: PathBuf, to: PathBuf| {
        start_job(Grip::Firm, move |job| Step::Answer(rename_or_copy(job, &from.into(), &to.into(), true, &elsewhere))).outcome()
    };
    moved(from, to.clone()).unwrap();
    assert_eq!((fs::read(&to).unwrap(), folder.names()), (b"new".to_vec(), vec!["to".to_string()]));
    let refused = os_error(moved(folder.dir("folder"), folder.path("other")));
    assert_eq!(refused, (libc::EXDEV, Some(folder.path("folder"))));
}
