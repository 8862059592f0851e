//! Sums taken block by block: all tiles of a unit take a block of terms before any takes the next, so that the block's operands are read from
//! the nearest cache. Accumulators stay in scratch between blocks, in an area with a place for every point of the unit.
//!
//! ```text
//! for shard { for chunk { for block in chunk { for tile in unit { take the tile's sums, or zeros in a chunk's first block;
//!                                                                 add the block's terms;
//!                                                                 keep the sums, or push them after a chunk's last block } } }
//!             for tile in unit { push the total of its chunks } }
//! for tile in unit { store epilogue(total of its shards) }
//! ```

use super::eval::Cache;
use super::kernel::{Emitter, Env, Len, Param, Tile};
use super::reduce::max_chunks;
use super::stack::{Stack, slots_for, storage_of};
use super::sweep::Level;
use crate::access::max_extent;
use crate::pass::PassError;
use dlc_ir::vector::{Inst, IntOp, Type, Val};

/// Partial sums of all points of a unit, in scratch: copies of one area, each with a place for every point. The first copy holds the
/// accumulators between blocks, the others are the slots of the stacks of chunks and of shards.
#[derive(Debug, Clone, Copy)]
struct Area {
    /// Bytes of a copy.
    bytes: i64,
    ty: Type,
}

/// A stack whose slots are copies of the area.
#[derive(Debug, Clone, Copy)]
struct AreaStack {
    /// Bytes from the accumulators to slot 0.
    offset: i64,
    /// Sums on it.
    depth: Val,
    /// Sums pushed so far.
    pushed: Val,
}

/// Whether something holds for a block, as far as known.
#[derive(Debug, Clone, Copy)]
enum Flag {
    Yes,
    When(Val),
}

/// The terms of a block, and its place in its chunk.
struct Block<'a> {
    first: Flag,
    last: Flag,
    /// Where the sums of a chunk go.
    chunks: Option<AreaStack>,
    /// Adds the block's terms to a tile's sums.
    terms: &'a mut Terms<'a>,
}

type Terms<'a> =
    dyn FnMut(&mut Emitter<'_>, &Env, &Tile, &[Val]) -> Result<Vec<Val>, PassError> + 'a;

/// How a blocked kernel walks.
struct Blocks<'a> {
    /// Loops over the unit.
    levels: &'a [Level],
    /// Terms of a block, about.
    block: i64,
    area: Area,
}

impl Emitter<'_> {
    /// The kernel of a phase that goes by blocks.
    pub(super) fn blocked(
        &mut self,
        env: &Env,
        outer: &[usize],
        block: i64,
    ) -> Result<(), PassError> {
        // Where a unit has several shards, blocks and accumulators are of one at a time.
        if let Some((at, &axis)) = outer.iter().enumerate().find(|&(_, &axis)| self.is_shard(axis))
        {
            let within = [&outer[..at], &outer[at + 1..]].concat();
            let len = self.lens[axis];
            self.for_axis(env, axis, len, 1, &[], &mut |emitter, env, _| {
                emitter.blocked(env, &within, block)?;
                Ok(Vec::new())
            })?;
            return Ok(());
        }
        let (area, env) = self.claim_area(env);
        let mut levels = vec![Level::Lanes];
        levels.extend(outer.iter().map(|&axis| Level::Outer(axis)));
        levels.push(Level::Rows);
        let walk = Blocks { levels: &levels, block, area };
        let total = self.all_shards(&env, &walk)?;
        let reduced = self.reduced_nodes();
        self.sweep(&env, &levels, &mut |emitter, env, tile| {
            let sums = match &total {
                Some(stack) => emitter.tile_total(&area, stack, env, tile),
                None => emitter.load_accumulators(&area, env, tile),
            };
            let mut cache = Cache::default();
            for &id in &reduced {
                for (at, &sum) in sums.iter().enumerate() {
                    cache.insert((id, at / tile.vectors, at % tile.vectors), sum);
                }
            }
            emitter.store_tile(env, tile, cache)
        })
    }

    fn is_shard(&self, axis: usize) -> bool {
        self.reduction().of_shard == Some(axis)
    }

    /// Lays the area out over the unit's space, lanes innermost, and gives every tile its address there.
    fn claim_area(&mut self, env: &Env) -> (Area, Env) {
        let elem = self.expr(self.reduction().factors[0]).elem;
        let ty = self.vec_type(elem, self.lanes);
        let lane_axis =
            self.phase.schedule.lane_axis.expect("blocks are for vectors along the space");
        let mut strides = vec![0; self.phase.n_space];
        let mut bytes = elem.size() as i64;
        let others = (0..self.phase.n_space).rev();
        let others = others.filter(|&axis| axis != lane_axis && !self.is_shard(axis));
        let inner_first = std::iter::once(lane_axis).chain(others);
        for axis in inner_first {
            let extent = max_extent(self.phase, axis, self.program.max_batch);
            let cut = self.phase.schedule.units.iter().find(|unit| unit.axis == axis);
            let mut extent = cut.map_or(extent, |unit| unit.tile.min(extent)).max(1);
            if axis == lane_axis {
                extent = (extent as u64).next_multiple_of(self.lanes as u64) as i64;
            }
            strides[axis] = bytes;
            bytes *= extent;
        }
        let bytes = (bytes as u64).next_multiple_of(64) as i64;
        self.area_strides = strides;
        self.scratch_bytes = self.scratch_bytes.max(bytes as u64);
        let mut env = env.clone();
        env.ptr.push(self.param(Param::Scratch));
        env.disp.push(0);
        (Area { bytes, ty }, env)
    }

    /// A new stack for so many pushes behind `offset`, and where scratch is free behind it.
    fn area_stack(&mut self, area: &Area, offset: i64, max_pushes: i64) -> (AreaStack, i64) {
        let free = offset + slots_for(max_pushes) * area.bytes;
        self.scratch_bytes = self.scratch_bytes.max(free as u64);
        let zero = self.fb.int(0);
        (AreaStack { offset, depth: zero, pushed: zero }, free)
    }

    /// The stack after one more push, which every tile has made.
    fn pushed(&mut self, stack: &AreaStack) -> AreaStack {
        let pushed = self.fb.iadd_const(stack.pushed, 1);
        let merges = self.fb.inst(Inst::IntTrailingZeros(pushed));
        let below = self.fb.int_op(IntOp::Sub, stack.depth, merges);
        AreaStack { depth: self.fb.iadd_const(below, 1), pushed, ..*stack }
    }

    /// A tile's share of a stack.
    fn tile_stack(&mut self, area: &Area, stack: &AreaStack, env: &Env, tile: &Tile) -> Stack {
        let stream = self.streams.len();
        let addr = self.addr_at(env, stream, stack.offset);
        let base = self.fb.iadd_const(addr.base, i64::from(addr.disp));
        let places = self.accumulator_offsets(tile).into_iter().map(|at| (area.ty, at as i32));
        Stack { base, slot_bytes: area.bytes, places: places.collect() }
    }

    fn tile_push(&mut self, area: &Area, stack: &AreaStack, env: &Env, tile: &Tile, sums: &[Val]) {
        let slots = self.tile_stack(area, stack, env, tile);
        self.push_sums(&slots, stack.depth, stack.pushed, sums);
    }

    fn tile_total(&mut self, area: &Area, stack: &AreaStack, env: &Env, tile: &Tile) -> Vec<Val> {
        let slots = self.tile_stack(area, stack, env, tile);
        let zeros = self.zero_sums(area, tile);
        self.total(&slots, stack.depth, &zeros)
    }

    fn zero_sums(&mut self, area: &Area, tile: &Tile) -> Vec<Val> {
        let zero = self.start(area.ty);
        vec![zero; tile.rows * tile.vectors]
    }

    /// All terms. Returns the stack whose total is the sum; if there is none, the accumulators are.
    fn all_shards(&mut self, env: &Env, walk: &Blocks<'_>) -> Result<Option<AreaStack>, PassError> {
        let area = walk.area;
        let shards = i64::from(self.program.shards);
        let lens = self.reduction_lens();
        let Some(axis) = self.reduction().order.shard_axis.filter(|_| shards > 1) else {
            return self.one_shard(env, walk, &lens, area.bytes, false);
        };
        if let Some(shard) = self.own_shard(env) {
            let (env, lens) = self.shard_at(env, axis, shard);
            return self.one_shard(&env, walk, &lens, area.bytes, true);
        }
        let (stack, free) = self.area_stack(&area, area.bytes, shards);
        let trip = self.fb.int(shards);
        let open = self.fb.open_loop(trip, &[stack.depth]);
        let stack = AreaStack { depth: open.params[0], pushed: open.iv, ..stack };
        let (env_here, lens) = self.shard_at(env, axis, open.iv);
        // A shard may be empty; the total of its empty stack is zero, which the accumulators would not be.
        let chunks = self.one_shard(&env_here, walk, &lens, free, true)?;
        let chunks = chunks.expect("asked for");
        self.sweep(env, walk.levels, &mut |emitter, env, tile| {
            let sums = emitter.tile_total(&area, &chunks, env, tile);
            emitter.tile_push(&area, &stack, env, tile, &sums);
            Ok(())
        })?;
        let next = self.pushed(&stack);
        let depth = self.fb.close_loop(open, vec![next.depth])[0];
        let pushed = self.fb.int(shards);
        Ok(Some(AreaStack { depth, pushed, ..stack }))
    }

    /// The terms of one shard. Returns the stack of its chunks, if it has one.
    fn one_shard(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        lens: &[Len],
        free: i64,
        with_stack: bool,
    ) -> Result<Option<AreaStack>, PassError> {
        let order = self.reduction().order;
        let chunks = max_chunks(&order, lens, 1);
        let stack = (chunks > 1 || with_stack).then(|| self.area_stack(&walk.area, free, chunks).0);
        if stack.is_none() {
            // A sum without terms leaves them as they are.
            self.sweep(env, walk.levels, &mut |emitter, env, tile| {
                let zeros = emitter.zero_sums(&walk.area, tile);
                emitter.store_accumulators(env, tile, &zeros);
                Ok(())
            })?;
        }
        if order.runs_per_chunk > 1 {
            self.blocks_of_runs(env, walk, lens, stack)
        } else {
            self.blocks_of_pieces(env, walk, 0, lens, stack)
        }
    }

    /// What a loop over chunks carries of the stack.
    fn carried(stack: Option<AreaStack>) -> Vec<Val> {
        stack.map_or(Vec::new(), |stack| vec![stack.depth, stack.pushed])
    }

    fn with_carried(stack: Option<AreaStack>, values: &[Val]) -> Option<AreaStack> {
        stack.map(|stack| AreaStack { depth: values[0], pushed: values[1], ..stack })
    }

    /// All tiles take a block.
    fn one_block(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        block: Block<'_>,
    ) -> Result<(), PassError> {
        let area = walk.area;
        let Block { first, last, chunks, terms } = block;
        self.sweep(env, walk.levels, &mut |emitter, env, tile| {
            let zeros = emitter.zero_sums(&area, tile);
            let sums = match first {
                Flag::Yes => zeros,
                Flag::When(first) => {
                    let one = emitter.fb.int(1);
                    let later = emitter.fb.int_op(IntOp::Sub, one, first);
                    let open = emitter.fb.open_loop(later, &zeros);
                    let loaded = emitter.load_accumulators(&area, env, tile);
                    emitter.fb.close_loop(open, loaded)
                }
            };
            let sums = terms(emitter, env, tile, &sums)?;
            match (chunks, last) {
                (None, _) => emitter.store_accumulators(env, tile, &sums),
                (Some(stack), Flag::Yes) => emitter.tile_push(&area, &stack, env, tile, &sums),
                (Some(stack), Flag::When(last)) => {
                    // The push comes last: it changes the sums in their registers, where nothing needs them any more.
                    let one = emitter.fb.int(1);
                    let inside = emitter.fb.int_op(IntOp::Sub, one, last);
                    emitter.fb.open_if();
                    emitter.store_accumulators(env, tile, &sums);
                    emitter.fb.close_if(inside);
                    emitter.fb.open_if();
                    emitter.tile_push(&area, &stack, env, tile, &sums);
                    emitter.fb.close_if(last);
                }
            }
            Ok(())
        })
    }

    /// Chunks and blocks are whole runs; the outer axes are walked like an odometer.
    fn blocks_of_runs(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        lens: &[Len],
        stack: Option<AreaStack>,
    ) -> Result<Option<AreaStack>, PassError> {
        let (outer, inner) = lens.split_at(lens.len() - 1);
        let per_chunk = self.reduction().order.runs_per_chunk;
        let per_block = (walk.block / inner[0].max().max(1)).clamp(1, per_chunk);
        let n_runs = self.product(outer);
        let n_chunks = self.divided_up(n_runs, per_chunk);
        let zero = self.fb.int(0);
        let positions = vec![zero; outer.len().saturating_sub(1)];
        let n_carried = Self::carried(stack).len();
        let mut init = Self::carried(stack);
        init.push(n_runs);
        init.extend(self.odometer(env, outer, &positions));
        let chunk_loop = self.fb.open_loop(n_chunks, &init);
        let params = chunk_loop.params.clone();
        let here = Self::with_carried(stack, &params);
        let left = params[n_carried];
        let most = self.fb.int(per_chunk);
        let in_chunk = self.fb.int_op(IntOp::Min, left, most);
        let left = self.fb.int_op(IntOp::Sub, left, in_chunk);

        let n_blocks = self.divided_up(in_chunk, per_block);
        let mut init = vec![in_chunk];
        init.extend(&params[n_carried + 1..]);
        let block_loop = self.fb.open_loop(n_blocks, &init);
        let in_block = block_loop.params.clone();
        let most = self.fb.int(per_block);
        let runs = self.fb.int_op(IntOp::Min, in_block[0], most);
        let left_in_chunk = self.fb.int_op(IntOp::Sub, in_block[0], runs);
        let (first, last) = if per_block == per_chunk {
            (Flag::Yes, Flag::Yes)
        } else {
            let first = self.fb.int_op(IntOp::Equal, block_loop.iv, zero);
            let last = self.fb.int_op(IntOp::Equal, left_in_chunk, zero);
            (Flag::When(first), Flag::When(last))
        };
        let place = &in_block[1..];
        let positions = self.odometer_positions(outer, place);
        let env_here = self.at_odometer(env, outer, place);
        let terms: &mut Terms<'_> = &mut |emitter, env, tile, sums| {
            emitter.runs_of_block(env, tile, (outer, inner[0]), &positions, runs, sums)
        };
        self.one_block(&env_here, walk, Block { first, last, chunks: here, terms })?;
        let turn = self.fb.open_loop(runs, place);
        let values = turn.params.clone();
        let next = self.turn_odometer(env, outer, &values);
        let place = self.fb.close_loop(turn, next);
        let mut next = vec![left_in_chunk];
        next.extend(place);
        let results = self.fb.close_loop(block_loop, next);
        let after = here.map(|stack| self.pushed(&stack));
        let mut next = Self::carried(after);
        next.push(left);
        next.extend(&results[1..]);
        let results = self.fb.close_loop(chunk_loop, next);
        Ok(Self::with_carried(stack, &results))
    }

    /// The terms of `runs` runs from the place at hand on.
    fn runs_of_block(
        &mut self,
        env: &Env,
        tile: &Tile,
        (outer, inner): (&[Len], Len),
        positions: &[Val],
        runs: Val,
        sums: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        let mut init = sums.to_vec();
        init.extend(self.odometer(env, outer, positions));
        let open = self.fb.open_loop(runs, &init);
        let params = open.params.clone();
        let (sums, place) = params.split_at(sums.len());
        let here = self.at_odometer(env, outer, place);
        let mut next = self.run(&here, tile, inner, sums)?;
        next.extend(self.turn_odometer(env, outer, place));
        let mut results = self.fb.close_loop(open, next);
        results.truncate(sums.len());
        Ok(results)
    }

    /// Chunks are pieces of a run, and blocks pieces of chunks.
    fn blocks_of_pieces(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        level: usize,
        lens: &[Len],
        stack: Option<AreaStack>,
    ) -> Result<Option<AreaStack>, PassError> {
        let axis = self.phase.n_space + level;
        let init = Self::carried(stack);
        let state = if level + 1 < lens.len() {
            let mut body = |emitter: &mut Self, env: &Env, state: &[Val]| {
                let here = Self::with_carried(stack, state);
                let after = emitter.blocks_of_pieces(env, walk, level + 1, lens, here)?;
                Ok(Self::carried(after))
            };
            self.for_axis(env, axis, lens[level], 1, &init, &mut body)?.1
        } else {
            let piece = self.reduction().order.run_cut;
            let mut chunk = |emitter: &mut Self, env: &Env, len: Len, state: &[Val]| {
                let here = Self::with_carried(stack, state);
                emitter.blocks_of_piece(env, walk, axis, len, here)?;
                let after = here.map(|stack| emitter.pushed(&stack));
                Ok(Self::carried(after))
            };
            self.in_pieces(env, axis, lens[level], piece, &init, &mut chunk)?
        };
        Ok(Self::with_carried(stack, &state))
    }

    /// The terms of one piece of a run, block by block.
    fn blocks_of_piece(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        axis: usize,
        len: Len,
        chunks: Option<AreaStack>,
    ) -> Result<(), PassError> {
        let is_one = len.max() <= walk.block;
        let all = match len {
            Len::Static(n) => self.fb.int(n),
            Len::Dynamic(n, _) | Len::Either(n, _) => n,
        };
        let mut block = |emitter: &mut Self, env: &Env, len: Len, done: &[Val]| {
            let count = match len {
                Len::Static(n) => emitter.fb.int(n),
                Len::Dynamic(n, _) | Len::Either(n, _) => n,
            };
            let after = emitter.fb.iadd(done[0], count);
            let (first, last) = if is_one {
                (Flag::Yes, Flag::Yes)
            } else {
                let zero = emitter.fb.int(0);
                let first = emitter.fb.int_op(IntOp::Equal, done[0], zero);
                let last = emitter.fb.int_op(IntOp::Equal, after, all);
                (Flag::When(first), Flag::When(last))
            };
            let terms: &mut Terms<'_> =
                &mut |emitter, env, tile, sums| emitter.run(env, tile, len, sums);
            emitter.one_block(env, walk, Block { first, last, chunks, terms })?;
            Ok(vec![after])
        };
        let zero = self.fb.int(0);
        self.in_pieces(env, axis, len, walk.block, &[zero], &mut block)?;
        Ok(())
    }

    fn product(&mut self, lens: &[Len]) -> Val {
        let mut product = self.fb.int(1);
        for len in lens {
            product = match *len {
                Len::Static(n) => self.fb.imul_const(product, n),
                Len::Dynamic(n, _) | Len::Either(n, _) => self.fb.int_op(IntOp::Mul, product, n),
            };
        }
        product
    }

    fn divided_up(&mut self, n: Val, by: i64) -> Val {
        let rounded = self.fb.iadd_const(n, by - 1);
        self.divided(rounded, by)
    }

    /// Bytes from a tile's first accumulator to each of them, row by row.
    fn accumulator_offsets(&self, tile: &Tile) -> Vec<i64> {
        let stream = self.streams.len();
        let row_stride =
            self.phase.schedule.row_axis.map_or(0, |axis| self.byte_stride(stream, axis));
        let lane_stride = tile.lane_axis.map_or(0, |axis| self.byte_stride(stream, axis));
        let offset = |n: usize| {
            let (row, vector) = (n / tile.vectors, n % tile.vectors);
            row as i64 * row_stride + (vector * tile.lanes) as i64 * lane_stride
        };
        (0..tile.rows * tile.vectors).map(offset).collect()
    }

    fn load_accumulators(&mut self, area: &Area, env: &Env, tile: &Tile) -> Vec<Val> {
        let (ty, stream) = (area.ty, self.streams.len());
        let mut sums = Vec::with_capacity(tile.rows * tile.vectors);
        for offset in self.accumulator_offsets(tile) {
            let addr = self.addr_at(env, stream, offset);
            sums.push(self.fb.inst(Inst::Load { ty, storage: storage_of(ty), addr, mask: None }));
        }
        sums
    }

    fn store_accumulators(&mut self, env: &Env, tile: &Tile, sums: &[Val]) {
        let stream = self.streams.len();
        for (offset, &sum) in self.accumulator_offsets(tile).into_iter().zip(sums) {
            let storage = storage_of(self.fb.ty(sum));
            let addr = self.addr_at(env, stream, offset);
            self.fb.store(storage, addr, sum, None);
        }
    }
}
