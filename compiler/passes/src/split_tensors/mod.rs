//! Makes the graph that one of several ranks runs that share the tensors of a model, out of the graph of the whole step.
//! Input law:  the graph is frozen and has no exchanges.
//! Output law: so it is, but for exchanges between slices, which all slices have in the same order. What is cut of parameters and states
//!             are leaves of their own; results of a run of all slices are, bit by bit, those of the whole.
//! Why: a layer too large or too slow for one rank is shared by several. Which layers is asked for; along which axes and with what
//!      exchanges follows from the graph: a cut of a parameter is handed on through every operation that can take it.
//! Cost: O(nodes); the choice of axes plans the graph a few times for each parameter that is asked for.
//!       Method: Shoeybi et al. 2019 (arXiv 1909.08053) for the pairs of columns and rows, Xu et al. 2021 (arXiv 2105.04663) for
//!       handing on cuts.
//!
//! ```text
//! before:  %2: f32[64, 128] = input param "a.w"      %3 = contract sum [.., i1 < 128, i2 < 64] %0[.., i2] * %2[i2, i1] ..
//!          %4: f32[128, 10] = input param "b.w"      %5 = contract sum [.., i1 < 10, i2 < 128] %3[.., i2] * %4[i2, i1] ..
//! slice 0: %2: f32[64, 64] = input param "a.w@slice" %3 = contract sum [.., i1 < 64, i2 < 64] %0[.., i2] * %2[i2, i1] ..
//!          %4 = all_gather %3 parts 2 among slices   ..
//! ```
//!
//! # Bits
//! A slice of a result has the bits of the whole. A sum along a cut axis is made of partial sums only where slices are subtrees of the
//! frozen order, blocks of chunks: then partial sums meet in the tree in which the chunks would have. Elsewhere operands are brought
//! together first, so that a cut never changes a bit, wherever it falls.

mod build;
mod choose;
mod plan;
mod ways;

use crate::pass::{PassCx, PassError};
use crate::split_batch::{SplitError, without_loops};
use dlc_abi::AxisCut;
use dlc_ir::graph::{Graph, Node, Op};
use plan::Plan;

/// A layer whose parameters are to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLayer {
    /// Its parameters.
    pub params: Vec<String>,
    /// The one with most elements.
    pub largest: String,
    /// Whether that one is cut whatever it costs.
    pub must: bool,
}

/// What is to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRequest {
    /// Into how many slices.
    pub slices: u32,
    /// Which layers.
    pub layers: Vec<TensorLayer>,
}

impl TensorRequest {
    fn layer_of(&self, param: &str) -> Option<&TensorLayer> {
        self.layers.iter().find(|layer| layer.params.iter().any(|name| name == param))
    }
}

/// A parameter or state that is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLeaf {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<i64>,
    /// Where it is cut.
    pub cut: AxisCut,
}

/// Which parameters and states are cut, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorMap {
    /// Into how many slices.
    pub slices: u32,
    /// Those that are cut.
    pub leaves: Vec<TensorLeaf>,
}

impl TensorMap {
    /// Chooses the cuts for the frozen graph of a training step with batches of `batch` examples.
    ///
    /// # Errors
    /// When a layer cannot be cut into so many slices.
    pub fn choose(
        graph: &Graph,
        request: &TensorRequest,
        batch: i64,
    ) -> Result<TensorMap, SplitError> {
        choose::choose(graph, request, batch)
    }

    /// Where a parameter or state is cut.
    pub fn cut_of(&self, name: &str) -> Option<AxisCut> {
        self.leaves.iter().find(|leaf| leaf.name == name).map(|leaf| leaf.cut)
    }

    fn set(&mut self, name: &str, node: &Node, cut: Option<AxisCut>) {
        self.leaves.retain(|leaf| leaf.name != name);
        let leaf = |cut| TensorLeaf { name: name.to_owned(), shape: extents(node), cut };
        self.leaves.extend(cut.map(leaf));
    }
}

/// Extents of a parameter or state, which has no axis with the batch.
fn extents(node: &Node) -> Vec<i64> {
    node.shape.iter().map(|dim| dim.at(1)).collect()
}

/// The graph of a slice, planned for batches of `batch` examples.
///
/// # Errors
/// When the graph is not that of a whole step, or there is no such slice.
pub fn run(
    graph: &Graph,
    map: &TensorMap,
    slice: u32,
    batch: i64,
    cx: &PassCx,
) -> Result<Graph, SplitError> {
    let has_exchanges = graph.nodes.values().any(|node| matches!(node.op, Op::Exchange(_)));
    if !graph.frozen || has_exchanges || slice >= map.slices {
        let found = "the graph is not that of a whole step, or there is no such slice";
        return Err(PassError::bug("split_tensors", found).into());
    }
    without_loops(graph)?;
    let plan = Plan::of(graph, map, batch);
    let (new, exchanges) = build::build(graph, &plan, map, slice);
    cx.count("exchanges", exchanges);
    Ok(new)
}
