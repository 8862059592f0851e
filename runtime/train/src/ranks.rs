//! A session as one of several ranks: its place in each batch, and the values it exchanges with the others in the middle of a step.

use dlc_abi::{BufferRole, ExchangeDesc, ExchangeKind, Manifest};
use dlc_comm::{Communicator, Counted, Messages, Traffic};
use dlc_exec::Workspace;
use std::ops::Range;

use crate::error::TrainError;

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
    pub fn new(comm: Box<dyn Communicator>, block: ShardBlock, threads: usize) -> Self {
        let mut comm = Counted::new(comm);
        comm.settle(threads);
        Ranks { comm, block, wish: false, agreed: false }
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

    /// Ranks that compute on the processors of this one.
    pub fn sharers(&self) -> usize {
        self.comm.sharers()
    }

    pub fn agree_to_stop(&mut self, wish: bool) -> bool {
        self.wish |= wish;
        self.agreed
    }

    /// Moves messages along that are under way.
    ///
    /// # Errors
    /// When the transport fails.
    pub fn progress(&mut self) -> Result<(), TrainError> {
        Ok(self.comm.progress()?)
    }

    pub fn traffic(&self) -> Traffic {
        self.comm.traffic()
    }

    /// What [`dlc_abi::WINDOW_INPUT`] holds for a batch.
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

/// The exchanges of a program, gathered to one message to each other rank where they are due together.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    places: Vec<Place>,
}

/// Exchanges that begin after one segment and end before another.
#[derive(Debug)]
struct Place {
    /// The segment before which they begin.
    begin: usize,
    /// The segment before which they end, the same or a later one.
    end: usize,
    exchanges: Vec<Sized>,
    /// To and from each rank: a row of each exchange, then a byte that tells whether the rank wants the run to stop.
    messages: Messages,
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
            let (begin, end) = ((desc.after + 1).min(desc.before), desc.before);
            let at = places.iter().position(|place| (place.begin, place.end) == (begin, end));
            let at = at.unwrap_or_else(|| {
                let empty = vec![vec![0]; ranks];
                let messages = Messages { given: empty.clone(), taken: empty };
                places.push(Place { begin, end, exchanges: Vec::new(), messages });
                places.len() - 1
            });
            let place = &mut places[at];
            place.exchanges.push(Sized { desc: desc.clone(), row });
            let Messages { given, taken } = &mut place.messages;
            for message in given.iter_mut().chain(taken) {
                message.resize(message.len() + row, 0);
            }
        }
        Ok(Exchanges { places })
    }

    /// The segments before which exchanges begin or end, ascending.
    pub fn stops(&self) -> Vec<usize> {
        let mut stops: Vec<usize> =
            self.places.iter().flat_map(|place| [place.begin, place.end]).collect();
        stops.sort_unstable();
        stops.dedup();
        stops
    }

    /// Begins and ends the exchanges that are due before a segment. What is complete goes out before anything is waited for.
    ///
    /// # Errors
    /// When another rank is gone.
    pub fn stop_before(
        &mut self,
        segment: usize,
        workspace: &mut Workspace,
        ranks: &mut Ranks,
    ) -> Result<(), TrainError> {
        for (number, place) in self.places.iter_mut().enumerate() {
            if place.begin == segment {
                place.give(workspace, ranks.wish);
                ranks.comm.begin(number, std::mem::take(&mut place.messages))?;
            }
        }
        for (number, place) in self.places.iter_mut().enumerate() {
            if place.end == segment {
                place.messages = ranks.comm.finish(number)?;
                ranks.agreed = place.take(workspace, ranks.comm.rank());
            }
        }
        ranks.progress()
    }
}

impl Place {
    /// Writes what this rank gives into its messages.
    fn give(&mut self, workspace: &Workspace, wish: bool) {
        let mut offset = 0;
        for Sized { desc, row } in &self.exchanges {
            let from = workspace.message(desc.from);
            for (rank, message) in self.messages.given.iter_mut().enumerate() {
                let source = match desc.kind {
                    ExchangeKind::AllGather => &from[..*row],
                    ExchangeKind::AllToAll => &from[rank * row..(rank + 1) * row],
                };
                message[offset..offset + row].copy_from_slice(source);
            }
            offset += row;
        }
        for message in &mut self.messages.given {
            message[offset] = u8::from(wish);
        }
    }

    /// Reads what this rank takes; whether some rank wants the run to stop.
    fn take(&mut self, workspace: &mut Workspace, own: usize) -> bool {
        let Messages { given, taken } = &mut self.messages;
        taken[own].copy_from_slice(&given[own]);
        let mut offset = 0;
        for Sized { desc, row } in &self.exchanges {
            let to = workspace.message_mut(desc.to);
            for (rank, message) in taken.iter().enumerate() {
                to[rank * row..(rank + 1) * row].copy_from_slice(&message[offset..offset + row]);
            }
            offset += row;
        }
        taken.iter().any(|message| message[offset] != 0)
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
