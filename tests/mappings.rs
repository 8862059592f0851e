//! No page of memory is writable and executable at once, at no moment of compiling, training and predicting.
#![cfg(target_os = "linux")]

use dlc::{Control, FitConfig, Length, Model, Options, Target};
use ndarray::Array4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const MODEL: &str = "\
model small(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    logits = image |> conv(4, kernel = 3) |> relu |> flatten |> dense(10)
}

train small(label: i32[batch]) {
    loss      = softmax_cross_entropy(logits, label)
    optimizer = adam(lr = 1e-2)
}
";

/// How many mappings without a file are executable; fails where one is writable too.
fn executable() -> usize {
    let maps =
        std::fs::read_to_string("/proc/self/maps").expect("Linux tells a process its mappings");
    let mut found = 0;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let rights = fields.nth(1).expect("the second field of a mapping is its rights");
        assert!(!(rights.contains('w') && rights.contains('x')), "{line}");
        found += usize::from(rights.contains('x') && fields.nth(3).is_none());
    }
    found
}

/// Compiles, trains and predicts with every target of this machine; looks at the mappings after every step as well.
fn work() -> usize {
    let splits = dlc::data::digits().expect("the embedded digits");
    let model = Model::from_text(MODEL).expect("a model");
    let mut most = 0;
    for target in Target::ALL.into_iter().filter(|target| target.runs_here()) {
        let options = Options { batch: 32, threads: 2, target, ..Options::default() };
        let mut net = model.compile(&options).expect("compiles");
        let config = FitConfig {
            batch: 32,
            length: Length::Steps(20),
            shuffle: true,
            log_every: 0,
            validate: true,
            start: Default::default(),
        };
        let mut look = |_: &dlc::Session, _: dlc::Event<'_>| {
            most = most.max(executable());
            Control::Continue
        };
        net.fit(&splits, &config, &mut look).expect("sound data");
        let images = Array4::<f32>::ones((3, 8, 8, 1));
        net.predict(&[("image", images.view().into())]).expect("sound inputs");
    }
    most
}

#[test]
fn memory_is_writable_or_executable_and_never_both() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                executable();
                looks += 1;
                thread::yield_now();
            }
            looks
        });
        let most = scope.spawn(work).join();
        done.store(true, Ordering::Relaxed);
        let looks: u64 = watch.join().expect("no mapping is writable and executable");
        let most = most.expect("no mapping is writable and executable after a step");
        // The code of this test was seen, and the watch was awake.
        assert!(most > 0 && looks > 10, "{most} mappings, {looks} looks");
    });
}
