//! A session as one of several ranks: its place in each batch, and the values it exchanges with the others in the middle of a step.

use dlc_abi::{Among, Grid, PipelineOrder, Place, name_of_sliced, slice_name};
use dlc_comm::{Communicator, Counted, Messages, Traffic};
use dlc_exec::{Memory, MemoryLayout};
use std::ops::Range;
use std::sync::Arc;

use crate::error::TrainError;
use crate::slices::{LeafPlan, Pieces};

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

/// How the steps of a run are worked off in micro-batches by the stages of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// In which order.
    pub order: PipelineOrder,
    /// Into how many pieces each replica's part of a batch is cut.
    pub micro_batches: u32,
}

/// What a rank does of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankPlan {
    /// All ranks.
    pub grid: Grid,
    /// The shards of its replica.
    pub block: ShardBlock,
    /// How micro-batches go through the stages of the model, if it has some.
    pub pipeline: Option<Pipeline>,
    /// All parameters and states, where several ranks share a model.
    pub leaves: Vec<LeafPlan>,
}

impl RankPlan {
    /// Ranks that share each batch and nothing else.
    pub fn replicas(ranks: u32, block: ShardBlock) -> Self {
        let grid = Grid { replicas: ranks, stages: 1, slices: 1 };
        RankPlan { grid, block, pipeline: None, leaves: Vec::new() }
    }
}

/// This rank among all ranks.
#[derive(Debug)]
pub(crate) struct Ranks {
    comm: Counted,
    plan: RankPlan,
    place: Place,
    /// Whether this rank wants the run to stop.
    wish: bool,
    /// Whether some rank wanted it in the last exchange, which all ranks know alike.
    agreed: bool,
}

impl Ranks {
    pub fn new(
        comm: Box<dyn Communicator>,
        plan: RankPlan,
        threads: usize,
    ) -> Result<Self, TrainError> {
        let rank = u32::try_from(comm.rank()).unwrap_or(u32::MAX);
        if u32::try_from(comm.ranks()) != Ok(plan.grid.ranks()) || rank >= plan.grid.ranks() {
            return Err(TrainError::Contract {
                program: "the run".to_owned(),
                problem: format!("it is for {} ranks, not {}", plan.grid.ranks(), comm.ranks()),
            });
        }
        let place = plan.grid.place(rank);
        let mut comm = Counted::new(comm);
        comm.settle(threads);
        Ok(Ranks { comm, plan, place, wish: false, agreed: false })
    }

    pub fn block(&self) -> ShardBlock {
        self.plan.block
    }

    pub fn pipeline(&self) -> Option<&Pipeline> {
        self.plan.pipeline.as_ref()
    }

    pub fn grid(&self) -> Grid {
        self.plan.grid
    }

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn rank(&self) -> usize {
        self.comm.rank()
    }

    /// Whether this rank has all parameters and states, and not only those that it trains.
    pub fn is_whole(&self) -> bool {
        !self.shares_model() || self.rank() == 0
    }

    /// Whether several ranks have a model together.
    fn shares_model(&self) -> bool {
        self.plan.grid.ranks_of_model() > 1
    }

    pub fn n_ranks(&self) -> usize {
        self.comm.ranks()
    }

    pub fn wish(&self) -> bool {
        self.wish
    }

    pub fn set_agreed(&mut self, agreed: bool) {
        self.agreed = agreed;
    }

    pub fn agree_to_stop(&mut self, wish: bool) -> bool {
        self.wish |= wish;
        self.agreed
    }

    /// Ranks that compute on the processors of this one.
    pub fn sharers(&self) -> usize {
        self.comm.sharers()
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

    /// The shards of a micro-batch of this rank's part; all of the part's where there are none.
    pub fn piece(&self, micro: u32) -> ShardBlock {
        let block = self.plan.block;
        match &self.plan.pipeline {
            None => block,
            Some(pipeline) => {
                let count = block.count / pipeline.micro_batches;
                ShardBlock { first: block.first + micro * count, count, of: block.of }
            }
        }
    }

    /// What [`dlc_abi::WINDOW_INPUT`] holds for a piece of a batch.
    pub fn window(&self, batch: usize, piece: ShardBlock) -> Result<[i32; 3], TrainError> {
        let before = piece.examples(batch).start;
        let value = |count: usize| {
            i32::try_from(count).map_err(|_| TrainError::Range {
                name: "batch".to_owned(),
                value: count.to_string(),
            })
        };
        Ok([value(batch)?, value(before)?, value(piece.first as usize)?])
    }

    /// Ranks that share a model meet in no exchange that all have a part in: here they learn whether one of them wants to stop.
    pub fn agree(&mut self) -> Result<(), TrainError> {
        if !self.shares_model() {
            return Ok(());
        }
        let wishes = vec![vec![u8::from(self.wish)]; self.comm.ranks()];
        let messages = Messages { given: wishes.clone(), taken: wishes };
        let Messages { taken, .. } = self.comm.exchange(messages)?;
        self.agreed = taken.iter().any(|wish| wish[0] != 0);
        Ok(())
    }

    /// The slice of a leaf that the rank at a place has, as its name tells.
    pub fn pieces_of(&self, sliced: &str, element: usize) -> Option<(&[usize], Pieces)> {
        let whole = name_of_sliced(sliced)?;
        let leaf = self.plan.leaves.iter().find(|leaf| leaf.name == whole)?;
        let (shape, cut) = leaf.cut.as_ref()?;
        Some((shape, Pieces::of(shape, *cut, self.place.slice, element)))
    }

    /// Fills the slices that this rank trains from the whole, where it has both.
    pub fn scatter(&self, memory: &mut Memory) {
        let layout = Arc::clone(memory.layout());
        for leaf in &self.plan.leaves {
            let Some((shape, cut)) = &leaf.cut else { continue };
            let found = layout.index(&leaf.name).zip(layout.index(&slice_name(&leaf.name)));
            let Some((whole, own)) = found else { continue };
            let element = layout.entries()[whole].elem.size();
            let pieces = Pieces::of(shape, *cut, self.place.slice, element);
            let mut slice = vec![0; pieces.len()];
            pieces.take(entry_bytes(memory, whole), &mut slice);
            entry_bytes_mut(memory, own).copy_from_slice(&slice);
        }
    }

    /// Brings the parameters and states that other ranks train to rank 0.
    pub fn gather(&mut self, memory: &mut Memory) -> Result<(), TrainError> {
        if !self.shares_model() || self.place.replica > 0 {
            return Ok(());
        }
        let layout = Arc::clone(memory.layout());
        let leaves = self.plan.leaves.clone();
        let grid = self.plan.grid;
        let group: Vec<usize> = (0..grid.ranks_of_model() as usize).collect();
        let given_at = |rank: usize| {
            let place = grid.place(rank as u32);
            leaves.iter().filter(move |leaf| gives(leaf, place))
        };
        let nothing = vec![Vec::new(); self.comm.ranks()];
        let mut messages = Messages { given: nothing.clone(), taken: nothing };
        if self.rank() == 0 {
            for &rank in &group[1..] {
                let sizes =
                    given_at(rank).filter_map(|leaf| Some(part(leaf, grid, rank, &layout)?.1));
                messages.taken[rank] = vec![0; sizes.sum()];
            }
        } else {
            for leaf in given_at(self.rank()) {
                let name =
                    if leaf.cut.is_some() { slice_name(&leaf.name) } else { leaf.name.clone() };
                if let Some(index) = layout.index(&name) {
                    messages.given[0].extend_from_slice(entry_bytes(memory, index));
                }
            }
        }
        self.comm.begin(ALL, &group, messages)?;
        let Messages { taken, .. } = self.comm.finish(ALL)?;
        if self.rank() > 0 {
            return Ok(());
        }
        for leaf in given_at(0).filter(|leaf| leaf.cut.is_some()) {
            let own = layout.index(&slice_name(&leaf.name));
            let Some((own, (whole, _, pieces))) = own.zip(part(leaf, grid, 0, &layout)) else {
                continue;
            };
            let slice = entry_bytes(memory, own).to_vec();
            put(memory, whole, pieces, &slice);
        }
        for &rank in &group[1..] {
            let mut rest = &taken[rank][..];
            for leaf in given_at(rank) {
                let Some((whole, bytes, pieces)) = part(leaf, grid, rank, &layout) else {
                    continue;
                };
                let (own, more) = rest.split_at(bytes);
                put(memory, whole, pieces, own);
                rest = more;
            }
        }
        Ok(())
    }

    /// The ranks between which an exchange of this one takes place.
    pub fn group(&self, among: Among) -> Vec<usize> {
        let group = self.plan.grid.group(self.place, among);
        group.into_iter().map(|rank| rank as usize).collect()
    }

    pub fn comm(&mut self) -> &mut Counted {
        &mut self.comm
    }
}

/// Whether the rank at a place is the one that has trained a leaf, or its slice of one.
fn gives(leaf: &LeafPlan, place: Place) -> bool {
    let is_first = place.stage == 0 && place.slice == 0;
    let trains = leaf.stage.map_or(place.stage == 0, |stage| stage == place.stage);
    match leaf.cut {
        Some(_) => trains,
        // What all have alike rank 0 has itself.
        None => trains && place.slice == 0 && !is_first,
    }
}

/// Where the whole of a leaf lies, the bytes that a rank has of it, and where these lie in the whole if they are a slice.
fn part(
    leaf: &LeafPlan,
    grid: Grid,
    rank: usize,
    layout: &MemoryLayout,
) -> Option<(usize, usize, Option<Pieces>)> {
    let index = layout.index(&leaf.name)?;
    let entry = &layout.entries()[index];
    let slice = grid.place(rank as u32).slice;
    Some(match &leaf.cut {
        Some((shape, cut)) => {
            let pieces = Pieces::of(shape, *cut, slice, entry.elem.size());
            (index, pieces.len(), Some(pieces))
        }
        None => (index, entry.n_elements() * entry.elem.size(), None),
    })
}

fn put(memory: &mut Memory, whole: usize, pieces: Option<Pieces>, own: &[u8]) {
    let to = entry_bytes_mut(memory, whole);
    match pieces {
        Some(pieces) => pieces.put(to, own),
        None => to.copy_from_slice(own),
    }
}

fn entry_bytes(memory: &Memory, index: usize) -> &[u8] {
    memory.entry_bytes(index).expect("the index comes from the layout")
}

fn entry_bytes_mut(memory: &mut Memory, index: usize) -> &mut [u8] {
    memory.entry_bytes_mut(index).expect("the index comes from the layout")
}

/// The number of exchanges that belong to no program.
const ALL: usize = 0;

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
