//! The standard library against Keras, PyTorch and NumPy, and its gradients against central differences.
//!
//! `library/generate.py` wrote `library/cases.json` and says how the tensors of a case come about. Values are compared within 1e-5 of
//! what the others give, relative to the largest element; gradients, in double precision, within 1e-5 of differences.

mod support;

use dlc_abi::ElemType;
use dlc_frontend::ModelProgram;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{
    Combine, Contract, Data, Graph, InputRole, NodeId, Op, Origin, OutputKind, Read, Stage, Tensor,
    retyped,
};
use dlc_passes::autodiff::gradients;
use indexmap::IndexMap;
use std::collections::BTreeMap;
use support::{compile, run};

/// A case as `generate.py` writes it.
#[derive(serde::Deserialize)]
struct Case {
    name: String,
    text: String,
    /// Whether the gradients of what it computes are compared with differences.
    gradients: bool,
    tensors: Vec<Given>,
    results: BTreeMap<String, Vec<f64>>,
}

/// A tensor that the case is given.
#[derive(serde::Deserialize)]
struct Given {
    name: String,
    shape: Vec<i64>,
    low: f64,
    high: f64,
    kind: String,
}

type Inputs = IndexMap<String, Tensor>;

/// The generator that `generate.py` describes.
fn numbers(given: &Given) -> Tensor {
    let mut state = given.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let count = given.shape.iter().product::<i64>();
    let values = (0..count).map(|_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        given.low + (given.high - given.low) * ((state >> 40) as f64 / 16_777_216.0)
    });
    let data = match given.kind.as_str() {
        "f32" => Data::F32(values.map(|value| value as f32).collect()),
        "i32" => Data::I32(values.map(|value| value.floor() as i32).collect()),
        "bool" => Data::Bool(values.map(|value| value.floor() != 0.0).collect()),
        other => panic!("{other} is no kind of tensor"),
    };
    Tensor::new(given.shape.clone(), data)
}

#[track_caller]
fn close(what: &str, found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
    for (at, (a, b)) in found.iter().zip(wanted).enumerate() {
        let near = (a - b).abs() <= 1e-5 * scale;
        assert!(near, "{what}[{at}]: {a} and not {b}\nfound  {found:?}\nwanted {wanted:?}");
    }
}

/// Runs a graph on those of the tensors that it reads.
fn run_some(graph: &Graph, tensors: &Inputs, batch: i64) -> dlc_ir::graph::Outputs {
    let inputs: Vec<(&str, Tensor)> = tensors
        .iter()
        .filter(|(name, _)| graph.input(name).is_some())
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    run(graph, &inputs, batch)
}

/// The first values that a program draws.
fn drawn(program: &ModelProgram) -> Inputs {
    let params = program.params.iter().map(|param| (&param.name, param.elem, &param.shape));
    let states = program.states.iter().map(|state| (&state.name, state.elem, &state.shape));
    let mut all: Inputs = [("seed".to_string(), Tensor::i32(&[], vec![5]))].into_iter().collect();
    for (name, elem, shape) in params.chain(states) {
        assert_eq!(elem, ElemType::F32);
        let shape: Vec<i64> = shape.iter().map(|dim| dim.at(1)).collect();
        let count = shape.iter().product::<i64>() as usize;
        all.insert(name.clone(), Tensor::f32(&shape, vec![0.0; count]));
    }
    run_some(&program.init, &all, 1).assigns
}

/// The tensors of a case, over first values for all state that it leaves out.
fn tensors(case: &Case, program: &ModelProgram) -> Inputs {
    let scalar = |value| Tensor::i32(&[], vec![value]);
    let mut all = drawn(program);
    for (name, value) in [("seed", 5), ("step", 1), ("steps", 30)] {
        all.insert(name.to_string(), scalar(value));
    }
    for given in &case.tensors {
        all.insert(given.name.clone(), numbers(given));
    }
    all
}

/// The whole training step: forward, gradients and update.
fn joint(program: &ModelProgram) -> Graph {
    let train = program.train.as_ref().expect("the case is trained");
    let mut graph = train.graph.clone();
    let mut grads = Vec::new();
    for objective in &train.objectives {
        let leaves: Vec<NodeId> = objective.params.iter().map(|(_, leaf)| *leaf).collect();
        grads.extend(gradients(&mut graph, objective.loss, &leaves));
    }
    program.apply_optimizer(&mut graph, &grads).expect("the optimizer was elaborated before");
    graph.verify().unwrap_or_else(|errors| panic!("{errors:?}\n{graph}"));
    graph
}

/// Steps of training: lists of losses and learning rates, and what all values are in the end.
fn train(case: &Case, program: &ModelProgram, mut all: Inputs, batch: i64) {
    let graph = joint(program);
    let lists = ["loss", "lr"].iter().filter_map(|list| case.results.get(*list));
    let steps = lists.map(Vec::len).max().expect("a case of training says what is lost");
    let mut found: IndexMap<&str, Vec<f64>> = IndexMap::new();
    for step in 1..=steps {
        all.insert("step".to_string(), Tensor::i32(&[], vec![step as i32]));
        let out = run_some(&graph, &all, batch);
        for list in ["loss", "lr"] {
            if let Some(value) = out.results.get(list) {
                found.entry(list).or_default().extend(value.to_f64());
            }
        }
        all.extend(out.assigns);
    }
    for (name, wanted) in &case.results {
        let what = format!("{}: {name}", case.name);
        match found.get(name.as_str()) {
            Some(found) => close(&what, found, wanted),
            None => close(&what, &all[name].to_f64(), wanted),
        }
    }
}

/// The values of metrics over two batches.
fn measure(case: &Case, program: &ModelProgram, all: &Inputs, batch: i64) {
    let mut totals: IndexMap<String, Tensor> = IndexMap::new();
    let cut = batch / 3;
    for rows in [0..cut, cut..batch] {
        let part: Inputs = all
            .iter()
            .map(|(name, tensor)| {
                let whole = program.inputs.iter().any(|input| input.name == *name);
                (
                    name.clone(),
                    if whole { tensor_rows(tensor, rows.clone()) } else { tensor.clone() },
                )
            })
            .collect();
        let out = run_some(&program.eval, &part, rows.end - rows.start);
        for (name, total) in out.results {
            let sum = match totals.get(&name) {
                None => total,
                Some(before) => Tensor::f32(
                    &total.shape,
                    before
                        .to_f64()
                        .iter()
                        .zip(total.to_f64())
                        .map(|(a, b)| (a + b) as f32)
                        .collect(),
                ),
            };
            totals.insert(name, sum);
        }
    }
    let out = run_some(&program.finish, &totals, 1);
    for (name, wanted) in &case.results {
        close(&format!("{}: {name}", case.name), &out.results[name].to_f64(), wanted);
    }
}

/// Some rows of a tensor.
fn tensor_rows(tensor: &Tensor, rows: std::ops::Range<i64>) -> Tensor {
    let width: i64 = tensor.shape[1..].iter().product();
    let cut = (rows.start * width) as usize..(rows.end * width) as usize;
    let mut shape = tensor.shape.clone();
    shape[0] = rows.end - rows.start;
    let data = match &tensor.data {
        Data::F32(values) => Data::F32(values[cut].to_vec()),
        Data::I32(values) => Data::I32(values[cut].to_vec()),
        other => panic!("no rows of {other:?}"),
    };
    Tensor::new(shape, data)
}

/// One number that depends on all results: each element times a leaf `weight.<result>`.
fn weighed(graph: &mut Graph, all: &mut Inputs, batch: i64) -> NodeId {
    let results: Vec<(String, NodeId)> = graph
        .outputs
        .iter()
        .filter_map(|output| match &output.kind {
            OutputKind::Result(name) => Some((name.clone(), output.value)),
            OutputKind::Assign(_) | OutputKind::Carry(_) => None,
        })
        .collect();
    let mut sum = None;
    for (name, value) in results {
        let (elem, shape) = (graph.nodes[value].elem, graph.nodes[value].shape.clone());
        assert_eq!(elem, ElemType::F32);
        let leaf = format!("weight.{name}");
        let dims: Vec<i64> = shape.iter().map(|dim| dim.at(batch)).collect();
        let given =
            Given { name: leaf.clone(), shape: dims, low: -1.0, high: 1.0, kind: "f32".into() };
        all.insert(leaf.clone(), numbers(&given));
        let mut build = graph.build(Stage::Forward, Origin::default());
        let weight = build.input(leaf, InputRole::Data, elem, shape.clone());
        let subs = Affine::identity(shape.len());
        let reads = vec![Read::in_range(value, subs.clone()), Read::in_range(weight, subs)];
        let term = build.contract(Contract::normal(Combine::Sum, shape, 0, reads));
        sum = Some(match sum {
            None => term,
            Some(before) => build.add(before, term),
        });
    }
    let loss = sum.expect("a case has results");
    graph.outputs.retain(|output| matches!(output.kind, OutputKind::Carry(_)));
    graph.result("loss", loss);
    loss
}

/// Gradients by all floats that a case is given, against central differences, in double precision.
fn check_gradients(case: &Case, program: &ModelProgram, mut all: Inputs, batch: i64) {
    let (mut graph, loss) = match &program.train {
        Some(train) => (train.graph.clone(), train.loss),
        None => {
            let mut graph = program.predict.clone();
            let loss = weighed(&mut graph, &mut all, batch);
            (graph, loss)
        }
    };
    let state = |name: &str| program.states.iter().any(|state| state.name == name);
    let leaves: Vec<(String, NodeId)> = graph
        .nodes
        .iter()
        .filter_map(|(id, node)| match &node.op {
            Op::Input { name, .. } if node.elem == ElemType::F32 && !state(name) => {
                Some((name.clone(), id))
            }
            _ => None,
        })
        .filter(|(name, _)| !name.starts_with("weight."))
        .collect();
    let wrt: Vec<NodeId> = leaves.iter().map(|leaf| leaf.1).collect();
    let plain = retyped(&graph);
    for ((name, _), gradient) in leaves.iter().zip(gradients(&mut graph, loss, &wrt)) {
        graph.result(format!("gradient.{name}"), gradient);
    }
    let graph = retyped(&graph);
    let all: Inputs = all.into_iter().map(|(name, tensor)| (name, tensor.widened())).collect();
    let found = run_some(&graph, &all, batch).results;
    let step = 1e-6;
    for (name, _) in &leaves {
        let gradient = found[&format!("gradient.{name}")].to_f64();
        // The first, the last and one between; that no other is wrong a direction of all shows.
        let count = gradient.len();
        let mut directions: Vec<Vec<f64>> = [0, count / 2, count - 1]
            .iter()
            .map(|&at| (0..count).map(|place| f64::from(u8::from(place == at))).collect())
            .collect();
        directions.push((0..count).map(|place| ((place * 7 % 11) as f64 - 5.0) / 5.0).collect());
        for direction in directions {
            let at = |sign: f64| {
                let moved: Vec<f64> = all[name]
                    .to_f64()
                    .iter()
                    .zip(&direction)
                    .map(|(value, d)| value + sign * step * d)
                    .collect();
                let mut inputs = all.clone();
                inputs.insert(name.clone(), Tensor::new(all[name].shape.clone(), Data::F64(moved)));
                run_some(&plain, &inputs, batch).results["loss"].to_f64()[0]
            };
            let difference = (at(1.0) - at(-1.0)) / (2.0 * step);
            let slope: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let size: f64 = gradient.iter().zip(&direction).map(|(g, d)| (g * d).abs()).sum();
            assert!(
                (difference - slope).abs() <= 1e-5 * (1.0 + size),
                "{}: the slope along {name} is {difference}, but its gradient says {slope}",
                case.name
            );
        }
    }
}

fn check(case: &Case) {
    let program = compile(&case.text);
    let input = case
        .tensors
        .iter()
        .find(|given| program.inputs.iter().any(|input| input.name == given.name))
        .expect("a case has data");
    let batch = input.shape[0];
    let all = tensors(case, &program);
    if program.train.is_none() {
        let out = run_some(&program.predict, &all, batch);
        for (name, wanted) in &case.results {
            close(&format!("{}: {name}", case.name), &out.results[name].to_f64(), wanted);
        }
    } else if case.results.keys().any(|name| name.starts_with("metric.")) {
        measure(case, &program, &all, batch);
    } else {
        train(case, &program, all.clone(), batch);
    }
    if case.gradients {
        check_gradients(case, &program, all, batch);
    }
}

#[test]
fn the_library_computes_what_others_do() {
    let path = format!("{}/tests/library/cases.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("committed");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("as generate.py writes it");
    let wanted = std::env::var("DLC_CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for case in cases.iter().filter(|case| case.name.contains(&wanted)) {
        let outcome = std::panic::catch_unwind(|| check(case));
        if outcome.is_err() {
            failed.push(case.name.as_str());
        }
    }
    assert!(failed.is_empty(), "these cases differ: {failed:?}");
}

/// Mean, deviation and bounds of first values over many draws; and matrices whose rows or columns are at right angles.
#[test]
fn first_values_have_their_distributions() {
    let draw = |init: &str| -> Vec<f64> {
        let text = format!(
            "model m(x: f32[batch, 3]) -> y: f32[batch, 5] {{ param w: f32[3, 3, 64, 32] ~ {init}\n param b: f32[3, 5] ~ zeros\n y = x @ b + w[0, 0, 0, 0] }}"
        );
        drawn(&compile(&text))["w"].to_f64()
    };
    let (fan_in, fan_out) = (9.0 * 64.0, 9.0 * 32.0);
    let root = f64::sqrt;
    // A normal that is cut at twice its deviation has 0.8796 of that left.
    let cut = |variance: f64| (root(variance), 2.0 * root(variance) / 0.879_625_661);
    let flat = |variance: f64| (root(variance), root(3.0 * variance));
    for (init, mean, (deviation, bound)) in [
        ("zeros", 0.0, (0.0, 0.0)),
        ("ones", 1.0, (0.0, 1.0)),
        ("filled(2.5)", 2.5, (0.0, 2.5)),
        ("bernoulli(0.3)", 0.3, (root(0.21), 1.0)),
        ("uniform(-1, 3)", 1.0, (root(16.0 / 12.0), 3.0)),
        ("normal(1, 0.5)", 1.0, (0.5, 4.0)),
        ("truncated_normal(0, 1)", 0.0, (0.879_625_661, 2.0)),
        ("glorot_uniform", 0.0, flat(2.0 / (fan_in + fan_out))),
        ("glorot_normal", 0.0, cut(2.0 / (fan_in + fan_out))),
        ("he_uniform", 0.0, flat(2.0 / fan_in)),
        ("he_normal", 0.0, cut(2.0 / fan_in)),
        ("lecun_uniform", 0.0, flat(1.0 / fan_in)),
        ("lecun_normal", 0.0, cut(1.0 / fan_in)),
        ("variance_scaling(3, fan = fan_out)", 0.0, cut(3.0 / fan_out)),
        (
            "variance_scaling(3, fan = fan_avg, distribution = flat)",
            0.0,
            flat(6.0 / (fan_in + fan_out)),
        ),
    ] {
        let values = draw(init);
        let count = values.len() as f64;
        let found = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - found).powi(2)).sum::<f64>() / count;
        let error = 5.0 * (deviation + 1e-6) / root(count);
        assert!((found - mean).abs() <= error, "{init}: mean {found} and not {mean}");
        let spread = root(variance);
        assert!(
            (spread - deviation).abs() <= 0.02 * deviation + 1e-6,
            "{init}: {spread} and not {deviation}"
        );
        let most = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        assert!(most <= bound * 1.0001, "{init}: {most} is beyond {bound}");
    }
}

#[test]
fn orthogonal_first_values_are_at_right_angles() {
    for (shape, rows, columns) in
        [("4, 6", 4, 6), ("9, 5", 9, 5), ("2, 3, 24", 6, 24), ("40, 40", 40, 40)]
    {
        let text = format!(
            "model m(x: f32[batch, 1]) -> y: f32[batch, 1] {{ param w: f32[{shape}] ~ orthogonal(gain = 2)\n y = x * sum(w) }}"
        );
        let w = drawn(&compile(&text))["w"].to_f64();
        let (count, inner) = if rows < columns { (rows, columns) } else { (columns, rows) };
        let at = |line: usize, k: usize| {
            if rows < columns { w[line * columns + k] } else { w[k * columns + line] }
        };
        for a in 0..count {
            for b in 0..count {
                let product: f64 = (0..inner).map(|k| at(a, k) * at(b, k)).sum();
                let wanted = if a == b { 4.0 } else { 0.0 };
                assert!((product - wanted).abs() < 2e-5, "[{shape}] {a}, {b}: {product}");
            }
        }
    }
}

#[test]
fn steps_take_turns_and_count_their_own_updates() {
    let program = compile(
        "
    model duel(x: f32[batch, 1]) -> a: f32[batch, 1], b: f32[batch, 1] {
        a = x |> dense(1, bias = false) as first
        b = x |> dense(1, bias = false) as second
    }
    train duel {
        step one times 2 {
            loss      = mean(a^2)
            optimizer = sgd(lr = 0.1) on \"first.*\"
        }
        step two {
            let both  = a * b
            loss      = mean(both^2)
            optimizer = adam(lr = 0.2) on \"second.*\"
        }
        schedule = exponential(0.5)
    }",
    );
    let graph = joint(&program);
    let mut all = drawn(&program);
    for (name, value) in [("first.w", 0.8), ("second.w", -0.5)] {
        all.insert(name.to_string(), Tensor::f32(&[1, 1], vec![value]));
    }
    all.insert("x".to_string(), Tensor::f32(&[2, 1], vec![1.0, 2.0]));
    all.insert("steps".to_string(), Tensor::i32(&[], vec![6]));
    // The mean of x^2.
    let square = 2.5;
    let (mut a, mut b, mut m, mut v) = (0.8_f64, -0.5_f64, 0.0_f64, 0.0_f64);
    let mut updates = [0, 0];
    for step in 1..=6 {
        all.insert("step".to_string(), Tensor::i32(&[], vec![step]));
        let out = run_some(&graph, &all, 2);
        let second = step % 3 == 0;
        let t = updates[usize::from(second)] + 1;
        updates[usize::from(second)] = t;
        let rate = 0.5_f64.powi(t - 1) * if second { 0.2 } else { 0.1 };
        // The mean of x^4 is 8.5.
        let loss = if second { 8.5 * (a * b).powi(2) } else { square * a * a };
        close("loss", &out.results["loss"].to_f64(), &[loss]);
        close("lr", &out.results["lr"].to_f64(), &[rate]);
        if second {
            let grad = 2.0 * 8.5 * a * a * b;
            m = 0.9 * m + 0.1 * grad;
            v = 0.999 * v + 0.001 * grad * grad;
            let scale = (1.0 - 0.999_f64.powi(t)).sqrt() / (1.0 - 0.9_f64.powi(t));
            b -= rate * scale * m / (v.sqrt() + 1e-7);
        } else {
            a -= rate * 2.0 * square * a;
        }
        all.extend(out.assigns);
        let found: Vec<f64> = ["first.w", "second.w", "second.w/m", "second.w/v"]
            .iter()
            .flat_map(|name| all[*name].to_f64())
            .collect();
        close("values", &found, &[a, b, m, v]);
    }
}

/// What noise layers do to ones in training, seen through the mean and the mean square of their results; and that inference is spared.
#[test]
fn noise_has_its_mean_and_deviation_in_training_only() {
    for (call, square) in [
        ("dropout(0.25)", 1.0 / 0.75),
        ("spatial_dropout(0.25)", 1.0 / 0.75),
        ("gaussian_noise(0.5)", 1.25),
        ("gaussian_dropout(0.2)", 1.25),
    ] {
        for (what, wanted) in [("mean(y)", 1.0), ("mean(y^2)", square)] {
            let text = format!(
                "model m(x: f32[batch, 4, 64]) -> y: f32[batch, 4, 64] {{ param w: f32[] ~ ones\n y = x * w |> {call} }}
                train m {{ loss = {what}; optimizer = sgd(lr = 0) }}"
            );
            let program = compile(&text);
            let mut all = drawn(&program);
            all.insert("seed".to_string(), Tensor::i32(&[], vec![5]));
            all.insert("x".to_string(), Tensor::f32(&[64, 4, 64], vec![1.0; 64 * 256]));
            let graph = &program.train.as_ref().expect("it is trained").graph;
            let mut losses = Vec::new();
            for step in 1..=2 {
                all.insert("step".to_string(), Tensor::i32(&[], vec![step]));
                losses.push(run_some(graph, &all, 64).results["loss"].to_f64()[0]);
            }
            // Of 64 * 64 draws at least, five deviations.
            let near = losses.iter().all(|loss| (loss - wanted).abs() < 0.08);
            assert!(near, "{call}: {what} is {losses:?} and not {wanted}");
            assert_ne!(losses[0], losses[1], "{call} draws anew in each step");
            let calm = run_some(&program.predict, &all, 64).results["y"].to_f64();
            assert!(calm.iter().all(|value| *value == 1.0), "{call} is spared in inference");
        }
    }
}
