//! The ranks of a run as a grid: replicas of the model, each cut into stages, each stage into slices.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Between whom an exchange takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Among {
    /// Ranks that do the same on other examples of the batch.
    Replicas,
    /// The micro-batches that one rank works off one after the other.
    MicroBatches,
    /// Ranks that have other stages of the same replica.
    Stages,
    /// Ranks that have other slices of the tensors of the same stage.
    Slices,
}

impl Among {
    /// All of them.
    pub const ALL: [Among; 4] =
        [Among::Replicas, Among::MicroBatches, Among::Stages, Among::Slices];

    /// As texts of programs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Among::Replicas => "replicas",
            Among::MicroBatches => "micro_batches",
            Among::Stages => "stages",
            Among::Slices => "slices",
        }
    }
}

/// How many ranks there are along each axis. Rank 0 has the first slice of the first stage of the first replica; slices of a stage are
/// neighbours, and so are stages of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Parts of each batch.
    pub replicas: u32,
    /// Stages of the model.
    pub stages: u32,
    /// Slices of the tensors that are cut.
    pub slices: u32,
}

/// Where a rank stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its part of each batch, from 0.
    pub replica: u32,
    /// Its stage of the model, from 0.
    pub stage: u32,
    /// Its slice of the tensors that are cut, from 0.
    pub slice: u32,
}

impl Grid {
    /// How many ranks there are in all.
    pub const fn ranks(self) -> u32 {
        self.replicas * self.ranks_of_model()
    }

    /// How many ranks have a model together.
    pub const fn ranks_of_model(self) -> u32 {
        self.stages * self.slices
    }

    /// Where a rank stands.
    pub const fn place(self, rank: u32) -> Place {
        Place {
            replica: rank / self.ranks_of_model(),
            stage: rank / self.slices % self.stages,
            slice: rank % self.slices,
        }
    }

    /// The rank at a place.
    pub const fn rank(self, place: Place) -> u32 {
        (place.replica * self.stages + place.stage) * self.slices + place.slice
    }

    /// The ranks that exchange values with the one at a place, itself among them, in order.
    pub fn group(self, place: Place, among: Among) -> Vec<u32> {
        match among {
            Among::Replicas => {
                (0..self.replicas).map(|replica| self.rank(Place { replica, ..place })).collect()
            }
            Among::Stages => {
                (0..self.stages).map(|stage| self.rank(Place { stage, ..place })).collect()
            }
            Among::Slices => {
                (0..self.slices).map(|slice| self.rank(Place { slice, ..place })).collect()
            }
            Among::MicroBatches => vec![self.rank(place)],
        }
    }
}

/// How a tensor is cut into slices along one of its axes: slice `s` begins at `s * block`, and the last one has what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisCut {
    /// The axis.
    pub axis: usize,
    /// Elements along it in every slice but the last.
    pub block: i64,
}

impl AxisCut {
    /// Which elements of an axis a slice has.
    pub fn range(self, extent: i64, slice: u32) -> Range<i64> {
        let start = |slice: u32| (i64::from(slice) * self.block).min(extent);
        start(slice)..start(slice + 1)
    }
}

/// Behind the names of leaves that hold a slice.
const SLICE: &str = "@slice";

/// The name of the leaf that holds a rank's slice of a parameter or state.
pub fn slice_name(whole: &str) -> String {
    format!("{whole}{SLICE}")
}

/// The parameter or state of whose slice this is the name; `None` for other names.
pub fn name_of_sliced(name: &str) -> Option<&str> {
    name.strip_suffix(SLICE)
}

/// What travels between two stages: the name of the buffer that holds it on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wire {
    /// The stage at the other end.
    pub peer: u32,
    /// Tells the wires between two stages apart, and orders them.
    pub number: u32,
}

impl Wire {
    /// The name of an output that goes to another stage.
    pub fn given(self) -> String {
        format!("@to {} {}", self.peer, self.number)
    }

    /// The name of an input that comes from another stage.
    pub fn taken(self) -> String {
        format!("@from {} {}", self.peer, self.number)
    }

    /// The wire behind the name of an output, if it goes to another stage.
    pub fn of_given(name: &str) -> Option<Wire> {
        Self::parsed(name.strip_prefix("@to ")?)
    }

    /// The wire behind the name of an input, if it comes from another stage.
    pub fn of_taken(name: &str) -> Option<Wire> {
        Self::parsed(name.strip_prefix("@from ")?)
    }

    fn parsed(rest: &str) -> Option<Wire> {
        let (peer, number) = rest.split_once(' ')?;
        Some(Wire { peer: peer.parse().ok()?, number: number.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_has_a_place_of_its_own() {
        let grid = Grid { replicas: 3, stages: 2, slices: 2 };
        for rank in 0..grid.ranks() {
            let place = grid.place(rank);
            assert_eq!(grid.rank(place), rank);
            for among in Among::ALL {
                assert!(grid.group(place, among).contains(&rank));
            }
        }
        let place = Place { replica: 1, stage: 0, slice: 1 };
        assert_eq!(grid.group(place, Among::Replicas), [1, 5, 9]);
        assert_eq!(grid.group(place, Among::Stages), [5, 7]);
        assert_eq!(grid.group(place, Among::Slices), [4, 5]);
    }

    #[test]
    fn slices_cover_an_axis() {
        let cut = AxisCut { axis: 0, block: 256 };
        let ranges: Vec<_> = (0..3).map(|slice| cut.range(600, slice)).collect();
        assert_eq!(ranges, [0..256, 256..512, 512..600]);
        assert_eq!(name_of_sliced(&slice_name("a.w/m")), Some("a.w/m"));
        assert_eq!(name_of_sliced("a.w"), None);
    }

    #[test]
    fn wires_are_told_by_their_names() {
        let wire = Wire { peer: 3, number: 17 };
        assert_eq!(Wire::of_given(&wire.given()), Some(wire));
        assert_eq!(Wire::of_taken(&wire.taken()), Some(wire));
        assert_eq!(Wire::of_given("loss"), None);
    }
}
