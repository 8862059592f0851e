//! Random models in stages, slices and micro-batches, in the interpreters: graphs and tile programs of all ranks and micro-batches, each run as a
//! part of its own, give together the bits of the whole.

use super::{End, Leaves, Run, in_graph, in_tile, joined, leaves, of_part, sliced};
use dlc_abi::{Among, Dim, Grid, Place, Wire, slice_name};
use dlc_driver::model::{ModelGraphs, elaborate_text};
use dlc_driver::ranks::{self, RankOf, Reduce, Spread};
use dlc_harness::rng::Rng;
use dlc_ir::graph::{self, Data, Graph, InputRole, Op, Tensor};

/// A random model of dense layers with activations, draws and a penalty between them, and how it is spread.
fn model(rng: &mut Rng) -> String {
    let n_layers = 2 + rng.below(3);
    let mut chain = String::from("x");
    for layer in 1..=n_layers {
        let units = match (layer == n_layers, rng.below(4)) {
            (true, _) => 3,
            (false, 0) => [300, 512, 520][rng.below(3)],
            (false, _) => 2 + rng.below(40),
        };
        chain += &format!(" |> ridge({units})");
        if layer < n_layers {
            chain += ["", " |> relu", " |> tanh", " |> noisy"][rng.below(4)];
        }
    }
    let shards = [4, 8][rng.below(2)];
    let replicas = 1 + rng.below(shards / 2);
    let each = shards / replicas.next_power_of_two();
    let pieces = 1 << rng.below(each.ilog2() as usize + 1);
    let stages = 2 + rng.below(n_layers - 1);
    let mut cuts: Vec<usize> = (2..=n_layers).collect();
    while cuts.len() > stages - 1 {
        cuts.remove(rng.below(cuts.len()));
    }
    let cuts: Vec<String> = cuts.iter().map(|cut| format!("ridge_{cut}")).collect();
    // A model that is not cut into stages is cut into slices.
    let is_staged = rng.below(3) > 0;
    let pipeline = match is_staged {
        true => format!("pipeline {stages} at {} {{ microbatches = {pieces} }}", cuts.join(", ")),
        false => String::new(),
    };
    let tensor = match (is_staged, rng.below(3)) {
        (true, 0) => String::new(),
        (_, 1) => format!("tensor {}", 2 + rng.below(2)),
        (_, _) => format!("tensor 2 on ridge_{}", 1 + rng.below(n_layers - 1)),
    };
    let optimizer = ["adam(lr = 1e-2)", "momentum(lr = 0.1)", "sgd(lr = 0.1)"][rng.below(3)];
    format!(
        "layer ridge(x: f32[n, k], units: int) -> y: f32[n, units] {{
    param w: f32[k, units] ~ glorot_uniform
    param b: f32[units] ~ zeros
    penalty size = 0.01 * sum(w * w)
    y[n, u] = b[u] + sum[k] x[n, k] * w[k, u]
}}
layer noisy(x: f32[n, k]) -> y: f32[n, k] {{
    let u: f32[n, k] ~ random
    y[n, k] = x[n, k] * u[n, k]
}}
model net(x: f32[batch, 6]) -> logits: f32[batch, 3] {{
    logits = {chain}
}}
train net(label: i32[batch]) {{
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = {optimizer}
    shards = {shards}
}}
parallel net {{
    data {replicas}
    {pipeline}
    {tensor}
}}
"
    )
}

/// A rank's work on one micro-batch.
struct Work {
    place: Place,
    micro: usize,
    graph: Graph,
    batch: i64,
    leaves: Leaves,
    found: Leaves,
}

fn all_stages_give_the_whole(seed: u64, cases: usize, run: Run) {
    let mut rng = Rng::new(seed);
    for case in 0..cases {
        let text = model(&mut rng);
        let elaborated = elaborate_text("net.dl", &text, None, None)
            .unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        let graphs = ModelGraphs::freeze(&elaborated, true).expect("it freezes");
        let batch = 1 + rng.below(21) as i64;
        let leaves = leaves(&graphs, batch);
        let train = graphs.train.as_ref().expect("it trains");
        let whole = graph::interpret(train, &leaves, batch).expect("it runs");
        let settings = &elaborated.program.settings;
        let pieces = settings.pipeline.as_ref().map_or(1, |stages| stages.micro_batches as usize);
        let grid = settings.grid();
        let of = |rank| RankOf { grid, rank, reduce: Reduce::Ordered };
        let spread = Spread::of(&elaborated, batch, of(0))
            .unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        let mut works = Vec::new();
        for rank in 0..grid.ranks() {
            let of = of(rank);
            let (graph, _) = ranks::cut(train.clone(), of, &elaborated.program, &spread, batch)
                .unwrap_or_else(|error| panic!("{error}\n{text}"));
            graph.verify().expect("the stage is lawful");
            let block = of.block(train.shards).expect("there are shards");
            for micro in 0..pieces {
                let count = block.count / pieces as u32;
                let first = block.first + micro as u32 * count;
                let cut = |shard: u32| batch * i64::from(shard) / i64::from(train.shards);
                let (from, to) = (cut(first), cut(first + count));
                let mut leaves = of_part(&leaves, batch, (from, to), first);
                leaves.extend(slices_of(&leaves, &spread, of.place()));
                let (graph, batch) = (graph.clone(), to - from);
                let mut work =
                    Work { place: of.place(), micro, graph, batch, leaves, found: Leaves::new() };
                work.add_wires();
                works.push(work);
            }
        }
        // What stages send is right as soon as what they got is: once forward and once backward through all of them.
        for _ in 0..2 * grid.stages {
            play(&mut works, grid, pieces, run);
            send(&mut works);
        }
        for work in &works {
            let slices = slices_of(&whole.assigns, &spread, work.place);
            for (name, expected) in whole.results.iter().chain(&whole.assigns).chain(&slices) {
                let is_here = whole.results.contains_key(name) || work.has(name);
                let place = format!("case {case}, `{name}` at {:?}\n{text}", work.place);
                let Some(found) = work.found.get(name).filter(|_| is_here) else {
                    assert!(!is_here, "{place}");
                    continue;
                };
                assert_eq!(found.first_difference(expected), None, "{place}");
            }
        }
        let updated =
            |name: &String| works.iter().any(|work| work.has(name) || work.has(&slice_name(name)));
        assert!(whole.assigns.keys().all(updated), "every parameter is trained somewhere");
    }
}

/// The slices that a rank has of some parameters and states, and the pieces of states.
fn slices_of(leaves: &Leaves, spread: &Spread, place: Place) -> Leaves {
    let slice = |(name, whole): (&String, &Tensor)| {
        if let (Some(_), Some(map)) = (spread.cut_update(name), &spread.updates) {
            let n = whole.shape.iter().product::<i64>();
            let piece = ranks::piece_of(n, map.replicas);
            let at = |replica: u32| (i64::from(replica) * piece).min(n) as usize;
            let (from, to) = (at(place.replica), at(place.replica + 1));
            let zeros = Data::F32(vec![0.0; piece as usize + from - to]);
            let data = joined([sliced(&whole.data, from, to), zeros].into_iter());
            return Some((slice_name(name), Tensor::new(vec![piece], data)));
        }
        let leaf = spread.leaf(name)?;
        let (mut shape, axis) = (whole.shape.clone(), leaf.cut.axis);
        let range = leaf.cut.range(shape[axis], place.slice);
        let inner: i64 = shape[axis + 1..].iter().product();
        let row = shape[axis] * inner;
        let rows = (0..shape[..axis].iter().product::<i64>()).map(|at| at * row);
        let pieces = rows.map(|start| {
            let at = |index: i64| (start + index * inner) as usize;
            sliced(&whole.data, at(range.start), at(range.end))
        });
        let data = joined(pieces);
        shape[axis] = range.end - range.start;
        Some((slice_name(name), Tensor::new(shape, data)))
    };
    leaves.iter().filter_map(slice).collect()
}

impl Work {
    /// Whether the stage has a leaf that it assigns to.
    fn has(&self, name: &str) -> bool {
        self.graph.nodes.values().any(|node| {
            matches!(&node.op, Op::Input { name: leaf, role } if leaf == name && *role != InputRole::Data)
        }) && self.found.contains_key(name)
    }

    /// Leaves for what other stages will send.
    fn add_wires(&mut self) {
        for node in self.graph.nodes.values() {
            let Op::Input { name, .. } = &node.op else { continue };
            if Wire::of_taken(name).is_none() {
                continue;
            }
            let shape: Vec<i64> = node.shape.iter().map(|dim: &Dim| dim.at(self.batch)).collect();
            let n = shape.iter().product::<i64>() as usize;
            let data = match node.elem {
                dlc_abi::ElemType::F32 => Data::F32(vec![0.0; n]),
                dlc_abi::ElemType::I32 => Data::I32(vec![0; n]),
                dlc_abi::ElemType::Bool => Data::Bool(vec![false; n]),
                other => panic!("no model sends {other:?}"),
            };
            self.leaves.insert(name.clone(), Tensor::new(shape, data));
        }
    }
}

/// All ranks and micro-batches at once.
fn play(works: &mut [Work], grid: Grid, pieces: usize, run: Run) {
    let index = |rank: u32, micro: usize| rank as usize * pieces + micro;
    let ends = End::all(works.len());
    std::thread::scope(|scope| {
        for (work, end) in works.iter_mut().zip(ends) {
            let group = move |work: &Work, among: Among| -> Vec<usize> {
                match among {
                    Among::MicroBatches => {
                        let rank = grid.rank(work.place);
                        (0..pieces).map(|micro| index(rank, micro)).collect()
                    }
                    Among::Replicas | Among::Stages | Among::Slices => {
                        let ranks = grid.group(work.place, among);
                        ranks.into_iter().map(|rank| index(rank, work.micro)).collect()
                    }
                }
            };
            scope.spawn(move || {
                let groups = |among: Among| group(work, among);
                let found = run(&work.graph, &work.leaves, work.batch, &end, &groups);
                work.found = found;
            });
        }
    });
}

/// What each stage gave becomes what the others take.
fn send(works: &mut [Work]) {
    let mut sent = Vec::new();
    for work in &*works {
        for (name, value) in &work.found {
            if let Some(Wire { peer, number }) = Wire::of_given(name) {
                let to = (Place { stage: peer, ..work.place }, work.micro);
                let name = Wire { peer: work.place.stage, number }.taken();
                sent.push((to, name, value.clone()));
            }
        }
    }
    for (to, name, value) in sent {
        let mut takers = works.iter_mut().filter(|work| (work.place, work.micro) == to);
        let taker = takers.next().expect("there is such a stage");
        let known = taker.leaves.insert(name, value);
        assert!(known.is_some(), "what is sent is taken");
    }
}

#[test]
fn graphs_of_stages_give_the_bits_of_the_whole() {
    all_stages_give_the_whole(1, 12, in_graph);
}

#[test]
fn tile_programs_of_stages_give_the_bits_of_the_whole() {
    all_stages_give_the_whole(2, 4, in_tile);
}
