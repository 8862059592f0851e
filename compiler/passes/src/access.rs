//! How a phase's loads and stores walk memory: strides along the phase's axes, in elements.

use dlc_ir::affine::Affine;
use dlc_ir::entity::IndexVec;
use dlc_ir::tile::{Buffer, BufferId, Phase};

/// The place in memory of an access, as an affine function of the phase's axes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Walk {
    /// The buffer.
    pub buffer: BufferId,
    /// Elements from the buffer's start, over the phase's axes; along the axis of panels, from the start of a panel.
    pub offset: Affine,
    /// The panels that the buffer is laid out in.
    pub panel: Option<Panel>,
}

/// How an access walks a buffer in panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Panel {
    /// The axis that runs over the columns.
    pub axis: usize,
    /// Columns of a panel.
    pub width: i64,
    /// Elements of a panel divided by its columns.
    pub column: i64,
}

impl Walk {
    /// The walk of an access by subscripts. `None` if the buffer's layout has blocks other than panels whose columns are an axis of
    /// the phase.
    pub fn of(
        buffers: &IndexVec<BufferId, Buffer>,
        max_batch: i64,
        buffer: BufferId,
        subs: &[Affine],
    ) -> Option<Walk> {
        let data = &buffers[buffer];
        let plain = |strides: &[i64]| {
            subs.iter()
                .zip(strides)
                .fold(Affine::constant(0), |offset, (sub, &stride)| offset.plus(&sub.times(stride)))
        };
        if let Some(strides) = data.strides(max_batch) {
            return Some(Walk { buffer, offset: plain(&strides), panel: None });
        }
        let width = data.layout.panel_width()?;
        let axis = subs.last()?.as_axis()?;
        let mut strides = vec![1; subs.len()];
        let mut stride = width;
        for at in (0..subs.len() - 1).rev() {
            strides[at] = stride;
            stride *= data.shape[at].at(max_batch);
        }
        let offset = plain(&strides);
        let panel = Panel { axis, width, column: stride / width };
        (offset.coefficient(axis) == 1).then_some(Walk { buffer, offset, panel: Some(panel) })
    }

    /// Elements between neighbours along an axis, within a panel.
    pub fn stride(&self, axis: usize) -> i64 {
        self.offset.coefficient(axis)
    }

    /// Elements from a place to the one `n` iterations further along an axis; along the columns of panels either whole panels further, or
    /// within one.
    pub fn moved(&self, axis: usize, n: i64) -> i64 {
        match self.panel {
            Some(panel) if panel.axis == axis && n % panel.width == 0 => n * panel.column,
            _ => n * self.stride(axis),
        }
    }

    /// Elements for each iteration along an axis, of a number of iterations that is whole panels.
    pub fn panel_stride(&self, axis: usize) -> i64 {
        match self.panel {
            Some(panel) if panel.axis == axis => panel.column,
            _ => self.stride(axis),
        }
    }
}

/// The extent of an axis at the maximum batch.
pub fn max_extent(phase: &Phase, axis: usize, max_batch: i64) -> i64 {
    phase.axes[axis].at(max_batch).max(0)
}
