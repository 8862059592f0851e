//! Steady steps of training through the library allocate nothing, on one thread and on two.
//!
//! A process of its own without a test harness, because the count is of the whole process.

use dlc::data::DataSpec;
use dlc::{Control, Event, FitConfig, Length, Model, Options};
use ndarray::{Array1, Array4};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TEXT: &str = "
model net(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    logits = image |> reshape((8, 8)) |> lstm(12) |> flatten |> dense(16) |> relu |> dense(10)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = adam
}
";

fn main() {
    let digits: DataSpec = "digits".parse().expect("a known set");
    let splits = digits.load().expect("built in");
    for threads in [1, 2] {
        let model = Model::from_text(TEXT).unwrap_or_else(|error| panic!("{error}"));
        let options = Options { batch: 32, threads, ..Options::default() };
        let mut net = model.compile(&options).expect("a sound model");

        let (x, y) = (Array4::<f32>::zeros((32, 8, 8, 1)), Array1::<i32>::zeros(32));
        let mut step = || {
            let inputs = [("image", x.view().into()), ("label", y.view().into())];
            net.train_step(&inputs).expect("a sound batch");
        };
        step();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..100).for_each(|_| step());
        let steps = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(steps, 0, "a hundred steps on {threads} threads");

        let config = FitConfig {
            batch: 32,
            length: Length::Epochs(2),
            shuffle: true,
            log_every: 0,
            validate: false,
            start: Default::default(),
        };
        let (mut last, mut checked) = (None, 0);
        let report = net.fit(&splits, &config, &mut |_, event| {
            let now = ALLOCATIONS.load(Ordering::Relaxed);
            match event {
                Event::Step(step) => {
                    if let Some(last) = last.replace(now) {
                        assert_eq!(now - last, 0, "step {} on {threads} threads", step.step);
                        checked += 1;
                    }
                }
                // What an epoch comes to is put together anew.
                Event::Start(_) | Event::Log(_) | Event::Epoch(_) => last = None,
            }
            Control::Continue
        });
        report.expect("sound data");
        assert_eq!(checked, 2 * 44);
    }
    println!("steady steps allocate nothing");
}
