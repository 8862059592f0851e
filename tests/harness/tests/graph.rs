//! Properties of graph IR over random programs.

use dlc_harness::graph_gen::{Config, freeze_at_random, program};
use dlc_harness::graph_inputs::{inputs, inputs_off_kinks, tangents, wild_inputs};
use dlc_harness::graph_mutations::mutate;
use dlc_harness::rng::Rng;
use dlc_ir::graph::{Graph, Outputs, Tensor, interpret, jvp, parse, retyped};

const PROGRAMS: u64 = 300;

fn verified(graph: &Graph) {
    if let Err(errors) = graph.verify() {
        panic!("{}\n{graph}", errors[0]);
    }
}

fn config(seed: u64) -> Config {
    Config {
        loss: seed.is_multiple_of(3),
        affine_writes: seed.is_multiple_of(5),
        ..Config::default()
    }
}

#[test]
fn random_programs_verify_and_round_trip() {
    let mut sizes = Vec::new();
    for seed in 0..PROGRAMS {
        let mut rng = Rng::new(seed);
        let mut graph = program(&mut rng, config(seed)).graph;
        verified(&graph);
        if !seed.is_multiple_of(5) && seed.is_multiple_of(2) {
            freeze_at_random(&mut rng, &mut graph);
            verified(&graph);
        }
        let text = graph.to_string();
        let read = parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        assert_eq!(read, graph.clone().without_spans(), "seed {seed}\n{text}");
        assert_eq!(read.to_string(), text);
        sizes.push(graph.nodes.len());
    }
    sizes.sort_unstable();
    assert!(sizes[sizes.len() / 2] >= 15, "programs are not trivial: {sizes:?}");
}

#[test]
fn every_mutation_is_rejected() {
    let mut n_changes = 0;
    for seed in 0..PROGRAMS {
        let mut rng = Rng::new(seed);
        let mut sound = program(&mut rng, config(seed)).graph;
        if !seed.is_multiple_of(5) {
            freeze_at_random(&mut rng, &mut sound);
        }
        for _ in 0..10 {
            let mut graph = sound.clone();
            let Some(change) = mutate(&mut rng, &mut graph) else { continue };
            n_changes += 1;
            assert!(graph.verify().is_err(), "seed {seed}: {change} was accepted\n{graph}");
        }
    }
    assert!(n_changes > 5 * PROGRAMS, "{n_changes} changes");
}

/// Bits of all outputs agree.
fn same(a: &Outputs, b: &Outputs) -> bool {
    a.results.keys().eq(b.results.keys())
        && a.results.iter().all(|(name, x)| x.first_difference(&b.results[name]).is_none())
}

#[test]
fn results_depend_on_graph_and_inputs_alone() {
    for seed in 0..PROGRAMS {
        let mut rng = Rng::new(seed);
        let mut program = program(&mut rng, Config { affine_writes: false, ..config(seed) });
        freeze_at_random(&mut rng, &mut program.graph);
        let inputs = wild_inputs(&mut rng, &program.graph, program.batch);
        let run = |graph: &Graph| {
            interpret(graph, &inputs, program.batch)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"))
        };
        let first = run(&program.graph);
        let read = parse(&program.graph.to_string()).expect("printed graphs parse");
        assert!(same(&first, &run(&read)), "seed {seed}\n{}", program.graph);
    }
}

/// Examples do not see each other unless a sum over the batch joins them, so the order of sums may move a result, but only by
/// rounding.
#[test]
fn orders_change_results_by_rounding_only() {
    let mut n_compared = 0;
    for seed in 0..PROGRAMS {
        let mut rng = Rng::new(seed);
        let config = Config { loss: true, smooth: true, ..Config::default() };
        let mut program = program(&mut rng, config);
        program.graph = retyped(&program.graph);
        let found = inputs_off_kinks(&mut rng, &program.graph, program.batch, 1e-7, 5)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", program.graph));
        let Some(inputs) = found else { continue };
        let loss = |graph: &Graph| -> f64 {
            interpret(graph, &inputs, program.batch).expect("a value").results["loss"].to_f64()[0]
        };
        let open = loss(&program.graph);
        freeze_at_random(&mut rng, &mut program.graph);
        let frozen = loss(&program.graph);
        // Values and slopes stay near one, and no sum has more than 30000 terms: 2^-53 times that, with room for a few sums in a row.
        assert!((open - frozen).abs() <= 1e-9, "seed {seed}: {open} {frozen}\n{}", program.graph);
        n_compared += 1;
    }
    assert!(n_compared > PROGRAMS / 2, "{n_compared} of {PROGRAMS}");
}

#[test]
fn forward_mode_agrees_with_central_differences() {
    let mut n_compared = 0;
    for seed in 0..PROGRAMS {
        let mut rng = Rng::new(seed);
        let config = Config { loss: true, smooth: true, affine_writes: true, ..Config::default() };
        let program = program(&mut rng, config);
        let (graph, batch) = (&program.graph, program.batch);
        let found = inputs_off_kinks(&mut rng, graph, batch, 1e-3, 5).expect("a value");
        let Some(inputs) = found else { continue };
        let tangents = tangents(&mut rng, graph, batch);
        let forward = jvp(graph, &inputs, &tangents, batch).expect("a value");
        let derivative = forward.derivatives.results["loss"].to_f64()[0];
        let double = retyped(graph);
        let moved = |h: f64| -> f64 {
            let inputs = inputs
                .iter()
                .map(|(name, tensor)| {
                    let wide = tensor.widened();
                    let tensor = match tangents.get(name) {
                        None => wide,
                        Some(by) => {
                            let pairs = wide.to_f64().into_iter().zip(by.to_f64());
                            Tensor::f64(&wide.shape, pairs.map(|(x, d)| x + h * d).collect())
                        }
                    };
                    (name.clone(), tensor)
                })
                .collect();
            interpret(&double, &inputs, batch).expect("a value").results["loss"].to_f64()[0]
        };
        // Richardson's extrapolation removes the error of second order.
        let slope = |h: f64| (moved(h) - moved(-h)) / (2.0 * h);
        let difference = (4.0 * slope(5e-6) - slope(1e-5)) / 3.0;
        let error = (difference - derivative).abs() / (1.0 + derivative.abs());
        assert!(error < 1e-6, "seed {seed}: {difference} {derivative}\n{graph}");
        n_compared += 1;
    }
    assert!(n_compared > PROGRAMS / 4, "{n_compared} of {PROGRAMS}");
}

/// The inputs of one program are the same on every machine.
#[test]
fn seeds_decide_everything() {
    let draw = || {
        let mut rng = Rng::new(11);
        let program = program(&mut rng, Config::default());
        let inputs = inputs(&mut rng, &program.graph, program.batch);
        (program.graph.to_string(), inputs)
    };
    assert_eq!(draw(), draw());
}
