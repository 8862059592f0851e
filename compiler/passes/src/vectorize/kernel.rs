//! The loop nest of a kernel: outer axes, then lane tiles, then row tiles, each tile with its remainder.

use super::bounds::Bound;
use super::eval::At;
use super::sweep::Level;
use super::{Slots, walk_of};
use crate::access::Walk;
use crate::pass::PassError;
use crate::schedule;
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Combine, Fill, OrderKind};
use dlc_ir::target::TargetDesc;
use dlc_ir::tile::{BufferId, Expr, ExprId, Phase, Program};
use dlc_ir::vector::{Addr, Function, FunctionBuilder, FunctionKind, Inst, IntOp, Type, Val};

/// What a kernel wants as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Param {
    /// Address of a stream's element at the unit's first point.
    Stream(usize),
    /// First address of a buffer's memory.
    Base(BufferId),
    /// First index of the unit along an axis.
    Origin(usize),
    /// Iterations of the unit along an axis.
    Count(usize),
    /// Actual batch size.
    Batch,
    /// Scratch memory of the part.
    Scratch,
    /// The error slot.
    Error,
}

/// A kernel and how to call it.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The function.
    pub function: Function,
    /// Its arguments, in order.
    pub params: Vec<Param>,
    /// The streams that its parameters speak of.
    pub streams: Vec<Walk>,
    /// Scratch that it needs.
    pub scratch_bytes: u64,
}

/// A number of iterations.
#[derive(Debug, Clone, Copy)]
pub(super) enum Len {
    /// Known.
    Static(i64),
    /// In a value, at most so many.
    Dynamic(Val, i64),
    /// In a value, one of these two: a unit's part of a known extent is whole or the last.
    Either(Val, [i64; 2]),
}

impl Len {
    /// The largest it can be.
    pub(super) fn max(self) -> i64 {
        match self {
            Len::Static(n) | Len::Dynamic(_, n) => n,
            Len::Either(_, [a, b]) => a.max(b),
        }
    }

    /// One of two numbers, of which `value` holds the one that counts.
    fn either(value: Val, [a, b]: [i64; 2]) -> Len {
        if a == b { Len::Static(a) } else { Len::Either(value, [a, b]) }
    }
}

/// Where in the iteration space code is being emitted.
#[derive(Debug, Clone)]
pub(super) struct Env {
    /// Address of each stream's element here, less `disp`.
    pub ptr: Vec<Val>,
    /// Bytes to add to each address.
    pub disp: Vec<i64>,
    /// Index along each axis, where some expression needs it, less `index_disp`.
    pub index: Vec<Option<Val>>,
    /// To add to each index.
    pub index_disp: Vec<i64>,
}

/// A register tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    pub rows: usize,
    pub vectors: usize,
    /// Lanes of a vector.
    pub lanes: usize,
    /// The axis of the lanes.
    pub lane_axis: Option<usize>,
    /// Which lanes of the last vector exist.
    pub tail: Option<Val>,
}

impl Tile {
    /// All places, in the order in which the fewest operands are alive at once: those of the shorter side stay in registers, those of the
    /// longer one come and go.
    pub(super) fn places_by_fewest_live(&self) -> Vec<At> {
        let (rows, vectors) = (self.rows, self.vectors);
        let at = |n: usize| match vectors <= rows {
            true => At { row: n / vectors, vector: n % vectors },
            false => At { row: n % rows, vector: n / rows },
        };
        (0..rows * vectors).map(at).collect()
    }
}

/// What stands in a loop: given the place and the carried values, emits one iteration and returns the carried values for the next.
type Body<'b, E> = dyn FnMut(&mut E, &Env, &[Val]) -> Result<Vec<Val>, PassError> + 'b;

/// Emits one kernel.
pub(super) struct Emitter<'a> {
    pub fb: FunctionBuilder,
    pub program: &'a Program,
    pub phase: &'a Phase,
    pub slots: &'a Slots,
    /// Lanes of the phase's vectors.
    pub lanes: usize,
    /// Width of masks: that of the widest element.
    pub mask_bits: u8,
    pub streams: Vec<Walk>,
    /// Stream and constant offset in elements of each load.
    pub loads: Vec<Option<(usize, i64)>>,
    /// Likewise of each store.
    pub stores: Vec<(usize, i64)>,
    /// Which expressions change along the rows and along the lanes.
    pub on_rows: Vec<bool>,
    pub on_lanes: Vec<bool>,
    /// Bytes between accumulators in scratch along the space axes, in a kernel that goes by blocks. They are walked like one more stream.
    pub area_strides: Vec<i64>,
    /// Bounds that are asked once a run.
    pub run_bounds: Vec<Bound>,
    params: Vec<Param>,
    /// Extents of all axes in this kernel.
    pub lens: Vec<Len>,
    pub scratch_bytes: u64,
}

/// Builds the kernel of a phase.
pub fn build(
    program: &Program,
    phase: &Phase,
    target: &TargetDesc,
    slots: &Slots,
) -> Result<Kernel, PassError> {
    let accesses = Accesses::of(program, phase)?;
    let params = params(program, phase, &accesses);
    let is_lanes = is_lanes_order(phase);
    let lanes = if is_lanes { 16 } else { schedule::lanes(program, phase, target) };
    let fb = FunctionBuilder::new(
        super::symbol(&format!("{}.kernel", phase.name)),
        FunctionKind::Kernel,
        params.len(),
    );
    let wide = phase.exprs.values().any(|node| node.elem.size() == 8);
    let mut emitter = Emitter {
        fb,
        program,
        phase,
        slots,
        lanes: if phase.schedule.lane_axis.is_some() { lanes } else { 1 },
        mask_bits: if wide { 64 } else { 32 },
        on_rows: vec![],
        on_lanes: vec![],
        streams: accesses.streams,
        loads: accesses.loads,
        stores: accesses.stores,
        area_strides: Vec::new(),
        run_bounds: Vec::new(),
        params,
        lens: Vec::new(),
        scratch_bytes: 0,
    };
    emitter.on_rows = emitter.dependence(phase.schedule.row_axis);
    emitter.on_lanes = emitter.dependence(phase.schedule.lane_axis);
    emitter.lens = (0..phase.axes.len()).map(|axis| emitter.len_of(axis)).collect();
    emitter.run_bounds = emitter.find_run_bounds();
    let env = emitter.entry();
    let outer: Vec<usize> = (0..phase.n_space)
        .filter(|&axis| {
            Some(axis) != phase.schedule.row_axis && Some(axis) != phase.schedule.lane_axis
        })
        .collect();
    let selection = phase.selection().filter(|_| phase.schedule.sorted_axis.is_some());
    match (phase.schedule.block, selection) {
        (_, Some(selection)) => emitter.sorted(&env, selection)?,
        (Some(block), None) => emitter.blocked(&env, &outer, block)?,
        (None, None) => {
            let mut levels: Vec<Level> = outer.into_iter().map(Level::Outer).collect();
            levels.extend([Level::Lanes, Level::Rows]);
            emitter.sweep(&env, &levels, &mut |emitter, env, tile| emitter.tile(env, *tile))?;
        }
    }
    Ok(Kernel {
        function: emitter.fb.finish(),
        params: emitter.params,
        streams: emitter.streams,
        scratch_bytes: emitter.scratch_bytes,
    })
}

/// Whether sixteen virtual lanes walk the innermost reduction axis.
pub(super) fn is_lanes_order(phase: &Phase) -> bool {
    phase.reduction.as_ref().is_some_and(|reduction| {
        reduction.order.kind == OrderKind::Lanes
            && !matches!(reduction.combine, Combine::ArgMax | Combine::ArgMin)
    })
}

/// The distinct walks of a phase's accesses.
struct Accesses {
    streams: Vec<Walk>,
    loads: Vec<Option<(usize, i64)>>,
    stores: Vec<(usize, i64)>,
}

impl Accesses {
    fn of(program: &Program, phase: &Phase) -> Result<Accesses, PassError> {
        let mut accesses = Accesses {
            streams: Vec::new(),
            loads: vec![None; phase.exprs.len()],
            stores: Vec::new(),
        };
        for (id, node) in phase.exprs.iter() {
            if let Expr::Load { buffer, subs, .. } | Expr::Gather { buffer, subs, .. } = &node.expr
            {
                let walk = walk_of(program, *buffer, subs)?;
                accesses.loads[id.index()] = Some(accesses.stream(walk));
            }
        }
        for store in &phase.stores {
            let walk = walk_of(program, store.buffer, &store.subs)?;
            let stream = accesses.stream(walk);
            accesses.stores.push(stream);
        }
        Ok(accesses)
    }

    /// The stream that walks like this but for a constant, and the constant.
    fn stream(&mut self, walk: Walk) -> (usize, i64) {
        let constant = walk.offset.offset();
        let walk = Walk { offset: walk.offset.minus(&Affine::constant(constant)), ..walk };
        let at = self.streams.iter().position(|known| *known == walk).unwrap_or_else(|| {
            self.streams.push(walk);
            self.streams.len() - 1
        });
        (at, constant)
    }
}

/// The arguments that a phase's kernel needs.
fn params(program: &Program, phase: &Phase, accesses: &Accesses) -> Vec<Param> {
    let mut params: Vec<Param> = (0..accesses.streams.len()).map(Param::Stream).collect();
    for axis in 0..phase.n_space {
        if index_is_used(phase, axis) {
            params.push(Param::Origin(axis));
        }
        let cut = phase.unit_axes().into_iter().find(|unit| unit.axis == axis);
        let whole = cut.is_none_or(|unit| unit.tile == 1);
        let dynamic = phase.axes[axis].as_fixed().is_none();
        // A unit of one iteration has no count; an uncut fixed axis is known.
        if !(whole && (cut.is_some() || !dynamic)) {
            params.push(Param::Count(axis));
        }
    }
    for node in phase.exprs.values() {
        if let Expr::Gather { index, .. } = &node.expr
            && let Expr::Load { buffer, .. } = &phase.exprs[*index].expr
        {
            let base = Param::Base(program.memory_of(*buffer));
            if !params.contains(&base) {
                params.push(base);
            }
        }
    }
    if let Some(window) = window_of_sums(program, phase) {
        params.push(Param::Base(window));
    }
    params.extend([Param::Batch, Param::Scratch, Param::Error]);
    params
}

/// The memory that tells the phase where shards are cut: for sums over several shards of a part of a batch.
pub(super) fn window_of_sums(program: &Program, phase: &Phase) -> Option<BufferId> {
    let order = phase.reduction.as_ref()?.order;
    order.shard_axis.filter(|_| program.shards > 1)?;
    program.window_of?;
    program.window()
}

/// Whether some expression, fill or guard needs the index along an axis.
pub(super) fn index_is_used(phase: &Phase, axis: usize) -> bool {
    let mentions = |affine: &Affine| affine.coefficient(axis) != 0;
    let in_exprs = phase.exprs.values().any(|node| match &node.expr {
        Expr::Index(index) => mentions(index),
        Expr::Load { subs, fill, .. } => *fill != Fill::InRange && subs.iter().any(mentions),
        Expr::Gather { .. }
        | Expr::Random { .. }
        | Expr::Const(_)
        | Expr::Extent(_)
        | Expr::Reduced
        | Expr::Unary(..)
        | Expr::Binary(..)
        | Expr::Compare(..)
        | Expr::Select(..)
        | Expr::Fma(..)
        | Expr::Convert(_) => false,
    });
    let reduction = phase.reduction.as_ref();
    let in_guards = reduction
        .is_some_and(|reduction| reduction.guards.iter().any(|guard| mentions(&guard.expr)));
    // The result of an arg-reduction is an index.
    let is_arg = reduction
        .is_some_and(|reduction| matches!(reduction.combine, Combine::ArgMax | Combine::ArgMin));
    // So is what is written down of a sorted term.
    let is_numbered = is_arg || phase.schedule.sorted_axis.is_some();
    let of_shard = reduction.is_some_and(|reduction| reduction.of_shard == Some(axis));
    in_exprs || in_guards || of_shard || (is_numbered && axis >= phase.n_space)
}

impl Emitter<'_> {
    /// The value of a parameter.
    pub(super) fn param(&self, param: Param) -> Val {
        let at = self.params.iter().position(|known| *known == param);
        self.fb.param(at.expect("a kernel has every parameter that its expressions need"))
    }

    fn len_of(&self, axis: usize) -> Len {
        let max = self.phase.axes[axis].at(self.program.max_batch).max(0);
        let cut = self.phase.unit_axes().into_iter().find(|unit| unit.axis == axis);
        match cut {
            Some(unit) if unit.tile == 1 => Len::Static(1),
            Some(unit) => match self.phase.axes[axis].as_fixed() {
                Some(extent) if extent % unit.tile == 0 => Len::Static(unit.tile),
                Some(extent) if extent < unit.tile => Len::Static(extent),
                Some(extent) => {
                    Len::Either(self.param(Param::Count(axis)), [unit.tile, extent % unit.tile])
                }
                None => Len::Dynamic(self.param(Param::Count(axis)), unit.tile.min(max)),
            },
            None => match self.phase.axes[axis].as_fixed() {
                Some(extent) => Len::Static(extent),
                None if axis < self.phase.n_space => {
                    Len::Dynamic(self.param(Param::Count(axis)), max)
                }
                // A reduction over the batch: its length comes from the batch itself, in `reduce`.
                None => Len::Dynamic(self.param(Param::Batch), max),
            },
        }
    }

    /// The value of an extent that may follow the batch.
    pub(super) fn extent(&mut self, dim: Dim) -> Val {
        if dim.batch_factor == 0 {
            return self.fb.int(dim.constant);
        }
        let batch = self.param(Param::Batch);
        let scaled = self.fb.imul_const(batch, dim.batch_factor);
        self.fb.iadd_const(scaled, dim.constant)
    }

    fn entry(&mut self) -> Env {
        let n_axes = self.phase.axes.len();
        let ptr = (0..self.streams.len()).map(|stream| self.param(Param::Stream(stream))).collect();
        let index = (0..n_axes)
            .map(|axis| {
                if !index_is_used(self.phase, axis) {
                    None
                } else if axis < self.phase.n_space {
                    Some(self.param(Param::Origin(axis)))
                } else {
                    Some(self.fb.int(0))
                }
            })
            .collect();
        Env { ptr, disp: vec![0; self.streams.len()], index, index_disp: vec![0; n_axes] }
    }

    /// Which expressions change along an axis.
    fn dependence(&self, axis: Option<usize>) -> Vec<bool> {
        let Some(axis) = axis else { return vec![false; self.phase.exprs.len()] };
        let mut depends = vec![false; self.phase.exprs.len()];
        let mentions = |affine: &Affine| affine.coefficient(axis) != 0;
        for (id, node) in self.phase.exprs.iter() {
            depends[id.index()] = match &node.expr {
                Expr::Const(_) | Expr::Extent(_) => false,
                Expr::Index(index) => mentions(index),
                Expr::Load { subs, .. } => subs.iter().any(mentions),
                Expr::Gather { subs, index, .. } => {
                    subs.iter().any(mentions) || depends[index.index()]
                }
                Expr::Reduced => true,
                Expr::Random { .. }
                | Expr::Unary(..)
                | Expr::Binary(..)
                | Expr::Compare(..)
                | Expr::Select(..)
                | Expr::Fma(..)
                | Expr::Convert(_) => {
                    node.expr.operands().iter().any(|operand| depends[operand.index()])
                }
            };
        }
        depends
    }

    /// Bytes of an element of a stream.
    pub(super) fn elem_bytes(&self, stream: usize) -> i64 {
        self.program.buffers[self.streams[stream].buffer].elem.size() as i64
    }

    /// Bytes between neighbours of a stream along an axis.
    pub(super) fn byte_stride(&self, stream: usize, axis: usize) -> i64 {
        if stream == self.streams.len() {
            return self.area_strides.get(axis).copied().unwrap_or(0);
        }
        self.streams[stream].stride(axis) * self.elem_bytes(stream)
    }

    /// Bytes from a stream's place to the one `n` iterations further along an axis.
    fn bytes_moved(&self, stream: usize, axis: usize, n: i64) -> i64 {
        match self.streams.get(stream) {
            Some(walk) => walk.moved(axis, n) * self.elem_bytes(stream),
            None => n * self.byte_stride(stream, axis),
        }
    }

    /// The place `n` iterations further along an axis, by constant displacements.
    pub(super) fn shifted(&self, env: &Env, axis: usize, n: i64) -> Env {
        let mut env = env.clone();
        for stream in 0..env.ptr.len() {
            env.disp[stream] += self.bytes_moved(stream, axis, n);
        }
        env.index_disp[axis] += n;
        env
    }

    /// The place `n` iterations further along an axis, `n` being a value.
    pub(super) fn shifted_by(&mut self, env: &Env, axis: usize, n: Val) -> Env {
        let mut env = env.clone();
        for stream in 0..env.ptr.len() {
            let stride = self.byte_stride(stream, axis);
            if stride != 0 {
                let bytes = self.fb.imul_const(n, stride);
                env.ptr[stream] = self.fb.iadd(env.ptr[stream], bytes);
            }
        }
        if let Some(index) = env.index[axis] {
            env.index[axis] = Some(self.fb.iadd(index, n));
        }
        env
    }

    /// Address of a stream's element, `elements` further.
    pub(super) fn addr(
        &mut self,
        env: &Env,
        stream: usize,
        elements: i64,
        extra_bytes: i64,
    ) -> Addr {
        self.addr_at(env, stream, elements * self.elem_bytes(stream) + extra_bytes)
    }

    /// Address of what lies `bytes` behind a stream's place.
    pub(super) fn addr_at(&mut self, env: &Env, stream: usize, bytes: i64) -> Addr {
        let disp = env.disp[stream] + bytes;
        match i32::try_from(disp) {
            Ok(disp) => Addr::offset(env.ptr[stream], disp),
            Err(_) => Addr::at(self.fb.iadd_const(env.ptr[stream], disp)),
        }
    }

    /// Runs `body` `trip` times, `step` iterations of an axis apart. Returns the place after the last one and the carried values.
    pub(super) fn for_axis(
        &mut self,
        env: &Env,
        axis: usize,
        trip: Len,
        step: i64,
        carried: &[Val],
        body: &mut Body<'_, Self>,
    ) -> Result<(Env, Vec<Val>), PassError> {
        let trip = match trip {
            Len::Static(0) => return Ok((env.clone(), carried.to_vec())),
            Len::Static(1) => {
                let next = body(self, env, carried)?;
                return Ok((self.shifted(env, axis, step), next));
            }
            Len::Static(n) => self.fb.int(n),
            Len::Dynamic(n, _) | Len::Either(n, _) => n,
        };
        // Only what moves along the axis is carried.
        let moving: Vec<usize> =
            (0..env.ptr.len()).filter(|&stream| self.byte_stride(stream, axis) != 0).collect();
        let mut init: Vec<Val> = carried.to_vec();
        init.extend(moving.iter().map(|&stream| env.ptr[stream]));
        init.extend(env.index[axis]);
        let open = self.fb.open_loop(trip, &init);
        let place = |values: &[Val]| {
            let mut inner = env.clone();
            for (&stream, &ptr) in moving.iter().zip(&values[carried.len()..]) {
                inner.ptr[stream] = ptr;
            }
            if env.index[axis].is_some() {
                inner.index[axis] = values.last().copied();
            }
            inner
        };
        let inner = place(&open.params);
        let mut next = body(self, &inner, &open.params[..carried.len()])?;
        for &stream in &moving {
            let bytes = self.bytes_moved(stream, axis, step);
            next.push(self.fb.iadd_const(inner.ptr[stream], bytes));
        }
        if let Some(index) = inner.index[axis] {
            next.push(self.fb.iadd_const(index, step));
        }
        let results = self.fb.close_loop(open, next);
        Ok((place(&results), results[..carried.len()].to_vec()))
    }

    /// The mask of the first `count` lanes of the phase's vectors.
    pub(super) fn first(&mut self, count: Val) -> Val {
        let ty = Type::Mask { bits: self.mask_bits, lanes: self.lanes as u8 };
        self.fb.inst(Inst::MaskFirst { ty, count })
    }

    /// How often a constant fits into a length.
    pub(super) fn pieces(&mut self, len: Len, by: i64) -> Len {
        match len {
            Len::Static(n) => Len::Static(n / by),
            Len::Dynamic(n, max) => Len::Dynamic(self.divided(n, by), max / by),
            Len::Either(n, both) => Len::either(self.divided(n, by), both.map(|n| n / by)),
        }
    }

    /// What is left of a length after its pieces.
    pub(super) fn rest(&mut self, len: Len, pieces: Len, by: i64) -> Len {
        if by == 1 {
            return Len::Static(0);
        }
        let left = |emitter: &mut Self, n: Val| {
            let pieces = match pieces {
                Len::Static(n) => emitter.fb.int(n),
                Len::Dynamic(n, _) | Len::Either(n, _) => n,
            };
            let done = emitter.fb.imul_const(pieces, by);
            emitter.fb.int_op(IntOp::Sub, n, done)
        };
        match len {
            Len::Static(n) => Len::Static(n % by),
            Len::Dynamic(n, _) => Len::Dynamic(left(self, n), by - 1),
            Len::Either(n, both) => Len::either(left(self, n), both.map(|n| n % by)),
        }
    }

    /// `n / by`, by a constant.
    pub(super) fn divided(&mut self, n: Val, by: i64) -> Val {
        if by == 1 {
            return n;
        }
        let by = self.fb.int(by);
        self.fb.int_op(IntOp::Div, n, by)
    }

    /// The element type in registers and in memory of a buffer's elements.
    pub(super) fn elem_of(&self, buffer: BufferId) -> ElemType {
        self.program.buffers[buffer].elem
    }

    /// An expression of the phase.
    pub(super) fn expr(&self, id: ExprId) -> &dlc_ir::tile::Node {
        &self.phase.exprs[id]
    }
}
