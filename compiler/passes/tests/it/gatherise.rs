//! Write forms and what `gatherise` makes of them have the same value, for many shapes of windows.

use crate::support::{Rng, assert_same_results, random_inputs, run_pass};
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{
    Combine, Congruence, Contract, Fill, Graph, Guard, InputRole, NodeId, Op, Origin, Read, Stage,
};
use dlc_passes::gatherise;

/// Sums of a few dozen terms of at most 1, in double precision.
const TOLERANCE: f64 = 1e-14;

fn leaf(graph: &mut Graph, name: &str, shape: &[Dim]) -> NodeId {
    let mut g = graph.build(Stage::Forward, Origin::default());
    g.input(name, InputRole::Data, ElemType::F64, shape.to_vec())
}

/// A sum of `a[i..] * b[j..]`-like reads into `out`, over a space.
fn write(graph: &mut Graph, contract: Contract, shape: &[Dim]) -> NodeId {
    let mut g = graph.build(Stage::Backward, Origin::default());
    let value = g.contract_into(contract, shape.to_vec());
    graph.result("y", value);
    value
}

fn fixed(extents: &[i64]) -> Vec<Dim> {
    extents.iter().map(|&extent| Dim::fixed(extent)).collect()
}

/// Gatherises and compares at a few batches; gives the new graph.
fn check(graph: Graph, rng: &mut Rng) -> Graph {
    let (after, _) = run_pass("gatherise", gatherise::run, graph.clone());
    for node in after.nodes.values() {
        if let Op::Contract(contract) = &node.op {
            assert!(contract.normal_form().is_some() && contract.congruences.is_empty(), "{after}");
        }
    }
    for batch in [1, 3] {
        let inputs = random_inputs(&graph, batch, rng);
        assert_same_results(&graph, &after, &inputs, batch, TOLERANCE);
    }
    after
}

/// `y[s*i + d*u - p] += x[i] * w[u]`, whatever lies in `0..extent`.
fn window(s: i64, d: i64, p: i64, n: i64, k: i64, extent: i64) -> Graph {
    let mut graph = Graph::new("window");
    let (x, w) = (leaf(&mut graph, "x", &fixed(&[n])), leaf(&mut graph, "w", &fixed(&[k])));
    let out = Affine::new([(0, s), (1, d)], -p);
    let shape = fixed(&[extent]);
    let contract = Contract {
        out: vec![out.clone()],
        guards: vec![Guard { expr: out, extent: shape[0] }],
        ..Contract::normal(
            Combine::Sum,
            fixed(&[n, k]),
            0,
            vec![Read::axes(x, &[0]), Read::axes(w, &[1])],
        )
    };
    write(&mut graph, contract, &shape);
    graph
}

#[test]
fn windows_of_every_small_stride_dilation_padding_and_kernel() {
    let mut rng = Rng(1);
    for s in 1..=4 {
        for d in [1, 2, 3, 4, -1, -2] {
            for k in 1..=4 {
                for p in [0, 1, 3] {
                    for extent in [1, 5, 8, 13] {
                        check(window(s, d, p, 4, k, extent), &mut rng);
                    }
                }
            }
        }
    }
}

#[test]
fn windows_whose_residues_do_not_split() {
    // Strides of five and seven meet dilations that are neither 1 nor -1 modulo the stride.
    let mut rng = Rng(2);
    for s in [5, 6, 7, -5, -3] {
        for d in [2, 3, 4, 5, 6, 9, 10] {
            for k in [1, 2, 3, 8] {
                for p in [-2, 0, 4] {
                    check(window(s, d, p, 3, k, 17), &mut rng);
                }
            }
        }
    }
}

#[test]
fn a_strided_window_sums_over_its_own_taps_only() {
    let after = check(window(2, 1, 1, 16, 3, 32), &mut Rng(3));
    let spaces: Vec<i64> = after
        .nodes
        .values()
        .filter_map(|node| match &node.op {
            Op::Contract(contract) => {
                Some(contract.space.iter().map(|dim| dim.at(1)).product::<i64>())
            }
            _ => None,
        })
        .collect();
    // 17 positions of two phases with two taps each.
    assert_eq!(spaces, [17 * 2 * 2], "{after}");
}

#[test]
fn the_text_before_and_after() {
    let before = window(2, 1, 1, 4, 3, 8);
    assert!(
        before
            .to_string()
            .contains("into [2*i0 + i1 - 1] %0[i0] * %1[i1] where 0 <= 2*i0 + i1 - 1 < 8"),
        "{before}"
    );
    let after = check(before, &mut Rng(11)).to_string();
    let lines: Vec<&str> =
        after.lines().map(str::trim).filter(|line| line.starts_with('%')).collect();
    let expected = [
        "%2: f64[5, 2] = contract sum [i0 < 5, i1 < 2, i2 < 2] %0[i0 - i2] skip * %1[i1 + 2*i2] skip",
        "%3: f64[10] = reshape %2",
        "%4: f64[8] = view %3[i0 + 1]",
    ];
    assert_eq!(lines[2..], expected);
}

#[test]
fn adjoints_of_convolutions_with_batch_and_channels() {
    let mut rng = Rng(4);
    for (s, d, k, same) in [
        (1, 1, 3, true),
        (1, 1, 5, false),
        (2, 1, 3, true),
        (2, 2, 3, true),
        (2, 1, 1, false),
        (3, 1, 2, false),
    ] {
        let mut graph = Graph::new("conv");
        let (h, c, f) = (7, 2, 3);
        let p = if same { (d * (k - 1)) / 2 } else { 0 };
        let o = (h + 2 * p - d * (k - 1) - 1) / s + 1;
        let dy =
            leaf(&mut graph, "dy", &[Dim::batch(), Dim::fixed(o), Dim::fixed(o), Dim::fixed(f)]);
        let w = leaf(&mut graph, "w", &fixed(&[k, k, c, f]));
        // n i j f u v c
        let mut space = vec![Dim::batch()];
        space.extend(fixed(&[o, o, f, k, k, c]));
        let row = Affine::new([(1, s), (4, d)], -p);
        let column = Affine::new([(2, s), (5, d)], -p);
        let guards =
            [&row, &column].map(|expr| Guard { expr: expr.clone(), extent: Dim::fixed(h) });
        let reads = vec![Read::axes(dy, &[0, 1, 2, 3]), Read::axes(w, &[4, 5, 6, 3])];
        let contract = Contract {
            out: vec![Affine::axis(0), row, column, Affine::axis(6)],
            guards: guards.to_vec(),
            ..Contract::normal(Combine::Sum, space, 0, reads)
        };
        write(&mut graph, contract, &[Dim::batch(), Dim::fixed(h), Dim::fixed(h), Dim::fixed(c)]);
        let after = check(graph, &mut rng);
        for node in after.nodes.values() {
            if let Op::Contract(contract) = &node.op {
                assert!(contract.guards.is_empty(), "guards are ranges of reads\n{after}");
                // Filters are innermost: they lie side by side in both operands.
                let last = contract.space.len() - 1;
                assert_eq!(contract.reads[0].subs.last().and_then(Affine::as_axis), Some(last));
            }
        }
    }
}

#[test]
fn merged_axes_become_reshapes() {
    // y[12*a + 4*b + c] += x[a, b, c]: nothing is summed.
    let mut graph = Graph::new("merge");
    let x = leaf(&mut graph, "x", &fixed(&[5, 3, 4]));
    let contract = Contract {
        out: vec![Affine::new([(0, 12), (1, 4), (2, 1)], 0)],
        ..Contract::normal(Combine::Sum, fixed(&[5, 3, 4]), 0, vec![Read::axes(x, &[0, 1, 2])])
    };
    write(&mut graph, contract, &fixed(&[60]));
    let after = check(graph, &mut Rng(5));
    assert!(!after.nodes.values().any(|node| matches!(node.op, Op::Contract(_))), "{after}");
}

#[test]
fn merged_axes_may_follow_the_batch() {
    // y[4*n + t] += x[n, t]
    let mut graph = Graph::new("merge");
    let shape = [Dim::batch(), Dim::fixed(4)];
    let x = leaf(&mut graph, "x", &shape);
    let contract = Contract {
        out: vec![Affine::new([(0, 4), (1, 1)], 0)],
        ..Contract::normal(Combine::Sum, shape.to_vec(), 0, vec![Read::axes(x, &[0, 1])])
    };
    write(&mut graph, contract, &[Dim { batch_factor: 4, constant: 0 }]);
    let after = check(graph, &mut Rng(6));
    assert!(!after.nodes.values().any(|node| matches!(node.op, Op::Contract(_))), "{after}");
}

#[test]
fn diagonals_constants_and_flips() {
    let mut rng = Rng(7);
    // y[i, i] += x[i, j];  y[i, 2] += ..;  y[3 - i, j] += ..
    for out in [
        [Affine::axis(0), Affine::axis(0)],
        [Affine::axis(0), Affine::constant(2)],
        [Affine::new([(0, -1)], 3), Affine::axis(1)],
        [Affine::new([(0, 1), (1, 1)], 0), Affine::axis(1)],
        [Affine::new([(0, 2)], 1), Affine::new([(1, 3)], 0)],
        [Affine::constant(1), Affine::constant(0)],
    ] {
        let mut graph = Graph::new("pattern");
        let x = leaf(&mut graph, "x", &fixed(&[4, 3]));
        let contract = Contract {
            out: out.to_vec(),
            ..Contract::normal(Combine::Sum, fixed(&[4, 3]), 0, vec![Read::axes(x, &[0, 1])])
        };
        write(&mut graph, contract, &fixed(&[8, 7]));
        check(graph, &mut rng);
    }
}

#[test]
fn two_windows_into_one_axis() {
    // y[4*i + 2*u + v] += x[i, u] * w[u, v]: residues of residues.
    let mut rng = Rng(8);
    for (a, b, c) in [(4, 2, 1), (6, 3, 1), (6, 2, 3), (2, 2, 2), (9, 3, 2), (1, 1, 1), (5, 2, 3)] {
        let mut graph = Graph::new("nested");
        let (x, w) =
            (leaf(&mut graph, "x", &fixed(&[4, 3])), leaf(&mut graph, "w", &fixed(&[3, 3])));
        let contract = Contract {
            out: vec![Affine::new([(0, a), (1, b), (2, c)], 0)],
            ..Contract::normal(
                Combine::Sum,
                fixed(&[4, 3, 3]),
                0,
                vec![Read::axes(x, &[0, 1]), Read::axes(w, &[1, 2])],
            )
        };
        write(&mut graph, contract, &fixed(&[3 * a + 2 * b + 2 * c + 1]));
        check(graph, &mut rng);
    }
}

#[test]
fn fills_guards_and_congruences_survive() {
    let mut rng = Rng(9);
    let fills = [
        Fill::Value(dlc_ir::graph::Literal::Float(0.0)),
        Fill::Value(dlc_ir::graph::Literal::Float(2.5)),
        Fill::Skip,
    ];
    for fill in fills {
        for modulus in [None, Some(2), Some(3)] {
            for s in [1, 2, 3] {
                let mut graph = Graph::new("terms");
                let (x, w) =
                    (leaf(&mut graph, "x", &fixed(&[4])), leaf(&mut graph, "w", &fixed(&[3])));
                let read = Read { value: x, subs: vec![Affine::new([(0, 1), (1, 1)], -1)], fill };
                let expr = Affine::new([(0, 1), (1, 2)], 1);
                let contract = Contract {
                    out: vec![Affine::new([(0, s), (1, 1)], 0)],
                    guards: vec![Guard {
                        expr: Affine::new([(0, 1), (1, -1)], 0),
                        extent: Dim::fixed(3),
                    }],
                    congruences: modulus
                        .map(|modulus| Congruence { expr: expr.clone(), modulus })
                        .into_iter()
                        .collect(),
                    ..Contract::normal(
                        Combine::Sum,
                        fixed(&[5, 3]),
                        0,
                        vec![read, Read::axes(w, &[1])],
                    )
                };
                write(&mut graph, contract, &fixed(&[4 * s + 3]));
                check(graph, &mut rng);
            }
        }
    }
}

#[test]
fn random_writes() {
    let mut rng = Rng(10);
    for _ in 0..400 {
        let mut graph = Graph::new("random");
        let n_axes = 1 + rng.below(4) as usize;
        let extents: Vec<i64> = (0..n_axes).map(|_| 1 + rng.below(4) as i64).collect();
        let mut space = fixed(&extents);
        if rng.below(3) == 0 {
            space[0] = Dim::batch();
        }
        let x = leaf(&mut graph, "x", &space);
        let axes: Vec<usize> = (0..n_axes).collect();
        let n_out = 1 + rng.below(3) as usize;
        let mut shape = Vec::new();
        let (mut out, mut guards) = (Vec::new(), Vec::new());
        for _ in 0..n_out {
            let mut sub = Affine::constant(rng.below(3) as i64 - 1);
            for axis in 0..n_axes {
                if rng.below(2) == 0 {
                    let by = rng.below(9) as i64 - 4;
                    sub = sub.plus(&Affine::new([(axis, by)], 0));
                }
            }
            let extent = Dim::fixed(1 + rng.below(9) as i64);
            guards.push(Guard { expr: sub.clone(), extent });
            out.push(sub);
            shape.push(extent);
        }
        let contract = Contract {
            out,
            guards,
            ..Contract::normal(Combine::Sum, space, 0, vec![Read::axes(x, &axes)])
        };
        // A left side that is the identity would have to have the extents of its axes.
        if contract.normal_form().is_some() {
            continue;
        }
        write(&mut graph, contract, &shape);
        check(graph, &mut rng);
    }
}
