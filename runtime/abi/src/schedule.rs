//! In which order the stages of a pipeline work off the micro-batches of a step.
//!
//! An order is plain data, a list of actions for each stage. No order changes a bit: sums of micro-batches meet in one tree, whenever
//! they were computed.

use serde::{Deserialize, Serialize};

/// How a pipeline is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PipelineOrder {
    /// All micro-batches forward, then all backward (Huang et al. 2019, GPipe): every stage keeps the activations of all micro-batches.
    Gpipe,
    /// As soon as a stage has filled the stages behind it, one forward for each backward (Narayanan et al. 2019, PipeDream): as long a
    /// step, but a stage keeps the activations of no more micro-batches than there are stages from it to the end.
    OneForwardOneBackward,
}

/// A piece of work of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// From what the stages before give to what the stages behind need, for this micro-batch.
    Forward(u32),
    /// Gradients, from what the stages behind give.
    Backward(u32),
}

impl PipelineOrder {
    /// All orders.
    pub const ALL: [PipelineOrder; 2] =
        [PipelineOrder::Gpipe, PipelineOrder::OneForwardOneBackward];

    /// As texts of models name it.
    pub const fn name(self) -> &'static str {
        match self {
            PipelineOrder::Gpipe => "gpipe",
            PipelineOrder::OneForwardOneBackward => "one_f_one_b",
        }
    }

    /// The work of stage `stage` of `stages`, in order. Micro-batches go in the same order everywhere, forward and backward, so that
    /// messages between two stages are taken in the order in which they were given.
    pub fn actions(self, stages: u32, stage: u32, micro_batches: u32) -> Vec<Action> {
        let ahead = self.live(stages, stage, micro_batches);
        let mut actions: Vec<Action> = (0..ahead).map(Action::Forward).collect();
        for micro in 0..micro_batches {
            actions.push(Action::Backward(micro));
            if micro + ahead < micro_batches {
                actions.push(Action::Forward(micro + ahead));
            }
        }
        actions
    }

    /// Of how many micro-batches a stage keeps the activations at once.
    pub fn live(self, stages: u32, stage: u32, micro_batches: u32) -> u32 {
        match self {
            PipelineOrder::Gpipe => micro_batches,
            PipelineOrder::OneForwardOneBackward => (stages - stage).min(micro_batches),
        }
    }
}

/// The share of a step in which a stage of a pipeline waits, when all pieces of work take the same time: the same for both orders.
pub fn bubble(stages: u32, micro_batches: u32) -> f64 {
    f64::from(stages - 1) / f64::from(stages - 1 + micro_batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs all stages, each action a tick, as soon as what it needs is there. Returns the ticks, and the most live micro-batches of
    /// each stage.
    fn played(order: PipelineOrder, stages: u32, micro_batches: u32) -> (u32, Vec<u32>) {
        let work: Vec<Vec<Action>> =
            (0..stages).map(|stage| order.actions(stages, stage, micro_batches)).collect();
        let mut at = vec![0; stages as usize];
        let mut done: Vec<(u32, Action)> = Vec::new();
        let (mut live, mut most) = (vec![0; stages as usize], vec![0; stages as usize]);
        let mut ticks = 0;
        while (0..stages as usize).any(|stage| at[stage] < work[stage].len()) {
            let mut now = Vec::new();
            for stage in 0..stages {
                let index = stage as usize;
                let Some(&action) = work[index].get(at[index]) else { continue };
                let ready = match action {
                    Action::Forward(_) => stage == 0 || done.contains(&(stage - 1, action)),
                    Action::Backward(micro) => {
                        done.contains(&(stage, Action::Forward(micro)))
                            && (stage + 1 == stages || done.contains(&(stage + 1, action)))
                    }
                };
                if ready {
                    now.push((stage, action));
                }
            }
            assert!(!now.is_empty(), "the stages wait for one another");
            for (stage, action) in now {
                let index = stage as usize;
                at[index] += 1;
                match action {
                    Action::Forward(_) => live[index] += 1,
                    Action::Backward(_) => live[index] -= 1,
                }
                most[index] = most[index].max(live[index]);
                assert!(!done.contains(&(stage, action)));
                done.push((stage, action));
            }
            ticks += 1;
        }
        assert_eq!(done.len() as u32, 2 * stages * micro_batches);
        (ticks, most)
    }

    #[test]
    fn every_order_does_all_work_within_its_memory_and_time() {
        for stages in 1..=5 {
            for micro_batches in [1, 2, 3, 4, 8] {
                for order in PipelineOrder::ALL {
                    let (ticks, most) = played(order, stages, micro_batches);
                    // The bubble is what is left of the time beside the work.
                    assert_eq!(ticks, 2 * (micro_batches + stages - 1));
                    let waits = 1.0 - f64::from(2 * micro_batches) / f64::from(ticks);
                    assert!((waits - bubble(stages, micro_batches)).abs() < 1e-12);
                    for (stage, &most) in (0..).zip(&most) {
                        let expected = match order {
                            PipelineOrder::Gpipe => micro_batches,
                            PipelineOrder::OneForwardOneBackward => {
                                micro_batches.min(stages - stage)
                            }
                        };
                        assert_eq!(most, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn orders_are_plain_lists() {
        use Action::{Backward as B, Forward as F};
        let order = PipelineOrder::OneForwardOneBackward;
        assert_eq!(order.actions(2, 0, 3), [F(0), F(1), B(0), F(2), B(1), B(2)]);
        assert_eq!(order.actions(2, 1, 3), [F(0), B(0), F(1), B(1), F(2), B(2)]);
        let order = PipelineOrder::Gpipe;
        assert_eq!(order.actions(2, 1, 2), [F(0), F(1), B(0), B(1)]);
    }
}
