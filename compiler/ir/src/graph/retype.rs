//! A graph in another precision: `f32` becomes `f64` everywhere, leaves and constants included.
//!
//! Gradient checks run the same program through the same passes this way. Random numbers keep their 24 bits, so both programs
//! draw the same.

use super::data::Graph;
use dlc_abi::ElemType;

/// The graph with double in place of single precision. Literals keep the double they were written with.
pub fn retyped(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for node in graph.nodes.values_mut() {
        if node.elem == ElemType::F32 {
            node.elem = ElemType::F64;
        }
    }
    graph
}
