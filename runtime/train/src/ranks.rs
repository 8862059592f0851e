//! A session as one of several ranks: its place in each batch, and the values it exchanges with the others in the middle of a step.

use dlc_abi::{BufferRole, ExchangeDesc, ExchangeKind, Manifest};
use dlc_comm::{Communicator, Counted, Traffic};
use dlc_exec::Workspace;
use std::ops::Range;

use crate::error::TrainError;

/// The input that tells a program of a part its place: examples of the whole batch, examples before the part, shards before it.
pub(crate) const WINDOW_INPUT: &str = "@window";

/// A block of the shards of each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardBlock {
    /// The first of them.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// How many the whole batch has.
    pub of: u32,
}

impl ShardBlock {
    /// Which examples of a batch belong to the block: shard s begins at `floor(batch * s / of)`.
    pub fn examples(self, batch: usize) -> Range<usize> {
        let cut = |shard: u32| (batch as u128 * u128::from(shard) / u128::from(self.of)) as usize;
        cut(self.first)..cut(self.first + self.count)
    }
}

/// This rank among all ranks.
#[derive(Debug)]
pub(crate) struct Ranks {
    comm: Counted,
    block: ShardBlock,
    /// Whether this rank wants the run to stop.
    wish: bool,
    /// Whether some rank wanted it in the last exchange, which all ranks know alike.
    agreed: bool,
}

impl Ranks {
    pub fn new(comm: Box<dyn Communicator>, block: ShardBlock) -> Self {
        Ranks { comm: Counted::new(comm), block, wish: false, agreed: false }
    }

    pub fn block(&self) -> ShardBlock {
        self.block
    }

    pub fn rank(&self) -> usize {
        self.comm.rank()
    }

    pub fn ranks(&self) -> usize {
        self.comm.ranks()
    }

    pub fn agree_to_stop(&mut self, wish: bool) -> bool {
        self.wish |= wish;
        self.agreed
    }

    pub fn traffic(&self) -> Traffic {
        self.comm.traffic()
    }

    /// What [`WINDOW_INPUT`] holds for a batch.
    pub fn window(&self, batch: usize) -> Result<[i32; 3], TrainError> {
        let before = self.block.examples(batch).start;
        let value = |count: usize| {
            i32::try_from(count).map_err(|_| TrainError::Range {
                name: "batch".to_owned(),
                value: count.to_string(),
            })
        };
        Ok([value(batch)?, value(before)?, value(self.block.first as usize)?])
    }
}

/// The exchanges of a program, gathered where they are due: one message to each other rank at each place.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    places: Vec<Place>,
}

/// Exchanges that take place before the same segment.
#[derive(Debug)]
struct Place {
    before: usize,
    exchanges: Vec<Sized>,
    /// Bytes to and from each rank: a row of each exchange, then a byte that tells whether the rank wants the run to stop.
    given: Vec<Vec<u8>>,
    taken: Vec<Vec<u8>>,
}

/// An exchange with the bytes of a row of what is taken.
#[derive(Debug)]
struct Sized {
    desc: ExchangeDesc,
    row: usize,
}

impl Exchanges {
    /// The exchanges of a program between `ranks` ranks.
    ///
    /// # Errors
    /// When the program was made for another number of parts.
    pub fn of(manifest: &Manifest, ranks: usize) -> Result<Self, TrainError> {
        let mut places: Vec<Place> = Vec::new();
        for desc in &manifest.exchanges {
            let taken = &manifest.buffers[desc.to];
            let rows = taken.shape.first().and_then(|dim| dim.as_fixed());
            if rows != i64::try_from(ranks).ok() || taken.role != BufferRole::Message {
                return Err(TrainError::Contract {
                    program: manifest.name.clone(),
                    problem: format!("it was made for {rows:?} parts, not {ranks}"),
                });
            }
            let elements: i64 = taken.shape[1..].iter().map(|dim| dim.at(0)).product();
            let row = elements as usize * taken.elem.size();
            let at = match places.iter().position(|place| place.before == desc.before) {
                Some(at) => at,
                None => {
                    places.push(Place {
                        before: desc.before,
                        exchanges: Vec::new(),
                        given: vec![vec![0]; ranks],
                        taken: vec![vec![0]; ranks],
                    });
                    places.len() - 1
                }
            };
            let place = &mut places[at];
            place.exchanges.push(Sized { desc: desc.clone(), row });
            for message in place.given.iter_mut().chain(&mut place.taken) {
                message.resize(message.len() + row, 0);
            }
        }
        places.sort_by_key(|place| place.before);
        Ok(Exchanges { places })
    }

    /// How many places there are.
    pub fn n_places(&self) -> usize {
        self.places.len()
    }

    /// The segment before which a place comes.
    pub fn before(&self, place: usize) -> usize {
        self.places[place].before
    }

    /// Makes the exchanges of a place.
    ///
    /// # Errors
    /// When another rank is gone.
    pub fn run(
        &mut self,
        place: usize,
        workspace: &mut Workspace,
        ranks: &mut Ranks,
    ) -> Result<(), TrainError> {
        let Place { exchanges, given, taken, .. } = &mut self.places[place];
        let own = ranks.comm.rank();
        let mut offset = 0;
        for Sized { desc, row } in &*exchanges {
            let from = workspace.message(desc.from);
            for (rank, message) in given.iter_mut().enumerate() {
                let source = match desc.kind {
                    ExchangeKind::AllGather => &from[..*row],
                    ExchangeKind::AllToAll => &from[rank * row..(rank + 1) * row],
                };
                message[offset..offset + row].copy_from_slice(source);
            }
            offset += row;
        }
        for message in &mut *given {
            message[offset] = u8::from(ranks.wish);
        }
        ranks.comm.exchange(given, taken)?;
        taken[own].copy_from_slice(&given[own]);
        ranks.agreed = taken.iter().any(|message| message[offset] != 0);
        let mut offset = 0;
        for Sized { desc, row } in &*exchanges {
            let to = workspace.message_mut(desc.to);
            for (rank, message) in taken.iter().enumerate() {
                to[rank * row..(rank + 1) * row].copy_from_slice(&message[offset..offset + row]);
            }
            offset += row;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cut_a_batch_where_its_shards_are_cut() {
        let block = |first, count| ShardBlock { first, count, of: 4 };
        assert_eq!(block(0, 2).examples(10), 0..5);
        assert_eq!(block(2, 1).examples(10), 5..7);
        assert_eq!(block(3, 1).examples(10), 7..10);
        assert_eq!(block(0, 1).examples(2), 0..0, "a part may have no examples");
    }
}
