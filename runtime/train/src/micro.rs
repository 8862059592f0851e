//! A program that is run for one micro-batch after the other: a workspace for each that is under way, and the messages between stages.

use dlc_abi::{Action, Among, BufferRole, Grid, Manifest, Place, SegmentKind, WINDOW_INPUT, Wire};
use dlc_comm::Communicator;
use dlc_exec::{Gang, MemoryLayout, Persistent, Program, Workspace, WorkspaceOptions};
use std::ops::Range;
use std::sync::Arc;

use crate::error::TrainError;
use crate::exchanges::{Exchanges, Row};
use crate::ranks::Ranks;

/// How a program is run for one micro-batch after the other.
#[derive(Debug)]
pub(crate) struct MicroBatches {
    /// Workspaces besides the main one, which has the last micro-batch.
    spare: Vec<Workspace>,
    actions: Vec<Action>,
    micro_batches: u32,
    /// Segments of the forward part of a micro-batch, of what other stages wait for of its backward part, and of the rest of that.
    forward: Range<usize>,
    backward: Range<usize>,
    weights: Range<usize>,
    /// What the micro-batches give to one another.
    gathered: Vec<Gathered>,
    from_before: Vec<Channel>,
    to_behind: Vec<Channel>,
    from_behind: Vec<Channel>,
    to_before: Vec<Channel>,
}

/// A value that each micro-batch gives, and where it lies in what all of them gave.
#[derive(Debug)]
struct Gathered {
    from: usize,
    to: usize,
    row: usize,
}

/// What one stage sends to another of each micro-batch, in one message.
#[derive(Debug)]
struct Channel {
    rank: usize,
    buffers: Vec<usize>,
    /// Room for what comes.
    message: Vec<u8>,
}

/// Which way messages of a stage go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Given,
    Taken,
}

impl MicroBatches {
    /// For a program of a rank of a pipeline; `None` without one.
    pub fn of(
        program: &Program,
        layout: &Arc<MemoryLayout>,
        options: WorkspaceOptions,
        ranks: &Ranks,
    ) -> Result<Option<Self>, TrainError> {
        let Some(pipeline) = ranks.pipeline() else { return Ok(None) };
        let manifest = program.manifest();
        let (grid, place) = (ranks.grid(), ranks.place());
        // What an exchange gives may be complete with the last segment of a micro-batch, but none is needed before all are done.
        let between_all = manifest.exchanges.iter().filter(|desc| desc.among != Among::Slices);
        let last = between_all.map(|exchange| exchange.before).min();
        let last = last.unwrap_or(manifest.segments.len());
        let end = |start: usize, kind: SegmentKind| {
            let own = manifest.segments[start..last].iter();
            start + own.take_while(|segment| segment.kind == kind).count()
        };
        let forward = 0..end(0, SegmentKind::Forward);
        let backward = forward.end..end(forward.end, SegmentKind::Backward);
        let weights = backward.end..end(backward.end, SegmentKind::Weights);
        let micro_batches = pipeline.micro_batches;
        let mut actions = pipeline.order.actions(grid.stages, place.stage, micro_batches);
        let mut live = pipeline.order.live(grid.stages, place.stage, micro_batches);
        let trains = manifest
            .buffers
            .iter()
            .any(|desc| Wire::of_taken(&desc.name).is_some_and(|wire| wire.peer > place.stage));
        let has_backward = !(backward.is_empty() && weights.is_empty());
        if !has_backward && !trains {
            actions.retain(|action| matches!(action, Action::Forward(_)));
            live = 1;
        }
        let spare = (1..live)
            .map(|_| Workspace::new(program, layout, options))
            .collect::<Result<_, _>>()?;
        let mut gathered = Vec::new();
        for desc in manifest.exchanges.iter().filter(|desc| desc.among == Among::MicroBatches) {
            let row = Row::of(manifest, desc, micro_batches)?.stride();
            gathered.push(Gathered { from: desc.from, to: desc.to, row });
        }
        let channels = |way: Way, behind: bool| channels(manifest, grid, place, way, behind);
        Ok(Some(MicroBatches {
            spare,
            actions,
            micro_batches,
            forward,
            backward,
            weights,
            gathered,
            from_before: channels(Way::Taken, false),
            to_behind: channels(Way::Given, true),
            from_behind: channels(Way::Taken, true),
            to_before: channels(Way::Given, false),
        }))
    }

    /// The segment with which the work on all micro-batches together begins.
    pub fn end(&self) -> usize {
        self.weights.end
    }

    /// Works off all micro-batches of a batch. `fill` puts examples of the batch and all else that a micro-batch needs into a workspace.
    pub fn run(
        &mut self,
        main: &mut Workspace,
        memory: &mut Persistent<'_>,
        batch: usize,
        gang: &Gang,
        ranks: &mut Ranks,
        exchanges: &mut Exchanges,
        fill: &mut dyn FnMut(&mut Workspace, Range<usize>) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let actions = std::mem::take(&mut self.actions);
        let forward_only = !actions.iter().any(|action| matches!(action, Action::Backward(_)));
        for &action in &actions {
            let (Action::Forward(micro) | Action::Backward(micro)) = action;
            let piece = ranks.piece(micro);
            let examples = piece.examples(batch);
            let n = examples.len();
            let slot = self.slot(micro);
            let workspace = match slot {
                Some(spare) => &mut self.spare[spare],
                None => &mut *main,
            };
            let (taken, segments, given) = match action {
                Action::Forward(_) => {
                    fill(workspace, examples)?;
                    workspace.set_input(WINDOW_INPUT, n, &ranks.window(batch, piece)?)?;
                    (&mut self.from_before, self.forward.clone(), &mut self.to_behind)
                }
                Action::Backward(_) => {
                    (&mut self.from_behind, self.backward.clone(), &mut self.to_before)
                }
            };
            for channel in taken {
                channel.receive(workspace, n, ranks)?;
            }
            let mut run = |workspace: &mut Workspace, segments: Range<usize>, ranks: &mut Ranks| {
                for segment in segments {
                    workspace.run(memory.again(), n, gang, segment..segment + 1)?;
                    exchanges.stop_before(segment + 1, workspace, n, ranks)?;
                }
                Ok::<_, TrainError>(())
            };
            run(workspace, segments, ranks)?;
            for channel in given {
                channel.send(workspace, n, ranks)?;
            }
            if matches!(action, Action::Backward(_)) {
                run(workspace, self.weights.clone(), ranks)?;
            }
            let is_done = forward_only || matches!(action, Action::Backward(_));
            if is_done {
                self.gather(slot, main, micro as usize);
            }
        }
        self.actions = actions;
        Ok(())
    }

    /// Which of the spare workspaces has a micro-batch; `None` for the main one.
    fn slot(&self, micro: u32) -> Option<usize> {
        let slots = self.spare.len() as u32 + 1;
        let (own, last) = (micro % slots, (self.micro_batches - 1) % slots);
        match own.cmp(&last) {
            std::cmp::Ordering::Less => Some(own as usize),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(own as usize - 1),
        }
    }

    /// Keeps what a micro-batch gives to all of them, before its workspace is used for another.
    fn gather(&mut self, slot: Option<usize>, main: &mut Workspace, micro: usize) {
        for Gathered { from, to, row } in &self.gathered {
            let rows = micro * row..(micro + 1) * row;
            match slot {
                Some(spare) => {
                    let given = self.spare[spare].bytes(*from, 0);
                    main.bytes_mut(*to, 0)[rows].copy_from_slice(given);
                }
                None => main.copy_bytes(*from, *to, rows),
            }
        }
    }

    /// How many examples the main workspace has of a batch.
    pub fn examples_of_main(&self, batch: usize, ranks: &Ranks) -> usize {
        ranks.piece(self.micro_batches - 1).examples(batch).len()
    }
}

/// Messages from or to the stages behind, or before, one for each.
fn channels(manifest: &Manifest, grid: Grid, place: Place, way: Way, behind: bool) -> Vec<Channel> {
    let role = if way == Way::Given { BufferRole::Output } else { BufferRole::Input };
    let mut wires: Vec<(Wire, usize)> = manifest
        .buffers
        .iter()
        .enumerate()
        .filter(|(_, desc)| desc.role == role)
        .filter_map(|(index, desc)| {
            let wire = match way {
                Way::Given => Wire::of_given(&desc.name),
                Way::Taken => Wire::of_taken(&desc.name),
            };
            wire.filter(|wire| (wire.peer > place.stage) == behind).map(|wire| (wire, index))
        })
        .collect();
    // Both ends put a message together in the order of its wires.
    wires.sort_unstable();
    let mut channels: Vec<Channel> = Vec::new();
    for (Wire { peer, .. }, index) in wires {
        let rank = grid.rank(Place { stage: peer, ..place }) as usize;
        match channels.last_mut().filter(|channel| channel.rank == rank) {
            Some(channel) => channel.buffers.push(index),
            None => channels.push(Channel { rank, buffers: vec![index], message: Vec::new() }),
        }
    }
    channels
}

impl Channel {
    fn send(
        &self,
        workspace: &Workspace,
        batch: usize,
        ranks: &mut Ranks,
    ) -> Result<(), TrainError> {
        let mut message = Vec::new();
        for &index in &self.buffers {
            message.extend_from_slice(workspace.bytes(index, batch));
        }
        Ok(ranks.comm().send(self.rank, message)?)
    }

    fn receive(
        &mut self,
        workspace: &mut Workspace,
        batch: usize,
        ranks: &mut Ranks,
    ) -> Result<(), TrainError> {
        let sizes = self.buffers.iter().map(|&index| workspace.bytes(index, batch).len());
        let bytes = sizes.sum();
        let mut message = std::mem::take(&mut self.message);
        message.resize(bytes, 0);
        self.message = ranks.comm().receive(self.rank, message)?;
        let mut rest = &self.message[..];
        for &index in &self.buffers {
            let to = workspace.bytes_mut(index, batch);
            let (own, more) = rest.split_at(to.len());
            to.copy_from_slice(own);
            rest = more;
        }
        Ok(())
    }
}
