//! Brings contractions with an affine left side to normal form: every write becomes a gather.
//!
//! Input law:  the graph is not frozen; left sides are in range wherever a term exists, and affine only under `sum`.
//! Output law: every contraction is in normal form (`normal_form()` is `Some`) and has no congruences. Idempotent.
//! Why: the adjoint of a read is a write (`dx[i*s + u - p] += ..`), and so is a transposed convolution. A back end that gathers needs
//!      no scatter, no atomic additions, and each output has one owner and one frozen order of terms.
//! Cost: a handful of substitutions for each contraction; the result does no more work than the write form, save in the last
//!       two cases of `solve`.
//! Source: a change of variables as in Feautrier's dependence analysis; the residues are the sub-pixel phases of strided convolutions.
//!
//! ```text
//! before:  dx[n, i + u] += dy[n, i] * w[u]                          (n, i, u)
//! after:   dx[n, h]      = sum over u of dy[n, h - u, else skip] * w[u]
//!
//! before:  dx[2*i + u - 1] += dy[i] * w[u]                          (i, u), u < 3
//! after:   t[q, r]       = sum over v of dy[q - v, else skip] * w[2*v + r, else skip]      r < 2: the residue of h + 1
//!          dx[h]         = reshape(t)[h + 1]
//! ```
//!
//! Reduction axes that are left are put in canonical order: the batch first, then by the distance from the last axis of the operands,
//! farthest first, so that the innermost axis walks along memory.

mod emit;
mod solve;

use crate::pass::{PassCx, PassError};
use crate::rebuild::rebuild;

use dlc_ir::graph::{Contract, Graph, Node, NodeId, Op};
pub(crate) use emit::as_view;

/// Brings every contraction to normal form.
pub fn run(graph: Graph, cx: &PassCx) -> Result<Graph, PassError> {
    rebuild(graph, |graph, node| {
        if let Op::Contract(contract) = &node.op
            && (contract.normal_form().is_none() || !contract.congruences.is_empty())
        {
            cx.count("contractions", 1);
            let contract = contract.clone();
            return normalise(graph, contract, &node);
        }
        Ok(graph.nodes.push(node))
    })
}

/// Appends nodes that compute what `node`, the contraction, computes, all of them in normal form.
fn normalise(graph: &mut Graph, contract: Contract, node: &Node) -> Result<NodeId, PassError> {
    let mut form = solve::Form::new(contract, &node.shape);
    form.solve_left_side();
    form.drop_congruences(&node.origin.name)?;
    form.tidy(&graph.nodes);
    let mut g = graph.build(node.stage, node.origin.clone());
    let gathered = form.emit(&mut g);
    Ok(form.undo_residues(&mut g, gathered))
}
