//! Nodes for a contraction whose left side is solved, and for putting residues back together.

use super::solve::{Form, Peel};
use crate::simplify::start_value;
use dlc_abi::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Contract, Fill, GraphBuilder, Literal, NodeId};

impl Form {
    /// The contraction, or a view where nothing is left to combine: `[.., q, residues .., ..]`.
    pub(super) fn emit(&self, g: &mut GraphBuilder<'_>) -> NodeId {
        let contract = self.renumbered();
        match as_view(g, &contract) {
            Some(view) => view,
            None => g.contract(contract),
        }
    }

    /// Merges residues with their quotients, cuts what the result does not have and pads what no term reaches.
    pub(super) fn undo_residues(&self, g: &mut GraphBuilder<'_>, gathered: NodeId) -> NodeId {
        let start = start_value(self.combine(), g.elem(gathered));
        let start = start.expect("affine left sides are under sum, which starts from zero");
        let mut value = gathered;
        let levels = self.result.iter().map(|result| result.peels.len()).max().unwrap_or(0);
        for level in (0..levels).rev() {
            value = self.merge_level(g, value, level, start);
        }
        let mut subs = Affine::identity(self.result.len());
        let mut shape = g.shape(value).to_vec();
        for (axis, result) in self.result.iter().enumerate() {
            if let Some(index) = result.place {
                subs[axis] = Affine::new([(axis, 1)], -index);
                shape[axis] = result.extent;
            }
        }
        view_unless_identity(g, value, subs, Fill::Value(start), shape)
    }

    /// Undoes the peels of one depth: for each such axis `[q, residue]` becomes one axis.
    fn merge_level(
        &self,
        g: &mut GraphBuilder<'_>,
        value: NodeId,
        level: usize,
        start: Literal,
    ) -> NodeId {
        let mut padded = g.shape(value).to_vec();
        let (mut merged, mut cut, mut subs) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = 0;
        for result in &self.result {
            // Peels of greater depth are merged already; those of lesser depth still stand behind.
            let keep = result.peels.len().min(level);
            if let Some(peel) = result.peels.get(level) {
                padded[at + 1] = Dim::fixed(peel.modulus);
                subs.push(Affine::new([(merged.len(), 1)], peel.start));
                merged.push(times(peel.count, peel.modulus));
                cut.push(peel.extent);
                at += 2;
            } else {
                subs.push(Affine::axis(merged.len()));
                merged.push(padded[at]);
                cut.push(padded[at]);
                at += 1;
            }
            for _ in 0..keep {
                subs.push(Affine::axis(merged.len()));
                merged.push(padded[at]);
                cut.push(padded[at]);
                at += 1;
            }
        }
        let whole = |peel: &Peel| peel.with_terms == peel.modulus;
        let fill = if self.result.iter().filter_map(|result| result.peels.get(level)).all(whole) {
            Fill::InRange
        } else {
            Fill::Value(start)
        };
        let identity = Affine::identity(padded.len());
        let value = view_unless_identity(g, value, identity, fill, padded);
        let value = g.reshape(value, merged);
        view_unless_identity(g, value, subs, Fill::InRange, cut)
    }
}

fn times(dim: Dim, by: i64) -> Dim {
    Dim { batch_factor: dim.batch_factor * by, constant: dim.constant * by }
}

fn view_unless_identity(
    g: &mut GraphBuilder<'_>,
    value: NodeId,
    subs: Vec<Affine>,
    fill: Fill,
    shape: Vec<Dim>,
) -> NodeId {
    if g.shape(value) == shape && subs == Affine::identity(shape.len()) {
        return value;
    }
    g.view(value, subs, fill, shape)
}

/// A contraction of one operand that combines nothing, as a view. Guards become bounds: one of extent 1 is the range of an
/// axis of one element, which any tensor can have.
pub(crate) fn as_view(g: &mut GraphBuilder<'_>, contract: &Contract) -> Option<NodeId> {
    let n_out = contract.normal_form()?;
    let [read] = contract.reads.as_slice() else { return None };
    let plain = n_out == contract.space.len() && contract.congruences.is_empty();
    if !plain || contract.combine.is_arg() {
        return None;
    }
    let start = start_value(contract.combine, g.elem(read.value))?;
    let fill = match read.fill {
        Fill::InRange if contract.guards.is_empty() => Fill::InRange,
        Fill::InRange | Fill::Skip => Fill::Value(start),
        Fill::Value(value) if contract.guards.is_empty() => Fill::Value(value),
        Fill::Value(_) => return None,
    };
    let (mut value, mut subs) = (read.value, read.subs.clone());
    if !contract.guards.is_empty() {
        if contract.guards.iter().any(|guard| guard.extent != Dim::fixed(1)) {
            return None;
        }
        let mut shape = g.shape(value).to_vec();
        shape.resize(shape.len() + contract.guards.len(), Dim::fixed(1));
        subs.extend(contract.guards.iter().map(|guard| guard.expr.clone()));
        value = g.reshape(value, shape);
    }
    Some(view_unless_identity(g, value, subs, fill, contract.space.clone()))
}
