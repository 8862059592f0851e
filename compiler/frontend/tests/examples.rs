//! The example models: they elaborate, and have the parameters that they are known for.

mod support;

use support::{compile, expect_file, graphs};

fn example(name: &str) -> dlc_frontend::ModelProgram {
    let path = format!("{}/../../examples/{name}.dl", env!("CARGO_MANIFEST_DIR"));
    compile(&std::fs::read_to_string(path).expect("the example is there"))
}

#[test]
fn parameter_counts_are_those_of_the_literature() {
    for (name, count) in [
        ("lenet", 431_080),
        ("mnist_mlp", 669_706),
        ("iris_mlp", 403),
        ("digits_mlp", 6_570),
        ("char_lstm", 26_033),
        ("cifar_cnn", 2_168_362),
        ("resnet20", 272_474),
        ("resnet50", 25_557_032),
        ("nano_gpt", 822_016),
        ("wide_mlp", 54_440_936),
    ] {
        let program = example(name);
        assert_eq!(program.name, name);
        assert_eq!(program.trainable(), count, "{name}");
        assert!(program.train.is_some());
        assert!(program.settings.batch.is_some() && program.settings.epochs.is_some());
        for graph in graphs(&program) {
            assert!(!graph.outputs.is_empty(), "{}", graph.name);
        }
    }
}

#[test]
fn lenet_is_summarised_layer_by_layer() {
    let program = example("lenet");
    let rows: Vec<(String, Option<i64>, i64, i64)> = program
        .summary
        .iter()
        .map(|row| {
            let elements =
                row.shape.as_ref().map(|shape| shape.iter().map(|dim| dim.at(1)).product());
            (row.name.clone(), elements, row.params, row.multiply_adds)
        })
        .collect();
    let row = |name: &str, elements, params, adds| (name.to_string(), Some(elements), params, adds);
    assert_eq!(
        rows,
        [
            row("conv_1", 24 * 24 * 20, 520, 24 * 24 * 20 * 25),
            row("max_pool", 12 * 12 * 20, 0, 0),
            row("conv_2", 8 * 8 * 50, 25_050, 8 * 8 * 50 * 500),
            row("max_pool", 4 * 4 * 50, 0, 0),
            row("flatten", 800, 0, 0),
            row("dense_1", 500, 400_500, 400_000),
            row("relu", 500, 0, 0),
            row("dense_2", 10, 5_010, 5_000),
        ]
    );
}

#[test]
fn graphs_are_as_reviewed() {
    let lenet = example("lenet");
    expect_file("graphs/lenet.predict.txt", &lenet.predict.to_string());
    let train = lenet.train.expect("lenet is trained");
    expect_file("graphs/lenet.train.txt", &train.graph.to_string());
    expect_file("graphs/lenet.finish.txt", &lenet.finish.to_string());
    let padded = compile(
        "model padded(x: f32[batch, 9, 3]) -> y: f32[batch, 5, 4] { y = x |> conv(4, kernel = 3, stride = 2) |> avg_pool(3, stride = 1, padding = same) }",
    );
    expect_file("graphs/padded.predict.txt", &padded.predict.to_string());
}
