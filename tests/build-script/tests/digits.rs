//! The compiled model trains on the digits that come with dlc, to the same bits as in process.

use dlc::data::{DataSpec, Dataset};
use dlc::{Model, Options};
use dlc_build_script_tests::digits_mlp::{self, Error, IMAGE_SHAPE, image_elements};
use ndarray::ArrayView;

const BATCH: usize = 32;
const SEED: u32 = 5;

/// Images and labels of some examples.
fn examples(data: &Dataset, first: usize, n: usize) -> (Vec<f32>, Vec<i32>) {
    let numbers: Vec<u32> = (first..first + n).map(|example| example as u32).collect();
    let mut image = vec![0.0; image_elements(n)];
    let mut label = vec![0; n];
    data.gather("image", &numbers, &mut image).unwrap();
    data.gather("label", &numbers, &mut label).unwrap();
    (image, label)
}

/// A model, or nothing on a processor without AVX2.
fn model() -> Option<digits_mlp::Model> {
    match digits_mlp::Model::new(SEED) {
        Err(Error::Processor) => {
            eprintln!("skipped: this processor has no AVX2");
            None
        }
        model => Some(model.unwrap()),
    }
}

#[test]
fn it_learns_digits_with_the_bits_of_the_compiler_in_process() {
    let Some(mut model) = model() else { return };
    let data = "digits".parse::<DataSpec>().unwrap().load().unwrap();
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits_mlp.dl");
    let options = Options { batch: BATCH, threads: 1, seed: SEED, ..Options::default() };
    let mut net = Model::from_file(text).unwrap().compile(&options).unwrap();
    let steps = 4 * (data.train.n_examples() / BATCH);
    model.plan_steps(steps as i32);
    net.session_mut().plan_steps(steps as u64);
    let mut losses = Vec::new();
    for step in 0..steps {
        let first = step * BATCH % (data.train.n_examples() - BATCH);
        let (image, label) = examples(&data.train, first, BATCH);
        let loss = model.train_step(BATCH, &image, &label).unwrap().loss;
        losses.push(loss);
        let shape = [BATCH, IMAGE_SHAPE[0], IMAGE_SHAPE[1], IMAGE_SHAPE[2]];
        let image = ArrayView::from_shape(shape, &image).unwrap();
        let label = ArrayView::from_shape(BATCH, &label).unwrap();
        let other = net.train_step(&[("image", image.into()), ("label", label.into())]).unwrap();
        assert_eq!(loss.to_bits(), other.to_bits(), "step {step}");
    }
    assert!(losses[steps - 1] < 0.3 * losses[0], "{losses:?}");
    assert!(model.save().unwrap() == net.session().export_weights());

    let test = data.test.unwrap();
    let (mut correct, mut n) = (0, 0);
    while n < test.n_examples() {
        let batch = (test.n_examples() - n).min(BATCH);
        let (image, label) = examples(&test, n, batch);
        let mut logits = vec![0.0; digits_mlp::logits_elements(batch)];
        model.forward(batch, &image, &mut logits).unwrap();
        for (row, &label) in logits.chunks_exact(10).zip(&label) {
            let best = (0..10).max_by(|&a, &b| f32::total_cmp(&row[a], &row[b]));
            correct += usize::from(best == Some(label as usize));
        }
        n += batch;
    }
    assert!(correct as f64 > 0.85 * n as f64, "{correct} of {n}");
}

#[test]
fn wrong_use_is_an_error() {
    let Some(mut model) = model() else { return };
    let before = model.save().unwrap();
    let (image, mut label) = (vec![0.5; image_elements(2)], vec![1, 10]);
    assert_eq!(model.train_step(3, &image, &label).unwrap_err(), Error::Length);
    assert_eq!(model.train_step(0, &[], &[]).unwrap_err(), Error::Batch);
    assert_eq!(model.train_step(2, &image, &label).unwrap_err(), Error::Index);
    assert!(model.save().unwrap() == before, "a refused step changes nothing");
    label[1] = 9;
    model.train_step(2, &image, &label).unwrap();
    assert!(model.save().unwrap() != before);
    assert_eq!(model.load(&before[1..]).unwrap_err(), Error::File);
    assert!(model.save().unwrap() != before, "a refused file changes nothing");
    model.load(&before).unwrap();
    assert!(model.save().unwrap() == before);
    let fresh = digits_mlp::Model::from_weights(&before).unwrap();
    assert!(fresh.save().unwrap() == before);
    assert_eq!(Error::Batch.to_string(), "the batch is empty or larger than the largest batch");
}
