//! Orders by shape, fused products, and that nothing moves after the freeze.

use crate::support::run_pass;
use dlc_ir::graph::{Graph, parse};
use dlc_passes::freeze;

fn frozen(class: &str, body: &str) -> String {
    let text = format!("graph \"t\" shards 4 class {class} {{\nstage forward\n{body}\n}}\n");
    let graph: Graph = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let (graph, _) = run_pass("freeze", freeze::run, graph);
    assert!(graph.frozen);
    graph.to_string()
}

/// The order given to the only contraction.
fn order(leaves: &str, contract: &str, shape: &str) -> String {
    let text = frozen(
        "fused",
        &format!("{leaves}\n%9: f32{shape} = contract {contract}\nresult \"y\" %9"),
    );
    let at = text.find(" order ").expect("every contraction gets an order");
    text[at + 7..].lines().next().expect("the line has an end").to_string()
}

#[test]
fn orders_follow_from_shapes() {
    let dense = "%0: f32[batch, 300] = input data \"x\"\n%1: f32[300, 10] = input data \"w\"";
    let forward = "sum [i0 < batch, i1 < 10, i2 < 300] %0[i0, i2] * %1[i2, i1]";
    assert_eq!(order(dense, forward, "[batch, 10]"), "chain(run 256, runs 1)");
    let dw = "sum [i0 < 300, i1 < 10, i2 < batch] %0[i2, i0] * %2[i2, i1]";
    let dense_dw = "%0: f32[batch, 300] = input data \"x\"\n%2: f32[batch, 10] = input data \"dy\"";
    assert_eq!(order(dense_dw, dw, "[300, 10]"), "chain(run 256, runs 1, shard i2)");

    let conv =
        "%0: f32[batch, 8, 8, 3] = input data \"x\"\n%1: f32[3, 3, 3, 16] = input data \"w\"";
    let y = "sum [i0 < batch, i1 < 6, i2 < 6, i3 < 16, i4 < 3, i5 < 3, i6 < 3] %0[i0, i1 + i4, i2 + i5, i6] * %1[i4, i5, i6, i3]";
    assert_eq!(order(conv, y, "[batch, 6, 6, 16]"), "chain(run 3, runs 86)");

    let rows = "%0: f32[batch, 10] = input data \"x\"";
    assert_eq!(
        order(rows, "max [i0 < batch, i1 < 10] %0[i0, i1]", "[batch]"),
        "lanes(run 1, runs 256)"
    );
    let columns = "sum [i0 < 10, i1 < batch] %0[i1, i0]";
    assert_eq!(order(rows, columns, "[10]"), "chain(run 256, runs 1, shard i1)");
    let all = "sum [i0 < batch, i1 < 10] %0[i0, i1]";
    assert_eq!(order(rows, all, "[]"), "lanes(run 1, runs 256, shard i0)");
    let losses = "%0: f32[batch] = input data \"x\"";
    assert_eq!(order(losses, "sum [i0 < batch] %0[i0]", "[]"), "lanes(run 256, runs 1, shard i0)");
    let long = "%0: f32[5000] = input data \"x\"";
    assert_eq!(order(long, "sum [i0 < 5000] %0[i0]", "[]"), "lanes(run 256, runs 1)");
    // A window along the last axis is not alone there.
    let pool = "%0: f32[batch, 10] = input data \"x\"";
    assert_eq!(
        order(pool, "max [i0 < batch, i1 < 5, i2 < 2] %0[i0, 2*i1 + i2]", "[batch, 5]"),
        "chain(run 2, runs 128)"
    );
}

#[test]
fn few_results_make_row_sums() {
    let leaves = |n: i64| {
        format!("%0: f32[batch, 300] = input data \"x\"\n%1: f32[{n}, 300] = input data \"w\"")
    };
    let contract = |n: i64| format!("sum [i0 < batch, i1 < {n}, i2 < 300] %0[i0, i2] * %1[i1, i2]");
    assert_eq!(order(&leaves(3), &contract(3), "[batch, 3]"), "lanes(run 19, runs 14)");
    assert_eq!(order(&leaves(4), &contract(4), "[batch, 4]"), "chain(run 256, runs 1)");
    // One unit: the weights are a column, whose elements lie side by side.
    let one = "%0: f32[batch, 300] = input data \"x\"\n%1: f32[300, 1] = input data \"w\"";
    let y = "sum [i0 < batch, i1 < 1, i2 < 300] %0[i0, i2] * %1[i2, i1]";
    assert_eq!(order(one, y, "[batch, 1]"), "lanes(run 19, runs 14)");
}

const PRODUCTS: &str = "%0: f32[4] = input data \"a\"
%1: f32[4] = input data \"b\"
%2: f32[4] = mul %0, %1
%3: f32[4] = add %2, %0
%4: f32[4] = mul %3, %1
%5: f32[4] = sub %0, %4
%6: f32[4] = mul %5, %5
%7: f32[4] = sub %6, %1
%8: f32[4] = mul %7, %0
%9: f32[4] = add %8, %8
result \"y\" %9";

#[test]
fn products_of_one_use_fuse_into_sums() {
    let expected = "graph \"t\" shards 4 class fused frozen {
stage forward
  %0: f32[4] = input data \"a\"
  %1: f32[4] = input data \"b\"
  %2: f32[4] = fma %0, %1, %0
  %3: f32[4] = neg %2
  %4: f32[4] = fma %3, %1, %0
  %5: f32[4] = neg %1
  %6: f32[4] = fma %4, %4, %5
  %7: f32[4] = mul %6, %0
  %8: f32[4] = add %7, %7
  result \"y\" %8
}
";
    // The last product has two uses, both in one sum, and stays.
    assert_eq!(frozen("fused", PRODUCTS), expected);
}

#[test]
fn the_unfused_class_keeps_products_and_sums() {
    let text = frozen("unfused", PRODUCTS);
    assert!(!text.contains("fma"), "{text}");
    assert_eq!(text.matches(" = mul").count(), 4);
}

#[test]
fn only_gradients_take_zero_terms() {
    let sum = "contract sum [i0 < 4, i1 < 3] %0[i0 - i1] skip * %1[i1]";
    let leaves = "%0: f32[4] = input data \"x\"\n%1: f32[3] = input data \"w\"";
    let body = format!(
        "{leaves}\n%2: f32[4] = {sum}\nstage backward\n%3: f32[4] = {sum}\nresult \"y\" %2\nresult \"z\" %3"
    );
    let text = frozen("fused", &body);
    assert_eq!(text.matches("skip").count(), 1, "{text}");
    assert_eq!(text.matches("else 0.0").count(), 1, "{text}");
}

#[test]
fn what_is_not_in_normal_form_is_refused() {
    let text = "graph \"t\" shards 4 class fused {\nstage forward\n%0: f32[4] = input data \"x\"\n%1: f32[8] = contract sum [i0 < 4] into [2*i0] %0[i0]\nresult \"y\" %1\n}\n";
    let graph = parse(text).unwrap();
    let error = freeze::run(graph, &dlc_passes::pass::PassCx::default()).unwrap_err();
    assert!(error.to_string().contains("normal form"), "{error}");
}
