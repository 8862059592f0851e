//! Emits a tile with its reduction, in the frozen order: shards, chunks, chains, lanes.

use super::eval::{At, Cache};
use super::kernel::{Emitter, Env, Len, Param, Tile, is_lanes_order, window_of_sums};
use super::stack::Stack;
use crate::pass::PassError;
use dlc_abi::Dim;
use dlc_ir::graph::{Combine, Order};
use dlc_ir::tile::{Expr, ExprId};
use dlc_ir::vector::{
    Addr, Compare, Elem, FoldOp, Inst, IntOp, IntWidth, MaskOp, Type, Val, VecBinary,
};

/// Innermost runs up to this many terms are unrolled, if the whole body stays small.
const UNROLLED_TERMS: i64 = 8;
/// Accumulations in an unrolled body.
const UNROLLED_OPS: i64 = 100;

/// The place of a part in its batch; see [`dlc_abi::WINDOW_INPUT`].
#[derive(Debug, Clone, Copy)]
struct WindowVals {
    whole: Val,
    before: Val,
    shards_before: Val,
    /// Shards of the whole batch.
    of: i64,
}

/// What is done with a piece of an axis: gets its place, its length and the carried values, and returns the next ones.
pub(super) type Piece<'b, E> =
    dyn FnMut(&mut E, &Env, Len, &[Val]) -> Result<Vec<Val>, PassError> + 'b;

impl Emitter<'_> {
    /// One register tile: the reduction, if any, then the stores.
    pub(super) fn tile(&mut self, env: &Env, tile: Tile) -> Result<(), PassError> {
        let mut cache = Cache::default();
        let Some(reduction) = &self.phase.reduction else {
            self.transposed_loads(env, &tile, &mut cache);
            return self.store_tile(env, &tile, cache);
        };
        let combine = reduction.combine;
        let results = match combine {
            Combine::ArgMax | Combine::ArgMin => self.arg_reduce(env, &tile)?,
            Combine::Sum | Combine::Max | Combine::Min => self.reduce(env, &tile)?,
        };
        for id in self.reduced_nodes() {
            for (at, &value) in results.iter().enumerate() {
                // Accumulators lie row by row.
                cache.insert((id, at / tile.vectors, at % tile.vectors), value);
            }
        }
        self.store_tile(env, &tile, cache)
    }

    /// The expressions that stand for the reduction's result.
    pub(super) fn reduced_nodes(&self) -> Vec<ExprId> {
        let nodes = self.phase.exprs.iter().filter(|(_, node)| node.expr == Expr::Reduced);
        nodes.map(|(id, _)| id).collect()
    }

    pub(super) fn reduction(&self) -> &dlc_ir::tile::Reduction {
        self.phase.reduction.as_ref().expect("only tiles with a reduction come here")
    }

    /// The tile as its terms see it: under the lanes order sixteen lanes along the innermost reduction axis.
    fn term_tile(&self, tile: &Tile) -> Tile {
        if is_lanes_order(self.phase) {
            Tile {
                rows: tile.rows,
                vectors: 1,
                lanes: 16,
                lane_axis: self.phase.schedule.lane_axis,
                tail: None,
            }
        } else {
            *tile
        }
    }

    pub(super) fn start(&mut self, ty: Type) -> Val {
        let Type::Vec { elem, .. } = ty else { unreachable!("accumulators are numbers") };
        let value = match (self.reduction().combine, elem.is_float()) {
            (Combine::Sum, _) => dlc_ir::graph::Literal::Int(0),
            (Combine::Max | Combine::ArgMax, true) => {
                dlc_ir::graph::Literal::Float(f64::NEG_INFINITY)
            }
            (Combine::Min | Combine::ArgMin, true) => dlc_ir::graph::Literal::Float(f64::INFINITY),
            (Combine::Max | Combine::ArgMax, false) => {
                dlc_ir::graph::Literal::Int(i64::from(i32::MIN))
            }
            (Combine::Min | Combine::ArgMin, false) => {
                dlc_ir::graph::Literal::Int(i64::from(i32::MAX))
            }
        };
        self.literal(value, ty)
    }

    /// The tile's accumulators, row by row; one lane each under the lanes order.
    fn reduce(&mut self, env: &Env, tile: &Tile) -> Result<Vec<Val>, PassError> {
        let term_tile = self.term_tile(tile);
        let order = self.reduction().order;
        let elem = self.expr(self.reduction().factors[0]).elem;
        let ty = self.vec_type(elem, term_tile.lanes);
        let n = term_tile.rows * term_tile.vectors;
        let mut offset = 0;
        let is_sum = self.reduction().combine == Combine::Sum;
        // Of maxima the first wins whatever the grouping, so shards and chunks matter to sums only.
        let Some(axis) = order.shard_axis.filter(|_| is_sum && self.program.shards > 1) else {
            let lens = self.reduction_lens();
            let sums = self.shard(env, &term_tile, &lens, ty, n, &mut offset)?;
            return Ok(self.folded(sums));
        };
        if let Some(shard) = self.own_shard(env) {
            let (env, lens) = self.shard_at(env, axis, shard);
            let sums = self.shard(&env, &term_tile, &lens, ty, n, &mut offset)?;
            return Ok(self.folded(sums));
        }
        let shards = i64::from(self.program.shards);
        let folded_ty = if is_lanes_order(self.phase) { self.vec_type(elem, 1) } else { ty };
        let stack = self.new_stack(vec![folded_ty; n], shards, &mut offset);
        let trip = self.fb.int(shards);
        let depth = self.fb.int(0);
        let open = self.fb.open_loop(trip, &[depth]);
        let (shard, depth) = (open.iv, open.params[0]);
        let (env, lens) = self.shard_at(env, axis, shard);
        let sums = self.shard(&env, &term_tile, &lens, ty, n, &mut offset)?;
        let sums = self.folded(sums);
        let depth = self.push_sums(&stack, depth, shard, &sums);
        let depth = self.fb.close_loop(open, vec![depth])[0];
        let zeros = vec![self.start(folded_ty); n];
        Ok(self.total(&stack, depth, &zeros))
    }

    /// The number of the shard whose terms are summed here, if it is one.
    pub(super) fn own_shard(&mut self, env: &Env) -> Option<Val> {
        let axis = self.reduction().of_shard?;
        let index = env.index[axis].expect("the index that numbers shards is kept");
        Some(self.fb.iadd_const(index, env.index_disp[axis]))
    }

    /// The place where a shard begins, and the lengths of the reduction axes in it.
    pub(super) fn shard_at(&mut self, env: &Env, axis: usize, shard: Val) -> (Env, Vec<Len>) {
        let shards = i64::from(self.program.shards);
        let extent = self.phase.axes[axis];
        let window = self.window();
        let low = self.shard_bound(extent, shard, shards, window);
        let next = self.fb.iadd_const(shard, 1);
        let high = self.shard_bound(extent, next, shards, window);
        let count = self.fb.int_op(IntOp::Sub, high, low);
        let mut lens = self.reduction_lens();
        let most_examples = (self.program.max_batch + shards - 1) / shards;
        lens[axis - self.phase.n_space] = Len::Dynamic(count, extent.at(most_examples));
        (self.shifted_by(env, axis, low), lens)
    }

    /// The place of a part in its batch, from the leaf that tells it.
    fn window(&mut self) -> Option<WindowVals> {
        let memory = window_of_sums(self.program, self.phase)?;
        let base = self.param(Param::Base(memory));
        let mut at =
            |offset: i32| self.fb.inst(Inst::IntLoad(IntWidth::I32, Addr::offset(base, offset)));
        let (whole, before, shards_before) = (at(0), at(4), at(8));
        let of = i64::from(self.program.window_of?);
        Some(WindowVals { whole, before, shards_before, of })
    }

    /// Where a shard begins: shards are cut between examples, `floor(batch * shard / shards)` of them, and what an extent has beyond
    /// multiples of the batch belongs to the last.
    fn shard_bound(
        &mut self,
        extent: Dim,
        shard: Val,
        shards: i64,
        window: Option<WindowVals>,
    ) -> Val {
        let examples = match window {
            None => {
                let batch = self.param(Param::Batch);
                let product = self.fb.int_op(IntOp::Mul, batch, shard);
                self.divided(product, shards)
            }
            Some(WindowVals { whole, before, shards_before, of }) => {
                let shard = self.fb.iadd(shards_before, shard);
                let product = self.fb.int_op(IntOp::Mul, whole, shard);
                let end = self.divided(product, of);
                self.fb.int_op(IntOp::Sub, end, before)
            }
        };
        let elements = self.fb.imul_const(examples, extent.batch_factor);
        if extent.constant == 0 {
            return elements;
        }
        let last = self.fb.int(shards);
        let is_end = self.fb.int_op(IntOp::Equal, shard, last);
        let rest = self.fb.imul_const(is_end, extent.constant);
        self.fb.iadd(elements, rest)
    }

    /// Lengths of the reduction axes.
    pub(super) fn reduction_lens(&mut self) -> Vec<Len> {
        let n_space = self.phase.n_space;
        (n_space..self.phase.axes.len())
            .map(|axis| match self.phase.axes[axis].as_fixed() {
                Some(extent) => Len::Static(extent),
                None => {
                    let dim = self.phase.axes[axis];
                    Len::Dynamic(self.extent(dim), dim.at(self.program.max_batch))
                }
            })
            .collect()
    }

    /// Sixteen lanes into one, under the lanes order.
    fn folded(&mut self, sums: Vec<Val>) -> Vec<Val> {
        if !is_lanes_order(self.phase) {
            return sums;
        }
        let op = match self.reduction().combine {
            Combine::Sum => FoldOp::Add,
            Combine::Max | Combine::ArgMax => FoldOp::Max,
            Combine::Min | Combine::ArgMin => FoldOp::Min,
        };
        sums.into_iter().map(|sum| self.fb.inst(Inst::Fold(op, sum))).collect()
    }

    /// The chains of one shard: chunk sums met in the binary counter.
    fn shard(
        &mut self,
        env: &Env,
        tile: &Tile,
        lens: &[Len],
        ty: Type,
        n: usize,
        offset: &mut i64,
    ) -> Result<Vec<Val>, PassError> {
        let zeros: Vec<Val> = {
            let zero = self.start(ty);
            vec![zero; n]
        };
        let order = self.reduction().order;
        let chunks = max_chunks(&order, lens, self.lane_step());
        if chunks <= 1 || self.reduction().combine != Combine::Sum {
            return self.nest(env, tile, 0, lens, &zeros);
        }
        let stack = self.new_stack(vec![ty; n], chunks, offset);
        let depth = if order.runs_per_chunk > 1 {
            self.chunks_of_runs(env, tile, lens, &zeros, &stack)?
        } else {
            self.cut_runs(env, tile, lens, &zeros, &stack)?
        };
        Ok(self.total(&stack, depth, &zeros))
    }

    /// Elements of the innermost axis that one step of a chain takes.
    fn lane_step(&self) -> i64 {
        if is_lanes_order(self.phase) { 16 } else { 1 }
    }

    /// All terms of the axes from `level` on, in one chain.
    fn nest(
        &mut self,
        env: &Env,
        tile: &Tile,
        level: usize,
        lens: &[Len],
        sums: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        if level == lens.len() {
            return self.term(env, tile, None, sums);
        }
        if level + 1 == lens.len() {
            return self.run(env, tile, lens[level], sums);
        }
        let axis = self.phase.n_space + level;
        let mut body = |emitter: &mut Self, env: &Env, sums: &[Val]| {
            emitter.nest(env, tile, level + 1, lens, sums)
        };
        Ok(self.for_axis(env, axis, lens[level], 1, sums, &mut body)?.1)
    }

    /// The innermost run (or a piece of it), if its terms exist.
    pub(super) fn run(
        &mut self,
        env: &Env,
        tile: &Tile,
        len: Len,
        sums: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        let Some(exists) = self.run_exists(env, tile) else {
            return self.run_terms(env, tile, len, sums);
        };
        let open = self.fb.open_loop(exists, sums);
        let params = open.params.clone();
        let next = self.run_terms(env, tile, len, &params)?;
        Ok(self.fb.close_loop(open, next))
    }

    fn run_terms(
        &mut self,
        env: &Env,
        tile: &Tile,
        len: Len,
        sums: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        let axis = self.phase.axes.len() - 1;
        let step = self.lane_step();
        if step == 1 {
            if let Len::Static(n) = len
                && n <= UNROLLED_TERMS
                && n * sums.len() as i64 <= UNROLLED_OPS
            {
                let mut sums = sums.to_vec();
                for at in 0..n {
                    let env = self.shifted(env, axis, at);
                    sums = self.term(&env, tile, None, &sums)?;
                }
                return Ok(sums);
            }
            let mut body =
                |emitter: &mut Self, env: &Env, sums: &[Val]| emitter.term(env, tile, None, sums);
            return Ok(self.for_axis(env, axis, len, 1, sums, &mut body)?.1);
        }
        let whole = self.pieces(len, step);
        let mut body =
            |emitter: &mut Self, env: &Env, sums: &[Val]| emitter.term(env, tile, None, sums);
        let (env, sums) = self.for_axis(env, axis, whole, step, sums, &mut body)?;
        let rest = match self.rest(len, whole, step) {
            Len::Static(0) => None,
            Len::Static(n) => Some(self.fb.int(n)),
            Len::Dynamic(n, _) | Len::Either(n, _) => Some(n),
        };
        match rest {
            None => Ok(sums),
            Some(rest) => {
                let tail = self.first(rest);
                self.term(&env, &Tile { tail: Some(tail), ..*tile }, Some(tail), &sums)
            }
        }
    }

    /// Runs cut every `run_cut` terms; each piece is a chunk. Returns the stack's depth.
    fn cut_runs(
        &mut self,
        env: &Env,
        tile: &Tile,
        lens: &[Len],
        zeros: &[Val],
        stack: &Stack,
    ) -> Result<Val, PassError> {
        let zero = self.fb.int(0);
        let state = self.cut_level(env, tile, 0, lens, zeros, stack, &[zero, zero])?;
        Ok(state[0])
    }

    /// `state` is the stack's depth and the number of pushes so far.
    fn cut_level(
        &mut self,
        env: &Env,
        tile: &Tile,
        level: usize,
        lens: &[Len],
        zeros: &[Val],
        stack: &Stack,
        state: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        let axis = self.phase.n_space + level;
        if level + 1 < lens.len() {
            let mut body = |emitter: &mut Self, env: &Env, state: &[Val]| {
                emitter.cut_level(env, tile, level + 1, lens, zeros, stack, state)
            };
            return Ok(self.for_axis(env, axis, lens[level], 1, state, &mut body)?.1);
        }
        let piece = self.reduction().order.run_cut * self.lane_step();
        let mut push = |emitter: &mut Self, env: &Env, len: Len, state: &[Val]| {
            let sums = emitter.run(env, tile, len, zeros)?;
            let depth = emitter.push_sums(stack, state[0], state[1], &sums);
            let count = emitter.fb.iadd_const(state[1], 1);
            Ok(vec![depth, count])
        };
        self.in_pieces(env, axis, lens[level], piece, state, &mut push)
    }

    /// Cuts an axis into pieces of `piece` iterations and a shorter last one, which is left out if empty. Each piece takes and returns
    /// the carried values.
    pub(super) fn in_pieces(
        &mut self,
        env: &Env,
        axis: usize,
        len: Len,
        piece: i64,
        state: &[Val],
        body: &mut Piece<'_, Self>,
    ) -> Result<Vec<Val>, PassError> {
        let mut whole = |emitter: &mut Self, env: &Env, state: &[Val]| {
            body(emitter, env, Len::Static(piece), state)
        };
        let pieces = self.pieces(len, piece);
        let (env, state) = self.for_axis(env, axis, pieces, piece, state, &mut whole)?;
        let rest = self.rest(len, pieces, piece);
        match rest {
            Len::Static(0) => Ok(state),
            Len::Static(_) => body(self, &env, rest, &state),
            Len::Dynamic(n, _) | Len::Either(n, _) => {
                let one = self.fb.int(1);
                let any = self.fb.int_op(IntOp::Min, n, one);
                // The axis is not advanced in this loop of at most one iteration.
                let open = self.fb.open_loop(any, &state);
                let params = open.params.clone();
                let next = body(self, &env, rest, &params)?;
                Ok(self.fb.close_loop(open, next))
            }
        }
    }

    /// Chunks of `runs_per_chunk` whole runs, the outer axes walked like an odometer. Returns the stack's depth.
    fn chunks_of_runs(
        &mut self,
        env: &Env,
        tile: &Tile,
        lens: &[Len],
        zeros: &[Val],
        stack: &Stack,
    ) -> Result<Val, PassError> {
        let (outer, inner) = lens.split_at(lens.len() - 1);
        let per_chunk = self.reduction().order.runs_per_chunk;
        let mut n_runs = self.fb.int(1);
        for len in outer {
            n_runs = match *len {
                Len::Static(n) => self.fb.imul_const(n_runs, n),
                Len::Dynamic(n, _) | Len::Either(n, _) => self.fb.int_op(IntOp::Mul, n_runs, n),
            };
        }
        let rounded = self.fb.iadd_const(n_runs, per_chunk - 1);
        let n_chunks = self.divided(rounded, per_chunk);
        let zero = self.fb.int(0);
        let mut init = vec![zero, n_runs];
        let positions = vec![zero; outer.len().saturating_sub(1)];
        let place = self.odometer(env, outer, &positions);
        init.extend(&place);
        let open = self.fb.open_loop(n_chunks, &init);
        let (chunk, params) = (open.iv, open.params.clone());
        let (depth, left) = (params[0], params[1]);
        let most = self.fb.int(per_chunk);
        let runs = self.fb.int_op(IntOp::Min, left, most);
        let left = self.fb.int_op(IntOp::Sub, left, runs);
        let mut inner_init = zeros.to_vec();
        inner_init.extend(&params[2..]);
        let inner_open = self.fb.open_loop(runs, &inner_init);
        let values = inner_open.params.clone();
        let (sums, place) = values.split_at(zeros.len());
        let here = self.at_odometer(env, outer, place);
        let mut next = self.run(&here, tile, inner[0], sums)?;
        next.extend(self.turn_odometer(env, outer, place));
        let results = self.fb.close_loop(inner_open, next);
        let (sums, place) = results.split_at(zeros.len());
        let depth = self.push_sums(stack, depth, chunk, sums);
        let mut next = vec![depth, left];
        next.extend(place);
        Ok(self.fb.close_loop(open, next)[0])
    }

    /// Streams that move along any of the outer reduction axes.
    fn odometer_streams(&self, n_outer: usize) -> Vec<usize> {
        let axes = self.phase.n_space..self.phase.n_space + n_outer;
        (0..self.streams.len())
            .filter(|&stream| axes.clone().any(|axis| self.byte_stride(stream, axis) != 0))
            .collect()
    }

    /// The values that an odometer over the outer axes carries: addresses, then the position along every axis but the first,
    /// then the indices that expressions need.
    pub(super) fn odometer(&self, env: &Env, outer: &[Len], positions: &[Val]) -> Vec<Val> {
        let mut values: Vec<Val> =
            self.odometer_streams(outer.len()).into_iter().map(|stream| env.ptr[stream]).collect();
        values.extend(positions);
        values.extend((0..outer.len()).filter_map(|level| env.index[self.phase.n_space + level]));
        values
    }

    /// The positions among an odometer's values.
    pub(super) fn odometer_positions(&self, outer: &[Len], values: &[Val]) -> Vec<Val> {
        let n_streams = self.odometer_streams(outer.len()).len();
        values[n_streams..n_streams + outer.len().saturating_sub(1)].to_vec()
    }

    pub(super) fn at_odometer(&self, env: &Env, outer: &[Len], values: &[Val]) -> Env {
        let streams = self.odometer_streams(outer.len());
        let mut env = env.clone();
        for (&stream, &ptr) in streams.iter().zip(values) {
            env.ptr[stream] = ptr;
        }
        let mut indices = values[streams.len() + outer.len().saturating_sub(1)..].iter();
        for level in 0..outer.len() {
            let axis = self.phase.n_space + level;
            if env.index[axis].is_some() {
                env.index[axis] = indices.next().copied();
            }
        }
        env
    }

    /// One run further: the last outer axis steps, and carries into the one before when it is full.
    pub(super) fn turn_odometer(&mut self, env: &Env, outer: &[Len], values: &[Val]) -> Vec<Val> {
        let streams = self.odometer_streams(outer.len());
        let first_axis = self.phase.n_space;
        let n_positions = outer.len().saturating_sub(1);
        let mut ptrs: Vec<Val> = values[..streams.len()].to_vec();
        let mut positions: Vec<Val> = values[streams.len()..streams.len() + n_positions].to_vec();
        let mut indices: Vec<Val> = values[streams.len() + n_positions..].to_vec();
        let index_levels: Vec<usize> =
            (0..outer.len()).filter(|&level| env.index[first_axis + level].is_some()).collect();
        // How far the axis at hand moves in this turn: always one for the last, then one only on a carry.
        let mut carry: Option<Val> = None;
        for level in (0..outer.len()).rev() {
            let axis = first_axis + level;
            for (at, &stream) in streams.iter().enumerate() {
                let stride = self.byte_stride(stream, axis);
                ptrs[at] = self.stepped(ptrs[at], carry, stride);
            }
            if let Some(at) = index_levels.iter().position(|&known| known == level) {
                indices[at] = self.stepped(indices[at], carry, 1);
            }
            if level == 0 {
                break;
            }
            let position = self.stepped(positions[level - 1], carry, 1);
            let (full, length) = match outer[level] {
                Len::Static(n) => (self.fb.int(n), Some(n)),
                Len::Dynamic(n, _) | Len::Either(n, _) => (n, None),
            };
            let wraps = self.fb.int_op(IntOp::Equal, position, full);
            let back = match length {
                Some(n) => self.fb.imul_const(wraps, n),
                None => self.fb.int_op(IntOp::Mul, wraps, full),
            };
            positions[level - 1] = self.fb.int_op(IntOp::Sub, position, back);
            for (at, &stream) in streams.iter().enumerate() {
                let stride = self.byte_stride(stream, axis);
                if stride != 0 {
                    let bytes = self.fb.imul_const(back, stride);
                    ptrs[at] = self.fb.int_op(IntOp::Sub, ptrs[at], bytes);
                }
            }
            if let Some(at) = index_levels.iter().position(|&known| known == level) {
                indices[at] = self.fb.int_op(IntOp::Sub, indices[at], back);
            }
            carry = Some(wraps);
        }
        ptrs.extend(positions);
        ptrs.extend(indices);
        ptrs
    }

    /// `value + carry * stride`, the carry being one if there is none.
    fn stepped(&mut self, value: Val, carry: Option<Val>, stride: i64) -> Val {
        match carry {
            None => self.fb.iadd_const(value, stride),
            Some(_) if stride == 0 => value,
            Some(carry) => {
                let bytes = self.fb.imul_const(carry, stride);
                self.fb.iadd(value, bytes)
            }
        }
    }

    /// One term for every accumulator of the tile.
    fn term(
        &mut self,
        env: &Env,
        tile: &Tile,
        tail: Option<Val>,
        sums: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        let (combine, factors) = (self.reduction().combine, self.reduction().factors.clone());
        let mut cache = Cache::default();
        let mut next = sums.to_vec();
        for at in tile.places_by_fewest_live() {
            let sum = sums[at.row * tile.vectors + at.vector];
            let a = self.eval(env, tile, factors[0], at, &mut cache)?;
            let combined = match (combine, factors.get(1)) {
                (Combine::Sum, None) => self.fb.binary(VecBinary::Add, sum, a),
                (Combine::Sum, Some(&b)) => {
                    let b = self.eval(env, tile, b, at, &mut cache)?;
                    self.multiply_add(a, b, sum)
                }
                (_, second) => {
                    let mut x = a;
                    if let Some(&b) = second {
                        let b = self.eval(env, tile, b, at, &mut cache)?;
                        x = self.fb.binary(VecBinary::Mul, a, b);
                    }
                    let better = self.is_better(x, sum);
                    self.fb.inst(Inst::Select { mask: better, a: x, b: sum })
                }
            };
            // Lanes beyond the run, and terms that do not exist, keep the accumulator.
            let exists = match (self.term_exists(env, tile, at), tail) {
                (None, None) => None,
                (Some(mask), None) | (None, Some(mask)) => Some(mask),
                (Some(a), Some(b)) => Some(self.fb.inst(Inst::Mask(MaskOp::And, a, b))),
            };
            next[at.row * tile.vectors + at.vector] = match exists {
                None => combined,
                Some(mask) => self.select(mask, combined, sum),
            };
        }
        Ok(next)
    }

    fn multiply_add(&mut self, a: Val, b: Val, sum: Val) -> Val {
        let fused = self.program.class == dlc_ir::NumericsClass::Fused
            && matches!(self.fb.ty(a), Type::Vec { elem, .. } if elem.is_float());
        if fused {
            return self.fb.inst(Inst::Fma { a, b, c: sum, negate: false });
        }
        let product = self.fb.binary(VecBinary::Mul, a, b);
        self.fb.binary(VecBinary::Add, sum, product)
    }

    /// Whether `x` replaces the best so far: it is greater (less), or it is NaN.
    fn is_better(&mut self, x: Val, best: Val) -> Val {
        let greater = match self.reduction().combine {
            Combine::Max | Combine::ArgMax | Combine::Sum => {
                self.fb.inst(Inst::Compare(Compare::Lt, best, x))
            }
            Combine::Min | Combine::ArgMin => self.fb.inst(Inst::Compare(Compare::Lt, x, best)),
        };
        match self.fb.ty(x) {
            Type::Vec { elem, .. } if elem.is_float() => {
                let nan = self.fb.inst(Inst::Compare(Compare::Ne, x, x));
                self.fb.inst(Inst::Mask(MaskOp::Or, greater, nan))
            }
            _ => greater,
        }
    }

    /// The flattened reduction index of the first best term, in `i32` lanes.
    fn arg_reduce(&mut self, env: &Env, tile: &Tile) -> Result<Vec<Val>, PassError> {
        let elem = self.expr(self.reduction().factors[0]).elem;
        let ty = self.vec_type(elem, tile.lanes);
        let n = tile.rows * tile.vectors;
        let index_ty = Type::Vec { elem: Elem::I32, lanes: tile.lanes as u8 };
        let best = self.start(ty);
        let index = self.fb.int_lanes(index_ty, 0);
        let mut init = vec![best; n];
        init.extend(vec![index; n]);
        init.push(self.fb.int(0));
        let lens = self.reduction_lens();
        let results = self.arg_level(env, tile, 0, &lens, &init)?;
        Ok(results[n..2 * n].to_vec())
    }

    fn arg_level(
        &mut self,
        env: &Env,
        tile: &Tile,
        level: usize,
        lens: &[Len],
        state: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        if level < lens.len() {
            let axis = self.phase.n_space + level;
            let mut body = |emitter: &mut Self, env: &Env, state: &[Val]| {
                emitter.arg_level(env, tile, level + 1, lens, state)
            };
            return Ok(self.for_axis(env, axis, lens[level], 1, state, &mut body)?.1);
        }
        let factor = self.reduction().factors[0];
        let n = tile.rows * tile.vectors;
        let count = *state.last().expect("the term's number is carried");
        let index_ty = Type::Vec { elem: Elem::I32, lanes: tile.lanes as u8 };
        let number = self.fb.inst(Inst::Splat { ty: index_ty, value: count });
        let mut cache = Cache::default();
        let mut next = state.to_vec();
        for at in 0..n {
            let place = At { row: at / tile.vectors, vector: at % tile.vectors };
            let x = self.eval(env, tile, factor, place, &mut cache)?;
            let (best, index) = (state[at], state[n + at]);
            let mut better = self.is_better(x, best);
            if let Type::Vec { elem, .. } = self.fb.ty(x)
                && elem.is_float()
            {
                // The first NaN stays.
                let ordered = self.fb.inst(Inst::Compare(Compare::Eq, best, best));
                better = self.fb.inst(Inst::Mask(MaskOp::And, better, ordered));
            }
            if let Some(exists) = self.term_exists(env, tile, place) {
                let bits = match self.fb.ty(better) {
                    Type::Mask { bits, .. } => bits,
                    _ => 32,
                };
                let lanes = tile.lanes as u8;
                let exists = match self.fb.ty(exists) {
                    Type::Mask { bits: have, .. } if have != bits => self
                        .fb
                        .inst(Inst::MaskResize { ty: Type::Mask { bits, lanes }, mask: exists }),
                    _ => exists,
                };
                better = self.fb.inst(Inst::Mask(MaskOp::And, better, exists));
            }
            next[at] = self.select(better, x, best);
            next[n + at] = self.select(better, number, index);
        }
        *next.last_mut().expect("as above") = self.fb.iadd_const(count, 1);
        Ok(next)
    }
}

/// How many chunks a shard can have at most. `lane_step` elements of the innermost axis make one term of a chain.
pub(super) fn max_chunks(order: &Order, lens: &[Len], lane_step: i64) -> i64 {
    let Some((inner, outer)) = lens.split_last() else { return 1 };
    let runs: i64 = outer.iter().map(|len| len.max()).product();
    if order.runs_per_chunk > 1 {
        (runs + order.runs_per_chunk - 1) / order.runs_per_chunk
    } else {
        let piece = order.run_cut * lane_step;
        runs * ((inner.max() + piece - 1) / piece).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_ir::graph::OrderKind;

    #[test]
    fn chunks_are_counted_at_the_largest_batch() {
        let order = |run_cut, runs_per_chunk| Order {
            kind: OrderKind::Chain,
            shard_axis: None,
            run_cut,
            runs_per_chunk,
        };
        assert_eq!(max_chunks(&order(256, 1), &[Len::Static(784)], 1), 4);
        assert_eq!(
            max_chunks(&order(20, 13), &[Len::Static(5), Len::Static(5), Len::Static(20)], 1),
            2
        );
        assert_eq!(max_chunks(&order(256, 1), &[Len::Static(1000)], 16), 1);
        assert_eq!(max_chunks(&order(1, 1), &[], 1), 1);
    }
}
