//! Forward mode: the derivative of every output in one direction of the inputs, by dual numbers.

use super::{InterpretError, Leaf, Machine, Outputs};
use crate::graph::Graph;
use crate::graph::elementwise::Value;
use crate::graph::retype::retyped;
use crate::graph::tensor::{Data, Tensor};
use indexmap::IndexMap;

/// Values and their derivatives, in double precision.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// Outputs of the graph.
    pub values: Outputs,
    /// The derivative of each float output; integers and truth values have zeros of double precision.
    pub derivatives: Outputs,
}

/// The Jacobian of the outputs times a direction: the graph is evaluated in double precision whatever its types, with inputs widened.
/// Leaves without a tangent stand still. Sums are plain products and sums; nothing is fused.
///
/// # Errors
/// As [`super::interpret`]; a tangent must have the shape of its leaf.
pub fn jvp(
    graph: &Graph,
    inputs: &IndexMap<String, Tensor>,
    tangents: &IndexMap<String, Tensor>,
    batch: i64,
) -> Result<Forward, InterpretError> {
    let graph = retyped(graph);
    let widen = |tensors: &IndexMap<String, Tensor>| -> IndexMap<String, Tensor> {
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.widened())).collect()
    };
    let (inputs, tangents) = (widen(inputs), widen(tangents));
    let mut machine = Machine::new(&graph, batch, true)?;
    let leaf = |_, name: &str| {
        let tensor = inputs.get(name)?;
        Some(Leaf { tensor, tangent: tangents.get(name) })
    };
    machine.run(leaf, &mut |_, _| None)?;
    let values = machine.outputs(|value, shape| value.to_tensor(shape));
    let derivatives = machine.outputs(|value, shape| {
        let derivatives = match value {
            Value::Dual(duals) => duals.iter().map(|x| x.derivative).collect(),
            other => vec![0.0; other.len()],
        };
        Tensor { shape, data: Data::F64(derivatives) }
    });
    Ok(Forward { values, derivatives })
}
