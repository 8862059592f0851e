//! How a phase's loads and stores walk memory: strides along the phase's axes, in elements.

use dlc_ir::affine::Affine;
use dlc_ir::entity::IndexVec;
use dlc_ir::tile::{Buffer, BufferId, Phase};

/// The place in memory of an access, as an affine function of the phase's axes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Walk {
    /// The buffer.
    pub buffer: BufferId,
    /// Elements from the buffer's start, over the phase's axes.
    pub offset: Affine,
}

impl Walk {
    /// The walk of an access by subscripts. `None` if the buffer's layout has blocks.
    pub fn of(
        buffers: &IndexVec<BufferId, Buffer>,
        max_batch: i64,
        buffer: BufferId,
        subs: &[Affine],
    ) -> Option<Walk> {
        let strides = buffers[buffer].strides(max_batch)?;
        let offset = subs
            .iter()
            .zip(strides)
            .fold(Affine::constant(0), |offset, (sub, stride)| offset.plus(&sub.times(stride)));
        Some(Walk { buffer, offset })
    }

    /// Elements between neighbours along an axis.
    pub fn stride(&self, axis: usize) -> i64 {
        self.offset.coefficient(axis)
    }
}

/// The extent of an axis at the maximum batch.
pub fn max_extent(phase: &Phase, axis: usize, max_batch: i64) -> i64 {
    phase.axes[axis].at(max_batch).max(0)
}
