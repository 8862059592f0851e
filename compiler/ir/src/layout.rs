//! Where the elements of a logical tensor lie in memory: a permutation of its axes, each of them possibly cut into blocks.

use dlc_abi::Dim;
use serde::{Deserialize, Serialize};

/// One physical axis: a whole logical axis, the number of a block along it, or the place within a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PhysicalAxis {
    /// The whole logical axis.
    Whole(usize),
    /// The logical axis divided by the block size, rounded up: which block.
    Block(usize, i64),
    /// The logical axis modulo the block size: where in the block. The last block is padded.
    Within(usize, i64),
}

/// A layout: physical axes from outermost to innermost. Every logical axis occurs once whole, or once as block and once
/// within, with one block size; so the map from logical to physical indices is invertible.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// Physical axes, outermost first.
    pub axes: Vec<PhysicalAxis>,
}

impl Layout {
    /// Last axis fastest, no padding.
    pub fn row_major(rank: usize) -> Self {
        Layout { axes: (0..rank).map(PhysicalAxis::Whole).collect() }
    }

    /// Panels of `width` columns: `[columns / width][rows ..][width]`, the last panel padded. The columns are the last axis.
    pub fn panel(rank: usize, width: i64) -> Self {
        let last = rank - 1;
        let mut axes = vec![PhysicalAxis::Block(last, width)];
        axes.extend((0..last).map(PhysicalAxis::Whole));
        axes.push(PhysicalAxis::Within(last, width));
        Layout { axes }
    }

    /// The width, if this is a layout of panels.
    pub fn panel_width(&self) -> Option<i64> {
        match self.axes.first()? {
            &PhysicalAxis::Block(last, width) => {
                (*self == Layout::panel(last + 1, width)).then_some(width)
            }
            PhysicalAxis::Whole(_) | PhysicalAxis::Within(..) => None,
        }
    }

    /// Axes in another order, without blocks.
    pub fn permuted(order: &[usize]) -> Self {
        Layout { axes: order.iter().map(|&axis| PhysicalAxis::Whole(axis)).collect() }
    }

    /// Whether this is row-major without padding.
    pub fn is_row_major(&self) -> bool {
        self.axes.iter().enumerate().all(|(at, axis)| *axis == PhysicalAxis::Whole(at))
    }

    /// Extents of the physical axes for a logical shape, with the batch at its maximum.
    pub fn physical_extents(&self, shape: &[Dim], max_batch: i64) -> Vec<i64> {
        self.axes
            .iter()
            .map(|axis| match *axis {
                PhysicalAxis::Whole(axis) => shape[axis].at(max_batch),
                PhysicalAxis::Block(axis, size) => {
                    let extent = shape[axis].at(max_batch);
                    (extent + size - 1) / size
                }
                PhysicalAxis::Within(_, size) => size,
            })
            .collect()
    }

    /// Elements of memory that a tensor of this shape takes, padding included.
    pub fn elements(&self, shape: &[Dim], max_batch: i64) -> i64 {
        self.physical_extents(shape, max_batch).iter().product()
    }

    /// Offset in elements of a logical index.
    pub fn offset(&self, shape: &[Dim], max_batch: i64, index: &[i64]) -> i64 {
        let extents = self.physical_extents(shape, max_batch);
        self.axes.iter().zip(extents).fold(0, |offset, (axis, extent)| {
            let at = match *axis {
                PhysicalAxis::Whole(axis) => index[axis],
                PhysicalAxis::Block(axis, size) => index[axis] / size,
                PhysicalAxis::Within(axis, size) => index[axis] % size,
            };
            offset * extent + at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_place_every_element_once() {
        let shape = [Dim::fixed(5), Dim::fixed(70)];
        let layout = Layout::panel(2, 64);
        assert_eq!(layout.elements(&shape, 1), 2 * 5 * 64);
        let mut seen = std::collections::BTreeSet::new();
        for row in 0..5 {
            for column in 0..70 {
                let offset = layout.offset(&shape, 1, &[row, column]);
                assert!((0..2 * 5 * 64).contains(&offset));
                assert!(seen.insert(offset));
            }
        }
        assert_eq!(layout.offset(&shape, 1, &[1, 65]), 5 * 64 + 64 + 1);
        assert_eq!(layout.panel_width(), Some(64));
        assert_eq!(Layout::row_major(2).panel_width(), None);
    }
}
