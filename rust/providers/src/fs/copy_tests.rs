use std::os::unix::fs::{FileExt, PermissionsExt};

use super::super::content::Content;
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
    let to = File::create(folder.path("to")).unwrap();
    let (source, named) = (File::open(&from).unwrap(), Path::new("to"));
    let content = FileContent { from: &source, path: &from, named };
    assert_eq!(content.copy(None, &to, false, false).unwrap(), 2_500_000);
    assert!(fs::read(folder.path("to")).unwrap() == vec![7; 2_500_000]);
}

#[test]
fn holes_are_copied_as_holes() {
    let folder = Folder::new();
    let sparse = |name: &str, data: &[u64], size: u64| {
        let file = File::create(folder.path(name)).unwrap();
        for at in data {
            file.write_all_at(b"data", *at).unwrap();
        }
        file.set_len(size).unwrap();
        folder.path(name)
    };
    let to = folder.path("to");
    let cases: [(&[u64], u64); 5] =
        [(&[20 << 20], 50 << 20), (&[0, 20 << 20], (20 << 20) + 4), (&[], 30 << 20), (&[7], 8 << 20), (&[1 << 40], 1 << 41)];
    for (number, (data, size)) in cases.into_iter().enumerate() {
        let from = sparse(&format!("from{number}"), data, size);
        let source = File::open(&from).unwrap();
        let content = FileContent { from: &source, path: &from, named: &to };
        for ranges in [true, false] {
            let copied = File::create(&to).unwrap();
            assert_eq!(content.copy(None, &copied, true, ranges).unwrap(), size);
        }
        to_copy(&from, &to).unwrap();
        let about = fs::metadata(&to).unwrap();
        assert!(about.len() == size && about.blocks() * 512 < 1 << 20, "{number}: {about:?}");
        let (mut at, copied) = ([0; 4], File::open(&to).unwrap());
        for place in data {
            copied.read_exact_at(&mut at, *place).unwrap();
            assert_eq!(&at, b"data");
        }
    }
    // In place, what was there does not show through.
    let (from, old) = (sparse("hole", &[8 << 20], 9 << 20), folder.file("old", &vec![7; 10 << 20]));
    let (source, mut target) = (File::open(&from).unwrap(), OpenOptions::new().write(true).open(&old).unwrap());
    let content = FileContent { from: &source, path: &from, named: &old };
    let length = content.write_to(None, &mut target).unwrap();
    assert_eq!(length, 9 << 20);
    assert!(fs::read(&old).unwrap()[..9 << 20] == fs::read(&from).unwrap());
}

/// A copy whose first way is refused begins anew.
#[test]
fn a_copy_in_place_has_the_whole_content() {
    let folder = Folder::new();
    let (from, to) = (folder.file("from", b"the whole content"), folder.file("to", b"old"));
    for way in [libc::EBUSY, libc::EPERM] {
        let (from, to) = (from.clone(), to.clone());
        let job = start_job(Grip::Firm, move |job| {
            let (source, old) = (File::open(&from).unwrap(), fs::metadata(&to).ok());
            let at = Place::from(&to).at(true).unwrap();
            let content = FileContent { from: &source, path: &from, named: &to };
            let what = Put { named: &to, target: &to, at: &at, content: &content, like: Like::default(), durable: true };
            Step::Answer(put(job, &what, old.as_ref(), &|_, _| Err(io::Error::from_raw_os_error(way))))
        });
        job.outcome().unwrap();
        assert_eq!(fs::read(folder.path("to")).unwrap(), b"the whole content");
    }
}

/// A content that looks at the file that it goes to.
struct Looks(fs::Permissions);

impl Content for Looks {
    fn write_to(&self, _job: Option<&Job>, to: &mut File) -> Result<u64, Error> {
        assert_eq!(to.metadata().unwrap().mode() & 0o777, self.0.mode());
        Ok(0)
    }
}

#[test]
fn a_private_file_is_private_while_it_is_copied() {
    let folder = Folder::new();
    let old = folder.file("old", b"");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
    for target in [old, folder.path("new")] {
        let job = start_job(Grip::Firm, move |job| {
            let at = Place::from(&target).at(true).unwrap();
            let content = Looks(fs::Permissions::from_mode(0o600));
            Step::Answer(replace(job, &target, &at, fs::metadata(&target).ok().as_ref(), &content, Some(0o600), false))
        });
        job.outcome().unwrap();
    }
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

/// A move that the system refuses as one between two file systems.
fn moved(from: &Path, to: &Path) -> Outcome {
    let (from, to) = (from.to_path_buf(), to.to_path_buf());
    let elsewhere = |_: &Path, _: &Path| Err(io::Error::from_raw_os_error(libc::EXDEV));
    start_job(Grip::Firm, move |job| Step::Answer(rename_or_copy(job, &from.into(), &to.into(), true, &elsewhere))).outcome()
}

#[test]
fn a_file_goes_to_another_file_system_as_a_copy_and_a_folder_does_not() {
    let folder = Folder::new();
    let (from, to) = (folder.file("from", b"new"), folder.path("to"));
    fs::set_permissions(&from, fs::Permissions::from_mode(0o4710)).unwrap();
    let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    File::options().write(true).open(&from).unwrap().set_modified(modified).unwrap();
    moved(&from, &to).unwrap();
    assert_eq!((fs::read(&to).unwrap(), folder.names()), (b"new".to_vec(), vec!["to".to_string()]));
    let about = fs::metadata(&to).unwrap();
    assert_eq!((about.mode() & 0o7777, about.modified().unwrap()), (0o4710, modified));
    let refused = os_error(moved(&folder.dir("folder"), &folder.path("other")));
    assert_eq!(refused, (libc::EXDEV, Some(folder.path("folder"))));
}

#[test]
fn a_move_elsewhere_takes_the_name_that_a_rename_would_take() {
    let folder = Folder::new();
    let (from, kept) = (folder.file("from", b"new"), folder.file("kept", b"kept"));
    let link = folder.link("link", "kept");
    moved(&from, &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_file() && fs::read(&kept).unwrap() == b"kept");
    let to_itself = folder.link("to-itself", "link");
    moved(&link, &to_itself).unwrap();
    assert_eq!((fs::read(&to_itself).unwrap(), folder.names()), (b"new".to_vec(), vec!["kept".into(), "to-itself".into()]));
    // Of one file, as two mounts of a folder have it.
    fs::hard_link(&kept, folder.path("again")).unwrap();
    moved(&kept, &folder.path("again")).unwrap();
    assert_eq!(fs::read(&kept).unwrap(), b"kept");
    moved(&kept, &kept).unwrap();
    assert_eq!(fs::read(&kept).unwrap(), b"kept");
    let into = os_error(moved(&kept, &folder.dir("folder")));
    assert_eq!(into, (libc::EISDIR, Some(folder.path("folder"))));
    assert_eq!(os_error(moved(&kept, &folder.path("none/below"))).0, libc::ENOENT);
    assert_eq!(fs::read(&kept).unwrap(), b"kept");
}
