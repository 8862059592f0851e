//! Every operation's gradient against central differences and against forward mode, in double precision.
//!
//! The cases come from the tables of operations: an operation without a case fails `every_operation_has_a_case`.

use crate::support::{Inputs, Rng, assert_same_results};
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::ops::word;
use dlc_ir::graph::{
    BinaryOp, Combine, Compare, Contract, Data, Fill, Gather, Graph, GraphBuilder, Guard,
    InputRole, Literal, NodeId, Op, Origin, OutputKind, Read, Stage, Tensor, UnaryOp, interpret,
    jvp, retyped,
};
use dlc_passes::autodiff::pullback;
use dlc_passes::pass::{PassCx, PassManager, PassOptions};
use dlc_passes::pipeline::TO_FROZEN;
use std::collections::BTreeSet;

/// A graph with leaves to differentiate by and one value to differentiate.
struct Case {
    name: String,
    graph: Graph,
    y: NodeId,
}

/// Makes a case; leaves named `pos..` are from 0.5 to 2, others from 0.2 to 1.5 with either sign, so kinks at zero are far.
fn case(name: impl Into<String>, make: impl FnOnce(&mut GraphBuilder<'_>) -> NodeId) -> Case {
    let name = name.into();
    let mut graph = Graph::new(name.clone());
    let mut g = graph.build(Stage::Forward, Origin { name: "value".into(), span: None });
    let y = make(&mut g);
    Case { name, graph, y }
}

fn leaf(g: &mut GraphBuilder<'_>, name: &str, shape: &[Dim]) -> NodeId {
    g.input(name, InputRole::Param, ElemType::F32, shape.to_vec())
}

fn fixed(extents: &[i64]) -> Vec<Dim> {
    extents.iter().map(|&extent| Dim::fixed(extent)).collect()
}

const B: Dim = Dim::batch();

/// The domain on which a function is smooth.
fn domain(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Log | UnaryOp::Log1p | UnaryOp::Sqrt => "pos_x",
        UnaryOp::Neg
        | UnaryOp::Abs
        | UnaryOp::Exp
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Floor
        | UnaryOp::Not => "x",
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in UnaryOp::ALL {
        cases.push(case(op.info().name, |g| {
            let x = leaf(g, domain(op), &[B, Dim::fixed(3)]);
            if op.info().types.holds(ElemType::F32) {
                return g.unary(op, x);
            }
            // Of truth values: behind a condition.
            let y = leaf(g, "y", &[B, Dim::fixed(3)]);
            let less = g.compare(Compare::Lt, x, y);
            let condition = g.unary(op, less);
            g.select(condition, x, y)
        }));
    }
    for op in BinaryOp::ALL {
        cases.push(case(op.info().name, |g| binary_case(g, op)));
    }
    for op in Compare::ALL {
        cases.push(case(op.info().name, |g| {
            let (x, y) = (leaf(g, "x", &[B]), leaf(g, "y", &[B]));
            let condition = g.compare(op, x, y);
            let product = g.mul(x, y);
            g.select(condition, product, y)
        }));
    }
    for combine in Combine::ALL {
        for factors in 1..=(if combine.is_arg() { 1 } else { 2 }) {
            cases.push(combine_case(combine, factors));
        }
    }
    cases.extend(leaf_cases());
    cases.extend(shape_cases());
    cases.extend(window_cases());
    cases.extend(recurrence_cases());
    cases
}

/// Loops in both directions, with one and two carried values, read inside, whole, at their ends and with a shift.
fn recurrence_cases() -> Vec<Case> {
    let (steps, units) = (4, 3);
    let mut cases = Vec::new();
    for reverse in [false, true] {
        // h' = tanh(x[t] + h w), of which all steps are read.
        cases.push(case(format!("recurrence, reverse {reverse}"), |g| {
            let shape = [Dim::fixed(steps), B, Dim::fixed(units)];
            let (x, h0) = (leaf(g, "x", &shape), leaf(g, "h0", &shape[1..]));
            let w = leaf(g, "w", &fixed(&[units, units]));
            let h = g.recur(h0, steps, reverse);
            let product = recurrent_product(g, h, w);
            let sum = g.add(x, product);
            let next = g.unary(UnaryOp::Tanh, sum);
            g.graph.carry(h, next);
            g.mul(next, next)
        }));
        // Two values that need each other; the one is read where it begins and ends, the other a step back.
        cases.push(case(format!("two recurrences, reverse {reverse}"), |g| {
            let shape = [Dim::fixed(steps), B, Dim::fixed(units)];
            let x = leaf(g, "x", &[B, Dim::fixed(steps), Dim::fixed(units)]);
            let (h0, c0) = (leaf(g, "h0", &shape[1..]), leaf(g, "c0", &shape[1..]));
            let w = leaf(g, "w", &fixed(&[units, units]));
            let (h, c) = (g.recur(h0, steps, reverse), g.recur(c0, steps, reverse));
            let z = recurrent_product(g, h, w);
            let at_step = g.transpose(x, &[1, 0, 2]);
            let z = g.add(z, at_step);
            let gate = g.unary(UnaryOp::Sigmoid, z);
            let kept = g.mul(gate, c);
            let flipped = g.slice(kept, 2, units - 1, Dim::fixed(units), -1);
            let next_c = g.add(flipped, z);
            let size = g.unary(UnaryOp::Tanh, next_c);
            let next_h = g.mul(gate, size);
            g.graph.carry(h, next_h);
            g.graph.carry(c, next_c);
            let ends = [g.select_index(next_h, 0, 0), g.select_index(next_h, 0, steps - 1)];
            let ends = g.mul(ends[0], ends[1]);
            let shifted = g.pad(next_c, &[(1, -1), (0, 0), (0, 0)], Literal::Float(0.5));
            let back = g.sum(shifted, &[0]);
            g.mul(ends, back)
        }));
    }
    // What is carried does not depend on what was: the value of another, a step later; and a value that stays.
    cases.push(case("recurrence without a loop", |g| {
        let x = leaf(g, "x", &[Dim::fixed(steps), B]);
        let first = leaf(g, "first", &[B]);
        let square = g.mul(x, x);
        let delayed = g.recur(first, steps, false);
        g.graph.carry(delayed, square);
        let constant = g.recur(first, steps, true);
        g.graph.carry(constant, constant);
        let product = g.mul(delayed, constant);
        g.add(product, x)
    }));
    cases
}

/// `h[t, n, k] * w[k, u]` summed over `k`.
fn recurrent_product(g: &mut GraphBuilder<'_>, h: NodeId, w: NodeId) -> NodeId {
    let units = g.shape(w)[1];
    let mut space = g.shape(h).to_vec();
    space.push(units);
    let reads = vec![Read::axes(h, &[0, 1, 3]), Read::axes(w, &[3, 2])];
    g.contract(Contract::normal(Combine::Sum, space, 3, reads))
}

fn binary_case(g: &mut GraphBuilder<'_>, op: BinaryOp) -> NodeId {
    let shape = [Dim::fixed(2), B];
    let (x, y) = (leaf(g, "x", &shape), leaf(g, "pos_y", &shape));
    if op.info().types.holds(ElemType::F32) {
        return g.binary(op, x, y);
    }
    if op.info().types.holds(ElemType::Bool) {
        let (a, b) = (g.compare(Compare::Lt, x, y), g.compare(Compare::Le, y, x));
        let condition = g.binary(op, a, b);
        return g.select(condition, x, y);
    }
    // Of integers: as a factor that does not depend on the leaves.
    let index = g.iota(1, ElemType::I32, shape.to_vec());
    let three = g.number_like(3.0, index);
    let integer = g.binary(op, index, three);
    let factor = g.convert(integer, ElemType::F32);
    g.mul(factor, x)
}

fn combine_case(combine: Combine, factors: usize) -> Case {
    case(format!("{} of {factors}", combine.name()), |g| {
        let (x, w) = (leaf(g, "x", &[B, Dim::fixed(4)]), leaf(g, "w", &fixed(&[4, 3])));
        let mut reads = vec![Read::axes(x, &[0, 2])];
        if factors == 2 {
            reads.push(Read::axes(w, &[2, 1]));
        }
        let space = vec![B, Dim::fixed(3), Dim::fixed(4)];
        let y = g.contract(Contract::normal(combine, space, 2, reads));
        if !combine.is_arg() {
            return y;
        }
        // The place is an integer; it may choose, and gets no gradient.
        let place = g.convert(y, ElemType::F32);
        let x = g.slice(x, 1, 0, Dim::fixed(3), 1);
        g.mul(place, x)
    })
}

fn leaf_cases() -> Vec<Case> {
    let shape = [B, Dim::fixed(2)];
    vec![
        case("constants", |g| {
            let x = leaf(g, "x", &shape);
            let half = g.number_like(0.5, x);
            let index = g.iota(1, ElemType::F32, shape.to_vec());
            let extent = g.extent(B, ElemType::F32);
            let extent = g.broadcast_to(extent, &shape);
            let seed = g.constant(Literal::Int(7), ElemType::I32, Vec::new());
            let noise = g.random(seed, seed, 1, ElemType::F32, shape.to_vec());
            let a = g.mul(x, half);
            let b = g.fma(a, index, noise);
            g.div(b, extent)
        }),
        case("fma", |g| {
            let (a, b, c) = (leaf(g, "a", &shape), leaf(g, "b", &shape), leaf(g, "c", &shape));
            let y = g.fma(a, b, c);
            g.fma(y, y, a)
        }),
        case("convert", |g| {
            let x = leaf(g, "x", &shape);
            let wide = g.convert(x, ElemType::F64);
            let square = g.mul(wide, wide);
            g.convert(square, ElemType::F32)
        }),
        case("unused", |g| {
            leaf(g, "unused", &shape);
            let x = leaf(g, "x", &shape);
            g.neg(x)
        }),
    ]
}

fn shape_cases() -> Vec<Case> {
    vec![
        case("broadcast bias", |g| {
            let (x, b) = (leaf(g, "x", &[B, Dim::fixed(3)]), leaf(g, "b", &fixed(&[3])));
            let b = g.broadcast_to(b, &[B, Dim::fixed(3)]);
            g.mul(x, b)
        }),
        case("scalar", |g| {
            let (x, s) = (leaf(g, "x", &[B, Dim::fixed(3)]), leaf(g, "s", &[]));
            let s = g.broadcast_to(s, &[B, Dim::fixed(3)]);
            g.div(x, s)
        }),
        case("transpose, slice, flip, index, pad", |g| {
            let x = leaf(g, "x", &fixed(&[4, 5]));
            let t = g.transpose(x, &[1, 0]);
            let s = g.slice(t, 0, 1, Dim::fixed(2), 2);
            let f = g.slice(s, 1, 3, Dim::fixed(4), -1);
            let p = g.pad(f, &[(1, 2), (-1, 1)], Literal::Float(2.0));
            let row = g.select_index(p, 0, 1);
            let wide = g.broadcast_to(row, &fixed(&[5, 4]));
            g.mul(p, wide)
        }),
        case("pad at the end, cut at the end", |g| {
            let x = leaf(g, "x", &[B, Dim::fixed(3)]);
            let p = g.pad(x, &[(0, 0), (0, 2)], Literal::Float(0.0));
            let s = g.slice(p, 1, 0, Dim::fixed(2), 1);
            let r = g.slice(p, 1, 1, Dim::fixed(2), 2);
            g.mul(s, r)
        }),
        case("reshape", |g| {
            let x = leaf(g, "x", &[B, Dim::fixed(2), Dim::fixed(3)]);
            let flat = g.reshape(x, vec![B, Dim::fixed(6)]);
            let all = g.reshape(flat, vec![Dim { batch_factor: 6, constant: 0 }]);
            g.mul(all, all)
        }),
        case("softmax cross entropy", softmax_loss),
        case("rows of a table", |g| {
            let table = leaf(g, "table", &fixed(&[5, 2]));
            let index = g.input("index", InputRole::Data, ElemType::I32, vec![B, Dim::fixed(3)]);
            let rows = g.take_rows(table, index);
            g.mul(rows, rows)
        }),
        case("gather along an inner axis", |g| {
            let x = leaf(g, "x", &[B, Dim::fixed(4), Dim::fixed(2)]);
            let index = g.input("index", InputRole::Data, ElemType::I32, vec![B]);
            let gather = Gather {
                operand: x,
                subs: vec![Affine::axis(0), Affine::constant(0), Affine::new([(1, -1)], 1)],
                axis: 1,
                index,
                index_subs: vec![Affine::axis(0)],
            };
            g.gather(gather, vec![B, Dim::fixed(2)])
        }),
        case("a value used by two contractions", |g| {
            let x = leaf(g, "x", &[B, Dim::fixed(3)]);
            let space = vec![Dim::fixed(3), Dim::fixed(3), B];
            let reads = vec![Read::axes(x, &[2, 0]), Read::axes(x, &[2, 1])];
            let gram = g.contract(Contract::normal(Combine::Sum, space, 2, reads));
            g.matmul(x, gram)
        }),
    ]
}

fn softmax_loss(g: &mut GraphBuilder<'_>) -> NodeId {
    let shape = [B, Dim::fixed(4)];
    let (x, w) = (leaf(g, "x", &shape), leaf(g, "w", &fixed(&[4, 4])));
    let label = g.input("label", InputRole::Data, ElemType::I32, vec![B]);
    let z = g.matmul(x, w);
    let greatest = g.reduce(Combine::Max, z, &[1]);
    let greatest = g.broadcast_axes(greatest, &[0], &shape);
    let shifted = g.sub(z, greatest);
    let powers = g.unary(UnaryOp::Exp, shifted);
    let total = g.sum(powers, &[1]);
    let total = g.unary(UnaryOp::Log, total);
    let gather = Gather {
        operand: shifted,
        subs: vec![Affine::axis(0), Affine::constant(0)],
        axis: 1,
        index: label,
        index_subs: vec![Affine::axis(0)],
    };
    let chosen = g.gather(gather, vec![B]);
    let losses = g.sub(total, chosen);
    let sum = g.sum_all(losses);
    let count = g.extent(B, ElemType::F32);
    g.div(sum, count)
}

/// Convolutions and pools: stride, dilation, padding, fill.
fn window_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (s, d, k, p) in [
        (1, 1, 3, 0),
        (1, 1, 3, 1),
        (2, 1, 3, 1),
        (2, 1, 2, 0),
        (1, 2, 3, 2),
        (3, 2, 2, 1),
        (2, 1, 1, 0),
    ] {
        let name = format!("conv stride {s} dilation {d} kernel {k} padding {p}");
        cases.push(case(name, |g| convolution(g, s, d, k, p)));
        for (combine, fill) in [
            (Combine::Max, Fill::Skip),
            (Combine::Min, Fill::Skip),
            (Combine::Sum, Fill::Skip),
            (Combine::Max, Fill::Value(Literal::Float(0.0))),
        ] {
            let name =
                format!("{} pool stride {s} dilation {d} kernel {k} padding {p}", combine.name());
            cases.push(case(name, |g| pool(g, combine, fill, s, d, k, p)));
        }
    }
    cases.push(case("transposed conv", |g| {
        // y[2*i + u - 1] += x[i] * w[u]
        let (x, w) = (leaf(g, "x", &fixed(&[4])), leaf(g, "w", &fixed(&[3])));
        let out = Affine::new([(0, 2), (1, 1)], -1);
        let guards = vec![Guard { expr: out.clone(), extent: Dim::fixed(8) }];
        let reads = vec![Read::axes(x, &[0]), Read::axes(w, &[1])];
        let contract = Contract {
            out: vec![out],
            guards,
            ..Contract::normal(Combine::Sum, fixed(&[4, 3]), 0, reads)
        };
        g.contract_into(contract, fixed(&[8]))
    }));
    cases
}

fn convolution(g: &mut GraphBuilder<'_>, s: i64, d: i64, k: i64, p: i64) -> NodeId {
    let h = 6;
    let o = (h + 2 * p - d * (k - 1) - 1) / s + 1;
    let x = leaf(g, "x", &[B, Dim::fixed(h), Dim::fixed(2)]);
    let w = leaf(g, "w", &fixed(&[k, 2, 3]));
    let fill = Fill::Value(Literal::Float(if p == 1 { 0.5 } else { 0.0 }));
    let subs = vec![Affine::axis(0), Affine::new([(1, s), (3, d)], -p), Affine::axis(4)];
    let mut space = vec![B];
    space.extend(fixed(&[o, 3, k, 2]));
    let reads = vec![Read { value: x, subs, fill }, Read::axes(w, &[3, 4, 2])];
    g.contract(Contract::normal(Combine::Sum, space, 3, reads))
}

fn pool(
    g: &mut GraphBuilder<'_>,
    combine: Combine,
    fill: Fill,
    s: i64,
    d: i64,
    k: i64,
    p: i64,
) -> NodeId {
    let h = 6;
    let o = (h + 2 * p - d * (k - 1) - 1) / s + 1;
    let x = leaf(g, "x", &[B, Dim::fixed(h), Dim::fixed(h), Dim::fixed(2)]);
    let window = |out: usize, tap: usize| Affine::new([(out, s), (tap, d)], -p);
    let subs = vec![Affine::axis(0), window(1, 4), window(2, 5), Affine::axis(3)];
    let mut space = vec![B];
    space.extend(fixed(&[o, o, 2, k, k]));
    g.contract(Contract::normal(combine, space, 4, vec![Read { value: x, subs, fill }]))
}

fn values(graph: &Graph, batch: i64, rng: &mut Rng) -> Inputs {
    let mut inputs = Inputs::new();
    for node in graph.nodes.values() {
        let Op::Input { name, .. } = &node.op else { continue };
        let shape: Vec<i64> = node.shape.iter().map(|dim| dim.at(batch)).collect();
        let n = shape.iter().product::<i64>() as usize;
        let data = match node.elem {
            ElemType::I32 => Data::I32((0..n).map(|_| rng.below(4) as i32).collect()),
            _ => Data::F64((0..n).map(|_| float(name, rng)).collect()),
        };
        inputs.insert(name.clone(), Tensor::new(shape, data));
    }
    inputs
}

fn float(name: &str, rng: &mut Rng) -> f64 {
    if name.starts_with("pos") {
        return rng.float(0.5, 2.0);
    }
    // Away from 0 and 1, where `floor` jumps.
    let magnitude = if rng.below(2) == 0 { rng.float(0.2, 0.9) } else { rng.float(1.1, 1.5) };
    if rng.below(2) == 0 { magnitude } else { -magnitude }
}

fn float_leaves(graph: &Graph) -> Vec<(String, NodeId)> {
    graph
        .nodes
        .iter()
        .filter_map(|(id, node)| match &node.op {
            Op::Input { name, .. } if node.elem == ElemType::F32 => Some((name.clone(), id)),
            _ => None,
        })
        .collect()
}

/// Adds a cotangent leaf and the gradients as results; drops what was a result before.
fn with_gradients(mut graph: Graph, y: NodeId, cotangent: &str) -> (Graph, Vec<NodeId>) {
    let leaves = float_leaves(&graph);
    let (elem, shape) = (graph.nodes[y].elem, graph.nodes[y].shape.clone());
    let seed = graph.build(Stage::Forward, Origin::default()).input(
        cotangent,
        InputRole::Data,
        elem,
        shape,
    );
    let wrt: Vec<NodeId> = leaves.iter().map(|leaf| leaf.1).collect();
    let gradients = pullback(&mut graph, &[(y, seed)], &wrt);
    graph.outputs.retain(|output| matches!(output.kind, OutputKind::Carry(_)));
    for ((name, _), &gradient) in leaves.iter().zip(&gradients) {
        graph.result(format!("g.{name}"), gradient);
    }
    graph.verify().unwrap_or_else(|errors| panic!("{errors:?}\n{graph}"));
    (graph, gradients)
}

/// A direction for each float leaf.
fn directions(graph: &Graph, inputs: &Inputs, rng: &mut Rng) -> Inputs {
    let mut directions = Inputs::new();
    for (name, _) in float_leaves(graph) {
        let shape = inputs[&name].shape.clone();
        let n = shape.iter().product::<i64>() as usize;
        let data = (0..n).map(|_| rng.float(-1.0, 1.0)).collect();
        directions.insert(name, Tensor::new(shape, Data::F64(data)));
    }
    directions
}

/// The inner product and the sum of magnitudes of its terms.
fn dot(a: &Tensor, b: &Tensor) -> (f64, f64) {
    let (a, b) = (a.to_f64(), b.to_f64());
    let terms = a.iter().zip(&b).map(|(a, b)| a * b);
    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
}

fn moved(inputs: &Inputs, directions: &Inputs, by: f64) -> Inputs {
    let mut inputs = inputs.clone();
    for (name, direction) in directions {
        let tensor = &inputs[name];
        let data =
            tensor.to_f64().iter().zip(direction.to_f64()).map(|(x, v)| x + by * v).collect();
        inputs[name] = Tensor::new(tensor.shape.clone(), Data::F64(data));
    }
    inputs
}

/// `<Jv, w> = <v, Jᵀ w>` to rounding, and both near the difference quotient.
fn check(case: &Case, rng: &mut Rng) {
    let mut forward = case.graph.clone();
    forward.result("y", case.y);
    let forward = retyped(&forward);
    let (backward, _) = with_gradients(case.graph.clone(), case.y, "dy");
    let backward = retyped(&backward);
    let frozen = PassManager::new(PassOptions { verify: true, ..Default::default() })
        .run(backward.clone(), TO_FROZEN, &PassCx::default())
        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    for batch in [1, 2] {
        let inputs = values(&backward, batch, rng);
        assert_same_results(&backward, &frozen, &inputs, batch, 1e-13);
        let gradients = interpret(&backward, &inputs, batch).unwrap().results;
        let v = directions(&case.graph, &inputs, rng);
        let w = &inputs["dy"];
        let jv = jvp(&forward, &inputs, &v, batch).unwrap().derivatives.results;
        let (left, size) = dot(&jv["y"], w);
        let (mut right, mut right_size) = (0.0, 0.0);
        for (name, direction) in &v {
            let (part, part_size) = dot(&gradients[&format!("g.{name}")], direction);
            (right, right_size) = (right + part, right_size + part_size);
        }
        let scale = size.max(right_size).max(1e-3);
        assert!(
            (left - right).abs() <= 1e-12 * scale,
            "{}: {left} and {right}\n{backward}",
            case.name
        );
        let step = 1e-5;
        let value = |by: f64| {
            let outputs = interpret(&forward, &moved(&inputs, &v, by), batch).unwrap();
            dot(&outputs.results["y"], w).0
        };
        let quotient = (value(step) - value(-step)) / (2.0 * step);
        assert!(
            (quotient - right).abs() <= 1e-5 * scale,
            "{}: {quotient} and {right}\n{backward}",
            case.name
        );
    }
}

#[test]
fn gradients_agree_with_forward_mode_and_with_differences() {
    let mut rng = Rng(11);
    for case in cases() {
        check(&case, &mut rng);
    }
}

#[test]
fn gradients_of_gradients() {
    let mut rng = Rng(12);
    for first in cases() {
        if first.name == "unused" {
            continue;
        }
        // The gradient by the first leaf, as a value of its own.
        let (mut graph, gradients) = with_gradients(first.graph, first.y, "w0");
        let name = format!("second derivative of {}", first.name);
        graph.outputs.retain(|output| matches!(output.kind, OutputKind::Carry(_)));
        check(&Case { name, graph, y: gradients[0] }, &mut rng);
    }
}

#[test]
fn every_operation_has_a_case() {
    let mut covered = BTreeSet::new();
    for case in cases() {
        for node in case.graph.nodes.values() {
            covered.insert(word_of(&node.op));
            if let Op::Contract(contract) = &node.op {
                covered.insert(contract.combine.name());
            }
        }
    }
    let mut all: Vec<&str> = UnaryOp::ALL.iter().map(|op| op.info().name).collect();
    all.extend(BinaryOp::ALL.iter().map(|op| op.info().name));
    all.extend(Compare::ALL.iter().map(|op| op.info().name));
    all.extend(Combine::ALL.iter().map(|combine| combine.name()));
    all.extend([word::INPUT, word::CONST, word::IOTA, word::EXTENT, word::RANDOM, word::SELECT]);
    all.extend([word::FMA, word::CONVERT, word::VIEW, word::RESHAPE, word::CONTRACT, word::GATHER]);
    all.extend([word::RECUR]);
    let missing: Vec<&&str> = all.iter().filter(|name| !covered.contains(**name)).collect();
    assert!(missing.is_empty(), "no gradient check for {missing:?}");
}

/// The op's word. A new variant does not compile until it stands here and in the list above.
fn word_of(op: &Op) -> &'static str {
    match op {
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_)
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Contract(_)
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => op.info().name,
    }
}

#[test]
fn random_graphs() {
    let mut rng = Rng(13);
    for seed in 0..60 {
        let case = case(format!("random {seed}"), |g| random_value(g, &mut rng));
        check(&case, &mut rng);
    }
}

/// A dozen smooth operations on tensors of one shape, with products, sums and moves between them.
fn random_value(g: &mut GraphBuilder<'_>, rng: &mut Rng) -> NodeId {
    let shape = [B, Dim::fixed(4)];
    let mut known = vec![leaf(g, "x", &shape), leaf(g, "y", &shape)];
    let w = leaf(g, "w", &fixed(&[4, 4]));
    for _ in 0..12 {
        let a = known[rng.below(known.len() as u64) as usize];
        let b = known[rng.below(known.len() as u64) as usize];
        let value = match rng.below(9) {
            0 => g.add(a, b),
            1 => g.sub(a, b),
            2 => g.mul(a, b),
            3 => g.unary(UnaryOp::Tanh, a),
            4 => g.unary(UnaryOp::Sin, a),
            5 => {
                let a = g.unary(UnaryOp::Sigmoid, a);
                g.matmul(a, w)
            }
            6 => {
                let flipped = g.slice(a, 1, 3, Dim::fixed(4), -1);
                g.mul(flipped, b)
            }
            7 => {
                let padded = g.pad(a, &[(0, 0), (1, -1)], Literal::Float(0.25));
                g.add(padded, b)
            }
            _ => {
                let mean = g.sum(a, &[1]);
                let mean = g.unary(UnaryOp::Tanh, mean);
                let mean = g.broadcast_axes(mean, &[0], &shape);
                g.sub(b, mean)
            }
        };
        // Values stay of the order of one, so that differences of them are.
        known.push(g.unary(UnaryOp::Erf, value));
    }
    *known.last().expect("there are leaves")
}

#[test]
fn the_gradient_of_a_pool_without_overlap_sums_nothing() {
    let pooled = case("pool", |g| pool(g, Combine::Max, Fill::InRange, 2, 1, 2, 0));
    let (graph, _) = with_gradients(pooled.graph, pooled.y, "dy");
    let frozen = PassManager::default().run(graph, TO_FROZEN, &PassCx::default()).unwrap();
    let combines: Vec<Combine> = frozen
        .nodes
        .values()
        .filter_map(|node| match &node.op {
            Op::Contract(contract) => Some(contract.combine),
            _ => None,
        })
        .collect();
    assert_eq!(combines, [Combine::ArgMax], "{frozen}");
}

#[test]
fn ties_go_where_the_table_says() {
    // At equal operands `max` and `min` take the second; a maximum over terms takes the first; |x| is flat at 0.
    let mut graph = Graph::new("ties");
    let mut g = graph.build(Stage::Forward, Origin::default());
    let (a, b) = (leaf(&mut g, "a", &fixed(&[3])), leaf(&mut g, "b", &fixed(&[3])));
    let larger = g.binary(BinaryOp::Max, a, b);
    let size = g.unary(UnaryOp::Abs, larger);
    let greatest = g.reduce(Combine::Max, size, &[0]);
    let gradients = dlc_passes::autodiff::gradients(&mut graph, greatest, &[a, b]);
    graph.result("a", gradients[0]);
    graph.result("b", gradients[1]);
    let mut inputs = Inputs::new();
    inputs.insert("a".into(), Tensor::f32(&[3], vec![-1.0, 1.0, 1.0]));
    inputs.insert("b".into(), Tensor::f32(&[3], vec![-1.0, 1.0, -5.0]));
    let results = interpret(&graph, &inputs, 1).unwrap().results;
    assert_eq!(results["a"].to_f64(), [0.0, 0.0, 0.0]);
    assert_eq!(results["b"].to_f64(), [-1.0, 0.0, 0.0]);
    inputs.insert("a".into(), Tensor::f32(&[3], vec![0.0; 3]));
    inputs.insert("b".into(), Tensor::f32(&[3], vec![0.0; 3]));
    let results = interpret(&graph, &inputs, 1).unwrap().results;
    assert_eq!(results["b"].to_f64(), [0.0, 0.0, 0.0]);
}
