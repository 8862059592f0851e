//! The ranks of a run as a grid: replicas of the model, each cut into stages, each stage into slices.

use serde::{Deserialize, Serialize};

/// Between whom an exchange takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Among {
    /// Ranks that do the same on other examples of the batch.
    Replicas,
    /// The micro-batches that one rank works off one after the other.
    MicroBatches,
    /// Ranks that have other stages of the same replica.
    Stages,
}

impl Among {
    /// All of them.
    pub const ALL: [Among; 3] = [Among::Replicas, Among::MicroBatches, Among::Stages];

    /// As texts of programs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Among::Replicas => "replicas",
            Among::MicroBatches => "micro_batches",
            Among::Stages => "stages",
        }
    }
}

/// How many ranks there are along each axis. Rank 0 has the first stage of the first replica; stages of a replica are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Parts of each batch.
    pub replicas: u32,
    /// Stages of the model.
    pub stages: u32,
}

/// Where a rank stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its part of each batch, from 0.
    pub replica: u32,
    /// Its stage of the model, from 0.
    pub stage: u32,
}

impl Grid {
    /// How many ranks there are in all.
    pub const fn ranks(self) -> u32 {
        self.replicas * self.stages
    }

    /// Where a rank stands.
    pub const fn place(self, rank: u32) -> Place {
        Place { replica: rank / self.stages, stage: rank % self.stages }
    }

    /// The rank at a place.
    pub const fn rank(self, place: Place) -> u32 {
        place.replica * self.stages + place.stage
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
            Among::MicroBatches => vec![self.rank(place)],
        }
    }
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
        let grid = Grid { replicas: 3, stages: 2 };
        for rank in 0..grid.ranks() {
            let place = grid.place(rank);
            assert_eq!(grid.rank(place), rank);
            for among in Among::ALL {
                assert!(grid.group(place, among).contains(&rank));
            }
        }
        let place = Place { replica: 1, stage: 0 };
        assert_eq!(grid.group(place, Among::Replicas), [0, 2, 4]);
        assert_eq!(grid.group(place, Among::Stages), [2, 3]);
    }

    #[test]
    fn wires_are_told_by_their_names() {
        let wire = Wire { peer: 3, number: 17 };
        assert_eq!(Wire::of_given(&wire.given()), Some(wire));
        assert_eq!(Wire::of_taken(&wire.taken()), Some(wire));
        assert_eq!(Wire::of_given("loss"), None);
    }
}
