//! The standard library's layers and functions against plain loops.

mod support;

use dlc_ir::graph::Tensor;
use support::{close, compile, floats, ints, numbers, predict, run, tensor};

/// A convolution by its definition, channels last; the taps that leave the image are zeros.
#[allow(clippy::too_many_arguments, reason = "they are the parameters of a convolution")]
fn convolve(
    x: &[f32],
    w: &[f32],
    b: &[f32],
    [n, h, wd, c]: [usize; 4],
    [kh, kw, f]: [usize; 3],
    [oh, ow]: [usize; 2],
    stride: usize,
    dilation: usize,
    lead: [i64; 2],
    groups: usize,
) -> Vec<f64> {
    let (gc, gf) = (c / groups, f / groups);
    let mut out = Vec::new();
    for image in 0..n {
        for i in 0..oh {
            for j in 0..ow {
                for o in 0..f {
                    let mut sum = 0.0;
                    for u in 0..kh {
                        for v in 0..kw {
                            let y = (i * stride + u * dilation) as i64 - lead[0];
                            let z = (j * stride + v * dilation) as i64 - lead[1];
                            if y < 0 || z < 0 || y >= h as i64 || z >= wd as i64 {
                                continue;
                            }
                            for k in 0..gc {
                                let channel = (o / gf) * gc + k;
                                let at = ((image * h + y as usize) * wd + z as usize) * c + channel;
                                let tap = ((u * kw + v) * gc + k) * f + o;
                                sum += f64::from(x[at]) * f64::from(w[tap]);
                            }
                        }
                    }
                    out.push(sum + f64::from(b[o]));
                }
            }
        }
    }
    out
}

#[test]
fn dense_is_a_product_and_a_bias() {
    let text = "model m(x: f32[batch, 5]) -> y: f32[batch, 3] { y = x |> dense(3) }";
    let (x, w, b) = (tensor(&[4, 5], 1), tensor(&[5, 3], 2), tensor(&[3], 3));
    let out = predict(text, &x, &[("dense_1.w", w.clone()), ("dense_1.b", b.clone())], 4);
    let (x, w, b) = (floats(&x), floats(&w), floats(&b));
    let mut wanted = Vec::new();
    for n in 0..4 {
        for u in 0..3 {
            wanted.push((0..5).map(|k| x[n * 5 + k] * w[k * 3 + u]).sum::<f64>() + b[u]);
        }
    }
    close(&floats(&out.results["y"]), &wanted, 1e-6);
}

#[test]
fn convolutions_agree_with_plain_loops() {
    // (call, image, taps and filters, result, stride, dilation, lead, groups); same padding puts the odd zero behind.
    type Case = (&'static str, [usize; 4], [usize; 3], [usize; 2], usize, usize, [i64; 2], usize);
    let cases: [Case; 6] = [
        ("conv(4, kernel = 3, padding = valid)", [2, 6, 7, 3], [3, 3, 4], [4, 5], 1, 1, [0, 0], 1),
        ("conv(4, kernel = 3)", [2, 6, 7, 3], [3, 3, 4], [6, 7], 1, 1, [1, 1], 1),
        ("conv(4, kernel = 3, stride = 2)", [2, 6, 7, 3], [3, 3, 4], [3, 4], 2, 1, [0, 1], 1),
        ("conv(6, kernel = (3, 2), groups = 2)", [1, 5, 4, 4], [3, 2, 6], [5, 4], 1, 1, [1, 0], 2),
        (
            "conv(2, kernel = 2, dilation = 2, padding = valid)",
            [1, 5, 5, 1],
            [2, 2, 2],
            [3, 3],
            1,
            2,
            [0, 0],
            1,
        ),
        ("conv(3, kernel = 1)", [2, 3, 3, 2], [1, 1, 3], [3, 3], 1, 1, [0, 0], 1),
    ];
    for (call, image, taps, out, stride, dilation, lead, groups) in cases {
        let [n, h, w, c] = image;
        let [kh, kw, f] = taps;
        let text = format!(
            "model m(x: f32[batch, {h}, {w}, {c}]) -> y: f32[batch, {}, {}, {f}] {{ y = x |> {call} }}",
            out[0], out[1]
        );
        let as_i64 = |shape: &[usize]| shape.iter().map(|&e| e as i64).collect::<Vec<_>>();
        let (x, k) = (numbers(n * h * w * c, 5), numbers(kh * kw * c / groups * f, 6));
        let b = numbers(f, 7);
        let params = [
            ("conv_1.w", Tensor::f32(&as_i64(&[kh, kw, c / groups, f]), k.clone())),
            ("conv_1.b", Tensor::f32(&[f as i64], b.clone())),
        ];
        let found = predict(&text, &Tensor::f32(&as_i64(&image), x.clone()), &params, n as i64);
        let wanted = convolve(&x, &k, &b, image, taps, out, stride, dilation, lead, groups);
        close(&floats(&found.results["y"]), &wanted, 1e-5);
    }
}

#[test]
fn pools_leave_out_what_lies_outside() {
    let x = tensor(&[2, 5, 5, 2], 9);
    let values = floats(&x);
    let at = |n: usize, i: i64, j: i64, c: usize| -> Option<f64> {
        let inside = (0..5).contains(&i) && (0..5).contains(&j);
        inside.then(|| values[((n * 5 + i as usize) * 5 + j as usize) * 2 + c])
    };
    for (call, lead) in [
        ("max_pool(3, stride = 2, padding = same)", 1),
        ("avg_pool(3, stride = 2, padding = same)", 1),
    ] {
        let text = format!(
            "model m(x: f32[batch, 5, 5, 2]) -> y: f32[batch, 3, 3, 2] {{ y = x |> {call} }}"
        );
        let found = predict(&text, &x, &[], 2);
        let mut wanted = Vec::new();
        for n in 0..2 {
            for i in 0..3 {
                for j in 0..3 {
                    for c in 0..2 {
                        let terms: Vec<f64> = (0..9)
                            .filter_map(|t| at(n, i * 2 + t / 3 - lead, j * 2 + t % 3 - lead, c))
                            .collect();
                        wanted.push(if call.starts_with("max") {
                            terms.iter().copied().fold(f64::NEG_INFINITY, f64::max)
                        } else {
                            terms.iter().sum::<f64>() / terms.len() as f64
                        });
                    }
                }
            }
        }
        close(&floats(&found.results["y"]), &wanted, 1e-6);
    }
    let text = "model m(x: f32[batch, 5, 5, 2]) -> y: f32[batch, 2] { y = x |> global_avg_pool }";
    let found = predict(text, &x, &[], 2);
    let mut wanted = Vec::new();
    for n in 0..2 {
        for c in 0..2 {
            wanted.push((0..25).map(|t| values[(n * 25 + t) * 2 + c]).sum::<f64>() / 25.0);
        }
    }
    close(&floats(&found.results["y"]), &wanted, 1e-6);
}

#[test]
fn softmax_follows_its_axis() {
    let x = tensor(&[2, 3, 4], 11);
    let values = floats(&x);
    for (call, axis) in [("softmax", 2), ("softmax(axis = 1)", 1)] {
        let text =
            format!("model m(x: f32[batch, 3, 4]) -> y: f32[batch, 3, 4] {{ y = x |> {call} }}");
        let found = predict(&text, &x, &[], 2);
        let mut wanted = vec![0.0; 24];
        for n in 0..2 {
            for i in 0..3 {
                for j in 0..4 {
                    let along = if axis == 2 { 4 } else { 3 };
                    let place = |t: usize| {
                        if axis == 2 { (n * 3 + i) * 4 + t } else { (n * 3 + t) * 4 + j }
                    };
                    let sum: f64 = (0..along).map(|t| values[place(t)].exp()).sum();
                    let own = (n * 3 + i) * 4 + j;
                    wanted[own] = values[own].exp() / sum;
                }
            }
        }
        close(&floats(&found.results["y"]), &wanted, 1e-6);
    }
}

#[test]
fn scalar_functions_map_over_tensors() {
    let x = Tensor::f32(&[1, 6], vec![-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]);
    type Function = fn(f64) -> f64;
    let cases: [(&str, Function); 14] = [
        ("relu(x)", |x| x.max(0.0)),
        ("leaky_relu(x, slope = 0.1)", |x| if x > 0.0 { x } else { 0.1 * x }),
        ("tanh(x)", f64::tanh),
        ("sigmoid(x)", |x| 1.0 / (1.0 + (-x).exp())),
        ("x^2", |x| x * x),
        ("x^3 + 1", |x| x.powi(3) + 1.0),
        ("2 / (x^2 + 1)", |x| 2.0 / (x * x + 1.0)),
        ("max(x, 0.5)", |x| x.max(0.5)),
        ("clamp(x, -1, 1)", |x| x.clamp(-1.0, 1.0)),
        ("-x * pi", |x| -x * std::f64::consts::PI),
        ("abs(x) - floor(x)", |x| x.abs() - x.floor()),
        ("2^x", f64::exp2),
        ("(x^2)^0.5", f64::abs),
        ("if x > 0 and x < 2 { 1 } else { 0 }", |x| f64::from(u8::from(x > 0.0 && x < 2.0))),
    ];
    for (formula, function) in cases {
        let text = format!("model m(x: f32[batch, 6]) -> y: f32[batch, 6] {{ y = {formula} }}");
        let found = predict(&text, &x, &[], 1);
        let wanted: Vec<f64> = floats(&x).into_iter().map(function).collect();
        close(&floats(&found.results["y"]), &wanted, 1e-6);
    }
}

#[test]
fn general_bodies_and_conditions_in_index_notation() {
    let x = tensor(&[3, 4], 21);
    let v = floats(&x);
    let at = |n: usize, k: usize| v[n * 4 + k];
    let text = "model m(x: f32[batch, 4]) -> a: f32[batch], b: f32[batch, 4], c: i32[batch], d: f32[batch, 2, 2], e: f32[batch, 4] {
        a[n] = max[k] if k mod 2 == 0 { x[n, k] } else { skip }
        b[n, k] = sum[j] (if j <= k { x[n, j] } else { 0 })
        c[n] = argmax[k] abs(x[n, k])
        d[n, i in 2, j in 2] = x[n, (j, i)]
        e[n, k] = x[n, 3 - k] + (mean[j] x[n, j] * k)
    }";
    let out = predict(text, &x, &[], 3);
    let rows = 0..3;
    let a: Vec<f64> = rows.clone().map(|n| at(n, 0).max(at(n, 2))).collect();
    close(&floats(&out.results["a"]), &a, 1e-6);
    let b: Vec<f64> =
        rows.clone().flat_map(|n| (0..4).map(move |k| (0..=k).map(|j| at(n, j)).sum())).collect();
    close(&floats(&out.results["b"]), &b, 1e-6);
    let best = |n: usize| {
        (0..4).fold(0, |best, k| if at(n, k).abs() > at(n, best).abs() { k } else { best })
    };
    let c: Vec<i32> = rows.clone().map(|n| best(n) as i32).collect();
    assert_eq!(ints(&out.results["c"]), c);
    let d: Vec<f64> =
        rows.clone().flat_map(|n| (0..4).map(move |t| at(n, (t % 2) * 2 + t / 2))).collect();
    close(&floats(&out.results["d"]), &d, 1e-6);
    let mean = |n: usize| (0..4).map(|k| at(n, k)).sum::<f64>() / 4.0;
    let e: Vec<f64> =
        rows.flat_map(|n| (0..4).map(move |k| at(n, 3 - k) + mean(n) * k as f64)).collect();
    close(&floats(&out.results["e"]), &e, 1e-6);
}

#[test]
fn loops_lists_parts_and_shared_layers() {
    let text = "
    fn halves(x: f32[a.., m], parts: int) where m mod parts == 0 {
        let k = m div parts
        for i in parts { yield out = x[.., i*k : (i + 1)*k] }
        out
    }
    layer twice(x: f32[n, k], inner: layer) -> y: f32[n, k] { y = x |> inner |> inner as second }
    model m(x: f32[batch, 4]) -> y: f32[batch, 4], z: f32[batch, 4] {
        let (a, b) = halves(x, 2)
        shared f = dense(2)
        y = concat(a |> f, b |> f)
        for i in 3 carry h = x { h = h |> dense(4, bias = false) as step }
        z = (h |> twice(dense(4, bias = false))) + sum(f.w)
    }";
    let program = compile(text);
    let names: Vec<&str> = program.params.iter().map(|param| param.name.as_str()).collect();
    let wanted =
        ["f.w", "f.b", "step_1.w", "step_2.w", "step_3.w", "twice_1.dense_1.w", "twice_1.second.w"];
    assert_eq!(names, wanted);
    let x = tensor(&[2, 4], 1);
    let (w, b) = (tensor(&[2, 2], 2), tensor(&[2], 3));
    let square = |salt| tensor(&[4, 4], salt);
    let squares = [square(4), square(5), square(6), square(7), square(8)];
    let mut inputs = vec![("x", x.clone()), ("f.w", w.clone()), ("f.b", b.clone())];
    inputs.extend(wanted[2..].iter().copied().zip(squares.iter().cloned()));
    let out = run(&program.predict, &inputs, 2);
    let (x, w, b) = (floats(&x), floats(&w), floats(&b));
    let mut y = Vec::new();
    for n in 0..2 {
        for part in 0..2 {
            for u in 0..2 {
                y.push((0..2).map(|k| x[n * 4 + part * 2 + k] * w[k * 2 + u]).sum::<f64>() + b[u]);
            }
        }
    }
    close(&floats(&out.results["y"]), &y, 1e-6);
    let mut z = x;
    for square in &squares {
        let s = floats(square);
        z = (0..8).map(|t| (0..4).map(|k| z[t / 4 * 4 + k] * s[k * 4 + t % 4]).sum()).collect();
    }
    let sum: f64 = w.iter().sum();
    let z: Vec<f64> = z.into_iter().map(|value| value + sum).collect();
    close(&floats(&out.results["z"]), &z, 1e-5);
}

#[test]
fn batch_norm_keeps_state_and_dropout_draws() {
    let text = "
    layer norm(x: f32[.., c]) -> y: f32[.., c] {
        state seen: f32[c] = 0
        if training {
            let mu[c] = mean[i..] x[i.., c]
            seen = 0.9 * seen + 0.1 * mu
            y = x - mu
        } else { y = x - seen }
    }
    layer drop(x: f32[s..], rate: real) -> f32[s..] {
        if training and rate > 0 {
            let keep: f32[s..] ~ bernoulli(1 - rate)
            x * keep / (1 - rate)
        } else { x }
    }
    init bernoulli(p: real) -> y: f32[s..] {
        let u: f32[s..] ~ random
        y[i..] = if u[i..] < p { 1 } else { 0 }
    }
    model m(x: f32[batch, 2]) -> y: f32[batch, 2] { y = x |> norm |> drop(0.5) }
    train m(t: f32[batch, 2]) { loss = mse(y, t); optimizer = sgd(lr = 0.1) }";
    let program = compile(text);
    assert_eq!(program.states.len(), 1);
    assert_eq!(program.states[0].name, "norm_1.seen");
    let x = Tensor::f32(&[2, 2], vec![1.0, 2.0, 3.0, 6.0]);
    let seen = Tensor::f32(&[2], vec![0.5, 1.0]);
    let out = run(&program.predict, &[("x", x.clone()), ("norm_1.seen", seen.clone())], 2);
    close(&floats(&out.results["y"]), &[0.5, 1.0, 2.5, 5.0], 1e-6);
    let train = program.train.expect("there is a train block");
    let scalar = |value| Tensor::i32(&[], vec![value]);
    let inputs = [
        ("x", x),
        ("t", Tensor::f32(&[2, 2], vec![0.0; 4])),
        ("norm_1.seen", seen),
        ("step", scalar(1)),
        ("seed", scalar(7)),
    ];
    let out = run(&train.graph, &inputs, 2);
    close(&floats(&out.assigns["norm_1.seen"]), &[0.65, 1.3], 1e-6);
    // Each deviation (1 and 2) is dropped or doubled, so the loss is a quarter of some of 4, 4, 16 and 16.
    let loss = floats(&out.results["loss"])[0] * 4.0;
    assert!(
        [0.0, 4.0, 8.0, 16.0, 20.0, 24.0, 32.0, 36.0, 40.0]
            .iter()
            .any(|sum| (sum - loss).abs() < 1e-5),
        "{loss}"
    );
}

#[test]
fn a_transposed_convolution_adds_a_kernel_for_each_place() {
    // (call, extent, taps, result, stride, dilation, lead) along one axis, with 2 channels and 3 filters.
    let cases = [
        ("conv_transpose(3, kernel = 2, stride = 2)", 4, 2, 8, 2, 1, 0),
        ("conv_transpose(3, kernel = 3, stride = 2, padding = same)", 4, 3, 8, 2, 1, 0),
        ("conv_transpose(3, kernel = 3, padding = same)", 5, 3, 5, 1, 1, 1),
        ("conv_transpose(3, kernel = 3, stride = 2, dilation = 2)", 3, 3, 9, 2, 2, 0),
        ("conv_transpose(3, kernel = 5, stride = 3, padding = same)", 3, 5, 9, 3, 1, 1),
    ];
    for (call, extent, taps, out, stride, dilation, lead) in cases {
        let text = format!(
            "model m(x: f32[batch, {extent}, 2]) -> y: f32[batch, {out}, 3] {{ y = x |> {call} }}"
        );
        let (x, w, b) = (tensor(&[2, extent, 2], 1), tensor(&[taps, 3, 2], 2), tensor(&[3], 3));
        let params = [("conv_transpose_1.w", w.clone()), ("conv_transpose_1.b", b.clone())];
        let found = predict(&text, &x, &params, 2);
        let (x, w, b) = (floats(&x), floats(&w), floats(&b));
        let mut wanted: Vec<f64> = (0..2 * out * 3).map(|at| b[at as usize % 3]).collect();
        for (n, i, u) in
            (0..2).flat_map(|n| (0..extent).flat_map(move |i| (0..taps).map(move |u| (n, i, u))))
        {
            let at = i * stride + u * dilation - lead;
            for f in (0..3).filter(|_| (0..out).contains(&at)) {
                for v in 0..2 {
                    wanted[((n * out + at) * 3 + f) as usize] +=
                        x[((n * extent + i) * 2 + v) as usize] * w[((u * 3 + f) * 2 + v) as usize];
                }
            }
        }
        close(&floats(&found.results["y"]), &wanted, 1e-5);
    }
}

#[test]
fn terms_meet_at_places_that_the_data_say() {
    let text = "model m(x: f32[batch, 3], at: i32[batch, 3]) -> y: f32[batch, 4], z: f32[4] {
        each[n, i] y[n, at[n, i]] += x[n, i]
        let each[n, i] count[at[n, i]]: f32[4] += 1
        z = count
    }";
    let program = compile(text);
    let at = [0, 3, 0, 1, 1, 9];
    let inputs = [
        ("x", Tensor::f32(&[2, 3], vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0])),
        ("at", Tensor::i32(&[2, 3], at.to_vec())),
    ];
    let found = run(&program.predict, &inputs, 2);
    // A place outside is left out.
    close(&floats(&found.results["y"]), &[5.0, 0.0, 0.0, 2.0, 0.0, 24.0, 0.0, 0.0], 0.0);
    close(&floats(&found.results["z"]), &[2.0, 2.0, 0.0, 1.0], 0.0);
}

#[test]
fn files_are_used_under_a_name() {
    let blocks = "
    fn twice(x) = 2 * x
    layer block(x: f32[.., k], units: int) -> f32[.., units] = x |> dense(units) |> twice
    init three -> f32[s..] = 3
    optimizer down(lr: f32) { param -= lr }
    schedule half -> f32 = 0.5
    metric most(y: f32[b, k]) -> f32 { total t = sum[b, k] y[b, k]; t }";
    let more = "fn twice(x) = 20 * x";
    let text = "
    use \"lib/blocks.dl\" as blocks
    use \"more.dl\"
    model m(x: f32[batch, 2]) -> y: f32[batch, 2], z: f32[batch, 2] {
        param w: f32[2] ~ blocks.three
        shared f = blocks.block(2)
        y = x |> f |> blocks.block(2) |> twice
        z = blocks.twice(x) * w
    }
    train m(t: f32[batch, 2]) {
        loss = mse(y, t)
        metric blocks.most(y)
        optimizer = blocks.down(lr = 0.1)
        schedule = blocks.half
    }";
    let (program, diagnostics, sources) =
        support::elaborate_files(text, &[("lib/blocks.dl", blocks), ("more.dl", more)], None);
    let shown = dlc_grammar::diagnostic::render_terminal(&diagnostics, &sources, false);
    let program = program.unwrap_or_else(|| panic!("{shown}"));
    let names: Vec<&str> = program.params.iter().map(|param| param.name.as_str()).collect();
    let wanted = ["w", "f.dense_1.w", "f.dense_1.b", "block_1.dense_1.w", "block_1.dense_1.b"];
    assert_eq!(names, wanted);
    assert_eq!(program.metrics[0].name, "most");
    let eye = || Tensor::f32(&[2, 2], vec![1.0, 0.0, 0.0, 1.0]);
    let zeros = || Tensor::f32(&[2], vec![0.0; 2]);
    let inputs = [
        ("x", Tensor::f32(&[1, 2], vec![1.0, -2.0])),
        ("w", Tensor::f32(&[2], vec![3.0, 3.0])),
        ("f.dense_1.w", eye()),
        ("f.dense_1.b", zeros()),
        ("block_1.dense_1.w", eye()),
        ("block_1.dense_1.b", zeros()),
    ];
    let out = run(&program.predict, &inputs, 1);
    close(&floats(&out.results["y"]), &[80.0, -160.0], 1e-6);
    close(&floats(&out.results["z"]), &[6.0, -12.0], 1e-6);
}

#[test]
fn loops_within_loops_carry_the_same_name() {
    let text = "model m(x: f32[batch, 2]) -> y: f32[batch, 2] {
        for (n, step) in ((2, 1), (3, 10)) carry h = x {
            for i in n carry h = h { h = h + step }
            let h = 2 * h
        }
        y = h
    }";
    let x = Tensor::f32(&[1, 2], vec![0.5, 1.0]);
    let out = support::predict(text, &x, &[], 1);
    close(&floats(&out.results["y"]), &[70.0, 72.0], 1e-6);
}

/// What the loop of the tests below computes for one example, step by step.
fn plain_recurrence(x: &[f64], wh: &[f64], time: usize, units: usize) -> (Vec<f64>, Vec<f64>) {
    let mut h = vec![0.0; units];
    let mut all = Vec::new();
    for t in 0..time {
        let next: Vec<f64> = (0..units)
            .map(|u| {
                let product: f64 = (0..units).map(|k| h[k] * wh[k * units + u]).sum();
                (x[t * units + u] + product).tanh()
            })
            .collect();
        h = next;
        all.extend(&h);
    }
    (all, h)
}

#[test]
fn a_scan_carries_its_state_from_step_to_step() {
    let text = "model m(x: f32[batch, 5, 3]) -> y: f32[batch, 5, 3], last: f32[batch, 3] {
        param wh: f32[3, 3] ~ zeros
        scan t in 5 carry h: f32[batch, 3] = 0 {
            h = tanh(x[:, t, :] + h @ wh)
            yield y[:, t, :] = h
        }
        last = h
    }";
    let (x, wh) = (tensor(&[2, 5, 3], 1), tensor(&[3, 3], 2));
    let found = predict(text, &x, &[("wh", wh.clone())], 2);
    let (x, wh) = (floats(&x), floats(&wh));
    let (mut all, mut last) = (Vec::new(), Vec::new());
    for n in 0..2 {
        let (steps, end) = plain_recurrence(&x[n * 15..(n + 1) * 15], &wh, 5, 3);
        all.extend(steps);
        last.extend(end);
    }
    close(&floats(&found.results["y"]), &all, 1e-5);
    close(&floats(&found.results["last"]), &last, 1e-5);
}

#[test]
fn a_scan_reads_and_yields_by_index_and_looks_back_and_ahead() {
    // Sums so far, the sums of pairs from both ends, and a count of the steps below a limit of each row.
    let text = "model m(x: f32[batch, 4], n: i32[batch]) -> s: f32[batch, 4], p: f32[batch, 4], c: f32[batch] {
        scan t in 4 carry so_far: f32[batch] = 0 {
            so_far = so_far + x[:, t]
            yield s[b, t] = so_far[b]
            yield p[b, t] = x[b, 3 - t] + x[b, t - 1 else 0]
        }
        scan t in 1:4 carry count: f32[batch] = 0 {
            count[b] = if t < n[b] { count[b] + t } else { count[b] }
        }
        c = count
    }";
    let program = compile(text);
    let x = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    let inputs = [("x", Tensor::f32(&[2, 4], x.to_vec())), ("n", Tensor::i32(&[2], vec![3, 9]))];
    let found = run(&program.predict, &inputs, 2).results;
    let sums = [1.0, 3.0, 7.0, 15.0, 16.0, 48.0, 112.0, 240.0];
    close(&floats(&found["s"]), &sums, 0.0);
    let pairs = [8.0, 5.0, 4.0, 5.0, 128.0, 80.0, 64.0, 80.0];
    close(&floats(&found["p"]), &pairs, 0.0);
    close(&floats(&found["c"]), &[3.0, 6.0], 0.0);
}

#[test]
fn the_size_of_a_scan_does_not_depend_on_its_steps() {
    let nodes = |steps: usize| {
        let text = format!(
            "model m(x: f32[batch, {steps}, 3]) -> y: f32[batch, {steps}, 3] {{
                param wh: f32[3, 3] ~ zeros
                scan t in {steps} carry h: f32[batch, 3] = 0 {{
                    h = tanh(x[:, t, :] + h @ wh)
                    yield y[:, t, :] = h
                }}
            }}
            train m(target: f32[batch, {steps}, 3]) {{
                let miss = y - target
                loss = mean(miss^2)
                optimizer = sgd(lr = 0.1)
            }}"
        );
        compile(&text).train.expect("it trains").graph.nodes.len()
    };
    assert_eq!(nodes(5), nodes(500));
}

#[test]
fn slopes_where_branches_meet_are_those_of_the_function() {
    let text =
        "model m(x: f32[batch], a: f32[batch]) -> s: f32[batch], l: f32[batch], r: f32[batch] {
        s = gradient(sum(softplus(x)), x)
        l = gradient(sum(logaddexp(x, a)), x)
        r = gradient(sum(logaddexp(x, a)), a)
    }";
    let program = compile(text);
    let inputs = [
        ("x", Tensor::f32(&[3], vec![0.0, -0.0, 1.5])),
        ("a", Tensor::f32(&[3], vec![0.0, 0.0, 1.5])),
    ];
    let found = run(&program.predict, &inputs, 3).results;
    let sigmoid = 1.0 / (1.0 + f64::exp(-1.5));
    close(&floats(&found["s"]), &[0.5, 0.5, sigmoid], 1e-6);
    for name in ["l", "r"] {
        close(&floats(&found[name]), &[0.5, 0.5, 0.5], 1e-6);
    }
}
