//! Sums taken block by block: all tiles of a unit take a block of terms before any takes the next, so that the block's operands are read from
//! the nearest cache. Accumulators stay in scratch between blocks, in an area with a place for every point of the unit.
//!
//! ```text
//! for shard { for chunk { for block in chunk { for tile in unit { area[tile] = chain(area[tile], terms of block) } }  push area }
//!             push total }
//! for tile in unit { store epilogue(total[tile]) }
//! ```

use super::eval::Cache;
use super::kernel::{Emitter, Env, Len, Param, Tile};
use super::reduce::max_chunks;
use super::sweep::Level;
use crate::access::max_extent;
use crate::pass::PassError;
use dlc_ir::vector::{Addr, Inst, IntOp, Storage, Type, Val, VecBinary};

/// Vectors that one iteration of a loop over a whole area handles.
const AREA_UNROLL: i64 = 4;

/// Partial sums of all points of a unit: the accumulators, and the stacks of chunks and of shards where they meet.
#[derive(Debug, Clone, Copy)]
struct Area {
    /// Address of the accumulators.
    base: Val,
    /// Bytes of one copy, a multiple of what an iteration handles.
    bytes: i64,
    ty: Type,
    storage: Storage,
}

/// What a walk over chunks carries: how deep the stack is, and how many chunks were pushed.
type Pushed = [Val; 2];

impl Emitter<'_> {
    /// The kernel of a phase that goes by blocks.
    pub(super) fn blocked(
        &mut self,
        env: &Env,
        outer: &[usize],
        block: i64,
    ) -> Result<(), PassError> {
        let (area, env) = self.claim_area(env);
        let mut levels = vec![Level::Lanes];
        levels.extend(outer.iter().map(|&axis| Level::Outer(axis)));
        levels.push(Level::Rows);
        let walk = Blocks { levels: &levels, block, area };
        self.fill_area(&area);
        self.all_shards(&env, &walk)?;
        let reduced = self.reduced_nodes();
        self.sweep(&env, &levels, &mut |emitter, env, tile| {
            let sums = emitter.load_accumulators(&area, env, tile);
            let mut cache = Cache::default();
            for &id in &reduced {
                for (at, &sum) in sums.iter().enumerate() {
                    cache.insert((id, at / tile.vectors, at % tile.vectors), sum);
                }
            }
            emitter.store_tile(env, tile, cache)
        })
    }

    /// Lays the area out over the unit's space, lanes innermost, and gives every tile its address there.
    fn claim_area(&mut self, env: &Env) -> (Area, Env) {
        let elem = self.expr(self.reduction().factors[0]).elem;
        let ty = self.vec_type(elem, self.lanes);
        let elem_bytes = elem.size() as i64;
        let lane_axis =
            self.phase.schedule.lane_axis.expect("blocks are for vectors along the space");
        let mut strides = vec![0; self.phase.n_space];
        let mut bytes = elem_bytes;
        let inner_first = std::iter::once(lane_axis)
            .chain((0..self.phase.n_space).rev().filter(|&axis| axis != lane_axis));
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
        let vector_bytes = elem_bytes * self.lanes as i64;
        let bytes = (bytes as u64).next_multiple_of((AREA_UNROLL * vector_bytes) as u64) as i64;
        let storage = match ty {
            Type::Vec { elem, .. } => elem.into(),
            Type::Mask { .. } | Type::Int => unreachable!("sums are numbers"),
        };
        let base = self.param(Param::Scratch);
        let area = Area { base, bytes, ty, storage };
        self.area_strides = strides;
        self.claim_scratch(0, bytes);
        let mut env = env.clone();
        env.ptr.push(base);
        env.disp.push(0);
        (area, env)
    }

    fn claim_scratch(&mut self, from: i64, bytes: i64) -> i64 {
        self.scratch_bytes = self.scratch_bytes.max((from + bytes) as u64);
        from + bytes
    }

    /// Address of a new stack of areas for so many pushes, and where scratch is free behind it.
    fn area_stack(&mut self, area: &Area, from: i64, max_pushes: i64) -> (Val, i64) {
        // A counter up to n never has more bits set than n has bits.
        let slots = i64::from(64 - max_pushes.max(1).leading_zeros());
        let free = self.claim_scratch(from, slots * area.bytes);
        (self.fb.iadd_const(area.base, from), free)
    }

    /// All terms, into the area.
    fn all_shards(&mut self, env: &Env, walk: &Blocks<'_>) -> Result<(), PassError> {
        let area = walk.area;
        let shards = i64::from(self.program.shards);
        let lens = self.reduction_lens();
        let Some(axis) = self.reduction().order.shard_axis.filter(|_| shards > 1) else {
            return self.one_shard(env, walk, &lens, area.bytes);
        };
        let (stack, free) = self.area_stack(&area, area.bytes, shards);
        let trip = self.fb.int(shards);
        let depth = self.fb.int(0);
        let open = self.fb.open_loop(trip, &[depth]);
        let (shard, depth) = (open.iv, open.params[0]);
        let (env, lens) = self.shard_at(env, axis, shard);
        self.one_shard(&env, walk, &lens, free)?;
        let depth = self.push_area(&area, stack, depth, shard);
        let depth = self.fb.close_loop(open, vec![depth])[0];
        self.total_area(&area, stack, depth);
        Ok(())
    }

    /// The terms of one shard, into the area.
    fn one_shard(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        lens: &[Len],
        free: i64,
    ) -> Result<(), PassError> {
        let order = self.reduction().order;
        let chunks = max_chunks(&order, lens, 1);
        let stack = (chunks > 1).then(|| self.area_stack(&walk.area, free, chunks).0);
        let zero = self.fb.int(0);
        let pushed = if order.runs_per_chunk > 1 {
            self.blocks_of_runs(env, walk, lens, stack)?
        } else {
            self.blocks_of_pieces(env, walk, 0, lens, stack, [zero, zero])?
        };
        if let Some(stack) = stack {
            self.total_area(&walk.area, stack, pushed[0]);
        }
        Ok(())
    }

    fn chunk_done(&mut self, area: &Area, stack: Option<Val>, pushed: Pushed) -> Pushed {
        let Some(stack) = stack else { return pushed };
        let depth = self.push_area(area, stack, pushed[0], pushed[1]);
        [depth, self.fb.iadd_const(pushed[1], 1)]
    }

    /// Chunks and blocks are whole runs; the outer axes are walked like an odometer.
    fn blocks_of_runs(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        lens: &[Len],
        stack: Option<Val>,
    ) -> Result<Pushed, PassError> {
        let (outer, inner) = lens.split_at(lens.len() - 1);
        let per_chunk = self.reduction().order.runs_per_chunk;
        let per_block = (walk.block / inner[0].max().max(1)).clamp(1, per_chunk);
        let n_runs = self.product(outer);
        let n_chunks = self.divided_up(n_runs, per_chunk);
        let zero = self.fb.int(0);
        let positions = vec![zero; outer.len().saturating_sub(1)];
        let mut init = vec![zero, n_runs];
        init.extend(self.odometer(env, outer, &positions));
        let chunk_loop = self.fb.open_loop(n_chunks, &init);
        let (chunk, params) = (chunk_loop.iv, chunk_loop.params.clone());
        let (depth, left) = (params[0], params[1]);
        let most = self.fb.int(per_chunk);
        let in_chunk = self.fb.int_op(IntOp::Min, left, most);
        let left = self.fb.int_op(IntOp::Sub, left, in_chunk);

        let n_blocks = self.divided_up(in_chunk, per_block);
        let mut init = vec![in_chunk];
        init.extend(&params[2..]);
        let block_loop = self.fb.open_loop(n_blocks, &init);
        let (left_in_chunk, place) =
            block_loop.params.split_first().expect("the count comes first");
        let (left_in_chunk, place) = (*left_in_chunk, place.to_vec());
        let most = self.fb.int(per_block);
        let runs = self.fb.int_op(IntOp::Min, left_in_chunk, most);
        let here = self.at_odometer(env, outer, &place);
        let positions = self.odometer_positions(outer, &place);
        self.sweep(&here, walk.levels, &mut |emitter, env, tile| {
            let sums = emitter.load_accumulators(&walk.area, env, tile);
            let mut init = sums.clone();
            init.extend(emitter.odometer(env, outer, &positions));
            let open = emitter.fb.open_loop(runs, &init);
            let params = open.params.clone();
            let (sums, place) = params.split_at(sums.len());
            let here = emitter.at_odometer(env, outer, place);
            let mut next = emitter.run(&here, tile, inner[0], sums)?;
            next.extend(emitter.turn_odometer(env, outer, place));
            let results = emitter.fb.close_loop(open, next);
            emitter.store_accumulators(&walk.area, env, tile, &results[..sums.len()]);
            Ok(())
        })?;
        let turn = self.fb.open_loop(runs, &place);
        let params = turn.params.clone();
        let next = self.turn_odometer(env, outer, &params);
        let place = self.fb.close_loop(turn, next);
        let mut next = vec![self.fb.int_op(IntOp::Sub, left_in_chunk, runs)];
        next.extend(place);
        let results = self.fb.close_loop(block_loop, next);
        let depth = self.chunk_done(&walk.area, stack, [depth, chunk])[0];
        let mut next = vec![depth, left];
        next.extend(&results[1..]);
        let depth = self.fb.close_loop(chunk_loop, next)[0];
        Ok([depth, n_chunks])
    }

    /// Chunks are pieces of a run, and blocks pieces of chunks.
    fn blocks_of_pieces(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        level: usize,
        lens: &[Len],
        stack: Option<Val>,
        pushed: Pushed,
    ) -> Result<Pushed, PassError> {
        let axis = self.phase.n_space + level;
        let state = if level + 1 < lens.len() {
            let mut body = |emitter: &mut Self, env: &Env, state: &[Val]| {
                let pushed = [state[0], state[1]];
                Ok(emitter.blocks_of_pieces(env, walk, level + 1, lens, stack, pushed)?.to_vec())
            };
            self.for_axis(env, axis, lens[level], 1, &pushed, &mut body)?.1
        } else {
            let piece = self.reduction().order.run_cut;
            let mut chunk = |emitter: &mut Self, env: &Env, len: Len, state: &[Val]| {
                emitter.blocks_of_piece(env, walk, axis, len)?;
                Ok(emitter.chunk_done(&walk.area, stack, [state[0], state[1]]).to_vec())
            };
            self.in_pieces(env, axis, lens[level], piece, &pushed, &mut chunk)?
        };
        Ok([state[0], state[1]])
    }

    /// The terms of one piece of a run, block by block.
    fn blocks_of_piece(
        &mut self,
        env: &Env,
        walk: &Blocks<'_>,
        axis: usize,
        len: Len,
    ) -> Result<(), PassError> {
        let mut block = |emitter: &mut Self, env: &Env, len: Len, _: &[Val]| {
            emitter.sweep(env, walk.levels, &mut |emitter, env, tile| {
                let sums = emitter.load_accumulators(&walk.area, env, tile);
                let sums = emitter.run(env, tile, len, &sums)?;
                emitter.store_accumulators(&walk.area, env, tile, &sums);
                Ok(())
            })?;
            Ok(Vec::new())
        };
        self.in_pieces(env, axis, len, walk.block, &[], &mut block)?;
        Ok(())
    }

    fn product(&mut self, lens: &[Len]) -> Val {
        let mut product = self.fb.int(1);
        for len in lens {
            product = match *len {
                Len::Static(n) => self.fb.imul_const(product, n),
                Len::Dynamic(n, _) => self.fb.int_op(IntOp::Mul, product, n),
            };
        }
        product
    }

    fn divided_up(&mut self, n: Val, by: i64) -> Val {
        let rounded = self.fb.iadd_const(n, by - 1);
        self.divided(rounded, by)
    }

    /// Addresses in the area of a tile's accumulators, row by row.
    fn accumulator_places(&mut self, env: &Env, tile: &Tile) -> Vec<Addr> {
        let stream = self.streams.len();
        let row_stride =
            self.phase.schedule.row_axis.map_or(0, |axis| self.byte_stride(stream, axis));
        let lane_stride = tile.lane_axis.map_or(0, |axis| self.byte_stride(stream, axis));
        let mut places = Vec::with_capacity(tile.rows * tile.vectors);
        for row in 0..tile.rows as i64 {
            for vector in 0..tile.vectors as i64 {
                let bytes = row * row_stride + vector * tile.lanes as i64 * lane_stride;
                places.push(self.addr_at(env, stream, bytes));
            }
        }
        places
    }

    fn load_accumulators(&mut self, area: &Area, env: &Env, tile: &Tile) -> Vec<Val> {
        let places = self.accumulator_places(env, tile);
        places.into_iter().map(|addr| self.load_area(area, addr)).collect()
    }

    fn store_accumulators(&mut self, area: &Area, env: &Env, tile: &Tile, sums: &[Val]) {
        let places = self.accumulator_places(env, tile);
        for (addr, &sum) in places.into_iter().zip(sums) {
            self.fb.store(area.storage, addr, sum, None);
        }
    }

    fn load_area(&mut self, area: &Area, addr: Addr) -> Val {
        self.fb.inst(Inst::Load { ty: area.ty, storage: area.storage, addr, mask: None })
    }

    /// Does something for every vector of an area: gets the places in `others` and in the accumulators.
    fn for_area(&mut self, area: &Area, other: Val, body: &mut dyn FnMut(&mut Self, Addr, Addr)) {
        let vector_bytes = match area.ty {
            Type::Vec { elem, lanes } => elem.bytes() * i64::from(lanes),
            Type::Mask { .. } | Type::Int => unreachable!("sums are numbers"),
        };
        let step = AREA_UNROLL * vector_bytes;
        let trip = self.fb.int(area.bytes / step);
        let open = self.fb.open_loop(trip, &[area.base, other]);
        let (own, other) = (open.params[0], open.params[1]);
        for at in 0..AREA_UNROLL {
            let disp = (at * vector_bytes) as i32;
            body(self, Addr::offset(other, disp), Addr::offset(own, disp));
        }
        let next = vec![self.fb.iadd_const(own, step), self.fb.iadd_const(other, step)];
        self.fb.close_loop(open, next);
    }

    /// Zeros in all accumulators.
    fn fill_area(&mut self, area: &Area) {
        let zero = self.start(area.ty);
        self.for_area(area, area.base, &mut |emitter, _, own| {
            emitter.fb.store(area.storage, own, zero, None);
        });
    }

    /// The accumulators become `older + accumulators`.
    fn add_older(&mut self, area: &Area, older: Val) {
        self.for_area(area, older, &mut |emitter, older, own| {
            let older = emitter.load_area(area, older);
            let newer = emitter.load_area(area, own);
            let sum = emitter.fb.binary(VecBinary::Add, older, newer);
            emitter.fb.store(area.storage, own, sum, None);
        });
    }

    fn area_slot(&mut self, area: &Area, stack: Val, depth: Val) -> Val {
        let bytes = self.fb.imul_const(depth, area.bytes);
        self.fb.iadd(stack, bytes)
    }

    /// Pushes the accumulators as sum number `count` (from 0) on a stack of `depth` sums, as the binary counter wants, and leaves zeros in
    /// them. Returns the new depth.
    fn push_area(&mut self, area: &Area, stack: Val, depth: Val, count: Val) -> Val {
        let next = self.fb.iadd_const(count, 1);
        let merges = self.fb.inst(Inst::IntTrailingZeros(next));
        let open = self.fb.open_loop(merges, &[depth]);
        let below = self.fb.iadd_const(open.params[0], -1);
        let slot = self.area_slot(area, stack, below);
        self.add_older(area, slot);
        let depth = self.fb.close_loop(open, vec![below])[0];
        let slot = self.area_slot(area, stack, depth);
        let zero = self.start(area.ty);
        self.for_area(area, slot, &mut |emitter, slot, own| {
            let sum = emitter.load_area(area, own);
            emitter.fb.store(area.storage, slot, sum, None);
            emitter.fb.store(area.storage, own, zero, None);
        });
        self.fb.iadd_const(depth, 1)
    }

    /// The total of a stack of `depth` sums, from the newest down, into the accumulators, which are zero; an empty stack leaves them so.
    fn total_area(&mut self, area: &Area, stack: Val, depth: Val) {
        let one = self.fb.int(1);
        let any = self.fb.int_op(IntOp::Min, depth, one);
        let newest = self.fb.open_loop(any, &[]);
        let top = self.fb.iadd_const(depth, -1);
        let slot = self.area_slot(area, stack, top);
        self.for_area(area, slot, &mut |emitter, slot, own| {
            let sum = emitter.load_area(area, slot);
            emitter.fb.store(area.storage, own, sum, None);
        });
        self.fb.close_loop(newest, Vec::new());
        let rest = self.fb.int_op(IntOp::Sub, depth, any);
        let open = self.fb.open_loop(rest, &[rest]);
        let below = self.fb.iadd_const(open.params[0], -1);
        let slot = self.area_slot(area, stack, below);
        self.add_older(area, slot);
        self.fb.close_loop(open, vec![below]);
    }
}

/// How a blocked kernel walks.
struct Blocks<'a> {
    /// Loops over the unit.
    levels: &'a [Level],
    /// Terms of a block, about.
    block: i64,
    area: Area,
}
