//! Slices of parameters and states, and where they lie in the whole.

use dlc_abi::{Among, AxisCut, Place};

/// A parameter or state as ranks have it that share a model, or its update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafPlan {
    /// Its name.
    pub name: String,
    /// The stage that trains it; all stages where none is told.
    pub stage: Option<u32>,
    /// Where it is cut; whole on all ranks that train it without.
    pub cut: Option<LeafCut>,
}

/// Between which ranks a parameter or state is cut, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafCut {
    /// Its extents.
    pub shape: Vec<usize>,
    /// Between whom.
    pub between: CutBetween,
}

/// Who has a piece each of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutBetween {
    /// The slices of a model, along an axis.
    Slices(AxisCut),
    /// The replicas of a model: all elements in their order, in so many equal pieces. The last ones may have elements beyond the end.
    Replicas(u32),
}

impl LeafCut {
    /// The bytes of what the rank at a place has.
    pub(crate) fn pieces(&self, place: Place, element: usize) -> Pieces {
        match self.between {
            CutBetween::Slices(cut) => Pieces::of(&self.shape, cut, place.slice, element),
            CutBetween::Replicas(replicas) => {
                let elements: usize = self.shape.iter().product();
                let block = elements.div_ceil(replicas as usize) as i64;
                let cut = AxisCut { axis: 0, block };
                Pieces::of(&[elements], cut, place.replica, element)
            }
        }
    }

    /// Between whom.
    pub(crate) fn among(&self) -> Among {
        match self.between {
            CutBetween::Slices(_) => Among::Slices,
            CutBetween::Replicas(_) => Among::Replicas,
        }
    }
}

/// The bytes of a slice within those of the whole: in each of some rows a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pieces {
    rows: usize,
    /// Bytes of a row of the whole.
    row: usize,
    /// The first byte of the piece in a row.
    start: usize,
    /// Bytes of a piece.
    piece: usize,
}

impl Pieces {
    /// Of a slice of a row-major tensor of these extents, with elements of so many bytes.
    pub fn of(shape: &[usize], cut: AxisCut, slice: u32, element: usize) -> Self {
        let bytes = |extents: &[usize]| extents.iter().product::<usize>();
        let inner = bytes(&shape[cut.axis + 1..]) * element;
        let range = cut.range(shape[cut.axis] as i64, slice);
        Pieces {
            rows: bytes(&shape[..cut.axis]),
            row: shape[cut.axis] * inner,
            start: range.start as usize * inner,
            piece: (range.end - range.start) as usize * inner,
        }
    }

    /// Bytes of the slice.
    pub fn len(self) -> usize {
        self.rows * self.piece
    }

    fn places(self) -> impl Iterator<Item = std::ops::Range<usize>> {
        (0..self.rows).map(move |row| {
            let start = row * self.row + self.start;
            start..start + self.piece
        })
    }

    /// Copies the slice out of the whole. What `slice` has beyond it stays.
    pub fn take(self, whole: &[u8], slice: &mut [u8]) {
        for (place, piece) in self.places().zip(slice.chunks_exact_mut(self.piece.max(1))) {
            piece.copy_from_slice(&whole[place]);
        }
    }

    /// Copies the slice into the whole.
    pub fn put(self, whole: &mut [u8], slice: &[u8]) {
        for (place, piece) in self.places().zip(slice.chunks_exact(self.piece.max(1))) {
            whole[place].copy_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_make_up_the_whole() {
        let whole: Vec<u8> = (0..2 * 5 * 3).collect();
        for (axis, block) in [(0, 1), (1, 3), (2, 2)] {
            let mut put = vec![0; whole.len()];
            for slice in 0..2 {
                let pieces = Pieces::of(&[2, 5, 3], AxisCut { axis, block }, slice, 1);
                let mut own = vec![0; pieces.len()];
                pieces.take(&whole, &mut own);
                pieces.put(&mut put, &own);
            }
            assert_eq!(put, whole, "axis {axis}");
        }
        let mut own = [0; 4];
        let pieces = Pieces::of(&[2, 5], AxisCut { axis: 1, block: 3 }, 1, 1);
        pieces.take(&whole[..10], &mut own);
        assert_eq!(own, [3, 4, 8, 9]);
    }
}
