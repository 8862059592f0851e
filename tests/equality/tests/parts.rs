//! Steps of a batch in parts, in the interpreters: graphs and tile programs of parts that run together give the bits of the whole.

#[path = "parts/stages.rs"]
mod stages;

use dlc_abi::{Among, WINDOW_INPUT};
use dlc_driver::lower;
use dlc_driver::model::{ModelGraphs, elaborate_text};
use dlc_harness::rng::Rng;
use dlc_ir::graph::{self, Data, Exchange, ExchangeKind, Graph, InputRole, Op, Tensor};
use dlc_ir::target::{Isa, TargetDesc};
use dlc_ir::tile;
use dlc_passes::pass::PassCx;
use dlc_passes::split_batch::{self, Block, Part, Reduce, blocks};
use indexmap::IndexMap;
use std::cell::RefCell;
use std::sync::mpsc::{Receiver, Sender, channel};

type Leaves = IndexMap<String, Tensor>;

/// Two layers with a statistic of the batch between them, and draws.
const TEXT: &str = "
layer noisy(x: f32[n, k]) -> y: f32[n, k] {
    let u: f32[n, k] ~ random
    let m[k] = mean[n] x[n, k]
    y[n, k] = x[n, k] * u[n, k] - m[k]
}
model net(x: f32[batch, 6]) -> logits: f32[batch, 3] {
    logits = x |> dense(47) |> relu |> noisy |> dense(3)
}
train net(label: i32[batch]) {
    loss = softmax_cross_entropy(logits, label)
    metric accuracy(logits, label)
    optimizer = adam(lr = 1e-2)
    shards = 8
}
";

/// A part's end of the channels between all parts. One that panics closes its channels, so that the others do not wait for it.
#[derive(Default)]
struct End {
    number: usize,
    to: Vec<Sender<Letter>>,
    from: Vec<Receiver<Letter>>,
    /// What came before it was waited for, with the part that gave it.
    early: RefCell<Vec<(usize, Letter)>>,
}

/// Tells an exchange from others that a part has under way: between whom, and the how manieth of these in its program.
type Tag = (Among, usize);
type Letter = (Tag, Tensor);

impl End {
    fn all(parts: usize) -> Vec<End> {
        let mut ends: Vec<End> =
            (0..parts).map(|number| End { number, ..End::default() }).collect();
        for from in 0..parts {
            for to in 0..parts {
                let (sender, receiver) = channel();
                ends[from].to.push(sender);
                ends[to].from.push(receiver);
            }
        }
        ends
    }

    /// The letter of a part with this tag.
    fn take(&self, from: usize, tag: Tag) -> Option<Tensor> {
        let mut early = self.early.borrow_mut();
        if let Some(at) = early.iter().position(|(part, letter)| (*part, letter.0) == (from, tag)) {
            return Some(early.remove(at).1.1);
        }
        loop {
            let letter = self.from[from].recv().ok()?;
            if letter.0 == tag {
                return Some(letter.1);
            }
            early.push((from, letter));
        }
    }

    /// Gives a value to some of the parts, of which this is one.
    fn give(&self, group: &[usize], tag: Tag, own: Tensor) {
        for &to in group {
            // Who is gone is missed where its own value is waited for.
            let _ = self.to[to].send((tag, own.clone()));
        }
    }

    /// What this part takes of an exchange. Parts whose programs differ may make their exchanges in another order.
    fn taken(&self, group: &[usize], tag: Tag, kind: ExchangeKind) -> Option<Tensor> {
        let given: Vec<Tensor> =
            group.iter().map(|&from| self.take(from, tag)).collect::<Option<_>>()?;
        let number = group.iter().position(|&part| part == self.number)?;
        let (mut shape, len) = (given[number].shape.clone(), given[number].data.len());
        let (low, high) = match kind {
            ExchangeKind::AllGather => {
                shape.insert(0, given.len() as i64);
                (0, len)
            }
            ExchangeKind::AllToAll => {
                let row = len / given.len();
                (number * row, (number + 1) * row)
            }
            ExchangeKind::AllReduce => {
                unreachable!("sums whose order counts are not left to a transport")
            }
        };
        let rows = given.iter().map(|tensor| sliced(&tensor.data, low, high));
        Some(Tensor::new(shape, joined(rows)))
    }
}

/// Which parts exchange values with one.
type Groups<'a> = &'a dyn Fn(Among) -> Vec<usize>;

/// The partners of a tile program.
struct Others<'a> {
    program: &'a tile::Program,
    end: &'a End,
    groups: Groups<'a>,
}

impl Others<'_> {
    fn tag(&self, exchange: &tile::Exchange) -> Tag {
        let alike = self.program.exchanges.iter().filter(|other| other.among == exchange.among);
        (exchange.among, alike.take_while(|other| other.to != exchange.to).count())
    }
}

impl tile::Partners for Others<'_> {
    fn give(&mut self, exchange: &tile::Exchange, given: Tensor) {
        self.end.give(&(self.groups)(exchange.among), self.tag(exchange), given);
    }

    fn take(&mut self, exchange: &tile::Exchange) -> Option<Tensor> {
        self.end.taken(&(self.groups)(exchange.among), self.tag(exchange), exchange.kind)
    }
}

fn sliced(data: &Data, from: usize, to: usize) -> Data {
    match data {
        Data::F32(values) => Data::F32(values[from..to].to_vec()),
        Data::I32(values) => Data::I32(values[from..to].to_vec()),
        other => panic!("no model has data like {other:?}"),
    }
}

fn joined(pieces: impl Iterator<Item = Data>) -> Data {
    pieces
        .reduce(|mut all, piece| {
            match (&mut all, piece) {
                (Data::F32(all), Data::F32(piece)) => all.extend(piece),
                (Data::I32(all), Data::I32(piece)) => all.extend(piece),
                (all, piece) => panic!("{all:?} with {piece:?}"),
            }
            all
        })
        .expect("there are parts")
}

/// Leaves of a step on `batch` examples.
fn leaves(graphs: &ModelGraphs, batch: i64) -> Leaves {
    let scalar = |value| Tensor::i32(&[], vec![value]);
    let mut leaves: Leaves = [("seed", 5), ("step", 1), ("steps", 9)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), scalar(value)))
        .collect();
    for node in graphs.init.nodes.values() {
        if let Op::Input { name, role: InputRole::Param | InputRole::State } = &node.op {
            let shape: Vec<i64> = node.shape.iter().map(|dim| dim.at(1)).collect();
            let n = shape.iter().product::<i64>() as usize;
            leaves.insert(name.clone(), Tensor::new(shape, Data::F32(vec![0.0; n])));
        }
    }
    let first = graph::interpret(&graphs.init, &leaves, 1).expect("first values");
    leaves.extend(first.assigns);
    let mut rng = Rng::new(11);
    let x = (0..6 * batch).map(|_| (rng.bits() >> 40) as f32 / (1 << 24) as f32 - 0.5).collect();
    leaves.insert("x".to_owned(), Tensor::new(vec![batch, 6], Data::F32(x)));
    let label = (0..batch).map(|_| rng.below(3) as i32).collect();
    leaves.insert("label".to_owned(), Tensor::i32(&[batch], label));
    leaves
}

/// The leaves of the examples `from..to`.
fn of_part(leaves: &Leaves, batch: i64, (from, to): (i64, i64), shards_before: u32) -> Leaves {
    let mut part = leaves.clone();
    for (name, row) in [("x", 6), ("label", 1)] {
        let whole = &leaves[name];
        let mut shape = whole.shape.clone();
        shape[0] = to - from;
        let data = sliced(&whole.data, (from * row) as usize, (to * row) as usize);
        part.insert(name.to_owned(), Tensor::new(shape, data));
    }
    let place = vec![batch as i32, from as i32, shards_before as i32];
    part.insert(WINDOW_INPUT.to_owned(), Tensor::i32(&[3], place));
    part
}

/// Runs the graph of a part: its results, and its parameters and states after the step.
type Run = fn(&Graph, &Leaves, i64, &End, Groups<'_>) -> Leaves;

fn in_graph(graph: &Graph, leaves: &Leaves, batch: i64, end: &End, groups: Groups<'_>) -> Leaves {
    let text = graph.to_string();
    assert_eq!(graph::parse(&text).expect("it reads back").to_string(), text);
    let mut counts = [0; Among::ALL.len()];
    let mut meet = |at: &Exchange, own: Tensor| {
        let count = &mut counts[at.among as usize];
        let (group, tag) = (groups(at.among), (at.among, *count));
        *count += 1;
        end.give(&group, tag, own);
        end.taken(&group, tag, at.kind)
    };
    let outputs = graph::interpret_part(graph, leaves, batch, &mut meet).expect("it runs");
    outputs.results.into_iter().chain(outputs.assigns).collect()
}

fn in_tile(graph: &Graph, leaves: &Leaves, batch: i64, end: &End, groups: Groups<'_>) -> Leaves {
    let target = TargetDesc::typical(Isa::Avx2);
    let program = lower::to_tile(graph, batch.max(1), &target).expect("it lowers");
    program.verify().expect("the program is lawful");
    assert_eq!(tile::parse(&program.to_string()).expect("it reads back"), program);
    let mut others = Others { program: &program, end, groups };
    let outputs = tile::interpret_part(&program, leaves, batch, 3, &mut others).expect("it runs");
    outputs.results.into_iter().chain(outputs.leaves).collect()
}

fn parts_give_the_whole(run: Run) {
    let elaborated = elaborate_text("net.dl", TEXT, None, None).expect("a sound text");
    let graphs = ModelGraphs::freeze(&elaborated, true).expect("it freezes");
    let train = graphs.train.as_ref().expect("it trains");
    for (parts, batch) in [(2, 9), (3, 21), (4, 3), (8, 16)] {
        let leaves = leaves(&graphs, batch);
        let whole = graph::interpret(train, &leaves, batch).expect("it runs");
        let found = all_parts(&graphs, &leaves, parts, batch, run);
        for (part, found) in found.iter().enumerate() {
            for (name, expected) in whole.results.iter().chain(&whole.assigns) {
                let difference = found[name].first_difference(expected);
                let place = format!("`{name}` on part {part} of {parts}, batch {batch}");
                assert_eq!(difference, None, "{place}");
            }
        }
    }
}

/// What each part of a step leaves.
fn all_parts(
    graphs: &ModelGraphs,
    leaves: &Leaves,
    parts: u32,
    batch: i64,
    run: Run,
) -> Vec<Leaves> {
    let blocks = blocks(8, parts).expect("there are eight shards");
    std::thread::scope(|scope| {
        let start = |(end, block): (End, &Block)| {
            let part = Part { parts, number: end.number as u32, reduce: Reduce::Ordered };
            let whole = graphs.train.clone().expect("it trains");
            let graph = split_batch::run(whole, part, &PassCx::default()).expect("it can be cut");
            graph.verify().expect("the part is lawful");
            let cut = |shard: u32| batch * i64::from(shard) / 8;
            let (from, to) = (cut(block.first), cut(block.first + block.count));
            let own = of_part(leaves, batch, (from, to), block.first);
            scope.spawn(move || {
                let all = |_: Among| (0..parts as usize).collect();
                run(&graph, &own, to - from, &end, &all)
            })
        };
        let parts: Vec<_> = End::all(parts as usize).into_iter().zip(&blocks).map(start).collect();
        parts.into_iter().map(|part| part.join().expect("no part panics")).collect()
    })
}

#[test]
fn graphs_of_parts_give_the_bits_of_the_whole() {
    parts_give_the_whole(in_graph);
}

#[test]
fn tile_programs_of_parts_give_the_bits_of_the_whole() {
    parts_give_the_whole(in_tile);
}
