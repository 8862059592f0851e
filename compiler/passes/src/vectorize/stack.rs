//! The binary counter in scratch memory where partial sums meet: chunk after chunk is pushed, and sums of equal size are merged, older + newer.

use super::kernel::Emitter;
use dlc_ir::vector::{Addr, Inst, IntOp, Storage, Type, Val, VecBinary};

/// A stack of partial sums. Its slots hold all accumulators of a tile.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    /// Address of slot 0.
    pub base: Val,
    pub slot_bytes: i64,
    /// Types of the accumulators, and where they lie in a slot.
    pub places: Vec<(Type, i32)>,
}

/// How many slots a stack for so many pushes needs: a counter up to n never has more bits set than n has bits.
pub(super) fn slots_for(max_pushes: i64) -> i64 {
    i64::from(64 - max_pushes.max(1).leading_zeros())
}

fn bytes_of(ty: Type) -> i64 {
    match ty {
        Type::Vec { elem, lanes } => elem.bytes() * i64::from(lanes),
        Type::Mask { .. } | Type::Int => 8,
    }
}

pub(super) fn storage_of(ty: Type) -> Storage {
    match ty {
        Type::Vec { elem, .. } => elem.into(),
        Type::Mask { .. } | Type::Int => Storage::I64,
    }
}

impl Emitter<'_> {
    /// Claims scratch for the partial sums of `max_pushes` chunks of accumulators of these types.
    pub(super) fn new_stack(
        &mut self,
        types: Vec<Type>,
        max_pushes: i64,
        offset: &mut i64,
    ) -> Stack {
        let mut bytes = 0;
        let mut places = Vec::with_capacity(types.len());
        for ty in types {
            places.push((ty, bytes as i32));
            bytes += bytes_of(ty);
        }
        let slot_bytes = (bytes + 63) / 64 * 64;
        let slots = slots_for(max_pushes);
        let scratch = self.param(super::kernel::Param::Scratch);
        let base = self.fb.iadd_const(scratch, *offset);
        *offset += slots * slot_bytes;
        self.scratch_bytes = self.scratch_bytes.max(*offset as u64);
        Stack { base, slot_bytes, places }
    }

    fn slot(&mut self, stack: &Stack, depth: Val) -> Val {
        let bytes = self.fb.imul_const(depth, stack.slot_bytes);
        self.fb.iadd(stack.base, bytes)
    }

    fn load_slot(&mut self, stack: &Stack, slot: Val) -> Vec<Val> {
        let load = |&(ty, disp): &(Type, i32)| {
            let addr = Addr::offset(slot, disp);
            self.fb.inst(Inst::Load { ty, storage: storage_of(ty), addr, mask: None })
        };
        stack.places.iter().map(load).collect()
    }

    /// Pushes sum number `count` (from 0) on a stack of `depth` sums; returns the new depth.
    pub(super) fn push_sums(&mut self, stack: &Stack, depth: Val, count: Val, sums: &[Val]) -> Val {
        let next = self.fb.iadd_const(count, 1);
        let merges = self.fb.inst(Inst::IntTrailingZeros(next));
        let mut init = sums.to_vec();
        init.push(depth);
        let open = self.fb.open_loop(merges, &init);
        let (newer, depth) = open.params.split_at(sums.len());
        let (newer, depth) = (newer.to_vec(), depth[0]);
        let below = self.fb.iadd_const(depth, -1);
        let slot = self.slot(stack, below);
        let older = self.load_slot(stack, slot);
        let mut merged: Vec<Val> = older
            .iter()
            .zip(&newer)
            .map(|(&older, &newer)| self.fb.binary(VecBinary::Add, older, newer))
            .collect();
        merged.push(below);
        let mut results = self.fb.close_loop(open, merged);
        let depth = results.pop().expect("the depth is carried");
        let slot = self.slot(stack, depth);
        for (&sum, &(ty, disp)) in results.iter().zip(&stack.places) {
            self.fb.store(storage_of(ty), Addr::offset(slot, disp), sum, None);
        }
        self.fb.iadd_const(depth, 1)
    }

    /// The total of a stack of `depth` sums, from the newest down; `zeros` if it is empty.
    pub(super) fn total(&mut self, stack: &Stack, depth: Val, zeros: &[Val]) -> Vec<Val> {
        let one = self.fb.int(1);
        let any = self.fb.int_op(IntOp::Min, depth, one);
        let open = self.fb.open_loop(any, zeros);
        let top = self.fb.iadd_const(depth, -1);
        let slot = self.slot(stack, top);
        let newest = self.load_slot(stack, slot);
        let newest = self.fb.close_loop(open, newest);
        let rest = self.fb.int_op(IntOp::Sub, depth, any);
        let mut init = newest;
        init.push(rest);
        let open = self.fb.open_loop(rest, &init);
        let (sums, left) = open.params.split_at(zeros.len());
        let (sums, left) = (sums.to_vec(), left[0]);
        let below = self.fb.iadd_const(left, -1);
        let slot = self.slot(stack, below);
        let older = self.load_slot(stack, slot);
        let mut next: Vec<Val> = older
            .iter()
            .zip(&sums)
            .map(|(&older, &sum)| self.fb.binary(VecBinary::Add, older, sum))
            .collect();
        next.push(below);
        let mut results = self.fb.close_loop(open, next);
        results.pop();
        results
    }
}
