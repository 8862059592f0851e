//! Small models of `tests/models` that use most of the language: each trains through machine code.

use dlc::{Model, Options, View};
use dlc_abi::ElemType;
use ndarray::ArrayD;
use std::path::Path;

/// Numbers in [0, 1) that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / 16_777_216.0
    }
}

/// An input of a batch.
enum Input {
    Floats(ArrayD<f32>),
    Integers(ArrayD<i32>),
}

const BATCH: usize = 8;
const STEPS: usize = 30;

/// Trains on one batch: the loss falls, and no parameter stays as it was.
fn train(path: &Path) {
    let name = path.display();
    let model = Model::from_file(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = &model.elaborated().program;
    let takes_turns = program.train.as_ref().is_some_and(|train| train.objectives.len() > 1);
    let options = Options { batch: BATCH, threads: 2, ..Options::default() };
    let mut net = model.compile(&options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut numbers = Numbers(7);
    let inputs: Vec<(&str, Input)> = program
        .inputs
        .iter()
        .map(|input| {
            let shape: Vec<usize> =
                input.shape.iter().map(|dim| dim.at(BATCH as i64) as usize).collect();
            let count = shape.iter().product();
            let classes = input.index.map_or(2, |used| used.extent) as f64;
            let value = match input.elem {
                ElemType::I32 => Input::Integers(
                    ArrayD::from_shape_vec(
                        shape,
                        (0..count).map(|_| (numbers.next() * classes) as i32).collect(),
                    )
                    .expect("as many as the shape says"),
                ),
                _ => Input::Floats(
                    ArrayD::from_shape_vec(
                        shape,
                        (0..count).map(|_| numbers.next() as f32).collect(),
                    )
                    .expect("as many as the shape says"),
                ),
            };
            (input.name.as_str(), value)
        })
        .collect();
    let views: Vec<(&str, View<'_>)> = inputs
        .iter()
        .map(|(name, input)| match input {
            Input::Floats(array) => (*name, View::from(array.view())),
            Input::Integers(array) => (*name, View::from(array.view())),
        })
        .collect();
    let params: Vec<&str> = program.params.iter().map(|param| param.name.as_str()).collect();
    let before: Vec<_> =
        params.iter().map(|name| net.weight(name).expect("its own name")).collect();
    let losses: Vec<f32> = (0..STEPS).map(|_| net.train_step(&views).expect("a step")).collect();
    assert!(losses.iter().all(|loss| loss.is_finite()), "{name}: {losses:?}");
    let (first, last) = (losses[0], losses[STEPS - 1]);
    assert!(takes_turns || last < 0.98 * first, "{name}: the loss goes from {first} to {last}");
    for (param, before) in params.iter().zip(before) {
        assert_ne!(net.weight(param).expect("its own name"), before, "{name}: {param} stays");
    }
    let model_inputs: Vec<(&str, View<'_>)> = views
        .iter()
        .filter(|(name, _)| {
            program.inputs.iter().any(|input| input.name == *name && !input.train_only)
        })
        .cloned()
        .collect();
    let results = net.predict(&model_inputs).expect("a prediction");
    for (result, values) in results.iter() {
        let finite = values.as_f32().is_none_or(|values| values.iter().all(|x| x.is_finite()));
        assert!(finite, "{name}: {result} is not finite");
    }
}

#[test]
fn models_of_the_whole_language_train() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the models are there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 8);
    for path in paths {
        train(&path);
    }
}
