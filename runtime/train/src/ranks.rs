//! A session as one of several ranks: its place in each batch, and the values it exchanges with the others in the middle of a step.

use dlc_abi::{Among, Grid, PipelineOrder, Place, name_of_sliced, slice_name};
use dlc_comm::{Communicator, Counted, Messages, Traffic};
use dlc_exec::{Entry, Memory, MemoryLayout};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::error::TrainError;
use crate::slices::{LeafCut, LeafPlan, Pieces};

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
    /// All parameters and states, where several ranks share a model or its update.
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
    /// Rank 0: states of which its memory has a piece, as they were when all ranks gave theirs. Only as long as no step changes them.
    aside: BTreeMap<String, Vec<u8>>,
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
        Ok(Ranks { comm, plan, place, wish: false, agreed: false, aside: BTreeMap::new() })
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

    /// Where what this rank has of a leaf lies in the whole, as its name tells, and the whole's extents.
    pub fn pieces_of(&self, sliced: &str, element: usize) -> Option<(&[usize], Pieces)> {
        let whole = name_of_sliced(sliced)?;
        let leaf = self.plan.leaves.iter().find(|leaf| leaf.name == whole)?;
        let cut = leaf.cut.as_ref()?;
        Some((&cut.shape, cut.pieces(self.place, element)))
    }

    /// Fills the slices that this rank trains from the whole, where it has both.
    pub fn scatter(&self, memory: &mut Memory) {
        let layout = Arc::clone(memory.layout());
        for leaf in &self.plan.leaves {
            let Some(cut) = &leaf.cut else { continue };
            let found = layout.index(&leaf.name).zip(layout.index(&slice_name(&leaf.name)));
            let Some((whole, own)) = found else { continue };
            let pieces = cut.pieces(self.place, layout.entries()[whole].elem.size());
            let mut slice = vec![0; pieces.len()];
            pieces.take(entry_bytes(memory, whole), &mut slice);
            entry_bytes_mut(memory, own)[..slice.len()].copy_from_slice(&slice);
        }
    }

    /// Brings the parameters and states that other ranks train to rank 0: into its memory, and what has no place there beside it.
    pub fn gather(&mut self, memory: &mut Memory) -> Result<(), TrainError> {
        let layout = Arc::clone(memory.layout());
        let leaves = self.plan.leaves.clone();
        let grid = self.plan.grid;
        for leaf in &leaves {
            for rank in 0..self.comm.ranks() {
                let place = grid.place(rank as u32);
                // What all have alike rank 0 has itself.
                let is_there = rank == 0 && leaf.cut.is_none();
                if is_there || !gives(leaf, place) {
                    continue;
                }
                if self.rank() == rank {
                    let own = own_bytes(leaf, place, memory, &layout)?;
                    match rank {
                        0 => self.put(leaf, place, memory, &own)?,
                        _ => self.comm.send(0, own)?,
                    }
                } else if self.rank() == 0 {
                    let bytes = element_of(leaf, &layout)? * n_elements(leaf, place, &layout)?;
                    let own = self.comm.receive(rank, vec![0; bytes])?;
                    self.put(leaf, place, memory, &own)?;
                }
            }
        }
        Ok(())
    }

    /// Puts what the rank at a place has of a leaf into the whole.
    fn put(
        &mut self,
        leaf: &LeafPlan,
        place: Place,
        memory: &mut Memory,
        own: &[u8],
    ) -> Result<(), TrainError> {
        let layout = Arc::clone(memory.layout());
        let element = element_of(leaf, &layout)?;
        let to = match (layout.index(&leaf.name), &leaf.cut) {
            (Some(index), _) => entry_bytes_mut(memory, index),
            (None, Some(cut)) => {
                let bytes = cut.shape.iter().product::<usize>() * element;
                self.aside.entry(leaf.name.clone()).or_insert_with(|| vec![0; bytes])
            }
            (None, None) => return Err(unknown(leaf)),
        };
        match &leaf.cut {
            Some(cut) => cut.pieces(place, element).put(to, own),
            None => to.copy_from_slice(own),
        }
        Ok(())
    }

    /// The whole of a state of which this rank's memory has a piece, as it was when it was gathered, with its extents.
    pub fn aside(&self, name: &str) -> Option<(&[usize], &[u8])> {
        let bytes = self.aside.get(name)?;
        let leaf = self.plan.leaves.iter().find(|leaf| leaf.name == name)?;
        Some((&leaf.cut.as_ref()?.shape, bytes))
    }

    /// Forgets what was gathered aside: a step makes it stale.
    pub fn forget(&mut self) {
        self.aside.clear();
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

/// Whether the rank at a place gives what it has of a leaf to rank 0: of ranks that have the same the first one does.
fn gives(leaf: &LeafPlan, place: Place) -> bool {
    let trains = leaf.stage.map_or(place.stage == 0, |stage| stage == place.stage);
    let among = leaf.cut.as_ref().map(LeafCut::among);
    trains
        && (place.replica == 0 || among == Some(Among::Replicas))
        && (place.slice == 0 || among == Some(Among::Slices))
}

/// What this rank, at a place, has of a leaf.
fn own_bytes(
    leaf: &LeafPlan,
    place: Place,
    memory: &Memory,
    layout: &MemoryLayout,
) -> Result<Vec<u8>, TrainError> {
    let name = if leaf.cut.is_some() { slice_name(&leaf.name) } else { leaf.name.clone() };
    let index = layout.index(&name).ok_or_else(|| unknown(leaf))?;
    let bytes = element_of(leaf, layout)? * n_elements(leaf, place, layout)?;
    Ok(entry_bytes(memory, index)[..bytes].to_vec())
}

/// Elements of what the rank at a place has of a leaf.
fn n_elements(leaf: &LeafPlan, place: Place, layout: &MemoryLayout) -> Result<usize, TrainError> {
    match &leaf.cut {
        Some(cut) => Ok(cut.pieces(place, 1).len()),
        None => Ok(entry_of(leaf, layout)?.n_elements()),
    }
}

/// Bytes of an element of a leaf.
fn element_of(leaf: &LeafPlan, layout: &MemoryLayout) -> Result<usize, TrainError> {
    Ok(entry_of(leaf, layout)?.elem.size())
}

/// The whole of a leaf in memory, or what this rank has of it.
fn entry_of<'a>(leaf: &LeafPlan, layout: &'a MemoryLayout) -> Result<&'a Entry, TrainError> {
    let index = layout.index(&leaf.name).or_else(|| layout.index(&slice_name(&leaf.name)));
    Ok(&layout.entries()[index.ok_or_else(|| unknown(leaf))?])
}

fn unknown(leaf: &LeafPlan) -> TrainError {
    dlc_exec::BufferError::Unknown { name: leaf.name.clone() }.into()
}

fn entry_bytes(memory: &Memory, index: usize) -> &[u8] {
    memory.entry_bytes(index).expect("the index comes from the layout")
}

fn entry_bytes_mut(memory: &mut Memory, index: usize) -> &mut [u8] {
    memory.entry_bytes_mut(index).expect("the index comes from the layout")
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
