//! Properties of differentiation, `simplify`, `gatherise` and `freeze` over random programs.

use dlc_harness::graph_gen::{Config, Program, freeze_at_random, program};
use dlc_harness::graph_inputs::{Inputs, inputs_off_kinks, tangents, wild_inputs};
use dlc_harness::rng::Rng;
use dlc_ir::graph::{Graph, Op, Outputs, interpret, jvp, retyped};
use dlc_passes::autodiff::gradients;
use dlc_passes::pass::{PassCx, PassManager, PassOptions};
use dlc_passes::pipeline::TO_FROZEN;
use dlc_passes::simplify;

const PROGRAMS: u64 = 300;

fn smooth(rng: &mut Rng, loss: bool) -> Program {
    program(rng, Config { loss, smooth: true, affine_writes: true, ..Config::default() })
}

/// The graph with the gradient by every float leaf as the results `g.<leaf>`.
fn with_gradients(program: &Program, directions: &Inputs) -> Graph {
    let mut graph = program.graph.clone();
    let leaves: Vec<_> = graph
        .nodes
        .iter()
        .filter_map(|(id, node)| match &node.op {
            Op::Input { name, .. } if directions.contains_key(name) => Some((id, name.clone())),
            _ => None,
        })
        .collect();
    let wrt: Vec<_> = leaves.iter().map(|leaf| leaf.0).collect();
    let loss = program.loss.expect("asked for");
    for ((_, name), gradient) in leaves.iter().zip(gradients(&mut graph, loss, &wrt)) {
        graph.result(format!("g.{name}"), gradient);
    }
    graph
}

fn frozen(graph: &Graph, seed: u64) -> Graph {
    PassManager::new(PassOptions { verify: true, ..Default::default() })
        .run(graph.clone(), TO_FROZEN, &PassCx::default())
        .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"))
}

fn run(graph: &Graph, inputs: &Inputs, batch: i64) -> Outputs {
    interpret(graph, inputs, batch).unwrap_or_else(|error| panic!("{error}\n{graph}"))
}

fn assert_near(a: &Outputs, b: &Outputs, tolerance: f64, context: &dyn Fn() -> String) {
    assert!(a.results.keys().eq(b.results.keys()));
    for (name, x) in &a.results {
        let (xs, ys) = (x.to_f64(), b.results[name].to_f64());
        let scale = xs.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        for (at, (x, y)) in xs.iter().zip(&ys).enumerate() {
            assert!((x - y).abs() <= tolerance * scale, "{name}[{at}]: {x} and {y}\n{}", context());
        }
    }
}

/// `<gradient, v>` is the derivative along `v` that forward mode gives, and the passes keep gradients.
#[test]
fn reverse_mode_agrees_with_forward_mode() {
    let mut n_compared = 0;
    for seed in 0..PROGRAMS {
        let mut rng = Rng::new(seed);
        let program = smooth(&mut rng, true);
        let batch = program.batch;
        let found = inputs_off_kinks(&mut rng, &program.graph, batch, 1e-7, 5).expect("a value");
        let Some(inputs) = found else { continue };
        let inputs: Inputs = inputs.into_iter().map(|(name, x)| (name, x.widened())).collect();
        let directions = tangents(&mut rng, &program.graph, batch);
        let forward = jvp(&program.graph, &inputs, &directions, batch).expect("a value");
        let left = forward.derivatives.results["loss"].to_f64()[0];
        let backward = retyped(&with_gradients(&program, &directions));
        let values = run(&backward, &inputs, batch);
        let (mut right, mut size) = (0.0, 1.0);
        for (name, direction) in &directions {
            let gradient = values.results[&format!("g.{name}")].to_f64();
            for (g, v) in gradient.iter().zip(direction.to_f64()) {
                right += g * v;
                size += (g * v).abs();
            }
        }
        assert!((left - right).abs() <= 1e-12 * size, "seed {seed}: {left} {right}\n{backward}");
        let frozen = frozen(&backward, seed);
        let after = run(&frozen, &inputs, batch);
        assert_near(&values, &after, 1e-10, &|| format!("seed {seed}\n{backward}\n{frozen}"));
        n_compared += 1;
    }
    assert!(n_compared > PROGRAMS / 2, "{n_compared} of {PROGRAMS}");
}

/// The passes keep every result, not only a loss.
#[test]
fn the_passes_keep_results() {
    let mut n_compared = 0;
    for seed in 1000..1000 + PROGRAMS {
        let mut rng = Rng::new(seed);
        let program = smooth(&mut rng, false);
        let before = retyped(&program.graph);
        let found = inputs_off_kinks(&mut rng, &before, program.batch, 1e-7, 5).expect("a value");
        let Some(inputs) = found else { continue };
        let frozen = frozen(&before, seed);
        let (a, b) = (run(&before, &inputs, program.batch), run(&frozen, &inputs, program.batch));
        assert_near(&a, &b, 1e-10, &|| format!("seed {seed}\n{before}\n{frozen}"));
        n_compared += 1;
    }
    assert!(n_compared > PROGRAMS / 2, "{n_compared} of {PROGRAMS}");
}

/// In a frozen graph `simplify` changes no bit, whatever the inputs: zeros of both signs, infinities, NaN, denormals.
#[test]
fn simplifying_a_frozen_graph_changes_no_bit() {
    let mut n_smaller = 0;
    for seed in 2000..2000 + PROGRAMS {
        let mut rng = Rng::new(seed);
        let mut program = program(&mut rng, Config::default());
        freeze_at_random(&mut rng, &mut program.graph);
        let before = program.graph;
        let after = simplify::run(before.clone(), &PassCx::default()).expect("rules end");
        n_smaller += u64::from(after.nodes.len() < before.nodes.len());
        let inputs = wild_inputs(&mut rng, &before, program.batch);
        let (a, b) = (run(&before, &inputs, program.batch), run(&after, &inputs, program.batch));
        for (name, x) in &a.results {
            let difference = x.first_difference(&b.results[name]);
            assert_eq!(difference, None, "seed {seed}, {name}\n{before}\n{after}");
        }
    }
    assert!(n_smaller > PROGRAMS / 4, "{n_smaller} of {PROGRAMS}");
}
