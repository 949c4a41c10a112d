//! Buffers come from the sink at the root, through programs and groups alike.

use std::sync::{Arc, Mutex};

use mountain_core::effect::{Abort, Done, Group, Mode, Operation, Outcome, Sink};
use mountain_core::error::Error;
use mountain_core::value::Memory;

use super::common::{Desk, Does, limit, program, retry, secs};

/// Asks for two buffers; how it would use them does not matter, since the sink has none.
fn asks() -> impl Operation {
    Does::new(|_, _, done| {
        done.allocate(vec![3, 5], |_memory, done| drop(done));
        Abort::Never
    })
}

fn wrapped() -> Vec<Box<dyn Operation>> {
    let stack = [limit(secs(5)), retry(3, 0.0)];
    vec![
        Box::new(asks()),
        Box::new(program(asks(), &stack)),
        Box::new(program(Group { children: vec![Arc::new(program(asks(), &stack))], mode: Mode::All, told: None }, &stack)),
    ]
}

#[test]
fn a_call_that_gets_none_is_cancelled() {
    for operation in wrapped() {
        let desk = Desk::new();
        assert!(matches!(desk.run(&*operation), Err(Error::Cancelled)));
    }
}

/// Notes what it is asked for.
#[derive(Default)]
struct Root {
    sizes: Mutex<Vec<Vec<usize>>>,
}

impl Sink for Root {
    fn deliver(&self, _token: usize, _outcome: Outcome) {}

    fn allocate(&self, sizes: Vec<usize>, _then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        self.sizes.lock().unwrap().push(sizes);
    }
}

#[test]
fn the_root_is_asked_once() {
    for operation in wrapped() {
        let (desk, root) = (Desk::new(), Arc::new(Root::default()));
        operation.start(&desk.host, Done::new(root.clone(), 0));
        desk.settle();
        assert_eq!(*root.sizes.lock().unwrap(), [[3, 5]]);
    }
}
