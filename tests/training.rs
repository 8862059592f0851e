//! Training through the library: whole models from text to machine code.

use dlc::data::{Column, DataSpec, Dataset, Splits};
use dlc::{
    Control, Error, Event, FitConfig, FitReport, Length, Model, Net, NumericsClass, Options, Target,
};
use ndarray::{Array1, Array2, Axis, s};
use std::path::PathBuf;

const CLASSIFIER: &str = "
model net(x: f32[batch, 3]) -> logits: f32[batch, 4] {
    logits = x |> dense(9) |> tanh |> dense(4)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = adam(lr = 0.02)
    schedule = cosine(warmup = 3)
}
";

const LINE: &str = "
model line(x: f32[batch, 3]) -> y: f32[batch, 1] { y = x |> dense(1) }
train line(target: f32[batch, 1]) {
    loss = mse(y, target)
    optimizer = sgd(lr = 0.1)
}
";

/// A fixed sequence of numbers in [-1, 1).
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn points(n: usize) -> (Vec<f32>, Vec<i32>) {
    let x = numbers(3 * n, 5);
    let label = x.chunks_exact(3).map(|p| i32::from(p[0] > 0.0) + 2 * i32::from(p[1] + p[2] > 0.0));
    let label = label.collect();
    (x, label)
}

fn classes(n: usize) -> Splits {
    let (x, label) = points(n);
    let columns =
        vec![Column::from_f32("x", &[3], x), Column::from_labels("label", Some(4), label)];
    let train = Dataset::new("points", columns).unwrap();
    let test = train.select("some points", &[1, 3, 5, 7, 9, 11, 13]).unwrap();
    Splits { train, test: Some(test) }
}

fn options(batch: usize, threads: usize) -> Options {
    Options { batch, threads, seed: 7, ..Options::default() }
}

fn net(text: &str, options: &Options) -> Net {
    Model::from_text(text).unwrap_or_else(|error| panic!("{error}")).compile(options).unwrap()
}

fn config(batch: usize, epochs: u64) -> FitConfig {
    FitConfig {
        batch,
        length: Length::Epochs(epochs),
        shuffle: true,
        log_every: 0,
        validate: true,
        start: Default::default(),
    }
}

fn fit(net: &mut Net, splits: &Splits, config: &FitConfig) -> FitReport {
    net.fit(splits, config, &mut |_, _| Control::Continue).unwrap()
}

/// All weights as the bytes of their file.
fn weights(net: &Net) -> Vec<u8> {
    net.session().export_weights()
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dlc-training-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_line_is_found() {
    let x = numbers(3 * 50, 1);
    let target = x.chunks_exact(3).map(|p| 2.0 * p[0] - p[1] + 0.5 * p[2] + 0.25).collect();
    let columns = vec![Column::from_f32("x", &[3], x), Column::from_f32("target", &[1], target)];
    let splits = Splits { train: Dataset::new("line", columns).unwrap(), test: None };
    let mut net = net(LINE, &options(8, 1));
    let report = fit(&mut net, &splits, &config(8, 60));
    assert!(report.train.unwrap().loss < 1e-6);
    assert_eq!(report.validation, None);
    let w = net.weight("dense_1.w").unwrap().as_f32().unwrap().clone();
    let b = net.weight("dense_1.b").unwrap().as_f32().unwrap().clone();
    for (found, expected) in w.iter().chain(&b).zip([2.0, -1.0, 0.5, 0.25]) {
        assert!((found - expected).abs() < 1e-3, "{w} {b}");
    }
}

#[test]
fn a_classifier_learns_and_its_reports_add_up() {
    let splits = classes(200);
    let mut net = net(CLASSIFIER, &options(16, 2));
    let (mut losses, mut logs, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
    let config = FitConfig { log_every: 5, ..config(16, 30) };
    let report = net
        .fit(&splits, &config, &mut |_, event| {
            match event {
                Event::Start(start) => assert_eq!((start.steps, start.steps_per_epoch), (390, 13)),
                Event::Step(step) => losses.push((step.result, step.examples)),
                Event::Log(log) => logs.push(log.clone()),
                Event::Epoch(epoch) => epochs.push(epoch.clone()),
            }
            Control::Continue
        })
        .unwrap();
    assert_eq!((losses.len(), logs.len(), epochs.len()), (390, 78, 30));
    // The last batch of an epoch has 8 examples, and the mean over an epoch counts each example once.
    assert_eq!(losses[12].1, 8);
    let total: f64 = losses[..13].iter().map(|(r, n)| f64::from(r.loss) * *n as f64).sum();
    assert_eq!(epochs[0].train.loss, total / 200.0);
    assert_eq!(epochs[0].train.examples, 200);
    let five: f64 = losses[..5].iter().map(|(r, _)| f64::from(r.loss) * 16.0).sum();
    assert_eq!(logs[0].loss, five / 80.0);
    assert_eq!(logs[0].step, 5);
    // Three steps of warming up, then the schedule falls to nothing.
    let lr: Vec<f32> = losses.iter().map(|(r, _)| r.lr.unwrap()).collect();
    assert!(lr[0] < lr[1] && lr[1] < lr[2], "{:?}", &lr[..4]);
    assert!(lr[389] < 1e-6 && lr[200] > 1e-3);
    let train = report.train.unwrap();
    assert!(train.metrics[0].scalar().unwrap() > 0.9, "{train:?}");
    let again = net.evaluate(splits.test.as_ref().unwrap()).unwrap();
    assert_eq!(Some(again), report.validation);
}

#[test]
fn accuracy_counts_what_predictions_say() {
    let splits = classes(45);
    let mut net = net(CLASSIFIER, &options(16, 1));
    fit(&mut net, &splits, &config(16, 4));
    let report = net.evaluate(&splits.train).unwrap();
    let (x, label) = points(45);
    let x = Array2::from_shape_vec((45, 3), x).unwrap();
    let results = net.predict(&[("x", x.view().into())]).unwrap();
    let logits = results.f32("logits").unwrap();
    let right = logits.axis_iter(Axis(0)).zip(&label).filter(|(row, label)| {
        let best = (0..4).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        best as i32 == **label
    });
    let right = right.count();
    assert_eq!(report.metrics[0].name, "accuracy");
    assert_eq!(report.metrics[0].scalar().unwrap() as f32, right as f32 / 45.0);
    let confusion = net.session().confusion(&splits.train).unwrap().unwrap();
    assert_eq!((0..4).map(|class| confusion.count(class, class)).sum::<u64>(), right as u64);
    let all: u64 = (0..16).map(|i| confusion.count(i / 4, i % 4)).sum();
    assert_eq!(all, 45);
}

#[test]
fn threads_and_targets_leave_the_same_bits() {
    let splits = classes(45);
    let train = |options: &Options| {
        let mut net = net(CLASSIFIER, options);
        fit(&mut net, &splits, &config(16, 3));
        weights(&net)
    };
    let reference = train(&options(16, 1));
    for threads in [2, 3] {
        assert_eq!(train(&options(16, threads)), reference, "{threads} threads");
    }
    for target in Target::ALL.into_iter().filter(|target| target.runs_here()) {
        assert_eq!(train(&Options { target, ..options(16, 1) }), reference, "{}", target.name());
    }
    // Code for larger batches gives the same bits for smaller ones.
    assert_eq!(train(&options(64, 1)), reference);
    assert_ne!(train(&Options { seed: 8, ..options(16, 1) }), reference);
}

#[test]
fn a_resumed_run_gives_the_bits_of_one_that_never_stopped() {
    let folder = Folder::new("resume");
    let splits = classes(23);
    let mut whole = net(CLASSIFIER, &options(5, 1));
    let report = fit(&mut whole, &splits, &config(5, 4));
    let file = folder.file("checkpoint");
    // Within an epoch, at its end, and right at the beginning.
    for stop_after in [7, 10, 1] {
        let mut first = net(CLASSIFIER, &options(5, 2));
        let stopped = first
            .fit(&splits, &config(5, 4), &mut |_, event| match event {
                Event::Step(step) if step.step == stop_after => Control::Stop,
                _ => Control::Continue,
            })
            .unwrap();
        assert!(stopped.stopped);
        assert_eq!(stopped.steps, stop_after);
        first.save_checkpoint(&file, &stopped.run).unwrap();
        // Other first weights, to be forgotten.
        let mut second = net(CLASSIFIER, &Options { seed: 99, ..options(5, 1) });
        let run = second.load_checkpoint(&file).unwrap();
        assert_eq!(run, stopped.run);
        let config = FitConfig { start: run.position, ..config(5, 4) };
        let resumed = fit(&mut second, &splits, &config);
        assert_eq!(weights(&second), weights(&whole), "stopped after {stop_after}");
        assert_eq!(resumed.steps, 20);
        assert_eq!(resumed.validation, report.validation);
    }
}

#[test]
fn torn_and_foreign_checkpoints_are_refused() {
    let folder = Folder::new("torn");
    let splits = classes(23);
    let mut session = net(CLASSIFIER, &options(5, 1));
    let report = fit(&mut session, &splits, &config(5, 1));
    let file = folder.file("checkpoint");
    session.save_checkpoint(&file, &report.run).unwrap();
    let good = std::fs::read(&file).unwrap();
    let before = weights(&session);
    let mut refused = |bytes: &[u8], reason: &str| {
        std::fs::write(&file, bytes).unwrap();
        let message = session.load_checkpoint(&file).unwrap_err().to_string();
        assert!(message.contains("no checkpoint, or not a whole one"), "{message}");
        assert!(message.contains(reason), "{message}");
    };
    for length in [0, 5, 100, good.len() / 2, good.len() - 1] {
        refused(&good[..length], "");
    }
    let mut longer = good.clone();
    longer.push(0);
    refused(&longer, "");
    refused(&before, "it holds plain tensors");
    assert_eq!(weights(&session), before, "nothing was changed so far");
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &flipped).unwrap();
    let message = session.load_checkpoint(&file).unwrap_err().to_string();
    assert!(message.contains("its checksum does not match"), "{message}");

    std::fs::write(&file, &good).unwrap();
    let message = net(LINE, &options(5, 1)).load_checkpoint(&file).unwrap_err().to_string();
    assert!(message.contains("the model is net, but here it is line"), "{message}");
    let changed = CLASSIFIER.replace("lr = 0.02", "lr = 0.03");
    let message = net(&changed, &options(5, 1)).load_checkpoint(&file).unwrap_err().to_string();
    assert!(message.contains("fingerprint"), "{message}");
    // The same text where products and sums round apart: another trajectory, and a word about the way back.
    let unfused = Options { class: NumericsClass::Unfused, ..options(5, 1) };
    let message = net(CLASSIFIER, &unfused).load_checkpoint(&file).unwrap_err().to_string();
    assert!(message.contains("class is Fused, but here it is Unfused"), "{message}");
    assert!(message.contains("go on with the numerics `fused`"), "{message}");
    let message = session.load_checkpoint(folder.file("none")).unwrap_err().to_string();
    assert!(message.contains("could not read the checkpoint"), "{message}");
    session.load_checkpoint(&file).unwrap();
    assert_eq!(weights(&session), before);
}

#[test]
fn weights_go_out_and_in_by_name() {
    let folder = Folder::new("weights");
    let mut first = net(CLASSIFIER, &options(8, 1));
    fit(&mut first, &classes(23), &config(8, 2));
    let names: Vec<(String, Vec<usize>)> =
        first.weights().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
    let expected = [
        ("dense_1.w", vec![3, 9]),
        ("dense_1.b", vec![9]),
        ("dense_2.w", vec![9, 4]),
        ("dense_2.b", vec![4]),
    ];
    assert_eq!(names, expected.map(|(name, shape)| (name.to_owned(), shape)));
    let file = folder.file("weights.safetensors");
    first.save_weights(&file).unwrap();
    let mut second = net(CLASSIFIER, &Options { seed: 3, ..options(8, 1) });
    assert_ne!(weights(&second), weights(&first));
    second.load_weights(&file).unwrap();
    assert_eq!(weights(&second), weights(&first));
    let w = first.weight("dense_1.w").unwrap();
    let zeros = Array2::<f32>::zeros((3, 9));
    second.set_weight("dense_1.w", zeros.view().into()).unwrap();
    assert_eq!(second.weight("dense_1.w").unwrap().as_f32().unwrap(), &zeros.into_dyn());
    second.set_weight("dense_1.w", w.as_f32().unwrap().view().into()).unwrap();
    assert_eq!(weights(&second), weights(&first));

    let text = |result: Result<(), Error>| result.unwrap_err().to_string();
    let wrong = Array2::<f32>::zeros((9, 3));
    assert_eq!(
        text(second.set_weight("dense_1.w", wrong.view().into())),
        "weight `dense_1.w` is f32[3, 9], but f32[9, 3] was given"
    );
    assert_eq!(
        text(net(LINE, &options(8, 1)).load_weights(&file)),
        "`line` has no weights named `dense_2.b`, `dense_2.w`"
    );
    std::fs::write(&file, b"not weights").unwrap();
    assert!(text(second.load_weights(&file)).starts_with("this is no safetensors file"));
}

#[test]
fn predictions_do_not_depend_on_batches_or_threads() {
    let net = net(CLASSIFIER, &options(8, 2));
    let x = Array2::from_shape_vec((37, 3), numbers(111, 9)).unwrap();
    let all = net.predict(&[("x", x.view().into())]).unwrap();
    let all = all.f32("logits").unwrap();
    assert_eq!(all.shape(), [37, 4]);
    for example in [0, 7, 8, 36] {
        let one = net.predict(&[("x", x.slice(s![example..=example, ..]).into())]).unwrap();
        assert_eq!(
            one.f32("logits").unwrap().index_axis(Axis(0), 0),
            all.index_axis(Axis(0), example)
        );
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let results = net.predict(&[("x", x.view().into())]).unwrap();
                    assert_eq!(results.f32("logits").unwrap(), all);
                }
            });
        }
    });
}

#[test]
fn misuse_is_explained() {
    let mut net = net(CLASSIFIER, &options(8, 1));
    let x = Array2::<f32>::zeros((4, 3));
    let label = Array1::<i32>::zeros(4);
    let before = weights(&net);
    let mut step =
        |inputs: &[(&str, dlc::View<'_>)]| net.train_step(inputs).unwrap_err().to_string();
    assert_eq!(step(&[("x", x.view().into())]), "input `label` of `net.train` is missing");
    assert_eq!(
        step(&[("x", x.view().into()), ("y", label.view().into())]),
        "`net.train` has no input `y`; it has `x`, `label`"
    );
    assert_eq!(
        step(&[("x", x.t().into()), ("label", label.view().into())]),
        "input `x` is f32[batch, 3], but f32[3, 4] was given"
    );
    let floats = Array1::<f32>::zeros(4);
    assert_eq!(
        step(&[("x", x.view().into()), ("label", floats.view().into())]),
        "input `label` is i32[batch], but f32[4] was given"
    );
    let five = Array1::<i32>::zeros(5);
    assert_eq!(
        step(&[("x", x.view().into()), ("label", five.view().into())]),
        "input `label` holds 5 examples, but `x` holds 4"
    );
    // Of several the first is named.
    let bad = Array1::from_vec(vec![0, 4, 7, 3]);
    assert_eq!(
        step(&[("x", x.view().into()), ("label", bad.view().into())]),
        "`net.train`: `label` holds the index 4, which is out of range, in example 1 of the batch"
    );
    let many = Array2::<f32>::zeros((9, 3));
    let labels = Array1::<i32>::zeros(9);
    assert_eq!(
        step(&[("x", many.view().into()), ("label", labels.view().into())]),
        "`net.train` was compiled for batches up to 8, not 9"
    );
    assert_eq!(weights(&net), before, "no failed step has changed anything");
    let images = Column::from_f32("x", &[2, 2, 1], vec![0.0; 8]);
    let data =
        Dataset::new("images", vec![images, Column::from_labels("label", Some(4), vec![0, 1])]);
    let error = net.evaluate(&data.unwrap()).unwrap_err();
    assert!(error.is_input());
    assert_eq!(
        error.to_string(),
        "input `x` is f32[batch, 3], but column `x` of data `images` is f32[batch, 2, 2, 1]"
    );
    let untrained = "model id(x: f32[batch, 3]) -> y: f32[batch, 3] { y = x |> relu }";
    let mut untrained = Model::from_text(untrained).unwrap().compile(&options(8, 1)).unwrap();
    assert_eq!(
        untrained.train_step(&[("x", x.view().into())]).unwrap_err().to_string(),
        "`id` has no `train` block, so it cannot be trained"
    );
    assert_eq!(untrained.predict(&[("x", x.view().into())]).unwrap().f32("y"), Some(&x.into_dyn()));
}

#[test]
fn wrong_text_is_an_error_with_a_place() {
    let error =
        Model::from_text("model m(x: f32[batch, 3]) -> y: f32[batch, 3] { y = z }").unwrap_err();
    assert!(error.is_input());
    let (diagnostics, _) = error.diagnostics().unwrap();
    assert_eq!(diagnostics.len(), 1);
    assert!(error.to_string().contains("<text>:1:"), "{error}");
}

/// The class is the first symbol, which the state must carry through all the others.
const MEMORY: &str = "
model net(ids: i32[batch, 7]) -> logits: f32[batch, 3] {
    let x = ids |> embedding(5, 8)
    let zx = x |> dense(24)
    param wh: f32[24, 24] ~ glorot_uniform
    scan t in 7 carry h: f32[batch, 24] = 0 {
        h = tanh(zx[:, t, :] + h @ wh)
    }
    logits = h |> dense(3)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = adam(lr = 0.02)
}
";

#[test]
fn a_loop_learns_to_remember_with_the_same_bits_on_any_number_of_threads() {
    let n = 240;
    let random = numbers(7 * n, 11);
    let ids: Vec<i32> = random.iter().map(|x| ((x + 1.0) * 2.5) as i32).collect();
    let label: Vec<i32> = ids.chunks_exact(7).map(|ids| ids[0] % 3).collect();
    let trained = |threads: usize| {
        let mut net = net(MEMORY, &options(24, threads));
        let mut loss = 0.0;
        for step in 0..250 {
            let at = step % 10 * 24;
            let x = Array2::from_shape_vec((24, 7), ids[at * 7..(at + 24) * 7].to_vec()).unwrap();
            let y = Array1::from_vec(label[at..at + 24].to_vec());
            let inputs = [("ids", x.view().into()), ("label", y.view().into())];
            loss = net.train_step(&inputs).unwrap();
        }
        (weights(&net), loss)
    };
    let (one, loss) = trained(1);
    assert!(loss < 0.1, "{loss}");
    for threads in [2, 3] {
        assert!(trained(threads).0 == one, "{threads} threads");
    }
}

/// The slope of a net at its inputs is to become 1: a derivative of a derivative.
const SLOPE: &str = "
layer critic_net(x) { let s = x |> dense(8) |> tanh |> dense(1); s[:, 0] }
model net(x: f32[batch, 3]) -> slope: f32[batch] {
    shared critic = critic_net
    let g = gradient(sum(x |> critic), x)
    slope[b] = (sqrt(sum[k] g[b, k]^2 + 0.000000000001) - 1)^2
}
train net {
    loss = slope
    optimizer = adam(lr = 0.01)
}
";

#[test]
fn a_penalty_on_a_gradient_trains() {
    let mut net = net(SLOPE, &options(16, 2));
    let x = Array2::from_shape_vec((16, 3), numbers(48, 3)).unwrap();
    let inputs = [("x", x.view().into())];
    let first = net.train_step(&inputs).unwrap();
    let mut last = first;
    for _ in 0..150 {
        last = net.train_step(&inputs).unwrap();
    }
    assert!(last < 0.05 * first && last.is_finite(), "{first} to {last}");
}

/// Images of two classes in a folder, which are decoded by a thread that reads ahead, and the same pixels in memory.
#[test]
fn reading_ahead_changes_no_bit() {
    const TEXT: &str = "
model net(image: f32[batch, 4, 4, 1]) -> logits: f32[batch, 2] { logits = image |> flatten |> dense(2) }
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    optimizer = adam(lr = 0.02)
}
";
    let folder = std::env::temp_dir().join(format!("dlc-ahead-{}", std::process::id()));
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for label in 0..2 {
        let class = folder.join(format!("class {label}"));
        std::fs::create_dir_all(&class).unwrap();
        for image in 0..9_u32 {
            let grey: Vec<u8> = numbers(16, 100 * label + image)
                .into_iter()
                .map(|value| (value * 99.0 + 120.0) as u8)
                .collect();
            let file = std::fs::File::create(class.join(format!("{image}.png"))).unwrap();
            let mut encoder = png::Encoder::new(file, 4, 4);
            encoder.set_color(png::ColorType::Grayscale);
            encoder.write_header().unwrap().write_image_data(&grey).unwrap();
            pixels.extend(grey.iter().map(|&value| f32::from(value) / 255.0));
            labels.push(label as i32);
        }
    }
    let spec: DataSpec = format!("images:{}?channels=1", folder.display()).parse().unwrap();
    let decoded = spec.load().unwrap();
    assert!(decoded.train.is_slow());
    let columns = vec![
        Column::from_f32("image", &[4, 4, 1], pixels),
        Column::from_labels("label", Some(2), labels),
    ];
    let kept = Splits { train: Dataset::new("kept", columns).unwrap(), test: None };
    assert!(!kept.train.is_slow());
    let (mut ahead, mut direct) = (net(TEXT, &options(4, 1)), net(TEXT, &options(4, 1)));
    // The last batch of an epoch is smaller.
    let (seen, expected) =
        (fit(&mut ahead, &decoded, &config(4, 3)), fit(&mut direct, &kept, &config(4, 3)));
    assert_eq!((seen.steps, seen.train), (expected.steps, expected.train));
    assert_eq!(weights(&ahead), weights(&direct));

    // What is wrong with an image is said when its batch comes, and the file is named.
    std::fs::write(folder.join("class 1/5.png"), b"no image").unwrap();
    let mut broken = net(TEXT, &options(4, 1));
    let error = broken.fit(&decoded, &config(4, 1), &mut |_, _| Control::Continue).unwrap_err();
    let path = folder.join("class 1/5.png");
    assert_eq!(error.to_string(), format!("`{}`: this is neither PNG nor JPEG", path.display()));
    std::fs::remove_dir_all(&folder).unwrap();
}
