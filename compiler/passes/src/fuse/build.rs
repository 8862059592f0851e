//! Builds one phase for every stored value: its expression, inlined down to loads.

use super::places::{When, places};
use super::roots::{Roots, stays_inside};
use crate::pass::PassError;
use dlc_abi::{Among, BufferRole, Dim, ElemType, ExchangeKind, SegmentKind};
use dlc_ir::affine::Affine;
use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::graph::loops::{Loop, Loops, Unit};
use dlc_ir::graph::{
    BinaryOp, Contract, Fill, Graph, InputRole, Literal, NodeId, Op, OutputKind, Stage,
};
use dlc_ir::layout::Layout;
use dlc_ir::tile::{
    Buffer, BufferId, Exchange, Expr, ExprId, Node, Phase, Program, Reduction, Schedule, Segment,
    Step, Store,
};
use rustc_hash::FxHashMap;

/// A phase with its place in the step.
#[derive(Debug, Clone)]
pub struct StagedPhase {
    /// Its place.
    pub when: When,
    /// The phase.
    pub phase: Phase,
}

/// Phases and buffers before they are put into segments.
#[derive(Debug)]
pub struct Draft {
    /// The buffers.
    pub buffers: IndexVec<BufferId, Buffer>,
    /// The phases in order of execution.
    pub phases: Vec<StagedPhase>,
    /// New values that still have to reach the leaf they are assigned to.
    pub assigns: Vec<Assign>,
    /// What parts of a batch give to one another.
    pub exchanges: Vec<DraftExchange>,
}

/// An exchange whose segments are not known yet.
#[derive(Debug, Clone, Copy)]
pub struct DraftExchange {
    /// Who gets what.
    pub kind: ExchangeKind,
    /// Between whom.
    pub among: Among,
    /// What is given.
    pub from: BufferId,
    /// What is taken.
    pub to: BufferId,
}

/// A value in a buffer that becomes the new value of a leaf.
#[derive(Debug, Clone, Copy)]
pub struct Assign {
    /// Where the value lies.
    pub value: BufferId,
    /// The leaf's buffer.
    pub target: BufferId,
    /// The place of the value.
    pub when: When,
}

/// Builds the phases of all stored values, in order, stages kept together.
pub fn phases(graph: &Graph, roots: &Roots, loops: &Loops) -> Result<Draft, PassError> {
    let mut builder = Builder {
        graph,
        roots,
        loops,
        buffers: IndexVec::new(),
        buffer_of: vec![None; graph.nodes.len()],
        places: places(graph, loops)?,
        names: FxHashMap::default(),
    };
    let mut steps = Building { phases: Vec::new(), exchanges: Vec::new() };
    for unit in &loops.order {
        match *unit {
            Unit::Node(id) => builder.node(id, None, &mut steps)?,
            Unit::Loop(number) => builder.run(number, &mut steps)?,
        }
    }
    let Building { mut phases, exchanges } = steps;
    let mut assigns = Vec::new();
    for output in &graph.outputs {
        if matches!(output.kind, OutputKind::Carry(_)) {
            continue;
        }
        let value = builder.buffer(output.value)?;
        let when = builder.when(output.value);
        match &output.kind {
            OutputKind::Carry(_) => {}
            OutputKind::Result(name) => {
                if let Some(phase) = builder.hand_out(name, value, &phases) {
                    phases.push(StagedPhase { when, phase });
                }
            }
            OutputKind::Assign(target) => {
                assigns.push(Assign { value, target: builder.buffer(*target)?, when });
            }
        }
    }
    phases.sort_by_key(|staged| staged.when);
    Ok(Draft { buffers: builder.buffers, phases, assigns, exchanges })
}

/// What has been built so far.
struct Building {
    phases: Vec<StagedPhase>,
    exchanges: Vec<DraftExchange>,
}

/// Bytes of messages to one other part that are worth a message of their own, so that they travel while the next ones are computed.
const BUCKET_BYTES: i64 = 1 << 15;

impl Draft {
    /// Puts the phases into one segment a stage, and into more where values are exchanged between them: behind the phase that completes
    /// what is given, and before the first one that needs what is taken.
    pub fn into_program(self, graph: &Graph, max_batch: i64) -> Program {
        let spans = self.spans();
        let mut cuts: Vec<usize> =
            spans.iter().flat_map(|span| [span.after, span.before]).collect();
        cuts.extend((1..self.phases.len()).filter(|&at| self.is_stage_end(at)));
        cuts.extend(self.calls_at(&spans));
        cuts.push(0);
        cuts.retain(|&at| at < self.phases.len());
        cuts.sort_unstable();
        cuts.dedup();
        // The first segment that begins at a phase or behind it.
        let segment_at = |phase: usize| cuts.partition_point(|&cut| cut < phase);
        let exchanges: Vec<Exchange> = (self.exchanges.iter().zip(&spans))
            .map(|(exchange, span)| {
                let DraftExchange { kind, among, from, to } = *exchange;
                let before = segment_at(span.before);
                let after = segment_at(span.after).saturating_sub(1);
                Exchange { kind, among, from, to, after, before }
            })
            .collect();
        let mut segments: Vec<Segment> = Vec::with_capacity(cuts.len());
        let mut pieces: FxHashMap<When, usize> = FxHashMap::default();
        for (at, StagedPhase { when, phase }) in self.phases.into_iter().enumerate() {
            if cuts.binary_search(&at).is_ok() {
                let piece = pieces.entry(when).or_default();
                *piece += 1;
                segments.push(when.segment(&graph.name, *piece));
            }
            segments
                .last_mut()
                .expect("the first cut comes before the first phase")
                .phases
                .push(phase);
        }
        Program {
            name: graph.name.clone(),
            shards: graph.shards,
            window_of: graph.window_of,
            class: graph.class,
            max_batch,
            buffers: self.buffers,
            segments,
            exchanges,
            arena_bytes: 0,
        }
    }

    /// The phases between which something is on its way to other replicas: some transports move it when they are called alone, which happens
    /// between segments. Phases of a loop stay together.
    fn calls_at(&self, spans: &[Span]) -> impl Iterator<Item = usize> {
        let replicas = self.exchanges.iter().zip(spans);
        let replicas = replicas.filter(|(exchange, _)| exchange.among == Among::Replicas);
        let mut under_way = vec![false; self.phases.len()];
        for (_, span) in replicas {
            under_way.iter_mut().take(span.before).skip(span.after).for_each(|at| *at = true);
        }
        let is_within_loop =
            |at: usize| self.phases[at - 1..=at].iter().all(|staged| staged.phase.step.is_some());
        (1..self.phases.len()).filter(move |&at| under_way[at] && !is_within_loop(at))
    }

    fn is_stage_end(&self, at: usize) -> bool {
        self.phases[at].when != self.phases[at - 1].when
    }

    /// Between which phases each exchange takes place. Exchanges that are complete at about the same time make one message, which goes
    /// when the last of them is complete, and is waited for when the first of them is needed.
    fn spans(&self) -> Vec<Span> {
        let owner = |mut buffer: BufferId| {
            while let Some(alias) = self.buffers[buffer].alias_of {
                buffer = alias;
            }
            buffer
        };
        // Micro-batches are worked off, forwards and backwards, by many runs of the same segments; then exchanges begin, but for those
        // between slices, which end within the run in which they begin.
        let end = |parts: &[Stage]| {
            let is_part = |staged: &StagedPhase| {
                staged.when.micro.is_some_and(|(stage, _)| parts.contains(&stage))
            };
            self.phases.iter().rposition(is_part).map_or(0, |at| at + 1)
        };
        let forward = end(&[Stage::Forward]);
        let first = end(&[Stage::Forward, Stage::Backward]);
        let mut spans: Vec<Span> = (self.exchanges.iter())
            .map(|exchange| {
                let writes =
                    |staged: &StagedPhase| staged.phase.writes().any(|b| owner(b) == exchange.from);
                let reads =
                    |staged: &StagedPhase| staged.phase.reads().any(|b| owner(b) == exchange.to);
                let after = self.phases.iter().rposition(writes).map_or(0, |at| at + 1);
                let before = self.phases.iter().position(reads).unwrap_or(self.phases.len());
                match exchange.among {
                    Among::Slices if after <= forward => {
                        Span { after, before: before.min(forward) }
                    }
                    Among::Slices if after <= first => Span { after, before: before.min(first) },
                    Among::Slices => Span { after, before },
                    Among::Replicas | Among::MicroBatches | Among::Stages => {
                        Span { after: after.max(first), before }
                    }
                }
            })
            .collect();
        // Programs of different stages have other phases, and micro-batches send nothing: what they exchange is not gathered.
        let gathered = |at: &usize| self.exchanges[*at].among == Among::Replicas;
        let mut order: Vec<usize> = (0..spans.len()).filter(gathered).collect();
        order.sort_by_key(|&at| spans[at].after);
        let mut bucket: Vec<usize> = Vec::new();
        let mut bytes = 0;
        for (place, &at) in order.iter().enumerate() {
            bucket.push(at);
            let taken = &self.buffers[self.exchanges[at].to];
            let rows = usize::from(self.exchanges[at].kind != ExchangeKind::AllReduce);
            let row: i64 = taken.shape[rows..].iter().map(|dim| dim.constant).product();
            bytes += row * taken.elem.size() as i64;
            let own = spans[at];
            let next = order.get(place + 1).map(|&next| spans[next].after);
            // A small bucket may wait for the next exchange unless something needs it earlier.
            let needed = bucket.iter().map(|&at| spans[at].before).min().unwrap_or(own.before);
            let waits = next.is_some_and(|next| {
                let together = next == own.after;
                together || (bytes < BUCKET_BYTES && next <= needed)
            });
            if !waits {
                let whole = Span { after: own.after, before: needed };
                bucket.drain(..).for_each(|at| spans[at] = whole);
                bytes = 0;
            }
        }
        spans
    }
}

/// The phases between which an exchange takes place: it begins before phase `after` and ends before phase `before`.
#[derive(Debug, Clone, Copy)]
struct Span {
    after: usize,
    before: usize,
}

impl When {
    /// An empty segment for a piece of the phases of this place.
    fn segment(self, graph: &str, piece: usize) -> Segment {
        let (kind, suffix) = match (self.stage, self.micro) {
            (Stage::Forward, _) => (SegmentKind::Forward, "forward"),
            (Stage::Backward, Some((Stage::Backward, true))) => (SegmentKind::Weights, "weights"),
            (Stage::Backward, _) => (SegmentKind::Backward, "backward"),
            (Stage::Update, _) => (SegmentKind::Update, "update"),
        };
        let round = if self.round == 0 { String::new() } else { format!(".{}", self.round) };
        let place = if self.all { ".all" } else { "" };
        let piece = if piece == 1 { String::new() } else { format!("+{piece}") };
        Segment { name: format!("{graph}.{suffix}{place}{round}{piece}"), kind, phases: Vec::new() }
    }
}

/// A phase that copies a buffer element by element.
pub fn copy_phase(buffers: &IndexVec<BufferId, Buffer>, from: BufferId, to: BufferId) -> Phase {
    let shape = buffers[from].shape.clone();
    let subs = Affine::identity(shape.len());
    let mut exprs = IndexVec::new();
    let load = Expr::Load { buffer: from, subs: subs.clone(), fill: Fill::InRange };
    let value = exprs.push(Node { expr: load, elem: buffers[from].elem });
    Phase {
        name: format!("copy {}", buffers[to].name),
        n_space: shape.len(),
        axes: shape,
        exprs,
        reduction: None,
        stores: vec![Store { buffer: to, subs, value }],
        schedule: Schedule::default(),
        step: None,
        barrier_before: false,
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    roots: &'a Roots,
    loops: &'a Loops,
    buffers: IndexVec<BufferId, Buffer>,
    /// Where the value of each node lies, and by how much its first axis is shifted there.
    buffer_of: Vec<Option<(BufferId, i64)>>,
    /// The place of each node in the step.
    places: Vec<When>,
    /// How often a name has been asked for, so that each is unique.
    names: FxHashMap<String, u32>,
}

impl Builder<'_> {
    fn unique_name(&mut self, wanted: &str) -> String {
        let count = self.names.entry(wanted.to_string()).or_insert(0);
        *count += 1;
        if *count == 1 { wanted.to_string() } else { format!("{wanted}#{count}") }
    }

    fn when(&self, id: NodeId) -> When {
        self.places[id.index()]
    }

    /// The buffer of a node that has one of its own.
    fn buffer(&self, id: NodeId) -> Result<BufferId, PassError> {
        match self.place(id)? {
            (buffer, 0) if !matches!(self.graph.nodes[id].op, Op::Recur { .. }) => Ok(buffer),
            _ => Err(PassError::bug("fuse", format!("{id} lies in a loop's buffer"))),
        }
    }

    fn place(&self, id: NodeId) -> Result<(BufferId, i64), PassError> {
        self.buffer_of[id.index()]
            .ok_or_else(|| PassError::bug("fuse", format!("{id} is used before it has a buffer")))
    }

    /// The element of a node's value at subscripts.
    fn element(
        &self,
        id: NodeId,
        mut subs: Vec<Affine>,
    ) -> Result<(BufferId, Vec<Affine>), PassError> {
        let (buffer, shift) = self.place(id)?;
        if shift != 0 {
            subs[0] = subs[0].plus(&Affine::constant(shift));
        }
        Ok((buffer, subs))
    }

    /// The phases of all steps of a loop.
    fn run(&mut self, number: usize, built: &mut Building) -> Result<(), PassError> {
        let Loop { members, reverse, .. } = &self.loops.loops[number];
        for &member in members {
            if matches!(self.graph.nodes[member].op, Op::Recur { .. }) {
                self.begin(member, built)?;
            }
        }
        let step = Some(Step { number, reverse: *reverse });
        for &member in members {
            self.node(member, step, built)?;
        }
        Ok(())
    }

    /// The buffer of a recurrence, and the phase that writes its beginning.
    fn begin(&mut self, recur: NodeId, built: &mut Building) -> Result<(), PassError> {
        let when = self.when(recur);
        let node = &self.graph.nodes[recur];
        let Op::Recur { init, reverse } = node.op else {
            return Err(PassError::bug("fuse", format!("{recur} is no recurrence")));
        };
        self.allocate(recur)?;
        let (buffer, shift) = self.place(recur)?;
        let steps = node.shape[0].constant;
        self.buffers[buffer].shape[0].constant = steps + 1;
        let shape = node.shape[1..].to_vec();
        let mut lowering = Lowering {
            builder: self,
            root: recur,
            anchor: None,
            exprs: IndexVec::new(),
            memo: FxHashMap::default(),
        };
        let value = lowering.inline(init, &Affine::identity(shape.len()))?;
        let exprs = lowering.exprs;
        let mut subs = vec![Affine::constant(if reverse { steps } else { 0 })];
        debug_assert_eq!(shift, i64::from(reverse));
        subs.extend(Affine::identity(shape.len()));
        let phase = Phase {
            name: format!("{} begins", self.buffers[buffer].name.trim_start_matches('~')),
            n_space: shape.len(),
            axes: shape,
            exprs,
            reduction: None,
            stores: vec![Store { buffer, subs, value }],
            schedule: Schedule::default(),
            step: None,
            barrier_before: false,
        };
        built.phases.push(StagedPhase { when, phase });
        Ok(())
    }

    /// The phase of a node, and those that bring its value to recurrences that carry it.
    fn node(
        &mut self,
        id: NodeId,
        step: Option<Step>,
        built: &mut Building,
    ) -> Result<(), PassError> {
        if !self.roots.is_stored(id) {
            return Ok(());
        }
        let node = &self.graph.nodes[id];
        let when = self.when(id);
        // Recurrences of the same loop; any other follows what it carries.
        let mut carriers = self.loops.carriers_of(id);
        carriers
            .retain(|&recur| step.is_some() && self.loops.loop_of(recur) == self.loops.loop_of(id));
        let mut claimed = None;
        match &node.op {
            Op::Recur { .. } if step.is_none() => {
                self.begin(id, built)?;
                if let Some(next) = self.loops.next_of(id) {
                    let phase = self.shift_phase(next, id, None)?;
                    built.phases.push(StagedPhase { when, phase });
                }
            }
            Op::Recur { .. } => {}
            Op::Input { .. } | Op::Reshape(_) => self.allocate(id)?,
            Op::Exchange(exchange) => {
                self.allocate(id)?;
                let (from, copy) = self.give(exchange.operand, &built.phases, &built.exchanges)?;
                let when = self.when(exchange.operand);
                built.phases.extend(copy.map(|phase| StagedPhase { when, phase }));
                let (kind, among, to) = (exchange.kind, exchange.among, self.buffer(id)?);
                built.exchanges.push(DraftExchange { kind, among, from, to });
            }
            _ => {
                claimed = carriers.first().copied();
                match claimed {
                    Some(recur) => {
                        let (buffer, shift) = self.place(recur)?;
                        self.buffer_of[id.index()] = Some((buffer, 1 - shift));
                    }
                    None => self.allocate(id)?,
                }
                let phase = Phase { step, ..self.phase_of(id)? };
                built.phases.push(StagedPhase { when, phase });
            }
        }
        for recur in carriers {
            if Some(recur) != claimed {
                let phase = self.shift_phase(id, recur, step)?;
                built.phases.push(StagedPhase { when, phase });
            }
        }
        Ok(())
    }

    /// Copies a carried value to where its recurrence carries it.
    fn shift_phase(
        &mut self,
        value: NodeId,
        recur: NodeId,
        step: Option<Step>,
    ) -> Result<Phase, PassError> {
        let node = &self.graph.nodes[value];
        let identity = Affine::identity(node.shape.len());
        let (from, from_subs) = self.element(value, identity.clone())?;
        let (buffer, shift) = self.place(recur)?;
        let mut subs = identity;
        subs[0] = subs[0].plus(&Affine::constant(1 - shift));
        let mut exprs = IndexVec::new();
        let load = Expr::Load { buffer: from, subs: from_subs, fill: Fill::InRange };
        let value = exprs.push(Node { expr: load, elem: node.elem });
        Ok(Phase {
            name: format!("{} goes on", self.buffers[buffer].name.trim_start_matches('~')),
            n_space: node.shape.len(),
            axes: node.shape.clone(),
            exprs,
            reduction: None,
            stores: vec![Store { buffer, subs, value }],
            schedule: Schedule::default(),
            step,
            barrier_before: false,
        })
    }

    fn allocate(&mut self, id: NodeId) -> Result<(), PassError> {
        let node = &self.graph.nodes[id];
        let (role, wanted, alias_of) = match &node.op {
            Op::Input { name, role } => {
                let role = match role {
                    InputRole::Data => BufferRole::Input,
                    InputRole::Param => BufferRole::Param,
                    InputRole::State => BufferRole::State,
                };
                (role, name.clone(), None)
            }
            Op::Reshape(operand) => (
                BufferRole::Temporary,
                format!("{} reshaped", node.origin.name),
                Some(self.buffer(*operand)?),
            ),
            Op::Exchange(_) => (BufferRole::Message, format!("@taken {}", node.origin.name), None),
            _ => (BufferRole::Temporary, node.origin.name.clone(), None),
        };
        let wanted = match (role, wanted.is_empty()) {
            (_, true) => format!("tmp{}", id.index()),
            // Temporaries carry a mark, so that they can never take the name of a leaf or a result.
            (BufferRole::Temporary, false) => format!("~{wanted}"),
            (_, false) => wanted,
        };
        let name = self.unique_name(&wanted);
        let buffer = Buffer {
            name,
            role,
            elem: node.elem,
            shape: node.shape.clone(),
            layout: node.layout.clone(),
            alias_of,
            arena_offset: None,
        };
        // In reverse the beginning lies last, so what is read at a step lies one slice further on.
        let shift = i64::from(matches!(node.op, Op::Recur { reverse: true, .. }));
        self.buffer_of[id.index()] = Some((self.buffers.push(buffer), shift));
        Ok(())
    }

    /// Makes a result out of a value: its own buffer if it is a plain temporary, otherwise a copy.
    fn hand_out(&mut self, name: &str, value: BufferId, phases: &[StagedPhase]) -> Option<Phase> {
        let written =
            phases.iter().any(|staged| staged.phase.writes().any(|buffer| buffer == value));
        let buffer = &mut self.buffers[value];
        if buffer.role == BufferRole::Temporary && written {
            buffer.role = BufferRole::Output;
            buffer.name = name.to_string();
            return None;
        }
        let copy = Buffer {
            name: name.to_string(),
            role: BufferRole::Output,
            elem: buffer.elem,
            shape: buffer.shape.clone(),
            layout: Layout::row_major(buffer.shape.len()),
            alias_of: None,
            arena_offset: None,
        };
        let to = self.buffers.push(copy);
        Some(copy_phase(&self.buffers, value, to))
    }

    /// Makes a message out of a value: its own memory if that is a plain temporary, otherwise a copy.
    fn give(
        &mut self,
        value: NodeId,
        phases: &[StagedPhase],
        exchanges: &[DraftExchange],
    ) -> Result<(BufferId, Option<Phase>), PassError> {
        let value = self.buffer(value)?;
        let mut owner = value;
        while let Some(alias) = self.buffers[owner].alias_of {
            owner = alias;
        }
        let written =
            phases.iter().any(|staged| staged.phase.writes().any(|buffer| buffer == owner));
        let given = exchanges.iter().any(|exchange| exchange.from == owner);
        if given || (self.buffers[owner].role == BufferRole::Temporary && written) {
            if !given {
                let name = format!("@given {}", self.buffers[owner].name.trim_start_matches('~'));
                self.buffers[owner].name = self.unique_name(&name);
                self.buffers[owner].role = BufferRole::Message;
            }
            return Ok((owner, None));
        }
        let name = format!("@given {}", self.buffers[value].name.trim_start_matches('~'));
        let copy = Buffer {
            name: self.unique_name(&name),
            role: BufferRole::Message,
            alias_of: None,
            arena_offset: None,
            layout: Layout::row_major(self.buffers[value].shape.len()),
            ..self.buffers[value].clone()
        };
        let to = self.buffers.push(copy);
        Ok((to, Some(copy_phase(&self.buffers, value, to))))
    }

    fn phase_of(&mut self, id: NodeId) -> Result<Phase, PassError> {
        let node = &self.graph.nodes[id];
        let n_space = node.shape.len();
        let mut lowering = Lowering {
            builder: self,
            root: id,
            anchor: None,
            exprs: IndexVec::new(),
            memo: FxHashMap::default(),
        };
        let mut axes = node.shape.clone();
        let mut reduction = None;
        if let Some(anchor) = lowering.builder.roots.anchor(id)
            && let Op::Contract(contract) = &lowering.builder.graph.nodes[anchor].op
        {
            axes = contract.space.clone();
            reduction = Some(lowering.reduction(contract)?);
            lowering.anchor = Some(anchor);
        }
        let identity = Affine::identity(n_space);
        let value = lowering.value(id, &identity)?;
        let exprs = lowering.exprs;
        let (buffer, subs) = self.element(id, identity)?;
        Ok(Phase {
            name: self.buffers[buffer].name.trim_start_matches('~').to_string(),
            axes,
            n_space,
            exprs,
            reduction,
            stores: vec![Store { buffer, subs, value }],
            schedule: Schedule::default(),
            step: None,
            barrier_before: false,
        })
    }
}

/// Lowers one root's tree of nodes to scalar expressions.
struct Lowering<'b, 'a> {
    builder: &'b Builder<'a>,
    root: NodeId,
    anchor: Option<NodeId>,
    exprs: IndexVec<ExprId, Node>,
    memo: FxHashMap<(NodeId, Vec<Affine>), ExprId>,
}

impl Lowering<'_, '_> {
    fn push(&mut self, expr: Expr, elem: ElemType) -> ExprId {
        self.exprs.push(Node { expr, elem })
    }

    fn reduction(&mut self, contract: &Contract) -> Result<Reduction, PassError> {
        let order = contract
            .order
            .ok_or_else(|| PassError::bug("fuse", "a contraction without an order"))?;
        if contract.normal_form().is_none() || !contract.congruences.is_empty() {
            return Err(PassError::bug("fuse", "a contraction that is not in normal form"));
        }
        let mut factors = Vec::new();
        for read in &contract.reads {
            let factor = if self.builder.roots.is_stored(read.value) {
                // Where only a guard keeps the read inside, the term that the guard excludes must not be loaded either.
                let shape = &self.builder.graph.nodes[read.value].shape;
                let fill = match read.fill {
                    Fill::InRange if !stays_inside(contract, read, shape) => Fill::Skip,
                    fill => fill,
                };
                self.load(read.value, read.subs.clone(), fill)?
            } else {
                self.inline(read.value, &read.subs)?
            };
            factors.push(factor);
        }
        let guards = contract.guards.clone();
        Ok(Reduction { combine: contract.combine, factors, guards, order, of_shard: None })
    }

    /// Row-major number of the element at `at`, as an `i32`. While the extents are fixed it is an affine function of the axes; from an
    /// extent that follows the batch outwards it is computed.
    fn flat_index(&mut self, shape: &[Dim], at: &[Affine]) -> ExprId {
        let mut done: Option<ExprId> = None;
        let mut flat = Affine::constant(0);
        for (axis, (extent, sub)) in shape.iter().zip(at).enumerate() {
            match extent.as_fixed() {
                Some(extent) => flat = flat.times(extent),
                // Nothing stands before the first axis.
                None if axis == 0 => {}
                None => {
                    let so_far = self.sum_of(done, std::mem::take(&mut flat));
                    let extent = self.push(Expr::Extent(*extent), ElemType::I32);
                    done =
                        Some(self.push(Expr::Binary(BinaryOp::Mul, so_far, extent), ElemType::I32));
                }
            }
            if let (Some(outer), Some(extent)) = (done, extent.as_fixed()) {
                let extent = self.push(Expr::Const(Literal::Int(extent)), ElemType::I32);
                done = Some(self.push(Expr::Binary(BinaryOp::Mul, outer, extent), ElemType::I32));
            }
            flat = flat.plus(sub);
        }
        self.sum_of(done, flat)
    }

    fn sum_of(&mut self, outer: Option<ExprId>, flat: Affine) -> ExprId {
        let inner = self.push(Expr::Index(flat), ElemType::I32);
        match outer {
            Some(outer) => self.push(Expr::Binary(BinaryOp::Add, outer, inner), ElemType::I32),
            None => inner,
        }
    }

    fn load(&mut self, id: NodeId, subs: Vec<Affine>, fill: Fill) -> Result<ExprId, PassError> {
        let (buffer, subs) = self.builder.element(id, subs)?;
        Ok(self.push(Expr::Load { buffer, subs, fill }, self.builder.graph.nodes[id].elem))
    }

    /// The value of a node at the point whose coordinates along the node's axes are `at`.
    fn inline(&mut self, id: NodeId, at: &[Affine]) -> Result<ExprId, PassError> {
        let key = (id, at.to_vec());
        if let Some(&known) = self.memo.get(&key) {
            return Ok(known);
        }
        let value = if id != self.root && self.builder.roots.is_stored(id) {
            self.load(id, at.to_vec(), Fill::InRange)?
        } else {
            self.value(id, at)?
        };
        self.memo.insert(key, value);
        Ok(value)
    }

    fn value(&mut self, id: NodeId, at: &[Affine]) -> Result<ExprId, PassError> {
        let node = &self.builder.graph.nodes[id];
        let elem = node.elem;
        let expr = match &node.op {
            Op::Contract(_) if self.anchor == Some(id) => Expr::Reduced,
            Op::Contract(_)
            | Op::Input { .. }
            | Op::Reshape(_)
            | Op::Exchange(_)
            | Op::Recur { .. } => {
                return Err(PassError::bug(
                    "fuse",
                    format!("{id} cannot be computed inside a phase"),
                ));
            }
            Op::Const(literal) => Expr::Const(*literal),
            Op::Iota { axis } => Expr::Index(at[*axis].clone()),
            Op::Extent(dim) => Expr::Extent(*dim),
            Op::Random { seed, step, draw, first } => {
                let (seed, step) = (self.inline(*seed, &[])?, self.inline(*step, &[])?);
                let mut element = self.flat_index(&node.shape, at);
                if let Some(first) = first {
                    let first = self.inline(*first, &[])?;
                    let sum = Expr::Binary(BinaryOp::Add, first, element);
                    element = self.push(sum, ElemType::I32);
                }
                Expr::Random { seed, step, draw: *draw, element }
            }
            Op::Unary(op, a) => Expr::Unary(*op, self.inline(*a, at)?),
            Op::Binary(op, a, b) => Expr::Binary(*op, self.inline(*a, at)?, self.inline(*b, at)?),
            Op::Compare(op, a, b) => Expr::Compare(*op, self.inline(*a, at)?, self.inline(*b, at)?),
            Op::Select(c, a, b) => {
                Expr::Select(self.inline(*c, at)?, self.inline(*a, at)?, self.inline(*b, at)?)
            }
            Op::Fma(a, b, c) => {
                Expr::Fma(self.inline(*a, at)?, self.inline(*b, at)?, self.inline(*c, at)?)
            }
            Op::Convert(a) => Expr::Convert(self.inline(*a, at)?),
            Op::View { operand, subs, fill } => {
                let subs: Vec<Affine> = subs.iter().map(|sub| sub.substitute(at)).collect();
                return if self.builder.roots.is_stored(*operand) {
                    self.load(*operand, subs, *fill)
                } else {
                    self.inline(*operand, &subs)
                };
            }
            Op::Gather(gather) => {
                let index_subs = gather.index_subs.iter().map(|sub| sub.substitute(at)).collect();
                let index = self.load(gather.index, index_subs, Fill::InRange)?;
                let subs = gather.subs.iter().map(|sub| sub.substitute(at)).collect();
                let (buffer, subs) = self.builder.element(gather.operand, subs)?;
                Expr::Gather { buffer, subs, axis: gather.axis, index }
            }
        };
        Ok(self.push(expr, elem))
    }
}
