//! Along which axis each parameter is cut: the one with which a step costs least.

use super::plan::Plan;
use super::{TensorMap, TensorRequest, extents};
use crate::split_batch::SplitError;
use dlc_abi::AxisCut;
use dlc_ir::graph::{Graph, InputRole, Node, Op};

/// Terms of a chunk of a long sum, and with it where sums along an axis can be cut.
const CHUNK: i64 = crate::freeze::CHUNK;

/// Chooses for the frozen graph of a training step.
///
/// # Errors
/// When a weight that must be cut has no axis for it.
pub(super) fn choose(
    graph: &Graph,
    request: &TensorRequest,
    batch: i64,
) -> Result<TensorMap, SplitError> {
    let mut map = TensorMap { slices: request.slices, leaves: Vec::new() };
    let leaves = |wanted: InputRole| {
        graph.nodes.values().filter_map(move |node| match &node.op {
            Op::Input { name, role } if *role == wanted => Some((name, node)),
            _ => None,
        })
    };
    // Each weight anew, knowing the choice for the others, until nothing gets better.
    for sweep in 0..MOST_SWEEPS {
        let before = map.clone();
        for (name, node) in leaves(InputRole::Param) {
            let Some(layer) = request.layer_of(name) else { continue };
            let must = layer.must && layer.largest == *name;
            let mut cuts: Vec<Option<AxisCut>> = cuts(node, request.slices).map(Some).collect();
            if must && cuts.is_empty() {
                let (name, shape, slices) = (name.clone(), extents(node), request.slices);
                return Err(SplitError::NoAxis { name, shape, slices });
            }
            if !must {
                cuts.push(None);
            }
            let cost = |cut: &Option<AxisCut>| {
                let mut tried = map.clone();
                tried.set(name, node, *cut);
                follow(&mut tried, leaves(InputRole::State));
                Plan::of(graph, &tried, batch).cost
            };
            let best = cuts.into_iter().min_by_key(cost).flatten();
            map.set(name, node, best);
        }
        if sweep > 0 && map == before {
            break;
        }
    }
    follow(&mut map, leaves(InputRole::State));
    Ok(map)
}

/// Choices that go round in circles end here.
const MOST_SWEEPS: usize = 4;

/// The ways to cut a weight, the last axis first: what a layer gives in slices needs nothing of other ranks yet.
fn cuts(node: &Node, slices: u32) -> impl Iterator<Item = AxisCut> + '_ {
    let slices = i64::from(slices);
    (0..node.shape.len()).rev().flat_map(move |axis| {
        let extent = node.shape[axis].as_fixed().unwrap_or(0);
        let even = (extent + slices - 1) / slices;
        let mut on_chunks = CHUNK;
        while on_chunks < even {
            on_chunks *= 2;
        }
        let fits = move |block: &i64| *block > 0 && (slices - 1) * *block < extent;
        let blocks = [on_chunks, even].into_iter().filter(fits);
        blocks.map(move |block| AxisCut { axis, block })
    })
}

/// States that an optimizer keeps for a parameter are cut as it is, where they have its shape.
fn follow<'a>(map: &mut TensorMap, states: impl Iterator<Item = (&'a String, &'a Node)>) {
    map.leaves.retain(|leaf| !leaf.name.contains('/'));
    for (name, node) in states {
        let owner = name.split('/').next().unwrap_or(name);
        let found = map.leaves.iter().find(|leaf| leaf.name == owner);
        if let Some(leaf) = found.filter(|leaf| leaf.shape == extents(node)) {
            let cut = leaf.cut;
            map.set(name, node, Some(cut));
        }
    }
}
