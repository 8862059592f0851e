//! Training over several ranks of one process: the bits of one rank, whatever the number of ranks and threads.

mod reference;

use dlc::comm::{CommError, Communicator, Messages, Traffic, threads};
use dlc::data::{DataSpec, Splits};
use dlc::{Control, Event, FitConfig, FitReport, Length, Model, Net, Options, Target};
use dlc_abi::SegmentKind;
use dlc_driver::ranks::{RankOf, RankSummary, Spread, rank_summaries};

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

/// A perceptron on the digits.
const DENSE: &str = "
model net(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    logits = image |> flatten |> dense(33) |> relu |> dense(10)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = adam(lr = 3e-3)
    schedule = cosine(warmup = 3)
    shards = 8
}
";

/// Convolutions, pools, and numbers drawn for each example.
const NOISY: &str = "
layer noisy(x: f32[n, k]) -> y: f32[n, k] {
    let u: f32[n, k] ~ random
    y = x * (u + 0.5)
}
model net(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    logits = image |> conv(6, kernel = 3) |> relu |> max_pool(2) |> conv(7, kernel = 3, padding = valid)
        |> flatten |> noisy |> dense(10)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = momentum(lr = 0.02)
}
";

/// A statistic over the whole batch in the middle of the forward part.
const CENTRED: &str = "
layer centred(x: f32[n, k]) -> y: f32[n, k] {
    let m[k] = mean[n] x[n, k]
    let top[k] = max[n] x[n, k]
    y[n, k] = x[n, k] - m[k] + 0.1 * top[k]
}
model net(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    logits = image |> flatten |> dense(16) |> centred |> relu |> dense(10)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = sgd(lr = 0.1)
}
";

/// What is left of a run: the report, every parameter and state, and on rank 0 the checkpoint.
#[derive(Debug, PartialEq)]
struct Left {
    report: FitReport,
    memory: Vec<(String, Vec<u8>)>,
    checkpoint: Option<Vec<u8>>,
    messages: u64,
    bytes: u64,
}

impl Left {
    /// Compares what one of several replicas has with what one process has.
    fn has_the_bits_of(&self, expected: &Left, rank: usize, ranks: usize, place: &str) {
        assert_eq!(self.memory.len(), expected.memory.len(), "{place}");
        for ((name, found), (whole_name, whole)) in self.memory.iter().zip(&expected.memory) {
            let Some(cut) = name.strip_suffix("@slice") else {
                assert_eq!(name, whole_name, "{place}");
                assert!(found == whole, "`{name}` differs on {place}");
                continue;
            };
            assert_eq!(cut, whole_name, "{place}");
            assert!(cut.contains('/'), "`{cut}` is a weight and stays whole");
            let piece = (whole.len() / 4).div_ceil(ranks) * 4;
            assert_eq!(found.len(), piece, "{place}");
            let own =
                &whole[(rank * piece).min(whole.len())..((rank + 1) * piece).min(whole.len())];
            assert!(&found[..own.len()] == own, "the piece of `{cut}` differs on {place}");
        }
        assert_eq!(self.report, expected.report, "{place}");
        if rank == 0 {
            assert!(self.checkpoint == expected.checkpoint, "the checkpoint differs on {place}");
        }
    }
}

/// Some digits: batches of 13 leave a ragged one, and shards of 1 to 4 examples.
fn splits() -> Splits {
    let digits = "digits".parse::<DataSpec>().expect("a known set").load().expect("it is shipped");
    let some = |n: usize| (0..n as u32).map(|at| at * 3).collect::<Vec<u32>>();
    let train = digits.train.select("some digits", &some(50)).expect("there are as many");
    let test = digits.train.select("other digits", &some(21)).expect("there are as many");
    Splits { train, test: Some(test) }
}

fn config() -> FitConfig {
    FitConfig {
        batch: 13,
        length: Length::Steps(10),
        shuffle: true,
        log_every: 0,
        validate: true,
        start: Default::default(),
    }
}

fn fit(mut net: Net) -> Left {
    let report = net.fit(&splits(), &config(), &mut |_, _| Control::Continue).expect("it trains");
    let checkpoint = (net.session().rank() == 0).then(|| {
        let thread = std::thread::current().id();
        let name = format!("dlc-ranks-{}-{thread:?}", std::process::id());
        let file = std::env::temp_dir().join(name);
        net.save_checkpoint(&file, &report.run).expect("it is saved");
        let bytes = std::fs::read(&file).expect("it was written");
        std::fs::remove_file(&file).expect("it is there");
        bytes
    });
    let memory = net.session().memory();
    let entries = memory.layout().entries().iter().enumerate();
    let bytes = |at: usize| memory.entry_bytes(at).expect("it is an entry").to_vec();
    let traffic = net.session().traffic();
    Left {
        report,
        memory: entries.map(|(at, entry)| (entry.name.clone(), bytes(at))).collect(),
        checkpoint,
        messages: traffic.messages,
        bytes: traffic.bytes,
    }
}

/// What each of some ranks gives that are threads of this process.
fn on_ranks<R: Send>(
    model: &Model,
    ranks: usize,
    options: &Options,
    run: impl Fn(Net) -> R + Sync,
) -> Vec<R> {
    std::thread::scope(|scope| {
        let run = &run;
        let start = |comm| {
            scope.spawn(move || {
                run(model.compile_rank(options, Box::new(comm)).expect("it compiles"))
            })
        };
        let ranks: Vec<_> = threads(ranks).into_iter().map(start).collect();
        ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    })
}

/// Ten steps without validation on some ranks.
fn steps_only(model: &Model, ranks: usize) -> Vec<Traffic> {
    on_ranks(model, ranks, &options(1), |mut net| {
        let config = FitConfig { validate: false, ..config() };
        net.fit(&splits(), &config, &mut |_, _| Control::Continue).expect("it trains");
        net.session().traffic()
    })
}

/// What each rank has and sends.
fn summaries(model: &Model, ranks: u32) -> Vec<RankSummary> {
    let backend = Target::best().backend().expect("the best target runs here");
    rank_summaries(model.elaborated(), Some(13), ranks, &backend.target())
        .expect("it can be spread")
        .ranks
}

fn options(threads: usize) -> Options {
    Options { batch: 13, threads, seed: 3, verify: true, ..Options::default() }
}

fn alone(text: &str) -> Left {
    let model = Model::from_text(text).unwrap_or_else(|error| panic!("{error}"));
    fit(model.compile(&options(1)).expect("it compiles"))
}

fn together(text: &str, ranks: usize, n_threads: usize) -> Vec<Left> {
    let model = Model::from_text(text).unwrap_or_else(|error| panic!("{error}"));
    on_ranks(&model, ranks, &options(n_threads), fit)
}

fn every_rank_count_gives_the_same_bits(text: &str) {
    let expected = alone(text);
    assert_eq!((expected.messages, expected.bytes), (0, 0));
    for (ranks, n_threads) in [(1, 2), (2, 1), (3, 1), (4, 2), (2, 3)] {
        for (rank, found) in together(text, ranks, n_threads).into_iter().enumerate() {
            let place = format!("rank {rank} of {ranks} with {n_threads} threads");
            found.has_the_bits_of(&expected, rank, ranks, &place);
            assert_eq!(found.messages > 0, ranks > 1, "{place}");
        }
    }
}

#[test]
fn dense_layers_train_alike_on_any_number_of_ranks() {
    every_rank_count_gives_the_same_bits(DENSE);
}

#[test]
fn convolutions_and_draws_train_alike_on_any_number_of_ranks() {
    every_rank_count_gives_the_same_bits(NOISY);
}

#[test]
fn statistics_of_a_batch_are_those_of_the_whole_batch() {
    every_rank_count_gives_the_same_bits(CENTRED);
}

#[test]
fn messages_and_bytes_are_those_of_a_ring() {
    let model = Model::from_text(DENSE).unwrap_or_else(|error| panic!("{error}"));
    let summaries = summaries(&model, 4);
    for (rank, found) in steps_only(&model, 4).into_iter().enumerate() {
        // Three others; sums that go whole: two biases, the loss and a total. The pieces of two weights go there and back.
        let elements = (33 + 10 + 1 + 1) + 2 * (64 * 33_u64).div_ceil(4) + 2 * 330_u64.div_ceil(4);
        let formula = (3 * 2, 3 * 4 * elements);
        // Of a first weight of 2112 numbers and a second of 330 a rank keeps a quarter of two moments.
        let kept =
            4 * (3 * (64 * 33 + 330 + 33 + 10) - 2 * (64 * 33 + 330) + 2 * (64 * 33 / 4 + 83));
        assert_eq!(summaries[rank].bytes_kept, kept);
        let summary = &summaries[rank];
        assert_eq!((summary.messages, summary.bytes), formula, "rank {rank}");
        // Each message has one byte more, which says whether to stop. After each of three epochs, of which the last is a part, and at the
        // end all but rank 0 send their pieces of two moments of two weights.
        let pieces: Vec<u64> = [64 * 33_u64, 330]
            .into_iter()
            .map(|n| n.div_ceil(4).min(n - rank as u64 * n.div_ceil(4)))
            .collect();
        let gathers = if rank == 0 { 0 } else { 4 };
        let expected = (
            10 * formula.0 + gathers * 4,
            10 * (formula.1 + formula.0) + gathers * 2 * 4 * pieces.iter().sum::<u64>(),
        );
        assert_eq!((found.messages, found.bytes), expected, "rank {rank}");
    }
}

/// Updates that are element-wise and others, with the states that replicas keep in pieces.
const OPTIMIZERS: [(&str, &[&str]); 7] = [
    ("sgd(lr = 0.1)", &[]),
    ("l2(1e-4) |> clip_by_value(1e-2) |> amsgrad(lr = 3e-3)", &["m", "v", "most"]),
    ("rmsprop(lr = 3e-3, momentum = 0.9, centered = true)", &["v", "g", "d"]),
    // The norm of what these make of the moments needs all of it; then so does the new weight, and no more is sent.
    ("lamb(lr = 3e-3)", &["m", "v"]),
    ("muon(lr = 3e-3) on \"*.w\"\n    optimizer = sgd(lr = 0.1)", &["v"]),
    // The norm of the gradient needs all of it, and new weights would have to be sent as well.
    ("clip_by_global_norm(1.0) |> adam(lr = 3e-3)", &[]),
    ("adafactor(lr = 3e-3)", &[]),
];

#[test]
fn updates_in_pieces_and_others_give_the_same_bits() {
    for (optimizer, cut) in OPTIMIZERS {
        let text = DENSE.replace("adam(lr = 3e-3)", optimizer);
        let expected = alone(&text);
        for (rank, found) in together(&text, 3, 1).into_iter().enumerate() {
            found.has_the_bits_of(&expected, rank, 3, &format!("rank {rank}, {optimizer}"));
            let sliced =
                |(name, _): &(String, Vec<u8>)| name.strip_suffix("@slice").map(str::to_owned);
            let mut sliced: Vec<String> = found.memory.iter().filter_map(sliced).collect();
            sliced.sort_unstable();
            let mut wanted: Vec<String> = cut
                .iter()
                .flat_map(|state| ["dense_1.w", "dense_2.w"].map(|w| format!("{w}/{state}")))
                .collect();
            wanted.sort_unstable();
            assert_eq!(sliced, wanted, "{optimizer}");
        }
    }
}

/// The whole of a rank's memory, as rank 0 has gathered it.
fn every_spread_gives_the_same_bits(text: &str, spreads: &[&str]) {
    let expected = alone(text);
    for parallel in spreads {
        let text = format!("{text}parallel net {{ {parallel} }}\n");
        let model = Model::from_text(&text).unwrap_or_else(|error| panic!("{error}"));
        let ranks = model.elaborated().program.settings.grid().ranks() as usize;
        let found = together(&text, ranks, 1);
        for (rank, left) in found.iter().enumerate() {
            assert_eq!(left.report, expected.report, "rank {rank}, {parallel}");
        }
        for (name, expected) in &expected.memory {
            let found = found[0].memory.iter().find(|(found, _)| found == name);
            let found = &found.expect("rank 0 has all parameters and states").1;
            assert!(found == expected, "`{name}` differs with {parallel}");
        }
        assert!(found[0].checkpoint == expected.checkpoint, "the checkpoint differs, {parallel}");
    }
}

/// Three dense layers: a boundary that is linear, one behind an activation, and parameters that stages far apart share in the norm of all
/// gradients.
const DEEP: &str = "
model net(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    logits = image |> flatten |> dense(33) |> dense(17) |> relu |> dense(10)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = adam(lr = 3e-3)
    schedule = cosine(warmup = 3)
    shards = 8
}
";

#[test]
fn dense_layers_train_alike_in_any_pipeline() {
    every_spread_gives_the_same_bits(
        DEEP,
        &[
            "pipeline 2 at dense_2 { microbatches = 4; schedule = gpipe }",
            "pipeline 2 at dense_3 { microbatches = 8 }",
            "pipeline 3 at dense_2, dense_3 { microbatches = 2 }",
            "pipeline 3 at dense_2, dense_3 { microbatches = 1; schedule = gpipe }",
            "data 2; pipeline 2 at dense_2 { microbatches = 4 }",
            "data 3; pipeline 3 at dense_2, dense_3 { microbatches = 2; schedule = gpipe }",
        ],
    );
}

#[test]
fn convolutions_and_draws_train_alike_in_any_pipeline() {
    every_spread_gives_the_same_bits(
        NOISY,
        &[
            "pipeline 2 at conv_2 { microbatches = 4 }",
            "data 2; pipeline 3 at conv_2, dense_1 { microbatches = 2 }",
        ],
    );
}

/// Parameters that stages share, and a term of the loss that follows from parameters of all stages.
const TIED: &str = "
layer ridge(x: f32[n, k], units: int) -> y: f32[n, units] {
    param w: f32[k, units] ~ glorot_uniform
    penalty size = 0.01 * sum(w * w)
    y[n, u] = sum[k] x[n, k] * w[k, u]
}
model net(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    shared f = dense(16)
    logits = image |> flatten |> ridge(16) |> f |> relu |> ridge(16) |> f |> ridge(10)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = momentum(lr = 0.02)
}
";

#[test]
fn parameters_of_several_stages_train_alike_in_any_pipeline() {
    every_spread_gives_the_same_bits(
        TIED,
        &[
            "pipeline 2 at ridge_2 { microbatches = 4 }",
            "data 2; pipeline 3 at ridge_2, ridge_3 { microbatches = 2; schedule = gpipe }",
        ],
    );
}

/// Layers whose sums are longer than a chunk: 512 and 768 terms.
const WIDE: &str = "
model net(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
    logits = image |> flatten |> dense(512) |> relu |> dense(768) |> tanh |> dense(10)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = clip_by_global_norm(1.0) |> adam(lr = 3e-3)
    shards = 4
}
";

#[test]
fn dense_layers_train_alike_in_any_slices() {
    every_spread_gives_the_same_bits(
        DEEP,
        &[
            "tensor 2 on dense_1, dense_2",
            "tensor 3 on dense_2",
            "tensor 2",
            "data 3; tensor 2 on dense_1, dense_3",
            "pipeline 2 at dense_2 { microbatches = 4 }; tensor 2 on dense_1, dense_3",
            "data 2; pipeline 2 at dense_3 { microbatches = 2; schedule = gpipe }; tensor 2 on dense_2, dense_3",
        ],
    );
}

#[test]
fn long_sums_train_alike_in_slices_of_chunks() {
    every_spread_gives_the_same_bits(
        WIDE,
        &["tensor 2 on dense_1, dense_2, dense_3", "tensor 3 on dense_2, dense_3"],
    );
}

#[test]
fn convolutions_and_draws_train_alike_in_any_slices() {
    every_spread_gives_the_same_bits(
        NOISY,
        &[
            "tensor 2 on conv_1, conv_2, dense_1",
            "pipeline 2 at dense_1 { microbatches = 2 }; tensor 3 on conv_1, conv_2",
        ],
    );
}

#[test]
fn layers_after_one_another_are_cut_in_pairs() {
    let model = |parallel: &str| {
        let text = format!("{WIDE}parallel net {{ {parallel} }}\n");
        Model::from_text(&text).unwrap_or_else(|error| panic!("{error}"))
    };
    let cuts = |model: &Model| -> Vec<(String, usize, i64)> {
        let rank = RankOf::of(&model.elaborated().program, 2, 0).expect("it is for two");
        let spread = Spread::of(model.elaborated(), 128, rank).expect("it can be cut");
        let leaves = spread.tensors.expect("it is cut").leaves;
        let weights = leaves.into_iter().filter(|leaf| leaf.name.ends_with(".w"));
        weights.map(|leaf| (leaf.name, leaf.cut.axis, leaf.cut.block)).collect()
    };
    // Columns of the one, rows of the other, where the sum over them has its chunks.
    let pair = model("tensor 2 on dense_1, dense_2");
    let expected = [("dense_1.w", 1, 256), ("dense_2.w", 0, 256)];
    let expected = expected.map(|(name, axis, block)| (name.to_owned(), axis, block));
    assert_eq!(cuts(&pair), expected);
}

#[test]
fn what_the_summary_says_of_a_pipeline_is_what_it_sends() {
    let text =
        format!("{DEEP}parallel net {{ data 2; pipeline 2 at dense_2 {{ microbatches = 4 }} }}\n");
    let model = Model::from_text(&text).unwrap_or_else(|error| panic!("{error}"));
    let summaries = summaries(&model, 4);
    assert_eq!(
        summaries.iter().map(|rank| rank.params).sum::<i64>(),
        2 * (64 * 33 + 33 + 33 * 17 + 17 + 170 + 10)
    );
    assert_eq!(summaries.iter().map(|rank| rank.live).collect::<Vec<_>>(), [2, 1, 2, 1]);
    for (rank, found) in steps_only(&model, 4).into_iter().enumerate() {
        // Whether to stop is asked once a step. After each of three epochs and at the end the second stage gives rank 0 its four parameters,
        // the moments of three of them and pieces of those of the other; its replica, and that of the first stage, pieces alone.
        let gathered = 4 * [0, 4 + 6 + 2, 2, 2][rank];
        let expected = 10 * (summaries[rank].messages + 3) + gathered;
        assert_eq!(found.messages, expected, "rank {rank}: {found:?}");
    }
}

#[test]
fn a_pipeline_across_a_statistic_of_the_batch_is_refused() {
    let text = format!("{CENTRED}parallel net {{ pipeline 2 at dense_2 {{ microbatches = 2 }} }}");
    let model = Model::from_text(&text).unwrap_or_else(|error| panic!("{error}"));
    let comm = threads(2).swap_remove(0);
    let refused = model.compile_rank(&options(1), Box::new(comm)).expect_err("it needs the batch");
    let message = refused.to_string();
    assert!(message.contains("needs the whole batch in the middle of the network"), "{message}");
}

#[test]
fn threads_leave_no_sums_to_a_transport() {
    let model = Model::from_text(DENSE).unwrap_or_else(|error| panic!("{error}"));
    let comm = threads(2).swap_remove(0);
    let fast = Options { reduce: dlc::Reduce::Fast, ..options(1) };
    let refused = model.compile_rank(&fast, Box::new(comm)).expect_err("threads do not add");
    assert!(refused.to_string().contains("have no all-reduce of their own"), "{refused}");
}

/// What a rank asks of its transport in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Begin(usize),
    Progress,
    /// All messages of an exchange are there.
    Complete(usize),
    Finish(usize),
}

/// A transport whose messages arrive while it is asked for progress, never before: where it finds an exchange begun it waits for the others to
/// begin it.
#[derive(Debug)]
struct Watched {
    inner: dlc::comm::Local,
    under_way: Vec<usize>,
    calls: Arc<Mutex<Vec<Call>>>,
    /// How often each exchange was begun, by whichever rank.
    begun: Arc<(Mutex<BTreeMap<usize, usize>>, Condvar)>,
    own: BTreeMap<usize, usize>,
}

impl Communicator for Watched {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn ranks(&self) -> usize {
        self.inner.ranks()
    }

    fn sharers(&self) -> usize {
        self.inner.sharers()
    }

    fn settle(&mut self, threads: usize) {
        self.inner.settle(threads);
    }

    fn host(&self, rank: usize) -> Option<&str> {
        self.inner.host(rank)
    }

    fn begin(
        &mut self,
        number: usize,
        group: &[usize],
        messages: Messages,
    ) -> Result<(), CommError> {
        self.calls.lock().expect("no panic").push(Call::Begin(number));
        *self.begun.0.lock().expect("no panic").entry(number).or_default() += 1;
        self.begun.1.notify_all();
        *self.own.entry(number).or_default() += 1;
        self.under_way.push(number);
        self.inner.begin(number, group, messages)
    }

    fn progress(&mut self) -> Result<(), CommError> {
        self.calls.lock().expect("no panic").push(Call::Progress);
        for number in self.under_way.drain(..) {
            let all = self.own[&number] * self.inner.ranks();
            let begun = self.begun.0.lock().expect("no panic");
            drop(self.begun.1.wait_while(begun, |begun| begun[&number] < all));
            self.calls.lock().expect("no panic").push(Call::Complete(number));
        }
        Ok(())
    }

    fn finish(&mut self, number: usize) -> Result<Messages, CommError> {
        self.calls.lock().expect("no panic").push(Call::Finish(number));
        self.under_way.retain(|one| *one != number);
        self.inner.finish(number)
    }

    fn send(&mut self, to: usize, message: Vec<u8>) -> Result<(), CommError> {
        self.inner.send(to, message)
    }

    fn receive(&mut self, from: usize, message: Vec<u8>) -> Result<Vec<u8>, CommError> {
        self.inner.receive(from, message)
    }
}

#[test]
fn gradients_of_the_last_layers_travel_during_the_backward_pass() {
    let text = WIDE.replace("clip_by_global_norm(1.0) |> ", "");
    let model = Model::from_text(&text).unwrap_or_else(|error| panic!("{error}"));
    let model = &model;
    let begun = Arc::default();
    let watched = |inner| Watched {
        inner,
        under_way: Vec::new(),
        calls: Arc::default(),
        begun: Arc::clone(&begun),
        own: BTreeMap::new(),
    };
    let ends: Vec<Watched> = threads(2).into_iter().map(watched).collect();
    let calls = Arc::clone(&ends[0].calls);
    let run = |comm: Watched| {
        let mut net = model.compile_rank(&options(1), Box::new(comm)).expect("it compiles");
        let config = FitConfig { validate: false, length: Length::Steps(1), ..config() };
        net.fit(&splits(), &config, &mut |_, _| Control::Continue).expect("it trains");
        net
    };
    let run = &run;
    let mut segments = Vec::new();
    std::thread::scope(|scope| {
        let ranks: Vec<_> = ends.into_iter().map(|end| scope.spawn(move || run(end))).collect();
        for rank in ranks {
            let net = rank.join().expect("no rank panics");
            let train = net.session().programs().train.as_ref().expect("it trains");
            segments.clone_from(&train.manifest().segments);
        }
    });
    let calls = calls.lock().expect("no panic").clone();
    // Gradients are begun before anything is waited for; the last of them is complete when the backward pass ends.
    let waits = calls.iter().position(|call| matches!(call, Call::Finish(_))).expect("it waits");
    let begins: Vec<usize> = (0..waits).filter(|&at| matches!(calls[at], Call::Begin(_))).collect();
    let (first, last) = (begins[0], begins[begins.len() - 1]);
    let Call::Begin(number) = calls[first] else { unreachable!("it was looked for") };
    let complete = calls.iter().position(|call| *call == Call::Complete(number));
    assert!(complete.is_some_and(|at| at < last), "{calls:?}");
    // Between the two each phase is a segment of its own, and after each the transport is called.
    let polls = calls[first..last].iter().filter(|call| **call == Call::Progress).count();
    assert!(polls >= 3, "{calls:?}");
    let backward = segments.iter().filter(|segment| segment.kind == SegmentKind::Backward);
    assert!(
        backward.clone().filter(|segment| segment.symbol.contains(".backward")).count() > polls
    );
}

#[test]
fn each_rank_reads_its_own_rows_alone() {
    let model = Model::from_text(DENSE).unwrap_or_else(|error| panic!("{error}"));
    let model = &model;
    let read: Vec<u64> = std::thread::scope(|scope| {
        let run = |comm| {
            scope.spawn(move || {
                let mut net = model.compile_rank(&options(1), Box::new(comm)).expect("it compiles");
                // One epoch: every example once.
                let length = Length::Epochs(1);
                let config = FitConfig { length, batch: 10, validate: false, ..config() };
                let splits = splits();
                net.fit(&splits, &config, &mut |_, _| Control::Continue).expect("it trains");
                splits.train.rows_read()
            })
        };
        let ranks: Vec<_> = threads(4).into_iter().map(run).collect();
        ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    });
    // Of each batch of 10 the ranks have 2, 3, 2 and 3 examples, of five batches; image and label are a row each.
    assert_eq!(read, [20, 30, 20, 30]);
}

#[test]
fn more_ranks_than_shards_are_refused() {
    let text = DENSE.replace("shards = 8", "shards = 2");
    let model = Model::from_text(&text).unwrap_or_else(|error| panic!("{error}"));
    let comm = threads(3).swap_remove(0);
    assert_eq!(comm.ranks(), 3);
    let refused = model.compile_rank(&options(1), Box::new(comm)).expect_err("too few shards");
    assert_eq!(
        refused.to_string(),
        "3 parts need at least as many shards, but the program has `shards = 2`"
    );
}

#[test]
fn all_ranks_stop_after_the_same_step() {
    let model = Model::from_text(DENSE).unwrap_or_else(|error| panic!("{error}"));
    let model = &model;
    let steps: Vec<u64> = std::thread::scope(|scope| {
        let run = |comm: dlc::comm::Local| {
            scope.spawn(move || {
                let rank = comm.rank();
                let mut net = model.compile_rank(&options(1), Box::new(comm)).expect("it compiles");
                let config = FitConfig { length: Length::Steps(50), ..config() };
                let report = net.fit(&splits(), &config, &mut |_, event| match event {
                    Event::Step(step) if rank == 1 && step.step == 5 => Control::Stop,
                    _ => Control::Continue,
                });
                let report = report.expect("it trains");
                assert!(report.stopped);
                report.steps
            })
        };
        let ranks: Vec<_> = threads(3).into_iter().map(run).collect();
        ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    });
    assert_eq!(steps, [6, 6, 6], "the others learn of the wish with the step after");
}

#[test]
fn a_rank_that_goes_ends_the_others() {
    let model = Model::from_text(DENSE).unwrap_or_else(|error| panic!("{error}"));
    let mut ends = threads(2);
    drop(ends.pop());
    let comm = ends.pop().expect("two were made");
    let mut net = model.compile_rank(&options(1), Box::new(comm)).expect("it compiles");
    let lost = net.fit(&splits(), &config(), &mut |_, _| Control::Continue).expect_err("alone");
    assert_eq!(lost.to_string(), "rank 1 of 2 has gone; the run cannot go on without it");
}

/// Trains as the table does, spread as `parallel` says.
fn trains_to_the_table(entry: reference::Entry, parallel: &str) {
    let model = entry.model(parallel);
    let ranks = model.elaborated().program.settings.grid().ranks() as usize;
    let options =
        Options { batch: entry.batch, threads: 1, seed: reference::SEED, ..Options::default() };
    let hashes = on_ranks(&model, ranks, &options, |mut net| {
        net.fit(&entry.splits(), &entry.config(), &mut |_, _| Control::Continue)
            .expect("it trains");
        (net.session().rank() == 0).then(|| reference::hash(&model, net.session()))
    });
    assert_eq!(hashes[0], Some(entry.expected()), "{parallel}");
}

#[test]
fn digits_mlp_trains_to_the_table_on_any_grid() {
    for parallel in [
        "data 4",
        "pipeline 2 at dense_2 { microbatches = 4; schedule = gpipe }",
        "pipeline 2 at dense_3 { microbatches = 4; schedule = one_f_one_b }",
        "pipeline 3 at dense_2, dense_3 { microbatches = 2; schedule = gpipe }",
        "pipeline 3 at dense_2, dense_3 { microbatches = 4; schedule = one_f_one_b }",
        "data 2; pipeline 2 at dense_2 { microbatches = 2 }",
        "tensor 2 on dense_1, dense_2",
        "data 2; pipeline 2 at dense_2 { microbatches = 2 }; tensor 2 on dense_1, dense_2",
    ] {
        trains_to_the_table(reference::DIGITS_MLP, parallel);
    }
}

#[test]
fn lenet_trains_to_the_table_in_stages_and_slices() {
    for parallel in [
        "tensor 2 on conv_2, dense_1, dense_2",
        "pipeline 2 at dense_1 { microbatches = 4; schedule = gpipe }",
        "pipeline 3 at conv_2, dense_2 { microbatches = 4; schedule = one_f_one_b }",
    ] {
        trains_to_the_table(reference::LENET, parallel);
    }
}
