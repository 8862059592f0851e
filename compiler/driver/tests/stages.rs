//! Every graph of `tests/filetests/run` in tile form, before and after scheduling for each target: the laws hold, and the interpreter of
//! tile IR, running work units in random order under its race check, gives the bits of the graph interpreter.

mod common;

use common::{cases, leaves};
use dlc_driver::{Target, lower};
use dlc_ir::graph;
use dlc_ir::tile;

#[test]
fn phases_give_the_bits_of_the_graph_whatever_the_order_of_their_units() {
    for (name, graph) in cases() {
        for target in Target::ALL {
            let desc = target.backend().expect("back ends can be made anywhere").target();
            let program = lower::to_tile(&graph, 5, &desc).expect("it lowers");
            if let Err(broken) = program.verify() {
                panic!("{name} {}: {}\n{program}", target.name(), broken[0]);
            }
            for (batch, seed) in [(1, 1), (5, 2)] {
                let leaves = leaves(&graph, batch);
                let expected = graph::interpret(&graph, &leaves, batch).expect("the oracle runs");
                let found = tile::interpret(&program, &leaves, batch, seed)
                    .unwrap_or_else(|error| panic!("{name} {}: {error}\n{program}", target.name()));
                for (result, tensor) in &expected.results {
                    let difference = found.results[result].first_difference(tensor);
                    assert_eq!(difference, None, "{name} {} {result}\n{program}", target.name());
                }
                for (leaf, tensor) in &expected.assigns {
                    let difference = found.leaves[leaf].first_difference(tensor);
                    assert_eq!(difference, None, "{name} {} {leaf}\n{program}", target.name());
                }
            }
        }
    }
}

#[test]
fn a_phase_whose_units_depend_on_each_other_is_a_race() {
    let (_, graph) =
        cases().into_iter().find(|(name, _)| name == "optimizer.ir").expect("the case is there");
    let desc = Target::V128.backend().expect("Cranelift knows this machine").target();
    let mut program = lower::to_tile(&graph, 5, &desc).expect("it lowers");
    // Without its barriers the update reads gradients that other units are still writing.
    for segment in &mut program.segments {
        segment.phases.iter_mut().for_each(|phase| phase.barrier_before = false);
        // Every point is a unit of its own, and any part may run it.
        for phase in &mut segment.phases {
            phase.schedule.serial = false;
            phase.schedule.units =
                (0..phase.n_space).map(|axis| tile::UnitAxis { axis, tile: 1 }).collect();
        }
    }
    let mut joined = program.segments.remove(0);
    joined.phases.extend(program.segments.drain(..).flat_map(|segment| segment.phases));
    program.segments.push(joined);
    let error = tile::interpret(&program, &leaves(&graph, 5), 5, 3).expect_err("a race");
    assert!(matches!(error, tile::TileError::Race { .. }), "{error}");
}
