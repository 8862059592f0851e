//! Sums whose terms an index gives to the places of an axis (`dlc_ir::tile::Selection`): a unit first writes down, for each of its places,
//! which terms belong to it, and then visits each place with its own terms alone.
//!
//! ```text
//! for term in order of the sum { if index(term) is a place of the unit { append the term to the place's list } }
//! for place in unit { sum its list; store epilogue(sum) }
//! ```
//!
//! The frozen order is that of all terms, those of other places being zeros: chunks of a shard meet in a tree, and so do shards. Both trees
//! are one: a chunk's *position* is its shard's number followed by its number in the shard in binary, and the tree's nodes are the common
//! beginnings of positions. (Missing chunks at the end of a shard may count as zeros: the binary counter then merges what it would else
//! fold.) A place's terms are in few chunks, so its list is walked with a stack that holds sums of chunks that do not meet yet: two
//! neighbours a < b on it meet before a chunk c > b is begun exactly where the first bit in which a and b differ lies behind the first in
//! which b and c do, that is where `a xor b < b xor c`.

use super::eval::{At, Cache};
use super::kernel::{Emitter, Env, Len, Param, Tile};
use super::reduce::max_chunks;
use super::stack::storage_of;
use super::sweep::Level;
use crate::pass::PassError;
use dlc_ir::tile::Selection;
use dlc_ir::vector::{Addr, Inst, IntOp, IntWidth, Stmt, Type, Val, VecBinary};

/// What is written down for each place: the first and the last term of its list, and their number.
const PLACE_BYTES: i64 = 24;
const PLACE_LAST: i32 = 8;
const PLACE_COUNT: i32 = 16;
/// What is written down for each term: the next of its list, the position of its chunk, then its index along each reduction axis.
const TERM_POSITION: i32 = 8;
const TERM_INDICES: i32 = 16;

/// What a slot of the stack holds: where it and the sum above it differ, then the sums, on lines of their own.
const SLOT_SUMS: i32 = 64;

/// How a kernel writes its lists and walks them.
struct Lists {
    selection: Selection,
    term_bytes: i64,
    /// Address of the places, and of the terms.
    places: Val,
    terms: Val,
    /// Address of the stack's slots and bytes of each, if there are several chunks.
    slots: Option<(Val, i64)>,
    /// Bits of a chunk's number in its shard.
    chunk_bits: i64,
}

/// The sums of a tile on their way along a list.
struct Walked<'a> {
    zeros: &'a [Val],
    /// Type of an accumulator, and the bytes between two in a slot.
    ty: Type,
    sum_bytes: i32,
}

impl Emitter<'_> {
    /// The kernel of a phase whose terms are sorted.
    pub(super) fn sorted(&mut self, env: &Env, selection: Selection) -> Result<(), PassError> {
        let outer = (0..self.phase.n_space)
            .filter(|&axis| axis != selection.axis && Some(axis) != self.phase.schedule.lane_axis);
        let is_listed = |axis: &usize| !self.phase.may_be_lanes(&selection, *axis);
        // Every place of the axes that the index changes along has lists of its own.
        let (listed, others): (Vec<usize>, Vec<usize>) = outer.partition(is_listed);
        let listed: Vec<Level> = listed.into_iter().map(Level::Outer).collect();
        let mut levels: Vec<Level> = others.into_iter().map(Level::Outer).collect();
        levels.extend([Level::Outer(selection.axis), Level::Lanes]);
        let lists = self.claim_lists(selection);
        self.area_strides = vec![0; self.phase.n_space];
        self.area_strides[selection.axis] = PLACE_BYTES;
        let mut env = env.clone();
        env.ptr.push(lists.places);
        env.disp.push(0);
        self.sweep(&env, &listed, &mut |emitter, env, _| {
            emitter.write_lists(env, &lists)?;
            emitter.sweep(env, &levels, &mut |emitter, env, tile| {
                let sums = emitter.sum_of_list(env, tile, &lists)?;
                let mut cache = Cache::default();
                for id in emitter.reduced_nodes() {
                    for (vector, &sum) in sums.iter().enumerate() {
                        cache.insert((id, 0, vector), sum);
                    }
                }
                emitter.store_tile(env, tile, cache)
            })
        })
    }

    /// Claims scratch for places, terms and the stack.
    fn claim_lists(&mut self, selection: Selection) -> Lists {
        let lens = self.reduction_lens();
        let order = self.reduction().order;
        let is_sharded = order.shard_axis.is_some() && self.program.shards > 1;
        let chunk_bits = bits_of(max_chunks(&order, &lens, 1));
        let shard_bits = if is_sharded { bits_of(i64::from(self.program.shards)) } else { 0 };
        let term_bytes = i64::from(TERM_INDICES) + 8 * lens.len() as i64;
        let n_terms: i64 = lens.iter().map(|len| len.max()).product();
        let elem = self.expr(self.reduction().factors[0]).elem;
        let most = self.phase.schedule.vectors.max(1) as i64 * self.lanes as i64;
        let slot_bytes = i64::from(SLOT_SUMS) + most * elem.size() as i64;
        let slot_bytes = (slot_bytes as u64).next_multiple_of(64) as i64;
        // First bits in which neighbours differ become earlier from the top of the stack down.
        let n_slots = chunk_bits + shard_bits + 1;
        let scratch = self.param(Param::Scratch);
        let mut offset = 0;
        let mut claim = |emitter: &mut Self, bytes: i64| {
            let at = emitter.fb.iadd_const(scratch, offset);
            offset += (bytes.max(1) as u64).next_multiple_of(64) as i64;
            emitter.scratch_bytes = emitter.scratch_bytes.max(offset as u64);
            at
        };
        let places = claim(self, self.lens[selection.axis].max() * PLACE_BYTES);
        let terms = claim(self, n_terms * term_bytes);
        let several = chunk_bits + shard_bits > 0;
        let slots = several.then(|| (claim(self, n_slots * slot_bytes), slot_bytes));
        Lists { selection, term_bytes, places, terms, slots, chunk_bits }
    }

    /// Writes the lists of the unit's places.
    fn write_lists(&mut self, env: &Env, lists: &Lists) -> Result<(), PassError> {
        let n_places = self.value_of(self.lens[lists.selection.axis]);
        let zero = self.fb.int(0);
        let open = self.fb.open_loop(n_places, &[lists.places]);
        let place = open.params[0];
        // A list is a place's first field until there is a term. Empty, it begins at its place, where something can be read.
        self.keep(place, 0, place);
        self.keep(place, PLACE_LAST, place);
        self.keep(place, PLACE_COUNT, zero);
        let next = self.fb.iadd_const(place, PLACE_BYTES);
        self.fb.close_loop(open, vec![next]);
        let shards = i64::from(self.program.shards);
        let Some(axis) = self.reduction().order.shard_axis.filter(|_| shards > 1) else {
            let lens = self.reduction_lens();
            self.write_shard(env, lists, &lens, zero, lists.terms)?;
            return Ok(());
        };
        let trip = self.fb.int(shards);
        let open = self.fb.open_loop(trip, &[lists.terms]);
        let (shard, term) = (open.iv, open.params[0]);
        let (env, lens) = self.shard_at(env, axis, shard);
        let bits = self.fb.int(lists.chunk_bits);
        let first = self.fb.int_op(IntOp::Shl, shard, bits);
        let term = self.write_shard(&env, lists, &lens, first, term)?;
        self.fb.close_loop(open, vec![term]);
        Ok(())
    }

    /// Writes down the terms of a shard whose first chunk is at `position`. Returns where the next term goes.
    fn write_shard(
        &mut self,
        env: &Env,
        lists: &Lists,
        lens: &[Len],
        position: Val,
        term: Val,
    ) -> Result<Val, PassError> {
        let zero = self.fb.int(0);
        let state = self.write_level(env, lists, 0, lens, position, &[term, zero])?;
        Ok(state[0])
    }

    /// `state` is where the next term goes, and how many runs have been, or pieces of runs where these are chunks.
    fn write_level(
        &mut self,
        env: &Env,
        lists: &Lists,
        level: usize,
        lens: &[Len],
        position: Val,
        state: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        let axis = self.phase.n_space + level;
        if level + 1 < lens.len() {
            let mut body = |emitter: &mut Self, env: &Env, state: &[Val]| {
                emitter.write_level(env, lists, level + 1, lens, position, state)
            };
            return Ok(self.for_axis(env, axis, lens[level], 1, state, &mut body)?.1);
        }
        let order = self.reduction().order;
        let mut piece = |emitter: &mut Self, env: &Env, len: Len, state: &[Val]| {
            let chunk = match lists.chunk_bits {
                0 => emitter.fb.int(0),
                _ => emitter.divided(state[1], order.runs_per_chunk),
            };
            let position = emitter.fb.iadd(position, chunk);
            let mut body = |emitter: &mut Self, env: &Env, state: &[Val]| {
                let next = emitter.write_term(env, lists, position, state[0])?;
                Ok(vec![next])
            };
            let next = emitter.for_axis(env, axis, len, 1, &state[..1], &mut body)?.1[0];
            Ok(vec![next, emitter.fb.iadd_const(state[1], 1)])
        };
        match order.runs_per_chunk {
            1 => self.in_pieces(env, axis, lens[level], order.run_cut, state, &mut piece),
            _ => piece(self, env, lens[level], state),
        }
    }

    /// Appends the term at hand to the list of its place, if that is one of the unit's. Returns where the next term goes.
    fn write_term(
        &mut self,
        env: &Env,
        lists: &Lists,
        position: Val,
        term: Val,
    ) -> Result<Val, PassError> {
        let Selection { axis, offset, index, .. } = lists.selection;
        let one = Tile { rows: 1, vectors: 1, lanes: 1, lane_axis: None, tail: None };
        let at = At { row: 0, vector: 0 };
        let index = self.eval(env, &one, index, at, &mut Cache::default())?;
        let index = self.fb.inst(Inst::IntFromLane(index));
        let index = self.fb.iadd_const(index, -offset);
        let origin = self.param(Param::Origin(axis));
        let number = self.fb.int_op(IntOp::Sub, index, origin);
        let n_places = self.value_of(self.lens[axis]);
        let zero = self.fb.int(0);
        let below = self.fb.int_op(IntOp::Less, number, zero);
        let inside = self.fb.int_op(IntOp::Less, number, n_places);
        // Below zero is also below the number of places: both are one.
        let is_here = self.fb.int_op(IntOp::Sub, inside, below);
        self.fb.open_if();
        let bytes = self.fb.imul_const(number, PLACE_BYTES);
        let place = self.fb.iadd(lists.places, bytes);
        let last = self.kept(place, PLACE_LAST);
        self.keep(last, 0, term);
        self.keep(place, PLACE_LAST, term);
        let count = self.kept(place, PLACE_COUNT);
        let count = self.fb.iadd_const(count, 1);
        self.keep(place, PLACE_COUNT, count);
        self.keep(term, TERM_POSITION, position);
        // The list's end is known by its length; what follows the last term is read all the same.
        self.keep(term, 0, term);
        for level in 0..self.phase.axes.len() - self.phase.n_space {
            let axis = self.phase.n_space + level;
            let index = env.index[axis].expect("indices of sorted terms are kept");
            let index = self.fb.iadd_const(index, env.index_disp[axis]);
            self.keep(term, TERM_INDICES + 8 * level as i32, index);
        }
        self.fb.close_if(is_here);
        let bytes = self.fb.imul_const(is_here, lists.term_bytes);
        Ok(self.fb.iadd(term, bytes))
    }

    /// The sum of the terms of the place at hand, in the frozen order.
    fn sum_of_list(
        &mut self,
        env: &Env,
        tile: &Tile,
        lists: &Lists,
    ) -> Result<Vec<Val>, PassError> {
        let elem = self.expr(self.reduction().factors[0]).elem;
        let ty = self.vec_type(elem, tile.lanes);
        let zeros = vec![self.start(ty); tile.vectors];
        let sum_bytes = (tile.lanes * elem.size()) as i32;
        let walked = Walked { zeros: &zeros, ty, sum_bytes };
        let stream = self.streams.len();
        let place = self.addr_at(env, stream, 0);
        let place = self.fb.iadd_const(place.base, i64::from(place.disp));
        let count = self.kept(place, PLACE_COUNT);
        let first = self.kept(place, 0);
        let mut init = vec![first];
        init.extend(&zeros);
        let Some(slots) = lists.slots else {
            let open = self.fb.open_loop(count, &init);
            let params = open.params.clone();
            let mut next = vec![self.kept(params[0], 0)];
            next.extend(self.add_term(env, tile, lists, params[0], &params[1..])?);
            let results = self.fb.close_loop(open, next);
            return Ok(results[1..].to_vec());
        };
        let position = self.kept(first, TERM_POSITION);
        let depth = self.fb.int(0);
        init.extend([position, depth]);
        let open = self.fb.open_loop(count, &init);
        let params = open.params.clone();
        let term = params[0];
        let (sums, state) = params[1..].split_at(zeros.len());
        let position = self.kept(term, TERM_POSITION);
        let (sums, depth) = self.begin_chunk(&walked, slots, sums, state, position);
        let mut next = vec![self.kept(term, 0)];
        next.extend(self.add_term(env, tile, lists, term, &sums)?);
        next.extend([position, depth]);
        let results = self.fb.close_loop(open, next);
        let (sums, state) = results[1..].split_at(zeros.len());
        Ok(self.merged(&walked, slots, state[1], sums, state[1]))
    }

    /// Makes room for the chunk at `position`: if it is another than the one at hand, sums that meet before it are merged, and the result
    /// is set aside. `state` is the position and the stack's depth so far. Returns sums and depth.
    fn begin_chunk(
        &mut self,
        walked: &Walked<'_>,
        slots: (Val, i64),
        sums: &[Val],
        state: &[Val],
        position: Val,
    ) -> (Vec<Val>, Val) {
        let one = self.fb.int(1);
        let same = self.fb.int_op(IntOp::Equal, state[0], position);
        let is_other = self.fb.int_op(IntOp::Sub, one, same);
        let mut init = sums.to_vec();
        init.push(state[1]);
        let open = self.fb.open_loop(is_other, &init);
        let params = open.params.clone();
        let (sums, depth) = params.split_at(walked.zeros.len());
        let key = self.xor(state[0], position);
        let zero = self.fb.int(0);
        let scan = self.fb.open_loop(depth[0], &[zero]);
        let slot = self.slot_at(slots, scan.iv);
        let older = self.kept(slot, 0);
        let meets = self.fb.int_op(IntOp::Less, older, key);
        let n_merged = self.fb.iadd(scan.params[0], meets);
        let n_merged = self.fb.close_loop(scan, vec![n_merged])[0];
        let merged = self.merged(walked, slots, depth[0], sums, n_merged);
        let depth = self.fb.int_op(IntOp::Sub, depth[0], n_merged);
        let slot = self.slot_at(slots, depth);
        self.keep(slot, 0, key);
        for (at, &sum) in merged.iter().enumerate() {
            let addr = Addr::offset(slot, SLOT_SUMS + at as i32 * walked.sum_bytes);
            self.fb.store(storage_of(walked.ty), addr, sum, None);
        }
        let mut next = walked.zeros.to_vec();
        next.push(self.fb.iadd_const(depth, 1));
        let mut results = self.fb.close_loop(open, next);
        let depth = results.pop().expect("the depth is carried");
        (results, depth)
    }

    /// The sums with the newest `n` of a stack of `depth` before them, newest first.
    fn merged(
        &mut self,
        walked: &Walked<'_>,
        slots: (Val, i64),
        depth: Val,
        sums: &[Val],
        n: Val,
    ) -> Vec<Val> {
        let mut init = sums.to_vec();
        init.push(depth);
        let open = self.fb.open_loop(n, &init);
        let params = open.params.clone();
        let (sums, depth) = params.split_at(walked.zeros.len());
        let below = self.fb.iadd_const(depth[0], -1);
        let slot = self.slot_at(slots, below);
        let mut next = Vec::with_capacity(init.len());
        for (at, &sum) in sums.iter().enumerate() {
            let addr = Addr::offset(slot, SLOT_SUMS + at as i32 * walked.sum_bytes);
            let storage = storage_of(walked.ty);
            let older = self.fb.inst(Inst::Load { ty: walked.ty, storage, addr, mask: None });
            next.push(self.fb.binary(VecBinary::Add, older, sum));
        }
        next.push(below);
        let mut results = self.fb.close_loop(open, next);
        results.pop();
        results
    }

    /// Adds one written term to the accumulators.
    fn add_term(
        &mut self,
        env: &Env,
        tile: &Tile,
        lists: &Lists,
        term: Val,
        sums: &[Val],
    ) -> Result<Vec<Val>, PassError> {
        let mut here = env.clone();
        for level in 0..self.phase.axes.len() - self.phase.n_space {
            let index = self.kept(term, TERM_INDICES + 8 * level as i32);
            here = self.shifted_by(&here, self.phase.n_space + level, index);
        }
        let mut cache = Cache::default();
        let mut next = Vec::with_capacity(sums.len());
        for (vector, &sum) in sums.iter().enumerate() {
            let at = At { row: 0, vector };
            let value = self.eval(&here, tile, lists.selection.value, at, &mut cache)?;
            next.push(self.fb.binary(VecBinary::Add, sum, value));
        }
        Ok(next)
    }

    fn slot_at(&mut self, (base, bytes): (Val, i64), number: Val) -> Val {
        let offset = self.fb.imul_const(number, bytes);
        self.fb.iadd(base, offset)
    }

    fn xor(&mut self, a: Val, b: Val) -> Val {
        let both = self.fb.int_op(IntOp::And, a, b);
        let twice = self.fb.imul_const(both, 2);
        let sum = self.fb.iadd(a, b);
        self.fb.int_op(IntOp::Sub, sum, twice)
    }

    fn kept(&mut self, base: Val, at: i32) -> Val {
        self.fb.inst(Inst::IntLoad(IntWidth::I64, Addr::offset(base, at)))
    }

    fn keep(&mut self, base: Val, at: i32, value: Val) {
        let addr = Addr::offset(base, at);
        self.fb.push(Stmt::IntStore { width: IntWidth::I64, addr, value });
    }

    fn value_of(&mut self, len: Len) -> Val {
        match len {
            Len::Static(n) => self.fb.int(n),
            Len::Dynamic(n, _) | Len::Either(n, _) => n,
        }
    }
}

/// Bits of the numbers below `n`.
fn bits_of(n: i64) -> i64 {
    i64::from(64 - (n.max(1) - 1).leading_zeros())
}
