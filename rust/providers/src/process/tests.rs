//! Real children, of programs that every system has.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use mountain_core::effect::Outcome;
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::{CloseStdin, Command, Completed, End, Failed, Live, Next, Open, Part, Run, Send, Wait, Why, sweep, sys};
use crate::testing::{bytes, os_error, run, start};

fn command(argv: &[&str]) -> Arc<Command> {
    Arc::new(Command::new(argv.iter().map(OsString::from).collect(), None, std::env::vars_os(), true).unwrap())
}

fn shell(script: &str) -> Run {
    Run { command: command(&["sh", "-c", script]), input: None, check: true, max_output: None }
}

fn completed(outcome: Outcome) -> Completed {
    match outcome {
        Ok(Value::Other(any)) => *any.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn failed(outcome: Outcome) -> Failed {
    match outcome {
        Err(Error::Other(any)) => {
            let any: Box<dyn std::any::Any> = any;
            *any.downcast().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn open(argv: &[&str]) -> Arc<Live> {
    match run(&Open { command: command(argv), owner: None, terminal: None }) {
        Ok(Value::Other(any)) => Arc::new(*any.downcast().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn next(live: &Arc<Live>, part: Part) -> Next {
    Next { live: live.clone(), part, stderr: false, watches: false }
}

fn end(live: &Arc<Live>, grace: Duration) {
    assert!(matches!(run(&End { live: live.clone(), grace }), Ok(Value::Unit)));
}

#[test]
fn output_and_codes() {
    let done = completed(run(&shell("echo out; echo err >&2")));
    assert_eq!((done.code, &*done.stdout, &*done.stderr), (0, &b"out\n"[..], &b"err\n"[..]));
    let e = failed(run(&shell("exit 3")));
    assert_eq!((e.completed.code, e.why), (3, Why::Code));
    let done = completed(run(&Run { check: false, ..shell("kill -9 $$") }));
    assert_eq!(done.code, -9);
}

#[test]
fn more_input_than_a_pipe_holds() {
    let data = vec![b'x'; 1 << 20];
    let cat = Run { command: command(&["cat"]), input: Some(Arc::new(data.clone())), check: true, max_output: None };
    assert!(completed(run(&cat)).stdout == data);
}

#[test]
fn an_abort_ends_the_group_and_keeps_what_there_was() {
    let call = start(&shell("echo part; sleep 1000 & sleep 1000"));
    assert!(call.within(300).is_none());
    call.abort.abort();
    let e = failed(call.outcome());
    assert!(matches!(e.why, Why::Stopped(after) if after > Duration::from_millis(200)));
    assert_eq!((e.completed.code, &*e.completed.stdout), (-9, &b"part\n"[..]));
}

#[test]
fn aborts_at_any_moment_are_answered() {
    let calls: Vec<_> = (0..100)
        .map(|n| {
            let call = start(&shell("exit 0"));
            if n % 3 > 0 {
                // Sooner or later in its start.
                call.within(n % 3);
                call.abort.abort();
            }
            call
        })
        .collect();
    for call in calls {
        // One whose outcome has been seen above has no other.
        let _ = call.within(2000);
        assert!(call.within(0).is_none());
    }
}

#[test]
fn too_much_output_ends_it() {
    let e = failed(run(&Run { max_output: Some(10_000), ..shell("yes") }));
    assert_eq!(e.why, Why::TooMuch(10_000));
}

#[test]
fn what_cannot_be_started() {
    let run_at = |program: &str, folder: Option<&str>| {
        let command = Command::new(vec![program.into()], folder.map(Into::into), std::env::vars_os(), true).unwrap();
        os_error(run(&Run { command: Arc::new(command), input: None, check: true, max_output: None }))
    };
    assert_eq!(run_at("mountain-no-such-program", None), (libc::ENOENT, Some(PathBuf::from("mountain-no-such-program"))));
    assert_eq!(run_at("/etc/passwd", None), (libc::EACCES, Some(PathBuf::from("/etc/passwd"))));
    assert_eq!(run_at("true", Some("/no/such/folder")), (libc::ENOENT, Some(PathBuf::from("/no/such/folder"))));
    for (argv, name) in [(vec![], "A"), (vec!["a\0b"], "A"), (vec!["a"], "A=B"), (vec!["a"], "")] {
        let argv = argv.into_iter().map(OsString::from).collect();
        assert!(matches!(Command::new(argv, None, [(name.into(), "x".into())], true), Err(Error::Invalid(_))));
    }
}

#[test]
fn lines_chunks_and_the_end_of_stdin() {
    let live = open(&["cat"]);
    let send = |data: &'static [u8]| run(&Send { live: live.clone(), data: Arc::new(data) });
    assert!(send(b"one\ntwo\nth").is_ok());
    assert_eq!(bytes(run(&next(&live, Part::Line))), b"one\n");
    match run(&next(&live, Part::Lines)) {
        Ok(Value::List(lines)) => assert_eq!(lines.into_iter().map(|l| bytes(Ok(l))).collect::<Vec<_>>(), [b"two\n"]),
        other => panic!("{other:?}"),
    }
    let waiting = start(&next(&live, Part::Line));
    assert!(waiting.within(50).is_none());
    assert!(run(&CloseStdin(live.clone())).is_ok());
    assert_eq!(bytes(waiting.outcome()), b"th");
    assert!(matches!(run(&next(&live, Part::Chunk)), Ok(Value::Unit)));
    assert!(matches!(run(&Wait { live: live.clone(), watches: false }), Ok(Value::Int(0))));
    assert_eq!(os_error(send(b"late")).0, libc::EPIPE);
    end(&live, Duration::ZERO);
    assert_eq!(live.signal(libc::SIGTERM), Err(libc::ESRCH));
}

#[test]
fn a_request_that_is_given_up_leaves_its_line_to_the_next() {
    let live = open(&["cat"]);
    let given_up = start(&next(&live, Part::Line));
    given_up.abort.abort();
    assert!(matches!(given_up.outcome(), Err(Error::Cancelled)));
    assert!(run(&Send { live: live.clone(), data: Arc::new(*b"line\n") }).is_ok());
    assert_eq!(bytes(run(&next(&live, Part::Line))), b"line\n");
    end(&live, Duration::ZERO);
}

#[test]
fn what_does_not_reach_its_caller_is_next_again() {
    let live = open(&["cat"]);
    assert!(run(&Send { live: live.clone(), data: Arc::new(*b"one\ntwo\nthree\nfour\n") }).is_ok());
    assert_eq!(bytes(run(&next(&live, Part::Line))), b"one\n");
    drop(start(&next(&live, Part::Line)).untaken(10_000));
    assert_eq!(bytes(run(&next(&live, Part::Line))), b"two\n");
    drop(start(&next(&live, Part::Lines)).untaken(10_000));
    assert_eq!(bytes(run(&next(&live, Part::Line))), b"three\n");
    drop(start(&next(&live, Part::Chunk)).untaken(10_000));
    // A call that waits already has it at once.
    let last = start(&next(&live, Part::Chunk)).untaken(10_000);
    let waiting = start(&next(&live, Part::Line));
    assert!(waiting.within(20).is_none());
    drop(last);
    assert_eq!(bytes(waiting.outcome()), b"four\n");
    end(&live, Duration::ZERO);
}

#[test]
fn a_polite_end_has_its_time() {
    let live = open(&["sh", "-c", "trap 'exit 5' TERM; echo; while :; do sleep 0.01; done"]);
    assert_eq!(bytes(run(&next(&live, Part::Line))), b"\n");
    end(&live, Duration::from_secs(10));
    assert_eq!(live.code(), Some(5));
    let live = open(&["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.01; done"]);
    assert_eq!(bytes(run(&next(&live, Part::Line))), b"\n");
    end(&live, Duration::from_millis(50));
    assert_eq!(live.code(), Some(-9));
}

#[test]
fn a_sweep_takes_what_was_opened_under_its_owner() {
    let owned = |owner| match run(&Open { command: command(&["sleep", "1000"]), owner, terminal: None }) {
        Ok(Value::Other(any)) => *any.downcast::<Live>().unwrap(),
        other => panic!("{other:?}"),
    };
    let (ours, other) = (Arc::new(owned(Some(7))), Arc::new(owned(Some(8))));
    assert_eq!(sweep(Some(7)), [(ours.pid(), "sleep 1000".to_owned())]);
    assert!(matches!(run(&Wait { live: ours, watches: false }), Ok(Value::Int(-9))));
    assert_eq!(other.code(), None);
    end(&other, Duration::ZERO);
}

#[test]
fn a_child_that_is_dropped_is_killed() {
    let live = open(&["sleep", "1000"]);
    let pid = live.pid();
    drop(live);
    // Reaped: the number names no process any more, or soon will not.
    for _ in 0..1000 {
        // SAFETY: asks only.
        if unsafe { libc::kill(pid, 0) } < 0 {
            return;
        }
        let _ = run(&shell("sleep 0.01"));
    }
    panic!("{pid} lives");
}

#[test]
#[cfg(target_os = "linux")]
fn without_pidfds_threads_wait() {
    use super::birth::WITHOUT_PIDFDS;

    WITHOUT_PIDFDS.store(true, Ordering::SeqCst);
    let calls: Vec<_> = (0..20).map(|n| start(&Run { check: false, ..shell(&format!("exit {n}")) })).collect();
    for (n, call) in (0..20).zip(calls) {
        assert_eq!(completed(call.outcome()).code, n);
    }
    let live = open(&["sleep", "1000"]);
    end(&live, Duration::from_secs(10));
    assert_eq!(live.code(), Some(-libc::SIGTERM));
    WITHOUT_PIDFDS.store(false, Ordering::SeqCst);
}

/// How children start where there is no `clone`, shown here too.
#[cfg(target_os = "linux")]
#[path = "birth_elsewhere.rs"]
mod elsewhere;

#[test]
#[cfg(target_os = "linux")]
fn a_birth_without_clone() {
    let ours = |argv: &[&str], folder: Option<&str>| {
        let argv = argv.iter().map(OsString::from).collect();
        Arc::new(Command::new(argv, folder.map(Into::into), [("A".into(), "b=c".into())], true).unwrap())
    };
    // On a thread of its own: the nursery blocks the signals there.
    #[expect(clippy::disallowed_methods, reason = "a test's own")]
    std::thread::spawn(move || {
        let mut nursery = elsewhere::Nursery::new().unwrap();
        let number = AtomicI32::new(0);
        let (reader, writer) = sys::pipe().unwrap();
        let script = ours(&["/bin/sh", "-c", "echo $A; ls /dev/fd | wc -l; kill -15 $$"], Some("/tmp"));
        let born = nursery.bear(&script, [None, Some(&writer), None], false, &number).unwrap();
        drop(writer);
        assert!(born.pidfd.is_none());
        assert_eq!(number.load(Ordering::SeqCst), born.pid);
        assert_eq!(sys::ended(born.pid, true).unwrap(), Some(-15));
        // SAFETY: asks only; a zombie still leads its group.
        assert_eq!(unsafe { libc::getpgid(born.pid) }, born.pid);
        sys::reap(born.pid);
        let mut said = [0; 100];
        let n = sys::read(&reader.as_fd().try_clone_to_owned().unwrap(), &mut said).unwrap();
        assert_eq!(std::str::from_utf8(&said[..n]).unwrap().split_whitespace().collect::<Vec<_>>(), ["b=c", "4"]);
        for (command, about) in [(ours(&["/no/such"], None), "/no/such"), (ours(&["true"], Some("/no/folder")), "/no/folder")] {
            let refused = nursery.bear(&command, [None, None, None], false, &number).err().unwrap();
            assert_eq!(os_error(Err(refused)), (libc::ENOENT, Some(PathBuf::from(about))));
        }
    })
    .join()
    .unwrap();
}
