//! Makes the graph that one part of a batch runs out of the graph of the whole step.
//! Input law:  the graph is frozen.
//! Output law: the graph is frozen and has a window: every extent speaks of the part's examples, and what all parts together know goes
//!             through exchanges. All parts have the same exchanges in the same order, and the results of a run of all parts are, bit by bit,
//!             those of the whole.
//! Why: hosts, replicas and micro-batches are the same thing to a sum over the batch. The frozen order cuts it into shards that meet in a
//!      binary tree; a part owns an aligned block of shards, so what it computes is a subtree, and the rest of the tree is element-wise sums.
//! Cost: O(nodes); of every large sum over the batch a step moves twice its bytes times (parts - 1) / parts, as in a ring.
//!
//! ```text
//! before:  graph shards 4           %2 = contract sum [i0 < 64, i1 < 10, i2 < batch] .. order chain(.., shard i2)    %3 = add %1, %2
//! after:   graph shards 2 of 4      %2 = contract sum [i0 < 64, i1 < 10, i2 < batch] .. order chain(.., shard i2)
//!          %4 = all_gather %2 parts 2    %5 = add %4[0, ..], %4[1, ..]    %3 = add %1, %5
//! ```
//!
//! # Sums
//! Small sums go whole to every part in one exchange. Larger ones are cut into a piece for each part: an all-to-all of pieces, the tree over
//! the pieces, an all-gather of the results. Between two parts the bytes are the same either way, and the second message is spared where the
//! step waits for the sum; gradients are cut into pieces all the same, for `split_updates`.

mod examples;

use crate::pass::{PassCx, PassError};
use crate::rebuild::rebuild;
use dlc_abi::{Among, Dim, ElemType, ExchangeKind, WINDOW_INPUT};
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{
    BinaryOp, Combine, Compare, Contract, Exchange, Graph, GraphBuilder, InputRole, Literal, Node,
    NodeId, Op, Origin, Stage,
};

/// Sums of fewer elements go whole to every part: a message more costs as much as they do.
pub(crate) const WHOLE: i64 = 256;

/// How sums of parts meet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reduce {
    /// In the frozen tree: the bits of one process, however many parts there are.
    #[default]
    Ordered,
    /// Larger ones in an order that the transport chooses, which may follow the number of parts, their places and the library.
    Fast,
}

/// One of the parts of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How many parts there are.
    pub parts: u32,
    /// Which one this is, from 0.
    pub number: u32,
    /// How sums meet.
    pub reduce: Reduce,
}

impl Part {
    /// Its block of so many shards; `None` when there are too few or no such part.
    pub fn block(self, shards: u32) -> Option<Block> {
        blocks(shards, self.parts)?.get(self.number as usize).copied()
    }
}

/// Why a step cannot be cut into parts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SplitError {
    /// There are more parts than shards.
    #[error("{parts} parts need at least as many shards, but the program has `shards = {shards}`")]
    Shards {
        /// The parts asked for.
        parts: u32,
        /// The shards of the program.
        shards: u32,
    },
    /// A part's shards cannot be shared out equally between its micro-batches.
    #[error(
        "{micro_batches} micro-batches cannot share the {shards} shards that a replica has of each batch"
    )]
    MicroBatches {
        /// The micro-batches asked for.
        micro_batches: u32,
        /// The shards of the part.
        shards: u32,
    },
    /// A value of one example depends on other examples otherwise than by a sum or an extreme over the whole batch.
    #[error("`{name}` ({node}) cannot be cut between examples: {problem}")]
    Mixed {
        /// The node's name in the source.
        name: String,
        /// The node.
        node: NodeId,
        /// What it does.
        problem: &'static str,
    },
    /// A value of one micro-batch depends on all of them: a stage would have to keep them all before it could go on.
    #[error(
        "`{name}` ({node}) needs the whole batch in the middle of the network, so micro-batches cannot go through a pipeline one by one"
    )]
    WholeBatch {
        /// The node's name in the source.
        name: String,
        /// The node.
        node: NodeId,
    },
    /// A gradient is needed by a later stage than the one that knows it.
    #[error(
        "`{name}` ({node}) flows against the pipeline: a later stage needs a gradient of an earlier one"
    )]
    Backwards {
        /// The node's name in the source.
        name: String,
        /// The node.
        node: NodeId,
    },
    /// A weight that is to be cut has no axis with as many elements as there are slices.
    #[error("`{name}` has no axis that {slices} slices can share: its shape is {shape:?}")]
    NoAxis {
        /// The weight.
        name: String,
        /// Its extents.
        shape: Vec<i64>,
        /// The slices.
        slices: u32,
    },
    /// The model has a loop.
    #[error("`{name}` ({node}) is carried by a loop, which cannot be cut into stages or slices")]
    Loop {
        /// The node's name in the source.
        name: String,
        /// The node.
        node: NodeId,
    },
    /// A broken law.
    #[error(transparent)]
    Pass(#[from] PassError),
}

/// Refuses graphs with loops: what a loop carries goes round within a step, and other ranks are met once in a step.
pub(crate) fn without_loops(graph: &Graph) -> Result<(), SplitError> {
    let found = graph.nodes.iter().find(|(_, node)| matches!(node.op, Op::Recur { .. }));
    found.map_or(Ok(()), |(id, node)| {
        Err(SplitError::Loop { name: node.origin.name.clone(), node: id })
    })
}

/// The block of shards of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first of its shards.
    pub first: u32,
    /// How many there are; a power of two that divides `first`.
    pub count: u32,
}

/// Cuts `shards` shards into aligned blocks, one for each part in order, by halving the largest block again and again; `None` when there
/// are too few shards. Blocks that are aligned are subtrees of the tree in which shard sums meet, so a part has one value to give.
pub fn blocks(shards: u32, parts: u32) -> Option<Vec<Block>> {
    let mut blocks = vec![Block { first: 0, count: shards }];
    while blocks.len() < parts as usize {
        // Of equal blocks the last one is halved, so that the first parts are the larger ones.
        let at = (0..blocks.len()).max_by_key(|&at| (blocks[at].count, at))?;
        let Block { first, count } = blocks[at];
        if count < 2 {
            return None;
        }
        blocks[at].count = count / 2;
        blocks.insert(at + 1, Block { first: first + count / 2, count: count / 2 });
    }
    (parts > 0).then_some(blocks)
}

/// The most examples that a block has of a batch of `batch`.
pub fn largest_part(batch: i64, shards: u32, block: Block) -> i64 {
    let (count, shards) = (i64::from(block.count), i64::from(shards));
    ((batch * count + shards - 1) / shards).max(1)
}

/// The graph of a part.
///
/// # Errors
/// When the program has too few shards, or examples depend on one another.
pub fn run(graph: Graph, part: Part, cx: &PassCx) -> Result<Graph, SplitError> {
    cut(graph, part, None, cx)
}

/// The graph of each of `micro_batches` equal pieces of a part, which are worked off one after the other: sums over the batch are first
/// gathered from them, then from the other parts.
///
/// # Errors
/// As [`run`], and when the part's shards cannot be shared out equally.
pub fn micro_batches(
    graph: Graph,
    part: Part,
    micro_batches: u32,
    cx: &PassCx,
) -> Result<Graph, SplitError> {
    cut(graph, part, Some(micro_batches), cx)
}

fn cut(
    graph: Graph,
    part: Part,
    micro_batches: Option<u32>,
    cx: &PassCx,
) -> Result<Graph, SplitError> {
    if !graph.frozen || graph.window_of.is_some() {
        return Err(PassError::bug("split_batch", "the graph is not that of a whole step").into());
    }
    let shards = graph.shards;
    let blocks = blocks(shards, part.parts)
        .filter(|_| part.number < part.parts)
        .ok_or(SplitError::Shards { parts: part.parts, shards })?;
    let own = blocks[part.number as usize];
    let pieces = micro_batches.unwrap_or(1);
    if pieces == 0 || !own.count.is_multiple_of(pieces) {
        return Err(SplitError::MicroBatches { micro_batches: pieces, shards: own.count });
    }
    examples::check(&graph)?;
    let mut window = None;
    let mut awaited = awaited_by_examples(&graph).into_iter();
    let mut split = rebuild(graph, |graph, node| {
        let window = window
            .get_or_insert_with(|| Window::new(graph, blocks.clone(), micro_batches, part.reduce));
        let awaited = awaited.next().expect("there is one for each node");
        Ok::<NodeId, SplitError>(window.place(graph, node, awaited, cx))
    })?;
    split.shards = own.count / pieces;
    split.window_of = Some(shards);
    Ok(split)
}

/// Which values a value of single examples follows from.
fn awaited_by_examples(graph: &Graph) -> Vec<bool> {
    let mut awaited = vec![false; graph.nodes.len()];
    for index in (0..graph.nodes.len()).rev() {
        let node = &graph.nodes[NodeId::from_index(index)];
        if awaited[index] || node.shape.iter().any(|dim| dim.batch_factor != 0) {
            for operand in node.op.operands() {
                awaited[operand.index()] = true;
            }
        }
    }
    awaited
}

/// The part's place in the batch, as scalars of the graph.
struct Window {
    /// `i32`: examples of the whole batch.
    whole: NodeId,
    /// `i32`: examples before the part.
    before: NodeId,
    /// The shards of all parts.
    blocks: Vec<Block>,
    /// The shards of all micro-batches of a part, counted in micro-batches.
    micro: Option<Vec<Block>>,
    reduce: Reduce,
}

impl Window {
    fn new(
        graph: &mut Graph,
        blocks: Vec<Block>,
        micro_batches: Option<u32>,
        reduce: Reduce,
    ) -> Window {
        let origin = Origin { name: "window".to_owned(), span: None };
        let mut g = graph.build(Stage::Forward, origin);
        let leaf = g.input(WINDOW_INPUT, InputRole::Data, ElemType::I32, vec![Dim::fixed(3)]);
        let (whole, before) = (g.select_index(leaf, 0, 0), g.select_index(leaf, 0, 1));
        let single = |first| Block { first, count: 1 };
        let micro = micro_batches.map(|count| (0..count).map(single).collect());
        Window { whole, before, blocks, micro, reduce }
    }

    /// Among whom a reduction over the batch is joined, and what each of them has, innermost first.
    fn levels(&self) -> impl Iterator<Item = (Among, &[Block])> {
        let micro = self.micro.as_deref().map(|micro| (Among::MicroBatches, micro));
        let replicas = (self.blocks.len() > 1).then_some((Among::Replicas, &self.blocks[..]));
        micro.into_iter().chain(replicas)
    }

    fn place(&self, graph: &mut Graph, node: Node, awaited: bool, cx: &PassCx) -> NodeId {
        let batch_axis = node.shape.iter().position(|dim| dim.batch_factor != 0);
        let mut op = node.op.clone();
        let mut g = graph.build(node.stage, node.origin.clone());
        match &mut op {
            Op::Extent(dim) if dim.batch_factor != 0 => {
                let extent = self.scaled(&mut g, self.whole, dim.batch_factor, dim.constant);
                return g.convert(extent, node.elem);
            }
            Op::Iota { axis } if Some(*axis) == batch_axis => {
                let factor = node.shape[*axis].batch_factor;
                let first = self.scaled(&mut g, self.before, factor, 0);
                let first = g.convert(first, node.elem);
                let first = g.broadcast_axes(first, &[], &node.shape);
                let own = graph.nodes.push(node.clone());
                return graph.build(node.stage, node.origin).add(own, first);
            }
            Op::Random { first, .. } => {
                if let Some(axis) = batch_axis {
                    let row: i64 = node.shape.iter().map(|dim| dim.constant.max(1)).product();
                    let elements = row * node.shape[axis].batch_factor;
                    *first = Some(self.scaled(&mut g, self.before, elements, 0));
                }
            }
            Op::Contract(contract) => {
                let over_batch =
                    contract.space[contract.out.len()..].iter().any(|dim| dim.batch_factor != 0);
                if over_batch {
                    cx.count("sums", 1);
                    let contract = contract.clone();
                    return self.whole_of(graph, node, contract, awaited);
                }
            }
            Op::Input { .. }
            | Op::Const(_)
            | Op::Iota { .. }
            | Op::Extent(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Compare(..)
            | Op::Select(..)
            | Op::Fma(..)
            | Op::Convert(_)
            | Op::View { .. }
            | Op::Reshape(_)
            | Op::Gather(_)
            | Op::Recur { .. }
            | Op::Exchange(_) => {}
        }
        graph.nodes.push(Node { op, ..node })
    }

    /// A reduction over the batch: this part's, joined with those of the others.
    fn whole_of(&self, graph: &mut Graph, node: Node, contract: Contract, awaited: bool) -> NodeId {
        let (combine, stage, origin) = (contract.combine, node.stage, node.origin.clone());
        let extreme = match combine {
            Combine::ArgMax => Combine::Max,
            Combine::ArgMin => Combine::Min,
            Combine::Sum | Combine::Max | Combine::Min => {
                let own = graph.nodes.push(node);
                let mut g = graph.build(stage, origin);
                return self.levels().fold(own, |own, (among, blocks)| {
                    let fast = self.reduce == Reduce::Fast && among == Among::Replicas;
                    if fast && combine == Combine::Sum && is_large_float(&g, own) {
                        let (kind, parts) = (ExchangeKind::AllReduce, blocks.len() as u32);
                        return g.exchange(Exchange { kind, operand: own, parts, among, round: 0 });
                    }
                    joined(&mut g, own, combine, among, blocks, awaited)
                });
            }
        };
        // The place of an extreme goes with its value. Places are counted in the whole batch, whose axis is the outermost of the reduction.
        let rest = &contract.space[contract.out.len() + 1..];
        let elements: i64 = rest.iter().map(|dim| dim.constant).product();
        let factor = contract.space[contract.out.len()].batch_factor;
        let elem = graph.nodes[contract.reads[0].value].elem;
        let own = graph.nodes.push(node.clone());
        let op = Op::Contract(Contract { combine: extreme, ..contract });
        let value = graph.nodes.push(Node { op, elem, ..node });
        let mut g = graph.build(stage, origin);
        let first = self.scaled(&mut g, self.before, factor * elements, 0);
        let shape = g.shape(own).to_vec();
        let first = g.broadcast_axes(first, &[], &shape);
        let place = g.add(own, first);
        let met = self.levels().fold((value, place), |own, (among, blocks)| {
            first_extreme(&mut g, own, extreme, among, blocks.len() as u32)
        });
        met.1
    }

    /// `count * factor + constant` in `i32`.
    fn scaled(
        &self,
        g: &mut GraphBuilder<'_>,
        count: NodeId,
        factor: i64,
        constant: i64,
    ) -> NodeId {
        let mut scaled = count;
        if factor != 1 {
            let factor = g.constant(Literal::Int(factor), ElemType::I32, Vec::new());
            scaled = g.mul(scaled, factor);
        }
        if constant != 0 {
            let constant = g.constant(Literal::Int(constant), ElemType::I32, Vec::new());
            scaled = g.add(scaled, constant);
        }
        scaled
    }
}

/// The first of the greatest or least values of all parts, and its place.
fn first_extreme(
    g: &mut GraphBuilder<'_>,
    (value, place): (NodeId, NodeId),
    extreme: Combine,
    among: Among,
    parts: u32,
) -> (NodeId, NodeId) {
    let between = |kind, operand| Exchange { kind, operand, parts, among, round: 0 };
    let values = g.exchange(between(ExchangeKind::AllGather, value));
    let places = g.exchange(between(ExchangeKind::AllGather, place));
    let row = |g: &mut GraphBuilder<'_>, at: i64| {
        (g.select_index(values, 0, at), g.select_index(places, 0, at))
    };
    let (mut best, mut place) = row(g, 0);
    for at in 1..i64::from(parts) {
        let (newer, its_place) = row(g, at);
        let (low, high) = if extreme == Combine::Max { (best, newer) } else { (newer, best) };
        // The first NaN stays whatever comes after it.
        let better = g.compare(Compare::Lt, low, high);
        let nan = g.compare(Compare::Ne, newer, newer);
        let number = g.compare(Compare::Eq, best, best);
        let first_nan = g.binary(BinaryOp::And, nan, number);
        let take = g.binary(BinaryOp::Or, better, first_nan);
        best = g.select(take, newer, best);
        place = g.select(take, its_place, place);
    }
    (best, place)
}

/// Whether a sum is of those that transports add up, and large enough to ask them for it. The others say whether to stop, as well.
fn is_large_float(g: &GraphBuilder<'_>, sum: NodeId) -> bool {
    let elements: i64 = g.shape(sum).iter().map(|dim| dim.constant).product();
    elements >= WHOLE && matches!(g.elem(sum), ElemType::F32 | ElemType::F64)
}

/// The whole of a reduction over the batch, from what each part has of it. `awaited` where values of examples follow from it.
fn joined(
    g: &mut GraphBuilder<'_>,
    own: NodeId,
    combine: Combine,
    among: Among,
    blocks: &[Block],
    awaited: bool,
) -> NodeId {
    let shape = g.shape(own).to_vec();
    let elements: i64 = shape.iter().map(|dim| dim.constant).product();
    let parts = blocks.len() as u32;
    let between = |kind, operand| Exchange { kind, operand, parts, among, round: 0 };
    // Micro-batches lie on one rank, so that nothing is sent.
    if elements < WHOLE || (parts == 2 && awaited) || among == Among::MicroBatches {
        let all = g.exchange(between(ExchangeKind::AllGather, own));
        return tree(g, all, combine, blocks);
    }
    let piece = (elements + i64::from(parts) - 1) / i64::from(parts);
    let padded = piece * i64::from(parts);
    let flat = g.reshape(own, vec![Dim::fixed(elements)]);
    let flat = g.resized(flat, 0, padded);
    let pieces = g.reshape(flat, vec![Dim::fixed(i64::from(parts)), Dim::fixed(piece)]);
    let taken = g.exchange(between(ExchangeKind::AllToAll, pieces));
    let piece = tree(g, taken, combine, blocks);
    let all = g.exchange(between(ExchangeKind::AllGather, piece));
    let flat = g.reshape(all, vec![Dim::fixed(padded)]);
    let flat = g.resized(flat, 0, elements);
    g.reshape(flat, shape)
}

/// The rows of `all`, one for each block, met in the tree of shards or chunks.
pub(crate) fn tree(
    g: &mut GraphBuilder<'_>,
    all: NodeId,
    combine: Combine,
    blocks: &[Block],
) -> NodeId {
    subtree(g, all, combine, blocks, 0)
}

/// The rows of `all` from `row` on, one for each block, met in their part of the tree.
fn subtree(
    g: &mut GraphBuilder<'_>,
    all: NodeId,
    combine: Combine,
    blocks: &[Block],
    row: usize,
) -> NodeId {
    if blocks.len() == 1 {
        return g.select_index(all, 0, row as i64);
    }
    let (first, last) = (blocks[0].first, blocks[blocks.len() - 1]);
    // The tree is left-complete: a power of two on the left, and no less than on the right.
    let middle = first + (last.first + last.count - first).next_power_of_two() / 2;
    let cut = blocks.partition_point(|block| block.first < middle);
    let older = subtree(g, all, combine, &blocks[..cut], row);
    let newer = subtree(g, all, combine, &blocks[cut..], row + cut);
    match combine {
        Combine::Sum => g.add(older, newer),
        Combine::Max => keep_better(g, older, newer, older, newer),
        Combine::Min => keep_better(g, older, newer, newer, older),
        Combine::ArgMax | Combine::ArgMin => unreachable!("places are joined with their values"),
    }
}

/// `low < high or newer is NaN ? newer : older`.
fn keep_better(
    g: &mut GraphBuilder<'_>,
    older: NodeId,
    newer: NodeId,
    low: NodeId,
    high: NodeId,
) -> NodeId {
    let better = g.compare(Compare::Lt, low, high);
    let nan = g.compare(Compare::Ne, newer, newer);
    let take = g.binary(BinaryOp::Or, better, nan);
    g.select(take, newer, older)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_subtrees_that_cover_all_shards() {
        for shards in [1_u32, 2, 4, 8, 64] {
            for parts in 1..=shards {
                let blocks = blocks(shards, parts).expect("there are enough shards");
                assert_eq!(blocks.len(), parts as usize);
                let mut next = 0;
                for block in &blocks {
                    assert_eq!(block.first, next);
                    assert!(block.count.is_power_of_two() && block.first % block.count == 0);
                    next += block.count;
                }
                assert_eq!(next, shards);
                let counts = blocks.iter().map(|block| block.count);
                assert!(counts.clone().max() <= counts.min().map(|least| 2 * least));
            }
        }
        assert_eq!(blocks(4, 5), None);
        assert_eq!(blocks(4, 0), None);
    }

    #[test]
    fn the_largest_part_bounds_every_batch() {
        for shards in [1_u32, 2, 4, 8] {
            for parts in 1..=shards {
                for block in blocks(shards, parts).expect("there are enough shards") {
                    let cut = |batch: i64, shard: u32| batch * i64::from(shard) / i64::from(shards);
                    let size =
                        |batch| cut(batch, block.first + block.count) - cut(batch, block.first);
                    let most = largest_part(37, shards, block);
                    assert!((0..=37).all(|batch| size(batch) <= most));
                }
            }
        }
    }
}
