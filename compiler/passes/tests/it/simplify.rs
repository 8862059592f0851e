//! Each rule where it applies, with the text before and after, and where it must not.

use crate::support::{Rng, assert_same_results, random_inputs, run_pass};
use dlc_ir::graph::{Graph, parse};
use dlc_passes::simplify;
use std::collections::BTreeSet;

/// Leaves that every case may use.
const LEAVES: &str = "graph \"t\" shards 4 class fused {
stage forward
  %0: f32[batch, 4] = input data \"x\"
  %1: f32[4, 3] = input data \"w\"
  %2: bool[batch, 4] = input data \"c\"
  %3: i32[batch, 4] = input data \"n\"
  %4: f32[4] = input data \"b\"
";

fn graph(body: &str, frozen: bool) -> Graph {
    let header = if frozen { LEAVES.replace("fused {", "fused frozen {") } else { LEAVES.into() };
    let text = format!("{header}{body}\n}}\n");
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The lines after the leaves.
fn body(graph: &Graph) -> String {
    let text = graph.to_string();
    let lines: Vec<&str> =
        text.lines().skip(7).map(str::trim).filter(|line| *line != "}").collect();
    lines.join("\n")
}

struct RuleCase {
    rule: &'static str,
    applies: (&'static str, &'static str),
    refuses: &'static str,
}

const CASES: &[RuleCase] = &[
    RuleCase {
        rule: "fold_const",
        applies: (
            "%5: f32[2] = const 0.1\n%6: f32[2] = const 3.0\n%7: f32[2] = mul %5, %6\nresult \"y\" %7",
            "%5: f32[2] = const 0.30000001192092896\nresult \"y\" %5",
        ),
        // A division by zero is the step's error to report.
        refuses: "%5: i32[2] = const 1\n%6: i32[2] = const 0\n%7: i32[2] = div %5, %6\nresult \"y\" %7",
    },
    RuleCase {
        rule: "mul_one",
        applies: (
            "%5: f32[batch, 4] = const 1.0\n%6: f32[batch, 4] = mul %5, %0\nresult \"y\" %6",
            "result \"y\" %0",
        ),
        refuses: "%5: f32[batch, 4] = const 2.0\n%6: f32[batch, 4] = mul %0, %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "mul_minus_one",
        applies: (
            "%5: f32[batch, 4] = const -1.0\n%6: f32[batch, 4] = mul %0, %5\nresult \"y\" %6",
            "%5: f32[batch, 4] = neg %0\nresult \"y\" %5",
        ),
        refuses: "%5: f32[batch, 4] = const 0.0\n%6: f32[batch, 4] = mul %0, %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "add_neutral",
        applies: (
            "%5: f32[batch, 4] = const -0.0\n%6: f32[batch, 4] = add %0, %5\nresult \"y\" %6",
            "result \"y\" %0",
        ),
        refuses: "%5: f32[batch, 4] = const 0.0\n%6: f32[batch, 4] = add %0, %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "sub_zero",
        applies: (
            "%5: f32[batch, 4] = const 0.0\n%6: f32[batch, 4] = sub %0, %5\nresult \"y\" %6",
            "result \"y\" %0",
        ),
        refuses: "%5: f32[batch, 4] = const -0.0\n%6: f32[batch, 4] = sub %0, %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "add_neg",
        applies: (
            "%5: f32[batch, 4] = neg %0\n%6: f32[batch, 4] = exp %0\n%7: f32[batch, 4] = add %5, %6\nresult \"y\" %7",
            "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = sub %5, %0\nresult \"y\" %6",
        ),
        refuses: "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = add %5, %0\nresult \"y\" %6",
    },
    RuleCase {
        rule: "sub_neg",
        applies: (
            "%5: f32[batch, 4] = neg %0\n%6: f32[batch, 4] = exp %0\n%7: f32[batch, 4] = sub %6, %5\nresult \"y\" %7",
            "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = add %5, %0\nresult \"y\" %6",
        ),
        // -x - e^x has no cheaper form.
        refuses: "%5: f32[batch, 4] = neg %0\n%6: f32[batch, 4] = exp %0\n%7: f32[batch, 4] = sub %5, %6\nresult \"y\" %7",
    },
    RuleCase {
        rule: "div_one",
        applies: (
            "%5: f32[batch, 4] = const 1.0\n%6: f32[batch, 4] = div %0, %5\nresult \"y\" %6",
            "result \"y\" %0",
        ),
        refuses: "%5: f32[batch, 4] = const 1.0\n%6: f32[batch, 4] = div %5, %0\nresult \"y\" %6",
    },
    RuleCase {
        rule: "div_power_of_two",
        applies: (
            "%5: f32[batch, 4] = const -8.0\n%6: f32[batch, 4] = div %0, %5\nresult \"y\" %6",
            "%5: f32[batch, 4] = const -0.125\n%6: f32[batch, 4] = mul %0, %5\nresult \"y\" %6",
        ),
        refuses: "%5: f32[batch, 4] = const 3.0\n%6: f32[batch, 4] = div %0, %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "neg_neg",
        applies: (
            "%5: f32[batch, 4] = neg %0\n%6: f32[batch, 4] = neg %5\nresult \"y\" %6",
            "result \"y\" %0",
        ),
        refuses: "%5: f32[batch, 4] = abs %0\n%6: f32[batch, 4] = neg %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "abs_of_sign",
        applies: (
            "%5: f32[batch, 4] = neg %0\n%6: f32[batch, 4] = abs %5\nresult \"y\" %6",
            "%5: f32[batch, 4] = abs %0\nresult \"y\" %5",
        ),
        refuses: "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = abs %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "not_not",
        applies: (
            "%5: bool[batch, 4] = not %2\n%6: bool[batch, 4] = not %5\nresult \"y\" %6",
            "result \"y\" %2",
        ),
        refuses: "%5: bool[batch, 4] = not %2\nresult \"y\" %5",
    },
    RuleCase {
        rule: "same_operands",
        applies: ("%5: f32[batch, 4] = max %0, %0\nresult \"y\" %5", "result \"y\" %0"),
        refuses: "%5: f32[batch, 4] = add %0, %0\nresult \"y\" %5",
    },
    RuleCase {
        rule: "truth_const",
        applies: (
            "%5: bool[batch, 4] = const true\n%6: bool[batch, 4] = and %5, %2\nresult \"y\" %6",
            "result \"y\" %2",
        ),
        refuses: "%5: bool[batch, 4] = lt %0, %0\n%6: bool[batch, 4] = and %5, %2\nresult \"y\" %6",
    },
    RuleCase {
        rule: "select_known",
        applies: ("%5: f32[batch, 4] = select %2, %0, %0\nresult \"y\" %5", "result \"y\" %0"),
        refuses: "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = select %2, %0, %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "select_not",
        applies: (
            "%5: bool[batch, 4] = not %2\n%6: f32[batch, 4] = exp %0\n%7: f32[batch, 4] = select %5, %0, %6\nresult \"y\" %7",
            "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = select %2, %5, %0\nresult \"y\" %6",
        ),
        refuses: "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = select %2, %0, %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "view_identity",
        applies: ("%5: f32[batch, 4] = view %0[i0, i1]\nresult \"y\" %5", "result \"y\" %0"),
        refuses: "%5: f32[batch, 4] = view %0[i0, -i1 + 3]\nresult \"y\" %5",
    },
    RuleCase {
        rule: "view_of_const",
        applies: (
            "%5: f32[] = const 2.0\n%6: f32[batch, 4] = view %5[]\nresult \"y\" %6",
            "%5: f32[batch, 4] = const 2.0\nresult \"y\" %5",
        ),
        refuses: "%5: f32[3] = const 2.0\n%6: f32[4] = view %5[i0] else 0.0\nresult \"y\" %6",
    },
    RuleCase {
        rule: "view_of_iota",
        applies: (
            "%5: i32[4] = iota i0\n%6: i32[batch, 4] = view %5[i1]\nresult \"y\" %6",
            "%5: i32[batch, 4] = iota i1\nresult \"y\" %5",
        ),
        refuses: "%5: i32[4] = iota i0\n%6: i32[4] = view %5[-i0 + 3]\nresult \"y\" %6",
    },
    RuleCase {
        rule: "view_of_view",
        applies: (
            "%5: f32[4, batch] = view %0[i1, i0]\n%6: f32[4, 2, batch] = view %5[-i0 + 3, i2]\nresult \"y\" %6",
            "%5: f32[4, 2, batch] = view %0[i2, -i0 + 3]\nresult \"y\" %5",
        ),
        // What was cut off must not come back by padding.
        refuses: "%5: f32[2] = view %4[i0]\n%6: f32[4] = view %5[i0] else 0.0\nresult \"y\" %6",
    },
    RuleCase {
        rule: "reshape_identity",
        applies: ("%5: f32[batch, 4] = reshape %0\nresult \"y\" %5", "result \"y\" %0"),
        refuses: "%5: f32[4*batch] = reshape %0\nresult \"y\" %5",
    },
    RuleCase {
        rule: "reshape_of_reshape",
        applies: (
            "%5: f32[4*batch] = reshape %0\n%6: f32[2*batch, 2] = reshape %5\nresult \"y\" %6",
            "%5: f32[2*batch, 2] = reshape %0\nresult \"y\" %5",
        ),
        refuses: "%5: f32[batch, 4] = exp %0\n%6: f32[4*batch] = reshape %5\nresult \"y\" %6",
    },
    RuleCase {
        rule: "reshape_of_const",
        applies: (
            "%5: f32[2, 2] = const 2.0\n%6: f32[4] = reshape %5\nresult \"y\" %6",
            "%5: f32[4] = const 2.0\nresult \"y\" %5",
        ),
        refuses: "%5: f32[2, 2] = reshape %4\nresult \"y\" %5",
    },
    RuleCase {
        rule: "reshape_of_unit_axes",
        applies: (
            "%5: f32[batch, 1, 4, 1] = reshape %0\nresult \"y\" %5",
            "%5: f32[batch, 1, 4, 1] = view %0[i0, i2]\nresult \"y\" %5",
        ),
        refuses: "%5: f32[2, 1, 2] = reshape %4\nresult \"y\" %5",
    },
    RuleCase {
        rule: "convert_identity",
        applies: ("%5: f32[batch, 4] = convert %0\nresult \"y\" %5", "result \"y\" %0"),
        refuses: "%5: f64[batch, 4] = convert %0\nresult \"y\" %5",
    },
    RuleCase {
        rule: "extent_fixed",
        applies: (
            "%5: f32[] = extent 12\nresult \"y\" %5",
            "%5: f32[] = const 12.0\nresult \"y\" %5",
        ),
        refuses: "%5: f32[] = extent batch\nresult \"y\" %5",
    },
    RuleCase {
        rule: "iota_of_one",
        applies: (
            "%5: i32[batch, 1] = iota i1\nresult \"y\" %5",
            "%5: i32[batch, 1] = const 0\nresult \"y\" %5",
        ),
        refuses: "%5: i32[batch, 1] = iota i0\nresult \"y\" %5",
    },
    RuleCase {
        rule: "read_through_view",
        applies: (
            "%5: f32[batch, 6] = view %0[i0, i1 - 1] else 0.0\n%6: f32[batch] = contract sum [i0 < batch, i1 < 3] %5[i0, 2*i1]\nresult \"y\" %6",
            "%5: f32[batch] = contract sum [i0 < batch, i1 < 3] %0[i0, 2*i1 - 1] else 0.0\nresult \"y\" %5",
        ),
        refuses: "%5: f32[2] = view %4[i0]\n%6: f32[] = contract sum [i0 < 4] %5[i0] else 1.0\nresult \"y\" %6",
    },
    RuleCase {
        rule: "tidy_guards",
        applies: (
            "%5: f32[3] = contract sum [i0 < 3, i1 < 3] %4[i0 + i1 - 1] where 0 <= i0 + i1 - 1 < 4\nresult \"y\" %5",
            "%5: f32[3] = contract sum [i0 < 3, i1 < 3] %4[i0 + i1 - 1] skip\nresult \"y\" %5",
        ),
        refuses: "%5: f32[3] = contract sum [i0 < 3, i1 < 2] %4[i0 + i1] where 0 <= i0 - i1 < 3\nresult \"y\" %5",
    },
    RuleCase {
        rule: "factor_one",
        applies: (
            "%5: f32[4] = const 1.0\n%6: f32[batch] = contract sum [i0 < batch, i1 < 4] %0[i0, i1] * %5[i1]\nresult \"y\" %6",
            "%5: f32[batch] = contract sum [i0 < batch, i1 < 4] %0[i0, i1]\nresult \"y\" %5",
        ),
        // Outside the constant lie zeros.
        refuses: "%5: f32[3] = const 1.0\n%6: f32[batch] = contract sum [i0 < batch, i1 < 4] %0[i0, i1] * %5[i1] else 0.0\nresult \"y\" %6",
    },
    RuleCase {
        rule: "unit_axis",
        applies: (
            "%5: f32[batch] = contract sum [i0 < batch, i1 < 1, i2 < 4] %0[i0, i1 + i2]\nresult \"y\" %5",
            "%5: f32[batch] = contract sum [i0 < batch, i1 < 4] %0[i0, i1]\nresult \"y\" %5",
        ),
        refuses: "%5: f32[batch] = contract sum [i0 < batch, i1 < 4] %0[i0, i1]\nresult \"y\" %5",
    },
    RuleCase {
        rule: "no_reduction",
        applies: (
            "%5: f32[batch, 4] = contract sum [i0 < batch, i1 < 4] %0[i0, i1] * %4[i1]\nresult \"y\" %5",
            "%5: f32[batch, 4] = view %4[i1]\n%6: f32[batch, 4] = mul %0, %5\nresult \"y\" %6",
        ),
        refuses: "%5: f32[batch] = contract sum [i0 < batch, i1 < 4] %0[i0, i1] * %4[i1]\nresult \"y\" %5",
    },
    RuleCase {
        rule: "hoist_factor",
        applies: (
            "%5: f32[4] = contract sum [i0 < 4, i1 < batch] %0[i1, i0] * %4[i0]\nresult \"y\" %5",
            "%5: f32[4] = contract sum [i0 < 4, i1 < batch] %0[i1, i0]\n%6: f32[4] = mul %5, %4\nresult \"y\" %6",
        ),
        refuses: "%5: f32[batch] = contract sum [i0 < batch, i1 < 4] %0[i0, i1] * %4[i1]\nresult \"y\" %5",
    },
    RuleCase {
        rule: "lanes_last",
        applies: (
            "%5: f32[3, batch] = contract sum [i0 < 3, i1 < batch, i2 < 4] %0[i1, i2] * %1[i2, i0]\nresult \"y\" %5",
            "%5: f32[batch, 3] = contract sum [i0 < batch, i1 < 3, i2 < 4] %0[i0, i2] * %1[i2, i1]\n%6: f32[3, batch] = view %5[i1, i0]\nresult \"y\" %6",
        ),
        refuses: "%5: f32[batch, 3] = contract sum [i0 < batch, i1 < 3, i2 < 4] %0[i0, i2] * %1[i2, i1]\nresult \"y\" %5",
    },
    RuleCase {
        rule: "run_last",
        applies: (
            "%5: f32[] = contract sum [i0 < 4, i1 < batch] %0[i1, i0]\nresult \"y\" %5",
            "%5: f32[] = contract sum [i0 < batch, i1 < 4] %0[i0, i1]\nresult \"y\" %5",
        ),
        // The number of a term counts in the order of the axes.
        refuses: "%5: i32[] = contract argmax [i0 < 4, i1 < batch] %0[i1, i0]\nresult \"y\" %5",
    },
    RuleCase {
        rule: "product_into_sum",
        applies: (
            "%5: f32[batch, 4] = view %4[i1]\n%6: f32[batch, 4] = mul %0, %5\n%7: f32[batch] = contract sum [i0 < batch, i1 < 4] %6[i0, i1]\nresult \"y\" %7",
            "%5: f32[batch] = contract sum [i0 < batch, i1 < 4] %0[i0, i1] * %4[i1]\nresult \"y\" %5",
        ),
        // The product is needed by itself.
        refuses: "%5: f32[batch, 4] = view %4[i1]\n%6: f32[batch, 4] = mul %0, %5\n%7: f32[batch] = contract sum [i0 < batch, i1 < 4] %6[i0, i1]\nresult \"y\" %7\nresult \"z\" %6",
    },
];

#[test]
fn rules_apply_where_they_should() {
    let mut rng = Rng(21);
    for case in CASES {
        let before = graph(case.applies.0, false);
        let (after, report) = run_pass("simplify", simplify::run, before.clone());
        assert_eq!(body(&after), case.applies.1, "{}", case.rule);
        assert!(report.counts.contains_key(case.rule), "{} did not apply", case.rule);
        let inputs = random_inputs(&before, 3, &mut rng);
        assert_same_results(&before, &after, &inputs, 3, 1e-6);
    }
}

#[test]
fn rules_refuse_where_they_must() {
    for case in CASES {
        let before = graph(case.refuses, false);
        let (_, report) = run_pass("simplify", simplify::run, before);
        assert!(!report.counts.contains_key(case.rule), "{} applied", case.rule);
    }
}

#[test]
fn every_rule_has_a_case() {
    let tested: BTreeSet<&str> = CASES.iter().map(|case| case.rule).collect();
    let rules: BTreeSet<&str> = simplify::rule_names().into_iter().collect();
    assert_eq!(tested, rules);
}

#[test]
fn common_values_are_computed_once_and_unused_ones_not_at_all() {
    let before = graph(
        "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = exp %0\n%7: f32[batch, 4] = add %5, %6\n%8: f32[batch, 4] = sin %0\nresult \"y\" %7",
        false,
    );
    let (after, _) = run_pass("simplify", simplify::run, before);
    assert_eq!(
        body(&after),
        "%5: f32[batch, 4] = exp %0\n%6: f32[batch, 4] = add %5, %5\nresult \"y\" %6"
    );
}

#[test]
fn frozen_graphs_keep_orders_and_signs_of_zeros() {
    let contract =
        "contract sum [i0 < batch, i1 < 1, i2 < 4] %5[i0, i1, i2] order chain(run 4, runs 64)";
    let before = graph(
        &format!(
            "%5: f32[batch, 1, 4] = view %0[i0, i2]\n%6: f32[batch] = {contract}\nresult \"y\" %6"
        ),
        true,
    );
    let (after, _) = run_pass("simplify", simplify::run, before.clone());
    // The view is read through; the axis of one element stays, because it belongs to the order.
    let expected = "%5: f32[batch] = contract sum [i0 < batch, i1 < 1, i2 < 4] %0[i0, i2] order chain(run 4, runs 64)\nresult \"y\" %5";
    assert_eq!(body(&after), expected);
    let inputs = random_inputs(&before, 3, &mut Rng(22));
    assert_same_results(&before, &after, &inputs, 3, 0.0);
}
