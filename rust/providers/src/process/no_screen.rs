//! A build without terminals has no screens.

use super::pty::Size;

pub(super) enum Screen {}

impl Screen {
    pub(super) fn new(_: Size) -> Option<Self> {
        None
    }
    pub(super) fn put(&mut self, _: &[u8]) {
        match *self {}
    }
    pub(super) fn draw(&mut self) -> bool {
        match *self {}
    }
    pub(super) fn take_replies(&mut self) -> Vec<u8> {
        match *self {}
    }
    pub(super) fn behind(&self) -> usize {
        match *self {}
    }
    pub(super) fn resize(&mut self, _: Size) {
        match *self {}
    }
    pub(super) fn text(&self) -> String {
        match *self {}
    }
}
