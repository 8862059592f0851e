//! What a model consists of: layers with shapes, parameters and costs.

use crate::elaborate::Elaborator;
use dlc_ir::Dim;
use dlc_ir::graph::Op;

/// A layer or function that the model applies.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSummary {
    /// Full name of a layer, as its parameters begin with; of a function its own name.
    pub name: String,
    /// What was applied.
    pub kind: String,
    /// Within how many layers it lies; 0 for what the model's own text applies.
    pub depth: usize,
    /// Shape of its first result; `None` where that is no tensor.
    pub shape: Option<Vec<Dim>>,
    /// Numbers in the parameters that it made, those of inner layers included. A shared layer makes them in its first use.
    pub params: i64,
    /// Products that are added up for one example, those of inner layers included.
    pub multiply_adds: i64,
}

/// The rows of a model, in the order of the text, each layer before those within it.
pub(super) fn rows(elaborator: &Elaborator) -> Vec<LayerSummary> {
    let graph = &elaborator.graph;
    let costs: Vec<i64> = graph
        .nodes
        .values()
        .map(|node| match &node.op {
            Op::Contract(contract) if contract.reads.len() == 2 => {
                contract.space.iter().fold(1_i64, |product, dim| product.saturating_mul(dim.at(1)))
            }
            _ => 0,
        })
        .collect();
    let sizes: Vec<i64> = elaborator
        .params
        .values()
        .map(|leaf| leaf.tensor.shape.iter().map(|extent| extent.dim.at(1)).product())
        .collect();
    let mut applied: Vec<_> = elaborator.applied.iter().collect();
    applied.sort_by_key(|row| (row.nodes.start, row.depth, std::cmp::Reverse(row.nodes.end)));
    applied
        .into_iter()
        .map(|row| LayerSummary {
            name: row.name.clone(),
            kind: row.kind.clone(),
            depth: row.depth,
            shape: row.shape.clone(),
            params: sizes[row.params.clone()].iter().sum(),
            multiply_adds: costs[row.nodes.clone()]
                .iter()
                .fold(0, |sum, cost| sum.saturating_add(*cost)),
        })
        .collect()
}
