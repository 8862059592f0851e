//! Values for the leaves of a graph, and their distance from kinks.

use crate::graph_gen::INDEX_LIMIT;
use crate::rng::Rng;
use dlc_abi::ElemType;
use dlc_ir::entity::IndexVec;
use dlc_ir::graph::{
    BinaryOp, Combine, Contract, Data, Fill, Graph, InterpretError, Node, NodeId, Op, Tensor,
    UnaryOp, interpret_nodes, retyped,
};
use indexmap::IndexMap;

/// Values by leaf.
pub type Inputs = IndexMap<String, Tensor>;

/// Values near one for all leaves; integers are indices below [`INDEX_LIMIT`].
pub fn inputs(rng: &mut Rng, graph: &Graph, batch: i64) -> Inputs {
    leaves(graph, batch, |elem, count| {
        let float = |rng: &mut Rng| rng.unit() * 3.0 - 1.5;
        match elem {
            ElemType::F64 => Data::F64((0..count).map(|_| float(rng)).collect()),
            ElemType::I32 => {
                Data::I32((0..count).map(|_| rng.in_range(0, INDEX_LIMIT - 1) as i32).collect())
            }
            ElemType::I64 => {
                Data::I64((0..count).map(|_| rng.in_range(0, INDEX_LIMIT - 1)).collect())
            }
            ElemType::U8 => Data::U8((0..count).map(|_| rng.bits() as u8).collect()),
            ElemType::Bool => Data::Bool((0..count).map(|_| rng.one_in(2)).collect()),
            ElemType::F32 | ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
                Data::F32((0..count).map(|_| float(rng) as f32).collect())
            }
        }
    })
}

/// Values with zeros of both signs, infinities, NaN and denormals among the floats.
pub fn wild_inputs(rng: &mut Rng, graph: &Graph, batch: i64) -> Inputs {
    let mut inputs = inputs(rng, graph, batch);
    const WILD: [f32; 8] =
        [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-42, -3e-39, 3e38];
    for tensor in inputs.values_mut() {
        if let Data::F32(data) = &mut tensor.data {
            for x in data {
                if rng.one_in(6) {
                    *x = rng.pick(&WILD);
                }
            }
        }
    }
    inputs
}

/// Directions for forward mode: one for every float leaf.
pub fn tangents(rng: &mut Rng, graph: &Graph, batch: i64) -> Inputs {
    let mut tangents = inputs(rng, graph, batch);
    tangents.retain(|_, tensor| matches!(tensor.data, Data::F32(_) | Data::F64(_)));
    tangents
}

fn leaves(graph: &Graph, batch: i64, mut data: impl FnMut(ElemType, i64) -> Data) -> Inputs {
    let mut inputs = Inputs::new();
    for node in graph.nodes.values() {
        if let Op::Input { name, .. } = &node.op {
            let shape: Vec<i64> = node.shape.iter().map(|dim| dim.at(batch)).collect();
            let count = shape.iter().product();
            inputs.insert(name.clone(), Tensor::new(shape, data(node.elem, count)));
        }
    }
    inputs
}

/// Values at which every choice of the graph (comparisons, extremes, absolute values, steps) is at least `margin` from changing,
/// found by trying; `None` when `tries` draws all lie near a kink, as when two sides of a choice are always equal.
///
/// # Errors
/// When the graph has no value, see [`InterpretError`].
pub fn inputs_off_kinks(
    rng: &mut Rng,
    graph: &Graph,
    batch: i64,
    margin: f64,
    tries: usize,
) -> Result<Option<Inputs>, InterpretError> {
    let double = retyped(graph);
    for _ in 0..tries {
        let found = inputs(rng, graph, batch);
        let widened = found.iter().map(|(name, tensor)| (name.clone(), tensor.widened())).collect();
        let values = interpret_nodes(&double, &widened, batch)?;
        if kink_distance(&double, &values, batch) >= margin {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The least distance of any choice in a graph from changing, for the values of its nodes; infinite without choices.
pub fn kink_distance(graph: &Graph, values: &IndexVec<NodeId, Tensor>, batch: i64) -> f64 {
    let mut least = f64::INFINITY;
    for node in graph.nodes.values() {
        least = least.min(node_distance(node, values, batch));
    }
    // A NaN margin is no margin.
    if least.is_nan() { 0.0 } else { least }
}

fn node_distance(node: &Node, values: &IndexVec<NodeId, Tensor>, batch: i64) -> f64 {
    let is_float = |id: NodeId| matches!(values[id].data, Data::F32(_) | Data::F64(_));
    let each = |id: NodeId, f: fn(f64) -> f64| {
        values[id].to_f64().into_iter().map(f).fold(f64::INFINITY, f64::min)
    };
    match &node.op {
        Op::Unary(UnaryOp::Abs, a) => each(*a, f64::abs),
        Op::Unary(UnaryOp::Floor, a) => each(*a, |x| (x - x.round()).abs()),
        Op::Convert(a) if is_float(*a) && !matches!(node.elem, ElemType::F32 | ElemType::F64) => {
            each(*a, |x| (x - x.round()).abs())
        }
        Op::Binary(BinaryOp::Max | BinaryOp::Min, a, b) | Op::Compare(_, a, b) if is_float(*a) => {
            let pairs = values[*a].to_f64().into_iter().zip(values[*b].to_f64());
            pairs.map(|(a, b)| (a - b).abs()).fold(f64::INFINITY, f64::min)
        }
        Op::Contract(contract) if contract.combine != Combine::Sum => {
            extreme_distance(contract, values, batch)
        }
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_)
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Contract(_)
        | Op::Gather(_)
        | Op::Exchange(_)
        | Op::Recur { .. } => f64::INFINITY,
    }
}

/// The least gap between the best and the second term of an extreme, term by term as the documentation reads.
fn extreme_distance(contract: &Contract, values: &IndexVec<NodeId, Tensor>, batch: i64) -> f64 {
    let n_out = contract.normal_form().expect("extremes are in normal form");
    let extents: Vec<i64> = contract.space.iter().map(|dim| dim.at(batch)).collect();
    let sign = match contract.combine {
        Combine::Min | Combine::ArgMin => -1.0,
        Combine::Sum | Combine::Max | Combine::ArgMax => 1.0,
    };
    let operands: Vec<Vec<f64>> =
        contract.reads.iter().map(|read| values[read.value].to_f64()).collect();
    // The two greatest terms of every output.
    let mut best: IndexMap<Vec<i64>, (f64, f64)> = IndexMap::new();
    let total: i64 = extents.iter().product();
    for flat in 0..total {
        let mut point = vec![0; extents.len()];
        let mut rest = flat;
        for axis in (0..extents.len()).rev() {
            point[axis] = rest % extents[axis];
            rest /= extents[axis];
        }
        let guarded = contract
            .guards
            .iter()
            .all(|guard| (0..guard.extent.at(batch)).contains(&guard.expr.eval(&point)));
        let mut term = if guarded { Some(sign) } else { None };
        for (read, operand) in contract.reads.iter().zip(&operands) {
            let shape = &values[read.value].shape;
            let index: Vec<i64> = read.subs.iter().map(|sub| sub.eval(&point)).collect();
            let inside = index.iter().zip(shape).all(|(at, extent)| (0..*extent).contains(at));
            let place = index.iter().zip(shape).fold(0, |flat, (at, extent)| flat * extent + at);
            term = match (term, read.fill) {
                (Some(term), _) if inside => Some(term * operand[place as usize]),
                (Some(term), Fill::Value(dlc_ir::graph::Literal::Float(fill))) => Some(term * fill),
                _ => None,
            };
        }
        if let Some(term) = term {
            let none = (f64::NEG_INFINITY, f64::NEG_INFINITY);
            let (first, second) = best.entry(point[..n_out].to_vec()).or_insert(none);
            if term > *first {
                (*first, *second) = (term, *first);
            } else {
                *second = second.max(term);
            }
        }
    }
    best.values().map(|(first, second)| first - second).fold(f64::INFINITY, f64::min)
}
