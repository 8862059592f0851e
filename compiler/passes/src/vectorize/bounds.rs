//! Indices as values, and whether subscripts stay within their extents.

use super::eval::At;
use super::kernel::{Emitter, Env, Tile};
use dlc_abi::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Combine, Fill};
use dlc_ir::tile::{BufferId, Expr};
use dlc_ir::vector::{Compare, Elem, Inst, IntOp, MaskOp, Type, Val, VecBinary};

/// An affine function of the axes that must lie in `0..extent`.
pub(super) type Bound = (Affine, Dim);

impl Emitter<'_> {
    /// An affine function of the axes at the tile's first point, as an Int.
    fn index_scalar(&mut self, env: &Env, tile: &Tile, affine: &Affine, at: At) -> Val {
        let mut constant = affine.offset();
        let mut sum: Option<Val> = None;
        for &(axis, coefficient) in affine.terms() {
            constant += coefficient * env.index_disp[axis];
            if Some(axis) == self.phase.schedule.row_axis {
                constant += coefficient * at.row as i64;
            }
            if Some(axis) == tile.lane_axis {
                constant += coefficient * (at.vector * tile.lanes) as i64;
            }
            let index = env.index[axis].expect("indices that expressions mention are kept");
            let scaled = self.fb.imul_const(index, coefficient);
            sum = Some(match sum {
                Some(sum) => self.fb.iadd(sum, scaled),
                None => scaled,
            });
        }
        match sum {
            Some(sum) => self.fb.iadd_const(sum, constant),
            None => self.fb.int(constant),
        }
    }

    /// An affine function of the axes in `i32` lanes.
    pub(super) fn index_lanes(&mut self, env: &Env, tile: &Tile, affine: &Affine, at: At) -> Val {
        let first = self.index_scalar(env, tile, affine, at);
        let ty = Type::Vec { elem: Elem::I32, lanes: tile.lanes as u8 };
        let first = self.fb.inst(Inst::Splat { ty, value: first });
        match tile.lane_axis.map_or(0, |axis| affine.coefficient(axis)) {
            0 => first,
            coefficient => {
                let iota = self.scaled_iota(tile.lanes, coefficient);
                self.fb.binary(VecBinary::Add, first, iota)
            }
        }
    }

    /// 0, s, 2s, .. in `i32` lanes.
    pub(super) fn scaled_iota(&mut self, lanes: usize, scale: i64) -> Val {
        let ty = Type::Vec { elem: Elem::I32, lanes: lanes as u8 };
        let iota = self.fb.inst(Inst::Iota { ty });
        if scale == 1 {
            return iota;
        }
        let scale = self.fb.int_lanes(ty, scale);
        self.fb.binary(VecBinary::Mul, iota, scale)
    }

    /// Where `0 <= index < extent` for every subscript that may leave the buffer.
    pub(super) fn in_range(
        &mut self,
        env: &Env,
        tile: &Tile,
        bounds: &[Bound],
        at: At,
    ) -> Option<Val> {
        let mut all: Option<Val> = None;
        for (index, extent) in bounds {
            let index = self.index_lanes(env, tile, index, at);
            let ty = self.fb.ty(index);
            let zero = self.fb.int_lanes(ty, 0);
            let extent = self.extent(*extent);
            let extent = self.fb.inst(Inst::Splat { ty, value: extent });
            let low = self.fb.inst(Inst::Compare(Compare::Le, zero, index));
            let high = self.fb.inst(Inst::Compare(Compare::Lt, index, extent));
            let both = self.fb.inst(Inst::Mask(MaskOp::And, low, high));
            all = Some(match all {
                Some(all) => self.fb.inst(Inst::Mask(MaskOp::And, all, both)),
                None => both,
            });
        }
        all.map(|mask| self.mask_for(mask, self.mask_bits))
    }

    /// The subscripts that may leave the buffer at the maximum batch.
    pub(super) fn open_bounds(&self, buffer: BufferId, subs: &[Affine]) -> Vec<Bound> {
        let extents: Vec<i64> =
            self.phase.axes.iter().map(|dim| dim.at(self.program.max_batch).max(1)).collect();
        let shape = &self.program.buffers[buffer].shape;
        subs.iter()
            .zip(shape)
            .filter(|(sub, extent)| {
                let (low, high) = sub.range(&extents);
                let batch_axis =
                    sub.as_axis().is_some_and(|axis| self.phase.axes[axis] == **extent);
                !batch_axis && (low < 0 || extent.as_fixed().is_none_or(|extent| high >= extent))
            })
            .map(|(sub, extent)| (sub.clone(), *extent))
            .collect()
    }

    /// What decides whether a term of the reduction exists: its guards, and the reads that drop terms outside their operand.
    fn term_bounds(&self) -> Vec<Bound> {
        let Some(reduction) = &self.phase.reduction else { return Vec::new() };
        let mut bounds: Vec<Bound> =
            reduction.guards.iter().map(|guard| (guard.expr.clone(), guard.extent)).collect();
        for node in self.phase.exprs.values() {
            if let Expr::Load { buffer, subs, fill: Fill::Skip } = &node.expr {
                bounds.extend(self.open_bounds(*buffer, subs));
            }
        }
        bounds.dedup();
        bounds
    }

    /// Those of them that hold for a whole run of a whole tile or for none of it: they do not change along the innermost axis, the rows or
    /// the lanes. They are asked once a run, by a branch, instead of for every term, by a mask.
    pub(super) fn find_run_bounds(&self) -> Vec<Bound> {
        let schedule = &self.phase.schedule;
        if self.phase.axes.len() == self.phase.n_space {
            return Vec::new();
        }
        let innermost = self.phase.axes.len().checked_sub(1);
        let is_arg = self.phase.reduction.as_ref().is_some_and(|reduction| {
            matches!(reduction.combine, Combine::ArgMax | Combine::ArgMin)
        });
        if is_arg {
            return Vec::new();
        }
        let moving = [innermost, schedule.row_axis, schedule.lane_axis];
        let is_uniform =
            |affine: &Affine| moving.iter().flatten().all(|&axis| affine.coefficient(axis) == 0);
        self.term_bounds().into_iter().filter(|(affine, _)| is_uniform(affine)).collect()
    }

    /// 1 if the terms of the run at hand exist, else 0; `None` if they always do.
    pub(super) fn run_exists(&mut self, env: &Env, tile: &Tile) -> Option<Val> {
        let mut all: Option<Val> = None;
        for (affine, extent) in self.run_bounds.clone() {
            let index = self.index_scalar(env, tile, &affine, At { row: 0, vector: 0 });
            let extent = self.extent(extent);
            let zero = self.fb.int(0);
            let below = self.fb.int_op(IntOp::Less, index, zero);
            let inside = self.fb.int_op(IntOp::Less, index, extent);
            // Below zero is also below the extent: both are one.
            let exists = self.fb.int_op(IntOp::Sub, inside, below);
            all = Some(match all {
                Some(all) => self.fb.int_op(IntOp::And, all, exists),
                None => exists,
            });
        }
        all
    }

    /// The mask of a reduction's terms that exist, by the bounds that change within a run.
    pub(super) fn term_exists(&mut self, env: &Env, tile: &Tile, at: At) -> Option<Val> {
        let bounds: Vec<Bound> = self
            .term_bounds()
            .into_iter()
            .filter(|bound| !self.run_bounds.contains(bound))
            .collect();
        self.in_range(env, tile, &bounds, at)
    }
}
