//! The loops over a unit's space: outer axes, lane tiles and row tiles, each tile with its remainder.

use super::kernel::{Emitter, Env, Len, Tile};
use crate::pass::PassError;
use crate::schedule;

/// A loop of the nest over a unit's space.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    /// One iteration after the other along an axis.
    Outer(usize),
    /// Lane tiles.
    Lanes,
    /// Row tiles.
    Rows,
}

/// What is done for each register tile.
pub(super) type Visit<'b, E> = dyn FnMut(&mut E, &Env, &Tile) -> Result<(), PassError> + 'b;

impl Emitter<'_> {
    /// Visits every register tile of the unit, in the order of the loops.
    pub(super) fn sweep(
        &mut self,
        env: &Env,
        levels: &[Level],
        visit: &mut Visit<'_, Self>,
    ) -> Result<(), PassError> {
        let lanes = if self.tile_lane_axis().is_some() { self.lanes } else { 1 };
        let tile =
            Tile { rows: 1, vectors: 1, lanes, lane_axis: self.tile_lane_axis(), tail: None };
        self.nest_levels(env, levels, &tile, visit)
    }

    /// The axis of the lanes, if it is a space axis.
    fn tile_lane_axis(&self) -> Option<usize> {
        self.phase.schedule.lane_axis.filter(|&axis| axis < self.phase.n_space)
    }

    fn nest_levels(
        &mut self,
        env: &Env,
        levels: &[Level],
        tile: &Tile,
        visit: &mut Visit<'_, Self>,
    ) -> Result<(), PassError> {
        let Some((level, rest)) = levels.split_first() else { return visit(self, env, tile) };
        match *level {
            Level::Outer(axis) => {
                let len = self.lens[axis];
                self.for_axis(env, axis, len, 1, &[], &mut |emitter, env, _| {
                    emitter.nest_levels(env, rest, tile, visit)?;
                    Ok(Vec::new())
                })?;
                Ok(())
            }
            Level::Lanes => self.lane_tiles(env, rest, tile, visit),
            Level::Rows => self.row_tiles(env, rest, tile, visit),
        }
    }

    /// Lane tiles; where an operand lies in panels, those of one panel after the other.
    fn lane_tiles(
        &mut self,
        env: &Env,
        levels: &[Level],
        tile: &Tile,
        visit: &mut Visit<'_, Self>,
    ) -> Result<(), PassError> {
        let Some(axis) = tile.lane_axis else { return self.nest_levels(env, levels, tile, visit) };
        let len = self.lens[axis];
        let Some(width) = self.panel_width(axis) else {
            return self.lane_tiles_within(env, axis, len, levels, tile, visit);
        };
        let panels = self.pieces(len, width);
        let (env, _) = self.for_axis(env, axis, panels, width, &[], &mut |emitter, env, _| {
            let whole = Len::Static(width);
            emitter.lane_tiles_within(env, axis, whole, levels, tile, visit)?;
            Ok(Vec::new())
        })?;
        let rest = self.rest(len, panels, width);
        self.lane_tiles_within(&env, axis, rest, levels, tile, visit)
    }

    /// Columns of the panels along an axis, if some operand lies in panels.
    fn panel_width(&self, axis: usize) -> Option<i64> {
        let panels = self.streams.iter().filter_map(|walk| walk.panel);
        panels.filter(|panel| panel.axis == axis).map(|panel| panel.width).max()
    }

    /// Lane tiles of whole vectors, then the remainder.
    fn lane_tiles_within(
        &mut self,
        env: &Env,
        axis: usize,
        len: Len,
        levels: &[Level],
        tile: &Tile,
        visit: &mut Visit<'_, Self>,
    ) -> Result<(), PassError> {
        let (vectors, lanes) = (self.phase.schedule.vectors.max(1), self.lanes);
        let tile = Tile { vectors, ..*tile };
        let single = Tile { vectors: 1, ..tile };
        let step = (vectors * lanes) as i64;
        let whole = self.pieces(len, step);
        let env = self.whole_lane_tiles(env, axis, whole, &tile, levels, visit)?;
        let rest = self.rest(len, whole, step);
        match rest {
            Len::Static(0) => Ok(()),
            Len::Static(n) => self.last_lane_tile(&env, n, levels, &tile, visit),
            Len::Either(rest, [0, n] | [n, 0]) => {
                self.fb.open_if();
                self.last_lane_tile(&env, n, levels, &tile, visit)?;
                self.fb.close_if(rest);
                Ok(())
            }
            Len::Dynamic(..) | Len::Either(..) => {
                let (env, rest) = if vectors > 1 {
                    let singles = self.pieces(rest, lanes as i64);
                    let env = self.whole_lane_tiles(&env, axis, singles, &single, levels, visit)?;
                    (env, self.rest(rest, singles, lanes as i64))
                } else {
                    (env, rest)
                };
                match rest {
                    Len::Static(0) => Ok(()),
                    Len::Static(n) => self.last_lane_tile(&env, n, levels, &single, visit),
                    Len::Dynamic(rest, _) | Len::Either(rest, _) => {
                        self.fb.open_if();
                        let tail = Some(self.first(rest));
                        self.nest_levels(&env, levels, &Tile { tail, ..single }, visit)?;
                        self.fb.close_if(rest);
                        Ok(())
                    }
                }
            }
        }
    }

    /// One tile of `n` lanes, fewer than a whole tile has.
    fn last_lane_tile(
        &mut self,
        env: &Env,
        n: i64,
        levels: &[Level],
        tile: &Tile,
        visit: &mut Visit<'_, Self>,
    ) -> Result<(), PassError> {
        let vectors = (n as usize).div_ceil(tile.lanes);
        let in_last = n as usize - (vectors - 1) * tile.lanes;
        let tail =
            (in_last < tile.lanes).then(|| self.fb.int(in_last as i64)).map(|n| self.first(n));
        self.nest_levels(env, levels, &Tile { vectors, tail, ..*tile }, visit)
    }

    fn whole_lane_tiles(
        &mut self,
        env: &Env,
        axis: usize,
        trip: Len,
        tile: &Tile,
        levels: &[Level],
        visit: &mut Visit<'_, Self>,
    ) -> Result<Env, PassError> {
        let step = (tile.vectors * tile.lanes) as i64;
        let (env, _) = self.for_axis(env, axis, trip, step, &[], &mut |emitter, env, _| {
            emitter.nest_levels(env, levels, tile, visit)?;
            Ok(Vec::new())
        })?;
        Ok(env)
    }

    /// Row tiles, then the remaining rows: as one smaller tile if their number is known but for being none, else one by one. A tile of fewer vectors
    /// than the schedule's has more rows.
    fn row_tiles(
        &mut self,
        env: &Env,
        levels: &[Level],
        tile: &Tile,
        visit: &mut Visit<'_, Self>,
    ) -> Result<(), PassError> {
        let schedule = &self.phase.schedule;
        let Some(axis) = schedule.row_axis else {
            return self.nest_levels(env, levels, tile, visit);
        };
        let rows = schedule::rows_of(schedule, tile.vectors, self.lens[axis].max());
        let mut run = |emitter: &mut Self, env: &Env, trip: Len, rows: i64| {
            let tile = Tile { rows: rows as usize, ..*tile };
            emitter.for_axis(env, axis, trip, rows, &[], &mut |emitter, env, _| {
                emitter.nest_levels(env, levels, &tile, visit)?;
                Ok(Vec::new())
            })
        };
        let len = self.lens[axis];
        let whole = self.pieces(len, rows);
        let (env, _) = run(self, env, whole, rows)?;
        let rest = self.rest(len, whole, rows);
        match rest {
            Len::Static(0) => {}
            Len::Static(n) => {
                run(self, &env, Len::Static(1), n)?;
            }
            Len::Either(_, [0, n] | [n, 0]) => {
                let trip = self.pieces(rest, n);
                run(self, &env, trip, n)?;
            }
            Len::Dynamic(..) | Len::Either(..) => {
                run(self, &env, rest, 1)?;
            }
        }
        Ok(())
    }
}
