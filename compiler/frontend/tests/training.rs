//! Losses, metrics, optimizers, schedules and first values against numbers computed here.

mod support;

use dlc_frontend::ModelProgram;
use dlc_ir::graph::{Graph, InputRole, NodeId, Origin, Stage, Tensor};
use support::{close, compile, floats, run, tensor};

const NET: &str = "model m(x: f32[batch, 3]) -> y: f32[batch, 4] { y = x |> dense(4) }\n";

fn scalar(value: i32) -> Tensor {
    Tensor::i32(&[], vec![value])
}

/// The training graph with leaves in place of gradients, and the update.
fn with_update(program: &ModelProgram) -> Graph {
    let train = program.train.as_ref().expect("there is a train block");
    let mut graph = train.graph.clone();
    let mut grads: Vec<NodeId> = Vec::new();
    for (name, leaf) in &train.params {
        let node = graph.nodes[*leaf].clone();
        let mut build = graph.build(Stage::Backward, Origin::default());
        grads.push(build.input(format!("grad.{name}"), InputRole::Data, node.elem, node.shape));
    }
    program.apply_optimizer(&mut graph, &grads).expect("the optimizer was elaborated before");
    graph.verify().unwrap_or_else(|errors| panic!("{errors:?}\n{graph}"));
    graph
}

#[test]
fn softmax_cross_entropy_and_accuracy_over_ragged_batches() {
    let text = format!(
        "{NET}train m(label: i32[batch]) {{ loss = softmax_cross_entropy(y, label); metric accuracy(y, label); optimizer = sgd(lr = 0.1); batch = 8; shards = 2 }}"
    );
    let program = compile(&text);
    assert_eq!(program.settings.batch, Some(8));
    assert_eq!(program.settings.shards, 2);
    assert_eq!(program.settings.classes, Some(4));
    assert_eq!(program.eval.shards, 2);
    let (w, b) = (tensor(&[3, 4], 1), tensor(&[4], 2));
    let mut totals = [0.0, 0.0];
    for (batch, salt) in [(5_i64, 3), (2, 4)] {
        let x = tensor(&[batch, 3], salt);
        let labels: Vec<i32> = (0..batch as i32).map(|n| (n * 3 + 1) % 4).collect();
        let inputs = [
            ("x", x.clone()),
            ("dense_1.w", w.clone()),
            ("dense_1.b", b.clone()),
            ("label", Tensor::i32(&[batch], labels.clone())),
        ];
        let (x, w, b) = (floats(&x), floats(&w), floats(&b));
        let mut loss = 0.0;
        let mut right = 0.0;
        for n in 0..batch as usize {
            let y: Vec<f64> = (0..4)
                .map(|u| (0..3).map(|k| x[n * 3 + k] * w[k * 4 + u]).sum::<f64>() + b[u])
                .collect();
            let sum: f64 = y.iter().map(|value| value.exp()).sum();
            loss -= y[labels[n] as usize] - sum.ln();
            let best = (0..4).fold(0, |best, u| if y[u] > y[best] { u } else { best });
            right += f64::from(u8::from(best == labels[n] as usize));
        }
        let out = run(&program.eval, &inputs, batch);
        close(&floats(&out.results["loss"]), &[loss / batch as f64], 1e-5);
        close(&floats(&out.results["metric.accuracy.right"]), &[right], 0.0);
        close(&floats(&out.results["metric.accuracy.seen"]), &[batch as f64], 0.0);
        let train = run(&program.train.as_ref().expect("trained").graph, &inputs, batch);
        close(&floats(&train.results["loss"]), &[loss / batch as f64], 1e-5);
        totals[0] += right;
        totals[1] += batch as f64;
    }
    let sums = [
        ("metric.accuracy.right", Tensor::f32(&[], vec![totals[0] as f32])),
        ("metric.accuracy.seen", Tensor::f32(&[], vec![totals[1] as f32])),
    ];
    let out = run(&program.finish, &sums, 1);
    close(&floats(&out.results["metric.accuracy"]), &[totals[0] / totals[1]], 1e-6);
}

#[test]
fn losses_with_names_add_up_and_use_parameters() {
    let text = format!(
        "fn squares(ps: params) -> f32 {{ for p in ps carry s = 0 {{ s = s + sum(p^2) }}\n s }}
        {NET}train m(t: f32[batch, 4]) {{ loss fit = mse(y, t); loss decay = 0.5 * squares(\"*.w\"); optimizer = sgd }}"
    );
    let program = compile(&text);
    let (x, t) = (tensor(&[2, 3], 1), tensor(&[2, 4], 2));
    let (w, b) = (tensor(&[3, 4], 3), tensor(&[4], 4));
    let inputs =
        [("x", x.clone()), ("t", t.clone()), ("dense_1.w", w.clone()), ("dense_1.b", b.clone())];
    let out = run(&program.eval, &inputs, 2);
    let (x, t, w, b) = (floats(&x), floats(&t), floats(&w), floats(&b));
    let mut fit = 0.0;
    for n in 0..2 {
        for u in 0..4 {
            let y = (0..3).map(|k| x[n * 3 + k] * w[k * 4 + u]).sum::<f64>() + b[u];
            fit += (y - t[n * 4 + u]).powi(2) / 8.0;
        }
    }
    let decay = 0.5 * w.iter().map(|value| value * value).sum::<f64>();
    close(&floats(&out.results["loss"]), &[fit + decay], 1e-5);
}

#[test]
fn adam_follows_its_definition_for_ten_steps() {
    let text = format!(
        "{NET}train m(t: f32[batch, 4]) {{ loss = mse(y, t); optimizer = adam(lr = 0.01); schedule = cosine(warmup = 4) }}"
    );
    let program = compile(&text);
    let names: Vec<&str> = program.states.iter().map(|state| state.name.as_str()).collect();
    assert_eq!(names, ["dense_1.w/m", "dense_1.w/v", "dense_1.b/m", "dense_1.b/v"]);
    let graph = with_update(&program);
    let steps = 10;
    let mut w = tensor(&[3, 4], 1);
    let (mut m, mut v) = (Tensor::f32(&[3, 4], vec![0.0; 12]), Tensor::f32(&[3, 4], vec![0.0; 12]));
    let (mut own, mut own_m, mut own_v) = (floats(&w), vec![0.0; 12], vec![0.0; 12]);
    let zeros = Tensor::f32(&[4], vec![0.0; 4]);
    for step in 1..=steps {
        let grad = tensor(&[3, 4], 100 + step as u64);
        let out = run(
            &graph,
            &[
                ("x", tensor(&[2, 3], 5)),
                ("t", tensor(&[2, 4], 6)),
                ("dense_1.w", w.clone()),
                ("dense_1.b", zeros.clone()),
                ("dense_1.w/m", m.clone()),
                ("dense_1.w/v", v.clone()),
                ("dense_1.b/m", zeros.clone()),
                ("dense_1.b/v", zeros.clone()),
                ("grad.dense_1.w", grad.clone()),
                ("grad.dense_1.b", zeros.clone()),
                ("step", scalar(step)),
                ("steps", scalar(steps)),
            ],
            2,
        );
        (w, m, v) = (
            out.assigns["dense_1.w"].clone(),
            out.assigns["dense_1.w/m"].clone(),
            out.assigns["dense_1.w/v"].clone(),
        );
        let factor = if step < 4 {
            f64::from(step) / 4.0
        } else {
            0.5 * (1.0 + (std::f64::consts::PI * f64::from(step - 4) / f64::from(steps - 4)).cos())
        };
        let lr = 0.01 * factor;
        close(&floats(&out.results["lr"]), &[lr], 1e-6);
        for (at, g) in floats(&grad).into_iter().enumerate() {
            own_m[at] = 0.9 * own_m[at] + 0.1 * g;
            own_v[at] = 0.999 * own_v[at] + 0.001 * g * g;
            let mean = own_m[at] / (1.0 - 0.9_f64.powi(step));
            let square: f64 = own_v[at] / (1.0 - 0.999_f64.powi(step));
            // Keras adds epsilon to the uncorrected root.
            let epsilon = 1e-7 / (1.0 - 0.999_f64.powi(step)).sqrt();
            own[at] -= lr * mean / (square.sqrt() + epsilon);
        }
        close(&floats(&w), &own, 2e-6);
        close(&floats(&m), &own_m, 1e-6);
    }
}

#[test]
fn momentum_chains_patterns_and_freezing() {
    let text = "model m(x: f32[batch, 3]) -> y: f32[batch, 2] { y = x |> dense(3) as stem |> dense(3) |> dense(2) as head }
    optimizer scaled(by: real) { grad *= by }
    train m(t: f32[batch, 2]) {
        loss = mse(y, t)
        optimizer = scaled(0.5) |> momentum(lr = 0.1, mu = 0.8) on \"head.*\"
        optimizer = sgd(lr = 0.2)
        freeze \"stem.*\"
    }";
    let program = compile(text);
    let frozen: Vec<bool> = program.params.iter().map(|param| param.frozen).collect();
    assert_eq!(frozen, [true, true, false, false, false, false]);
    assert_eq!(program.trainable(), 12 + 8);
    let train = program.train.as_ref().expect("trained");
    let trained: Vec<&str> = train.params.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(trained, ["dense_1.w", "dense_1.b", "head.w", "head.b"]);
    let graph = with_update(&program);
    let shapes: [(&str, &[i64]); 6] = [
        ("stem.w", &[3, 3]),
        ("stem.b", &[3]),
        ("dense_1.w", &[3, 3]),
        ("dense_1.b", &[3]),
        ("head.w", &[3, 2]),
        ("head.b", &[2]),
    ];
    let mut inputs: Vec<(String, Tensor)> = Vec::new();
    for (at, (name, shape)) in shapes.into_iter().enumerate() {
        inputs.push((name.to_string(), tensor(shape, at as u64)));
        if at >= 2 {
            inputs.push((format!("grad.{name}"), tensor(shape, 50 + at as u64)));
        }
        if at >= 4 {
            inputs.push((format!("{name}/v"), tensor(shape, 80 + at as u64)));
        }
    }
    inputs.push(("x".to_string(), tensor(&[1, 3], 1)));
    inputs.push(("t".to_string(), tensor(&[1, 2], 2)));
    let borrowed: Vec<(&str, Tensor)> =
        inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    let out = run(&graph, &borrowed, 1);
    assert!(!out.assigns.contains_key("stem.w"));
    let get = |name: &str| floats(&inputs.iter().find(|(own, _)| own == name).expect("given").1);
    let plain: Vec<f64> =
        get("dense_1.w").iter().zip(get("grad.dense_1.w")).map(|(w, g)| w - 0.2 * g).collect();
    close(&floats(&out.assigns["dense_1.w"]), &plain, 1e-6);
    let v: Vec<f64> =
        get("head.w/v").iter().zip(get("grad.head.w")).map(|(v, g)| 0.8 * v + 0.5 * g).collect();
    close(&floats(&out.assigns["head.w/v"]), &v, 1e-6);
    let w: Vec<f64> = get("head.w").iter().zip(&v).map(|(w, v)| w - 0.1 * v).collect();
    close(&floats(&out.assigns["head.w"]), &w, 1e-6);
}

#[test]
fn first_values_have_the_spread_they_are_declared_with() {
    let text = "model m(x: f32[batch, 40]) -> y: f32[batch, 60] { y = x |> dense(60) }
    train m(t: f32[batch, 60]) { loss = mse(y, t); optimizer = adam }";
    let program = compile(text);
    let draw = |seed| {
        // What is assigned has some value before; none of it may matter.
        let mut inputs = vec![("seed", scalar(seed))];
        for (name, shape) in [("dense_1.w", vec![40, 60]), ("dense_1.b", vec![60])] {
            let count = shape.iter().product::<i64>() as usize;
            inputs.push((name, Tensor::f32(&shape, vec![f32::NAN; count])));
        }
        let names: Vec<String> = program.states.iter().map(|state| state.name.clone()).collect();
        for (name, state) in names.iter().zip(&program.states) {
            let shape: Vec<i64> = state.shape.iter().map(|dim| dim.at(1)).collect();
            let count = shape.iter().product::<i64>() as usize;
            inputs.push((name, Tensor::f32(&shape, vec![f32::NAN; count])));
        }
        run(&program.init, &inputs, 1).assigns
    };
    let first = draw(1);
    let w = floats(&first["dense_1.w"]);
    let limit = (6.0_f64 / 100.0).sqrt();
    assert!(w.iter().all(|value| value.abs() <= limit));
    let mean = w.iter().sum::<f64>() / w.len() as f64;
    let variance = w.iter().map(|value| value * value).sum::<f64>() / w.len() as f64;
    // 2400 uniform numbers: five standard errors of their mean and of their variance.
    assert!(mean.abs() < 5.0 * limit / (3.0_f64 * 2400.0).sqrt(), "{mean}");
    assert!(
        (variance - limit * limit / 3.0).abs() < 5.0 * limit * limit * 0.3 / 2400.0_f64.sqrt(),
        "{variance}"
    );
    assert!(floats(&first["dense_1.b"]).iter().all(|value| *value == 0.0));
    assert!(floats(&first["dense_1.w/m"]).iter().all(|value| *value == 0.0));
    assert_eq!(first["dense_1.w"], draw(1)["dense_1.w"]);
    assert_ne!(first["dense_1.w"], draw(2)["dense_1.w"]);
}
