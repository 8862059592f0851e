//! The first 20 training losses of two examples against PyTorch's, from the same weights and batches.
//!
//! `generate.py` beside this file wrote the expected losses and documents the generator of the weights, which is repeated here.

mod models;

use dlc::{Model, Options, View};
use std::io::Read;
use std::path::Path;

/// What `generate.py` wrote.
#[derive(serde::Deserialize)]
struct Expected {
    batch: usize,
    layers: Vec<(String, Vec<usize>)>,
    weight_sum: std::collections::BTreeMap<String, f64>,
    losses: Vec<f64>,
}

/// The generator of the weights.
struct Numbers(u64);

impl Numbers {
    fn param(&mut self, n: usize, limit: f64) -> Vec<f32> {
        let next = |state: &mut u64| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((*state >> 40) as f64 / 16_777_216.0 * 2.0 - 1.0) * limit
        };
        (0..n).map(|_| next(&mut self.0) as f32).collect()
    }
}

/// The embedded digits in the order of their file: pixels from 0 to 1, and labels.
fn digits() -> (Vec<[f32; 64]>, Vec<i32>) {
    let compressed = include_bytes!("../../runtime/data/digits/digits.csv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&compressed[..])
        .read_to_string(&mut text)
        .expect("the embedded file is sound");
    text.lines()
        .map(|line| {
            let row: Vec<u8> =
                line.split(',').map(|field| field.parse().expect("a number")).collect();
            let pixels = std::array::from_fn(|at| f32::from(row[at]) / 16.0);
            (pixels, i32::from(row[64]))
        })
        .unzip()
}

/// Every pixel three times along both axes, and a border of two zeros.
fn enlarged(image: &[f32; 64]) -> Vec<f32> {
    let mut out = vec![0.0; 28 * 28];
    for row in 0..24 {
        for column in 0..24 {
            out[(row + 2) * 28 + column + 2] = image[row / 3 * 8 + column / 3];
        }
    }
    out
}

fn compare(name: &str, side: usize, image: impl Fn(&[f32; 64]) -> Vec<f32>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text =
        std::fs::read_to_string(root.join(format!("tests/parity/{name}.json"))).expect("committed");
    let expected: Expected = serde_json::from_str(&text).expect("as generate.py writes it");
    let model =
        Model::from_file(root.join(format!("examples/{name}.dl"))).expect("the example is sound");
    let options = Options { batch: expected.batch, threads: 2, ..Options::default() };
    let mut net = model.compile(&options).expect("it compiles");
    let mut numbers = Numbers(2024);
    for (layer, shape) in &expected.layers {
        let (n_in, n_out) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        let receptive: usize = shape[..shape.len() - 2].iter().product();
        let limit = (6.0 / (receptive * (n_in + n_out)) as f64).sqrt();
        for (param, shape, limit) in
            [("w", &shape[..], limit), ("b", &shape[shape.len() - 1..], 0.0)]
        {
            let name = format!("{layer}.{param}");
            let values = numbers.param(shape.iter().product(), limit);
            let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
            let wanted = expected.weight_sum[&name];
            assert!(
                (sum - wanted).abs() <= 1e-9 * values.len() as f64,
                "{name}: the generators differ"
            );
            let array = ndarray::ArrayD::from_shape_vec(shape, values)
                .expect("as many values as the shape says");
            net.set_weight(&name, View::from(array.view())).expect("the parameter is there");
        }
    }
    let (images, labels) = digits();
    for (step, &wanted) in expected.losses.iter().enumerate() {
        let rows = step * expected.batch..(step + 1) * expected.batch;
        let pixels: Vec<f32> = images[rows.clone()].iter().flat_map(&image).collect();
        let x = ndarray::Array4::from_shape_vec((expected.batch, side, side, 1), pixels)
            .expect("whole images");
        let y = ndarray::Array1::from_vec(labels[rows].to_vec());
        let inputs = [
            ("image", View::from(x.view().into_dyn())),
            ("label", View::from(y.view().into_dyn())),
        ];
        let loss = f64::from(net.train_step(&inputs).expect("a step"));
        let relative = (loss - wanted).abs() / wanted;
        assert!(
            relative <= 1e-4,
            "{name} step {}: {loss}, PyTorch has {wanted}, {relative:.1e} apart",
            step + 1
        );
    }
}

#[test]
fn digits_mlp_loses_as_pytorch_does() {
    compare("digits_mlp", 8, |image| image.to_vec());
}

#[test]
fn lenet_loses_as_pytorch_does() {
    compare("lenet", 28, enlarged);
}
