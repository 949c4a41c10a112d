//! The state of each key, in chunks: a million keys are never copied to a larger place, and a chunk whose keys are all
//! forgotten is freed.

use super::machine::State;

const CHUNK: usize = 64;

#[derive(Debug)]
struct Chunk {
    /// One bit for each state that is in use; the others are as new.
    used: u64,
    states: [State; CHUNK],
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    chunks: Vec<Option<Box<Chunk>>>,
}

/// The chunk of a key, its place in the chunk, and the bit of that place.
fn place(key: u32) -> (usize, usize, u64) {
    let at = key as usize % CHUNK;
    (key as usize / CHUNK, at, 1 << at)
}

impl Keys {
    pub(super) fn get(&self, key: u32) -> Option<&State> {
        let (chunk, at, bit) = place(key);
        let chunk = self.chunks.get(chunk)?.as_ref()?;
        (chunk.used & bit != 0).then(|| &chunk.states[at])
    }

    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut State> {
        let (chunk, at, bit) = place(key);
        let chunk = self.chunks.get_mut(chunk)?.as_mut()?;
        (chunk.used & bit != 0).then(|| &mut chunk.states[at])
    }

    /// Made when there is none.
    pub(super) fn entry(&mut self, key: u32) -> &mut State {
        let (chunk, at, bit) = place(key);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = self.chunks[chunk]
            .get_or_insert_with(|| Box::new(Chunk { used: 0, states: std::array::from_fn(|_| State::default()) }));
        chunk.used |= bit;
        &mut chunk.states[at]
    }

    pub(super) fn forget(&mut self, key: u32) {
        let (number, at, bit) = place(key);
        let Some(Some(chunk)) = self.chunks.get_mut(number) else { return };
        chunk.used &= !bit;
        chunk.states[at] = State::default();
        if chunk.used == 0 {
            self.chunks[number] = None;
            let last = self.chunks.iter().rposition(Option::is_some);
            self.chunks.truncate(last.map_or(0, |last| last + 1));
            if self.chunks.len() <= self.chunks.capacity() / 4 {
                self.chunks.shrink_to(self.chunks.len() * 2);
            }
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut State)> {
        self.chunks.iter_mut().enumerate().filter_map(|(i, chunk)| Some((i, chunk.as_mut()?))).flat_map(|(i, chunk)| {
            let used = chunk.used;
            let states = chunk.states.iter_mut().enumerate().filter(move |(at, _)| used >> at & 1 != 0);
            states.map(move |(at, state)| ((i * CHUNK + at) as u32, state))
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &State)> {
        let chunks = self.chunks.iter().enumerate().filter_map(|(i, chunk)| Some((i, chunk.as_ref()?)));
        chunks.flat_map(|(i, chunk)| {
            let states = chunk.states.iter().enumerate().filter(|(at, _)| chunk.used >> at & 1 != 0);
            states.map(move |(at, state)| ((i * CHUNK + at) as u32, state))
        })
    }

    /// The bytes that it has allocated, without the logs and lines of the keys.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().flatten().count();
        chunks * size_of::<Chunk>() + self.chunks.capacity() * size_of::<Option<Box<Chunk>>>()
    }
}
