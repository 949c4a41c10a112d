//! Operations whose only purpose is to measure and to test the way there and back.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use mountain_core::effect::{Abort, Abortable, Done, Host, Operation};
use mountain_core::error::{Error, OsError};
use mountain_core::runtime::spawn;
use mountain_core::sync::Mutex;
use mountain_core::time::{Key, sleep_until};
use mountain_core::value::Value;

/// Yields its number, on the worker that begins it.
pub struct Noop(pub i64);

impl Operation for Noop {
    fn wants_a_worker(&self) -> bool {
        true
    }

    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        done.finish(Ok(Value::Int(self.0)));
        Abort::Never
    }
}

/// Fails with that errno, on a worker.
pub struct Fail(pub i32);

impl Operation for Fail {
    fn wants_a_worker(&self) -> bool {
        true
    }

    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        let errno = self.0;
        spawn(host, done, async move { Err(Error::Os(Box::new(OsError { errno, path: None, path2: None, advice: None }))) })
    }
}

/// A bug in native code.
pub struct Panic;

impl Operation for Panic {
    fn wants_a_worker(&self) -> bool {
        true
    }

    #[expect(clippy::panic, reason = "its purpose")]
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        spawn(host, done, async { panic!("a panic on purpose") })
    }
}

/// Appends a byte to a file every `every`, until it is aborted.
pub struct Tick {
    pub path: PathBuf,
    pub every: Duration,
}

impl Operation for Tick {
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        let (path, every, clock) = (self.path.clone(), self.every, host.clock.clone());
        spawn(host, done, async move {
            loop {
                sleep_until(&clock, clock.now().after(every)).await;
                let written =
                    std::fs::OpenOptions::new().append(true).create(true).open(&path).and_then(|mut f| f.write_all(b"."));
                if let Err(e) = written {
                    return Err(Error::io(&e, path.clone().into_os_string()));
                }
            }
        })
    }
}

/// Asleep on the deadline heap: no task, no thread, one allocation.
pub struct Nap(pub Duration);

impl Operation for Nap {
    fn start(&self, host: &Arc<Host>, done: Done) -> Abort {
        let sleeper = Arc::new(Sleeper(Mutex::new(Some((done, None))), host.clone()));
        let key = host.clock.arm(host.clock.now().after(self.0), Waker::from(sleeper.clone()));
        if let Some((_, armed)) = &mut *sleeper.0.lock() {
            *armed = Some(key);
        }
        Abort::Shared(sleeper)
    }
}

struct Sleeper(Mutex<Option<(Done, Option<Key>)>>, Arc<Host>);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        // Out of the lock first: the winner of a race aborts its siblings, and itself, from within `finish`.
        let taken = self.0.lock().take();
        if let Some((done, _)) = taken {
            done.finish(Ok(Value::Unit));
        }
    }
}

impl Abortable for Sleeper {
    fn abort(&self) {
        let taken = self.0.lock().take();
        if let Some((done, key)) = taken {
            if let Some(key) = key {
                self.1.clock.disarm(key);
            }
            drop(done);
        }
    }
}
