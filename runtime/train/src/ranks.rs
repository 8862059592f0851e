//! A session as one of several ranks: its place in each batch, and the values it exchanges with the others in the middle of a step.

use dlc_abi::{
    Among, BufferRole, ExchangeDesc, ExchangeKind, Grid, Manifest, PipelineOrder, Place,
};
use dlc_comm::{Communicator, Counted, Messages, Traffic};
use dlc_exec::{Memory, Workspace};
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

/// How the steps of a run are worked off in micro-batches by the stages of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// In which order.
    pub order: PipelineOrder,
    /// Into how many pieces each replica's part of a batch is cut.
    pub micro_batches: u32,
    /// All parameters and states with the stage that trains them; those without one are trained by all.
    pub leaves: Vec<(String, Option<u32>)>,
}

/// What a rank does of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankPlan {
    /// All ranks.
    pub grid: Grid,
    /// The shards of its replica.
    pub block: ShardBlock,
    /// Where the model is cut into stages.
    pub pipeline: Option<Pipeline>,
}

impl RankPlan {
    /// Ranks that share each batch and nothing else.
    pub fn replicas(ranks: u32, block: ShardBlock) -> Self {
        RankPlan { grid: Grid { replicas: ranks, stages: 1 }, block, pipeline: None }
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
        self.plan.pipeline.is_none() || self.rank() == 0
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

    /// Ranks of a pipeline meet in no exchange that all have a part in: here they learn whether one of them wants to stop.
    pub fn agree(&mut self) -> Result<(), TrainError> {
        if self.plan.pipeline.is_none() {
            return Ok(());
        }
        let wishes = vec![vec![u8::from(self.wish)]; self.comm.ranks()];
        let messages = Messages { given: wishes.clone(), taken: wishes };
        let Messages { taken, .. } = self.comm.exchange(messages)?;
        self.agreed = taken.iter().any(|wish| wish[0] != 0);
        Ok(())
    }

    /// Brings the parameters and states of all stages to rank 0.
    pub fn gather(&mut self, memory: &mut Memory) -> Result<(), TrainError> {
        let Some(pipeline) = self.plan.pipeline.clone() else { return Ok(()) };
        if self.place.replica > 0 {
            return Ok(());
        }
        let layout = std::sync::Arc::clone(memory.layout());
        let leaves_of = |stage: u32| {
            let own = pipeline.leaves.iter().filter(move |(_, at)| *at == Some(stage));
            own.filter_map(|(name, _)| layout.index(name))
        };
        let group = self.group(Among::Stages);
        let nothing = vec![Vec::new(); self.comm.ranks()];
        let mut messages = Messages { given: nothing.clone(), taken: nothing };
        let stages = self.plan.grid.stages;
        match self.place.stage {
            0 => {
                for stage in 1..stages {
                    let bytes = leaves_of(stage).map(|index| entry_bytes(memory, index).len());
                    messages.taken[group[stage as usize]] = vec![0; bytes.sum()];
                }
            }
            stage => {
                for index in leaves_of(stage) {
                    messages.given[0].extend_from_slice(entry_bytes(memory, index));
                }
            }
        }
        self.comm.begin(ALL, &group, messages)?;
        let Messages { taken, .. } = self.comm.finish(ALL)?;
        for stage in (1..stages).filter(|_| self.place.stage == 0) {
            let mut rest = &taken[group[stage as usize]][..];
            for index in leaves_of(stage) {
                let to = memory.entry_bytes_mut(index).expect("the index comes from the layout");
                let (own, more) = rest.split_at(to.len());
                to.copy_from_slice(own);
                rest = more;
            }
        }
        Ok(())
    }

    /// The ranks between which an exchange of this one takes place.
    fn group(&self, among: Among) -> Vec<usize> {
        let group = self.plan.grid.group(self.place, among);
        group.into_iter().map(|rank| rank as usize).collect()
    }

    pub fn comm(&mut self) -> &mut Counted {
        &mut self.comm
    }
}

fn entry_bytes(memory: &Memory, index: usize) -> &[u8] {
    memory.entry_bytes(index).expect("the index comes from the layout")
}

/// The number of exchanges that belong to no program.
const ALL: usize = 0;

/// The exchanges of a program, gathered to one message to each other rank where they are due together.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    meetings: Vec<Meeting>,
}

/// Exchanges between the same ranks that begin after one segment and end before another.
#[derive(Debug)]
struct Meeting {
    /// Tells it from the others. Programs of different stages differ, but those that have a part in it give it one number.
    number: usize,
    /// The segment before which it begins.
    begin: usize,
    /// The segment before which it ends, the same or a later one.
    end: usize,
    among: Among,
    group: Vec<usize>,
    exchanges: Vec<Sized>,
    /// To and from each rank of the group: a row of each exchange, then a byte that tells whether the rank wants the run to stop.
    messages: Messages,
}

/// An exchange with the bytes of a row of what is taken.
#[derive(Debug)]
struct Sized {
    desc: ExchangeDesc,
    row: usize,
}

/// Bytes of a row of what an exchange takes.
///
/// # Errors
/// When the program was made for another number of parts.
pub(crate) fn row_bytes(
    manifest: &Manifest,
    desc: &ExchangeDesc,
    parts: u32,
) -> Result<usize, TrainError> {
    let taken = &manifest.buffers[desc.to];
    let rows = taken.shape.first().and_then(|dim| dim.as_fixed());
    if rows != Some(i64::from(parts)) || taken.role != BufferRole::Message {
        return Err(TrainError::Contract {
            program: manifest.name.clone(),
            problem: format!("it was made for {rows:?} {}, not {parts}", desc.among.name()),
        });
    }
    let elements: i64 = taken.shape[1..].iter().map(|dim| dim.at(0)).product();
    Ok(elements as usize * taken.elem.size())
}

impl Exchanges {
    /// The exchanges of a program between ranks.
    ///
    /// # Errors
    /// When the program was made for another number of parts.
    pub fn of(manifest: &Manifest, ranks: &Ranks) -> Result<Self, TrainError> {
        let mut meetings: Vec<Meeting> = Vec::new();
        for desc in &manifest.exchanges {
            if desc.among == Among::MicroBatches {
                continue;
            }
            let group = ranks.group(desc.among);
            let row = row_bytes(manifest, desc, group.len() as u32)?;
            let (begin, end) = ((desc.after + 1).min(desc.before), desc.before);
            // Programs of different stages have other segments, so that their exchanges do not travel together.
            let same = |meeting: &Meeting| {
                meeting.among == Among::Replicas
                    && desc.among == Among::Replicas
                    && (meeting.begin, meeting.end) == (begin, end)
            };
            let at = meetings.iter().position(same).unwrap_or_else(|| {
                let alike = meetings.iter().filter(|meeting| meeting.among == desc.among).count();
                // Even numbers for stages, odd ones for replicas, none of them that of exchanges outside programs.
                let number = 2 * alike + 1 + usize::from(desc.among == Among::Stages);
                let mut given = vec![Vec::new(); ranks.comm.ranks()];
                group.iter().for_each(|&rank| given[rank].push(0));
                let messages = Messages { taken: given.clone(), given };
                let (among, exchanges) = (desc.among, Vec::new());
                meetings.push(Meeting { number, begin, end, among, group, exchanges, messages });
                meetings.len() - 1
            });
            let meeting = &mut meetings[at];
            meeting.exchanges.push(Sized { desc: desc.clone(), row });
            for &rank in &meeting.group {
                let Messages { given, taken } = &mut meeting.messages;
                for message in [&mut given[rank], &mut taken[rank]] {
                    message.resize(message.len() + row, 0);
                }
            }
        }
        Ok(Exchanges { meetings })
    }

    /// The segments before which exchanges begin or end, ascending.
    pub fn stops(&self) -> Vec<usize> {
        let mut stops: Vec<usize> =
            self.meetings.iter().flat_map(|meeting| [meeting.begin, meeting.end]).collect();
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
        for meeting in self.meetings.iter_mut().filter(|meeting| meeting.begin == segment) {
            meeting.give(workspace, ranks.wish);
            let messages = std::mem::take(&mut meeting.messages);
            ranks.comm.begin(meeting.number, &meeting.group, messages)?;
        }
        for meeting in self.meetings.iter_mut().filter(|meeting| meeting.end == segment) {
            meeting.messages = ranks.comm.finish(meeting.number)?;
            ranks.agreed = meeting.take(workspace, ranks.comm.rank());
        }
        ranks.progress()
    }
}

impl Meeting {
    /// Writes what this rank gives into its messages.
    fn give(&mut self, workspace: &Workspace, wish: bool) {
        let mut offset = 0;
        for Sized { desc, row } in &self.exchanges {
            let from = workspace.bytes(desc.from, 0);
            for (at, &rank) in self.group.iter().enumerate() {
                let source = match desc.kind {
                    ExchangeKind::AllGather => &from[..*row],
                    ExchangeKind::AllToAll => &from[at * row..(at + 1) * row],
                };
                self.messages.given[rank][offset..offset + row].copy_from_slice(source);
            }
            offset += row;
        }
        for &rank in &self.group {
            self.messages.given[rank][offset] = u8::from(wish);
        }
    }

    /// Reads what this rank takes; whether some rank wants the run to stop.
    fn take(&mut self, workspace: &mut Workspace, own: usize) -> bool {
        let Messages { given, taken } = &mut self.messages;
        taken[own].copy_from_slice(&given[own]);
        let mut offset = 0;
        for Sized { desc, row } in &self.exchanges {
            let to = workspace.bytes_mut(desc.to, 0);
            for (at, &rank) in self.group.iter().enumerate() {
                to[at * row..(at + 1) * row].copy_from_slice(&taken[rank][offset..offset + row]);
            }
            offset += row;
        }
        self.group.iter().any(|&rank| taken[rank][offset] != 0)
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
