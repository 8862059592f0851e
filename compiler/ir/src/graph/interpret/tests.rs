//! The interpreter against a second, naive reading of the documentation.

use super::*;
use crate::graph::{Combine, Contract, Data, Fill, Order, OrderKind, parse, philox};
use crate::scalar::fma_f32;

/// Numbers whose sums round: no two orders of adding them agree for long.
fn numbers(count: i64, seed: u32) -> Vec<f32> {
    (0..count as u64)
        .map(|at| {
            let word = philox::uniform_24(at, seed, 7, 1);
            (f64::from(word) / f64::from(1 << 24) - 0.4) as f32
                * if word.is_multiple_of(5) { 37.0 } else { 1.0 }
        })
        .collect()
}

fn graph_of(body: &str) -> Graph {
    let text = format!("graph \"test\" shards 4 class fused frozen {{\n{body}\n}}\n");
    let graph = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    if let Err(errors) = graph.verify() {
        panic!("{}", errors[0]);
    }
    graph
}

/// Values for all leaves; integers count up modulo 4.
fn leaves(graph: &Graph, batch: i64) -> IndexMap<String, Tensor> {
    let mut inputs = IndexMap::new();
    for (id, node) in graph.nodes.iter() {
        let Op::Input { name, .. } = &node.op else { continue };
        let shape: Vec<i64> = node.shape.iter().map(|dim| dim.at(batch)).collect();
        let count = shape.iter().product();
        let seed = crate::entity::EntityRef::index(id) as u32;
        let tensor = match node.elem {
            ElemType::F32 => Tensor::f32(&shape, numbers(count, seed)),
            ElemType::I32 => Tensor::i32(&shape, (0..count).map(|at| at as i32 % 4).collect()),
            elem => panic!("no test values of {}", elem_name(elem)),
        };
        inputs.insert(name.clone(), tensor);
    }
    inputs
}

fn run(body: &str, batch: i64) -> IndexMap<String, Tensor> {
    let graph = graph_of(body);
    interpret(&graph, &leaves(&graph, batch), batch).expect("the graph has a value").results
}

fn result_f32(body: &str, batch: i64) -> Vec<f32> {
    match &run(body, batch)["y"].data {
        Data::F32(data) => data.clone(),
        other => panic!("{other:?}"),
    }
}

/// Every point of a box in lexicographic order.
fn points(extents: &[i64]) -> Vec<Vec<i64>> {
    let mut all = vec![Vec::new()];
    for &extent in extents {
        all = all
            .into_iter()
            .flat_map(|point| (0..extent).map(move |at| [point.as_slice(), &[at]].concat()))
            .collect();
    }
    all
}

/// A left-complete tree read from above: the left half is the largest power of two that leaves something.
fn tree(sums: &[f32], merge: fn(f32, f32) -> f32) -> f32 {
    match sums {
        [] => panic!("a tree has leaves"),
        [one] => *one,
        _ => {
            let half = (sums.len() as u64).next_power_of_two() as usize / 2;
            merge(tree(&sums[..half], merge), tree(&sums[half..], merge))
        }
    }
}

struct Naive<'a> {
    contract: &'a Contract,
    operands: Vec<&'a Tensor>,
    extents: Vec<i64>,
    batch: i64,
}

impl Naive<'_> {
    /// The operands of a term, if it exists.
    fn term(&self, point: &[i64]) -> Option<Vec<f32>> {
        for guard in &self.contract.guards {
            if !(0..guard.extent.at(self.batch)).contains(&guard.expr.eval(point)) {
                return None;
            }
        }
        let mut factors = Vec::new();
        for (read, tensor) in self.contract.reads.iter().zip(&self.operands) {
            let index: Vec<i64> = read.subs.iter().map(|sub| sub.eval(point)).collect();
            let inside = index.iter().zip(&tensor.shape).all(|(&at, &n)| (0..n).contains(&at));
            let Data::F32(data) = &tensor.data else { panic!("floats") };
            factors.push(match read.fill {
                Fill::Skip if !inside => return None,
                Fill::Value(Literal::Float(value)) if !inside => value as f32,
                _ => {
                    let flat = index.iter().zip(&tensor.shape).fold(0, |f, (at, n)| f * n + at);
                    data[flat as usize]
                }
            });
        }
        Some(factors)
    }

    fn step(&self, acc: f32, factors: &[f32]) -> f32 {
        match (self.contract.combine, factors) {
            (Combine::Sum, [a]) => acc + a,
            (Combine::Sum, [a, b]) => fma_f32(*a, *b, acc),
            (Combine::Max, [a]) if *a > acc || a.is_nan() => *a,
            (Combine::Max, [_]) => acc,
            other => panic!("{other:?} is not tested here"),
        }
    }

    fn merge(&self) -> fn(f32, f32) -> f32 {
        match self.contract.combine {
            Combine::Sum => |a, b| a + b,
            _ => |a, b| if b > a || b.is_nan() { b } else { a },
        }
    }

    fn start(&self) -> f32 {
        if self.contract.combine == Combine::Sum { 0.0 } else { f32::NEG_INFINITY }
    }

    /// One output in a given order.
    fn output(&self, out: &[i64], order: &Order, shards: i64) -> f32 {
        let n_out = out.len();
        let mut sums = Vec::new();
        for shard in 0..shards {
            let mut extents = self.extents[n_out..].to_vec();
            let mut low = vec![0; extents.len()];
            if let Some(axis) = order.shard_axis {
                low[axis - n_out] = self.batch * shard / shards;
                extents[axis - n_out] = self.batch * (shard + 1) / shards - low[axis - n_out];
            } else if shard > 0 {
                break;
            }
            sums.push(self.shard(out, &low, &extents, order));
        }
        tree(&sums, self.merge())
    }

    fn shard(&self, out: &[i64], low: &[i64], extents: &[i64], order: &Order) -> f32 {
        let n_lanes = if order.kind == OrderKind::Lanes { 16 } else { 1 };
        // Chunks by name, in order of appearance: (run or group of runs, piece of the run).
        let mut chunks: Vec<((i64, i64), Vec<f32>)> = Vec::new();
        let inner = extents.last().copied().unwrap_or(1);
        for (number, point) in points(extents).into_iter().enumerate() {
            let (run, at) = (number as i64 / inner, number as i64 % inner);
            let (lane, in_lane) = (at % n_lanes, at / n_lanes);
            let name = (run / order.runs_per_chunk, in_lane / order.run_cut);
            if chunks.last().is_none_or(|chunk| chunk.0 != name) {
                chunks.push((name, vec![self.start(); n_lanes as usize]));
            }
            let place: Vec<i64> = point.iter().zip(low).map(|(at, low)| at + low).collect();
            if let Some(factors) = self.term(&[out, &place].concat()) {
                let acc = &mut chunks.last_mut().expect("a chunk is open").1[lane as usize];
                *acc = self.step(*acc, &factors);
            }
        }
        if chunks.is_empty() {
            return self.start();
        }
        let mut lanes: Vec<f32> = (0..n_lanes as usize)
            .map(|lane| {
                let sums: Vec<f32> = chunks.iter().map(|chunk| chunk.1[lane]).collect();
                tree(&sums, self.merge())
            })
            .collect();
        while lanes.len() > 1 {
            let half = lanes.len() / 2;
            lanes = (0..half).map(|lane| self.merge()(lanes[lane], lanes[lane + half])).collect();
        }
        lanes[0]
    }
}

/// Compares every contraction of a program whose operands are leaves.
fn matches_naive(body: &str, batch: i64) {
    let graph = graph_of(body);
    let inputs = leaves(&graph, batch);
    let values = interpret_nodes(&graph, &inputs, batch).expect("the graph has a value");
    let mut n_contractions = 0;
    for (id, node) in graph.nodes.iter() {
        let Op::Contract(contract) = &node.op else { continue };
        n_contractions += 1;
        let naive = Naive {
            contract,
            operands: contract.reads.iter().map(|read| &values[read.value]).collect(),
            extents: contract.space.iter().map(|dim| dim.at(batch)).collect(),
            batch,
        };
        let order = contract.order.expect("the graph is frozen");
        let expected: Vec<f32> = points(&values[id].shape)
            .iter()
            .map(|out| naive.output(out, &order, i64::from(graph.shards)))
            .collect();
        let expected = Tensor::f32(&values[id].shape, expected);
        assert_eq!(values[id].first_difference(&expected), None, "{id} at batch {batch}");
    }
    assert!(n_contractions > 0);
}

#[test]
fn chains_follow_the_frozen_order() {
    let product = |runs: i64, cut: i64, k: i64| {
        format!(
            "%0: f32[batch, {k}] = input data \"x\"\n%1: f32[{k}, 10] = input param \"w\"\n\
             %2: f32[batch, 10] = contract sum [i0 < batch, i1 < 10, i2 < {k}] %0[i0, i2] * %1[i2, i1] order chain(run {cut}, runs {runs})"
        )
    };
    matches_naive(&product(4, 64, 64), 5);
    matches_naive(&product(1, 256, 1025), 3);
    matches_naive(&product(1, 7, 100), 3);
}

#[test]
fn convolutions_with_padding_and_skips() {
    for fill in ["else 0.0", "skip", "else 0.3"] {
        let body = format!(
            "%0: f32[batch, 7, 6, 3] = input data \"x\"\n%1: f32[3, 3, 3, 5] = input param \"k\"\n\
             %2: f32[batch, 4, 6, 5] = contract sum [i0 < batch, i1 < 4, i2 < 6, i3 < 5, i4 < 3, i5 < 3, i6 < 3] \
             %0[i0, 2*i1 + i4 - 1, i2 + i5 - 1, i6] {fill} * %1[i4, i5, i6, i3] order chain(run 3, runs 3)"
        );
        matches_naive(&body, 2);
    }
}

#[test]
fn guards_remove_terms_along_the_line_and_the_run() {
    let body = "%0: f32[batch, 40] = input data \"x\"\n%1: f32[9] = input param \"k\"\n\
        %2: f32[batch, 40] = contract sum [i0 < batch, i1 < 40, i2 < 9] %0[i0, i1 - i2 + 4] * %1[i2] \
        where 0 <= i1 - i2 + 4 < 40, 0 <= -2*i1 + i2 + 50 < 70 order chain(run 9, runs 2)";
    matches_naive(body, 3);
}

#[test]
fn sums_over_the_batch_are_cut_into_shards() {
    let body = "%0: f32[batch, 6] = input data \"x\"\n%1: f32[batch, 5] = input data \"dy\"\n\
        %2: f32[6, 5] = contract sum [i0 < 6, i1 < 5, i2 < batch] %0[i2, i0] * %1[i2, i1] order chain(run 256, runs 1, shard i2)\n\
        %3: f32[6] = contract sum [i0 < 6, i1 < batch] %0[i1, i0] order chain(run 3, runs 1, shard i1)\n\
        %4: f32[] = contract sum [i0 < batch, i1 < 6] %0[i0, i1] order lanes(run 1, runs 2, shard i0)\n\
        %5: f32[] = contract sum [i0 < 6, i1 < batch] %0[i1, i0] order lanes(run 2, runs 1, shard i1)";
    for batch in [1, 2, 3, 4, 5, 7, 16, 130] {
        matches_naive(body, batch);
    }
}

#[test]
fn lanes_take_every_sixteenth_element() {
    for (n, cut) in [(5, 1), (16, 1), (17, 2), (100, 7), (1000, 4)] {
        let body = format!(
            "%0: f32[batch, {n}] = input data \"x\"\n%1: f32[batch, {n}] = input data \"y\"\n\
             %2: f32[batch] = contract sum [i0 < batch, i1 < {n}] %0[i0, i1] order lanes(run {cut}, runs 1)\n\
             %3: f32[batch] = contract sum [i0 < batch, i1 < {n}] %0[i0, i1] * %1[i0, i1] order lanes(run {cut}, runs 1)\n\
             %4: f32[batch] = contract max [i0 < batch, i1 < {n}] %0[i0, i1] order lanes(run {cut}, runs 1)"
        );
        matches_naive(&body, 3);
    }
}

#[test]
fn classes_round_products_differently() {
    let body = "%0: f32[batch, 50] = input data \"x\"\n%1: f32[batch, 50] = input data \"w\"\n\
        %2: f32[batch] = contract sum [i0 < batch, i1 < 50] %0[i0, i1] * %1[i0, i1] order chain(run 50, runs 6)\n\
        result \"y\" %2";
    let mut graph = graph_of(body);
    let inputs = leaves(&graph, 9);
    let fused = interpret(&graph, &inputs, 9).expect("a value");
    graph.class = dlc_abi::NumericsClass::Unfused;
    let unfused = interpret(&graph, &inputs, 9).expect("a value");
    let (Data::F32(x), Data::F32(w)) = (&inputs["x"].data, &inputs["w"].data) else { panic!() };
    let plain: Vec<f32> =
        (0..9).map(|n| (0..50).fold(0.0, |acc, k| acc + x[n * 50 + k] * w[n * 50 + k])).collect();
    assert_eq!(unfused.results["y"], Tensor::f32(&[9], plain));
    assert!(fused.results["y"].first_difference(&unfused.results["y"]).is_some());
}

#[test]
fn extremes_keep_nan_and_the_first_of_equals() {
    let body = "%0: f32[6] = input data \"x\"\n\
        %1: f32[] = contract max [i0 < 6] %0[i0] order chain(run 6, runs 1)\n\
        %2: f32[] = contract min [i0 < 6] %0[i0] order chain(run 6, runs 1)\n\
        %3: i32[] = contract argmax [i0 < 6] %0[i0] order lanes(run 1, runs 1)\n\
        %4: i32[] = contract argmin [i0 < 2, i1 < 3] %0[3*i0 + i1] order chain(run 3, runs 1)\n\
        result \"max\" %1\nresult \"min\" %2\nresult \"argmax\" %3\nresult \"argmin\" %4";
    let graph = graph_of(body);
    let of = |x: [f32; 6]| {
        let inputs = [("x".to_string(), Tensor::f32(&[6], x.to_vec()))].into_iter().collect();
        let results = interpret(&graph, &inputs, 1).expect("a value").results;
        let [max, min, argmax, argmin] =
            ["max", "min", "argmax", "argmin"].map(|name| results[name].to_f64()[0]);
        (max, min, argmax, argmin)
    };
    assert_eq!(of([1.0, 5.0, -2.0, 5.0, -2.0, 0.0]), (5.0, -2.0, 1.0, 2.0));
    let (max, min, argmax, argmin) = of([1.0, 5.0, f32::NAN, 9.0, f32::NAN, -3.0]);
    assert!(max.is_nan() && min.is_nan());
    assert_eq!((argmax, argmin), (2.0, 2.0));
    let (max, ..) = of([-0.0, 0.0, -0.0, -1.0, -1.0, -1.0]);
    assert!(max == 0.0 && max.is_sign_negative(), "the first zero wins");
    assert_eq!(of([f32::NEG_INFINITY; 6]).2, 0.0);
}

#[test]
fn open_and_affine_left_sides_scatter() {
    let body = "%0: f32[batch, 4] = input data \"dy\"\n%1: f32[3] = input param \"k\"\n\
        %2: f32[batch, 9] = contract sum [i0 < batch, i1 < 4, i2 < 3] into [i0, 2*i1 + i2] %0[i0, i1] * %1[i2]\n\
        %3: f32[batch, 9] = contract sum [i0 < batch, i1 < 9, i2 < 4, i3 < 3] %0[i0, i2] * %1[i3] \
        where 0 <= i1 - 2*i2 - i3 < 1\n\
        %4: f32[batch, 9] = contract sum [i0 < batch, i1 < 9, i2 < 3] %0[i0, 0] * %1[i2] where i1 - i2 mod 2 = 0";
    let text = format!("graph \"open\" shards 4 class fused {{\n{body}\n}}\n");
    let graph = parse(&text).expect("the text is a graph");
    assert_eq!(graph.verify(), Ok(()));
    let inputs = leaves(&graph, 2);
    let values = interpret_nodes(&graph, &inputs, 2).expect("a value");
    let of = |at: usize| values[graph.node_at(at).expect("the node exists")].to_f64();
    // The orders are open, so sums of two terms may round differently: at most by one unit of 2^-23.
    for (scattered, gathered) in of(2).iter().zip(of(3)) {
        assert!((scattered - gathered).abs() <= gathered.abs() * 2f64.powi(-22));
    }
    let (dy, k) = (of(0), of(1));
    for n in 0..2 {
        for h in 0..9 {
            let taps = if h % 2 == 0 { vec![0, 2] } else { vec![1] };
            let expected =
                taps.iter().fold(0f32, |acc, &u| fma_f32(dy[n * 4] as f32, k[u] as f32, acc));
            assert_eq!(of(4)[n * 9 + h], f64::from(expected));
        }
    }
}

#[test]
fn views_gathers_and_shapes() {
    let body = "%0: f32[batch, 3, 4] = input data \"x\"\n%1: i32[batch] = input data \"label\"\n\
        %2: f32[batch, 5] = view %0[i0, 1, -2*i1 + 5] else 7.5\n\
        %3: f32[3, batch] = gather %0[i1, i0, %1[i1]]\n\
        %4: f32[4*batch, 3] = reshape %0\n\
        %5: i32[2, 3] = iota i1\n%6: f32[] = extent 2*batch + 1\n\
        result \"v\" %2\nresult \"g\" %3\nresult \"r\" %4\nresult \"i\" %5\nresult \"e\" %6";
    let graph = graph_of(body);
    let inputs = leaves(&graph, 6);
    let x = inputs["x"].to_f64();
    let results = interpret(&graph, &inputs, 6).expect("a value").results;
    let v = results["v"].to_f64();
    let g = results["g"].to_f64();
    for n in 0..6 {
        let row = &x[n * 12 + 4..n * 12 + 8];
        assert_eq!(v[n * 5..n * 5 + 5], [7.5, row[3], row[1], 7.5, 7.5]);
        for h in 0..3 {
            assert_eq!(g[h * 6 + n], x[n * 12 + h * 4 + n % 4]);
        }
    }
    assert_eq!(results["r"].to_f64(), x);
    assert_eq!(results["i"], Tensor::i32(&[2, 3], vec![0, 1, 2, 0, 1, 2]));
    assert_eq!(results["e"].to_f64(), [13.0]);
}

#[test]
fn data_errors_name_node_and_element() {
    let body = "%0: f32[batch, 4] = input data \"x\"\n%1: i32[batch] = input data \"label\"\n\
        %2: f32[batch] = gather %0[i0, %1[i0]]  ; pick\n%3: i32[batch] = rem %1, %1\n\
        %4: i32[batch, 4] = convert %0\nresult \"y\" %2";
    let graph = graph_of(body);
    let mut inputs = leaves(&graph, 3);
    inputs["label"] = Tensor::i32(&[3], vec![1, 3, 4]);
    let error = interpret(&graph, &inputs, 3).expect_err("4 is outside");
    assert_eq!(error.to_string(), "%2 (pick): element 2 has the index 4, outside 0..4");
    inputs["label"] = Tensor::i32(&[3], vec![1, 0, 1]);
    let error = interpret(&graph, &inputs, 3).expect_err("0 divides");
    assert_eq!(error.to_string(), "%3: element 1 divides by zero");
    inputs["label"] = Tensor::i32(&[3], vec![1, 2, 3]);
    inputs["x"] = Tensor::f32(&[3, 4], vec![3e9; 12]);
    let error = interpret(&graph, &inputs, 3).expect_err("3e9 is no i32");
    assert_eq!(error.to_string(), "%4: element 0 is 3000000000.0, which does not fit the type");
    let error = interpret(&graph, &inputs, 2).expect_err("three rows for two");
    assert_eq!(
        error.to_string(),
        "the input `x` is f32[3, 4], expected f32[batch, 4] with batch 2"
    );
    inputs.shift_remove("x");
    let error = interpret(&graph, &inputs, 3).expect_err("no x");
    assert_eq!(error.to_string(), "no value for the input `x`");
    assert_eq!(interpret(&graph, &inputs, 0), Err(InterpretError::Batch(0)));
}

#[test]
fn random_numbers_follow_the_documented_words() {
    let body = "%0: i32[] = input data \"seed\"\n%1: i32[] = input data \"step\"\n\
        %2: f32[3, 50] = random %0, %1, draw 9\nresult \"y\" %2";
    let y = result_f32(body, 1);
    for element in [0usize, 17, 63, 64, 149] {
        let expected = philox::uniform_24(element as u64, 0, 0, 9) as f32 / 16_777_216.0;
        assert_eq!(y[element], expected);
    }
    assert!(y.iter().all(|x| (0.0..1.0).contains(x)));
}

#[test]
fn forward_mode_agrees_with_central_differences() {
    let body = "%0: f32[batch, 6] = input data \"x\"\n%1: f32[6, 3] = input param \"w\"\n\
        %2: f32[batch, 3] = contract sum [i0 < batch, i1 < 3, i2 < 6] %0[i0, i2] * %1[i2, i1] order chain(run 6, runs 43)\n\
        %3: f32[batch, 3] = tanh %2\n%4: f32[batch, 3] = sigmoid %3\n%5: f32[batch, 3] = erf %4\n\
        %6: f32[batch, 3] = exp %5\n%7: f32[batch, 3] = log1p %6\n%8: f32[batch, 3] = sqrt %7\n\
        %9: f32[batch, 3] = log %8\n%10: f32[batch, 3] = sin %9\n%11: f32[batch, 3] = cos %10\n\
        %12: f32[batch, 3] = div %11, %8\n%13: f32[batch, 3] = max %12, %3\n%14: f32[batch, 3] = abs %13\n\
        %15: f32[batch] = contract max [i0 < batch, i1 < 3] %14[i0, i1] order chain(run 3, runs 86)\n\
        %16: f32[batch, 3] = view %15[i0]\n%17: f32[batch, 3] = fma %16, %12, %2\nresult \"y\" %17";
    let graph = graph_of(body);
    let inputs = leaves(&graph, 2);
    let mut tangents = IndexMap::new();
    for (at, (name, tensor)) in inputs.iter().enumerate() {
        let count = tensor.data.len() as i64;
        tangents.insert(name.clone(), Tensor::f32(&tensor.shape, numbers(count, 90 + at as u32)));
    }
    let forward = jvp(&graph, &inputs, &tangents, 2).expect("a value");
    let double = crate::graph::retyped(&graph);
    let moved = |h: f64| {
        let inputs = inputs
            .iter()
            .map(|(name, tensor)| {
                let at = tensor.to_f64();
                let by = tangents[name].to_f64();
                let data = at.iter().zip(by).map(|(x, d)| x + h * d).collect();
                (name.clone(), Tensor::f64(&tensor.shape, data))
            })
            .collect();
        interpret(&double, &inputs, 2).expect("a value").results["y"].to_f64()
    };
    let (ahead, behind) = (moved(1e-6), moved(-1e-6));
    let derivatives = forward.derivatives.results["y"].to_f64();
    for ((ahead, behind), derivative) in ahead.iter().zip(behind).zip(derivatives) {
        let difference = (ahead - behind) / 2e-6;
        let error = (difference - derivative).abs() / (1.0 + derivative.abs());
        assert!(error < 1e-7, "{difference} against {derivative}");
    }
}
