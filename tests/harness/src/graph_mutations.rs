//! Changes to a sound graph that each break a law, for testing the verifier.

use crate::rng::Rng;
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Fill, Graph, InputRole, Literal, Node, NodeId, Op, Output, OutputKind, Read};
use dlc_ir::layout::PhysicalAxis;

/// Breaks one law at a random node; the text says how. `None` when the drawn change has no place in this graph.
pub fn mutate(rng: &mut Rng, graph: &mut Graph) -> Option<String> {
    let kind = rng.below(13);
    match kind {
        0 => graph.shards = 3,
        1 => {
            let (id, _) = any(rng, graph, |node| !node.op.operands().is_empty())?;
            graph.nodes[id].op = graph.nodes[id].op.clone().map_operands(|_| id);
        }
        2 => {
            let (id, node) = any(rng, graph, |node| has_fixed_type(&node.op))?;
            graph.nodes[id].elem =
                if node.elem == ElemType::I64 { ElemType::F32 } else { ElemType::I64 };
        }
        3 => {
            let (id, _) = any(rng, graph, |node| has_fixed_shape(&node.op))?;
            graph.nodes[id].shape.push(Dim::fixed(1));
        }
        4 => {
            let (id, node) = any(rng, graph, |node| matches!(node.op, Op::Input { .. }))?;
            let name = graph.nodes.iter().find_map(|(other, node)| match &node.op {
                Op::Input { name, .. } if other != id => Some(name.clone()),
                _ => None,
            })?;
            let Op::Input { role, .. } = node.op else { return None };
            graph.nodes[id].op = Op::Input { name, role };
        }
        5 => {
            let (value, subs, fill) = subscripts(rng, graph)?;
            if *fill != Fill::InRange || subs.is_empty() {
                return None;
            }
            let axis = rng.below(subs.len());
            subs[axis] = subs[axis].plus(&Affine::constant(1000));
            return Some(format!("subscript {axis} of {value} moved far"));
        }
        6 => {
            let (_, subs, _) = subscripts(rng, graph)?;
            subs.pop()?;
        }
        7 => {
            let (_, subs, _) = subscripts(rng, graph)?;
            *subs.last_mut()? = Affine::axis(90);
        }
        8 => {
            let (id, node) = any(rng, graph, |node| matches!(node.op, Op::Const(_)))?;
            let wrong = match node.elem {
                ElemType::Bool => Literal::Int(1),
                _ => Literal::Bool(true),
            };
            graph.nodes[id].op = Op::Const(wrong);
        }
        9 => {
            let (id, _) = any(rng, graph, |node| !node.shape.is_empty())?;
            graph.nodes[id].layout.axes.push(PhysicalAxis::Whole(0));
        }
        10 => {
            let (id, node) = any(rng, graph, |node| !node.shape.is_empty())?;
            let axis = rng.below(node.shape.len());
            graph.nodes[id].shape[axis] = rng.pick(&[
                Dim::fixed(0),
                Dim { batch_factor: 1, constant: -1 },
                Dim { batch_factor: -1, constant: 100 },
            ]);
        }
        11 => {
            let (id, _) = any(rng, graph, |node| {
                !matches!(node.op, Op::Input { role: InputRole::Param | InputRole::State, .. })
            })?;
            graph.outputs.push(Output { kind: OutputKind::Assign(id), value: id });
        }
        _ => {
            let (id, _) = any(rng, graph, |node| matches!(node.op, Op::Contract(_)))?;
            let Op::Contract(contract) = &mut graph.nodes[id].op else { return None };
            if !graph.frozen {
                contract.reads.clear();
            } else {
                contract.order = None;
            }
        }
    }
    Some(format!("change {kind}"))
}

fn any(rng: &mut Rng, graph: &Graph, fits: impl Fn(&Node) -> bool) -> Option<(NodeId, Node)> {
    let found: Vec<NodeId> =
        graph.nodes.iter().filter(|(_, node)| fits(node)).map(|(id, _)| id).collect();
    if found.is_empty() {
        return None;
    }
    let id = rng.pick(&found);
    Some((id, graph.nodes[id].clone()))
}

/// Whether operands decide the element type of the result.
fn has_fixed_type(op: &Op) -> bool {
    match op {
        Op::Input { .. } | Op::Const(_) | Op::Iota { .. } | Op::Extent(_) | Op::Convert(_) => false,
        Op::Random { .. }
        | Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Contract(_)
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => true,
    }
}

/// Whether operands decide the shape of the result.
fn has_fixed_shape(op: &Op) -> bool {
    match op {
        Op::Extent(_)
        | Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_)
        | Op::Contract(_)
        | Op::Exchange(_) => true,
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Gather(_)
        | Op::Recur { .. } => false,
    }
}

/// Subscripts of a random view or read.
fn subscripts<'g>(
    rng: &mut Rng,
    graph: &'g mut Graph,
) -> Option<(NodeId, &'g mut Vec<Affine>, &'g mut Fill)> {
    let (id, _) = any(rng, graph, |node| matches!(node.op, Op::View { .. } | Op::Contract(_)))?;
    match &mut graph.nodes[id].op {
        Op::View { operand, subs, fill } => Some((*operand, subs, fill)),
        Op::Contract(contract) => {
            let at = rng.below(contract.reads.len());
            let Read { value, subs, fill } = &mut contract.reads[at];
            Some((*value, subs, fill))
        }
        _ => None,
    }
}
