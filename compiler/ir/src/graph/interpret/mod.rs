//! The interpreter of graph IR: slow, obvious, and of a frozen graph the bitwise oracle of everything below it.
//!
//! Values are logical tensors; layouts are ignored. Of a graph that is not frozen, sums take an order of the interpreter's choice.

mod contract;
mod forward;
mod reads;
mod walk;

pub use forward::{Forward, jvp};

use super::data::{Fill, Graph, Literal, Node, NodeId, Op, OutputKind};
use super::elementwise::{self, Dual, Element, NoValue, Number, Value, with_number};
use super::infer::shape_text;
use super::ops::elem_name;
use super::tensor::Tensor;
use super::verify::VerifyError;
use crate::entity::IndexVec;
use dlc_abi::ElemType;
use indexmap::IndexMap;
use std::fmt;

/// The node at which something went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The node.
    pub node: NodeId,
    /// Its name in the source; may be empty.
    pub name: String,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " ({})", self.name) }
    }
}

/// Why a graph has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InterpretError {
    /// The graph breaks laws; the first of them.
    #[error("{0}")]
    Invalid(VerifyError),
    /// The batch is not positive.
    #[error("the batch size is {0}, it must be at least 1")]
    Batch(i64),
    /// A leaf has no value.
    #[error("no value for the input `{name}`")]
    MissingInput {
        /// The leaf.
        name: String,
    },
    /// A leaf's value has another element type or shape.
    #[error("the input `{name}` is {found}, expected {expected}")]
    InputType {
        /// The leaf.
        name: String,
        /// Element type and shape of the leaf.
        expected: String,
        /// Those of the value.
        found: String,
    },
    /// Storage types have no arithmetic here.
    #[error("{site}: {} is not interpreted", elem_name(*.elem))]
    Unsupported {
        /// Where.
        site: Site,
        /// The type.
        elem: ElemType,
    },
    /// An index of a gather outside its axis.
    #[error("{site}: element {element} has the index {value}, outside 0..{extent}")]
    BadIndex {
        /// Where.
        site: Site,
        /// Which element of the result, in row-major order.
        element: usize,
        /// The index.
        value: i64,
        /// Extent of the axis.
        extent: i64,
    },
    /// An integer divided by zero.
    #[error("{site}: element {element} divides by zero")]
    DivisionByZero {
        /// Where.
        site: Site,
        /// Which element, in row-major order.
        element: usize,
    },
    /// A float that no integer of the type stands for.
    #[error("{site}: element {element} is {value}, which does not fit the type")]
    BadConversion {
        /// Where.
        site: Site,
        /// Which element, in row-major order.
        element: usize,
        /// The float.
        value: String,
    },
}

/// What a step gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// Results by name.
    pub results: IndexMap<String, Tensor>,
    /// New values of parameters and state, by the name of the leaf.
    pub assigns: IndexMap<String, Tensor>,
}

/// Runs a graph at an actual batch size.
///
/// # Errors
/// When the graph breaks a law, an input is missing or of another type, or data is out of range: see [`InterpretError`].
pub fn interpret(
    graph: &Graph,
    inputs: &IndexMap<String, Tensor>,
    batch: i64,
) -> Result<Outputs, InterpretError> {
    let mut machine = Machine::new(graph, batch, false)?;
    machine.run(|_, name| inputs.get(name).map(|tensor| Leaf { tensor, tangent: None }))?;
    Ok(machine.outputs(|value, shape| value.to_tensor(shape)))
}

/// Runs a graph and gives the value of every node, for comparing stage with stage.
///
/// # Errors
/// As [`interpret`].
pub fn interpret_nodes(
    graph: &Graph,
    inputs: &IndexMap<String, Tensor>,
    batch: i64,
) -> Result<IndexVec<NodeId, Tensor>, InterpretError> {
    let mut machine = Machine::new(graph, batch, false)?;
    machine.keep = vec![true; graph.nodes.len()];
    machine.run(|_, name| inputs.get(name).map(|tensor| Leaf { tensor, tangent: None }))?;
    let values = graph.nodes.iter().map(|(id, _)| {
        let value = machine.values[id].as_ref().expect("every value is kept");
        value.to_tensor(machine.shape(id))
    });
    Ok(values.collect())
}

/// What is given for a leaf.
struct Leaf<'a> {
    tensor: &'a Tensor,
    /// The direction, in forward mode.
    tangent: Option<&'a Tensor>,
}

struct Machine<'g> {
    graph: &'g Graph,
    batch: i64,
    /// Whether double precision is carried as dual numbers.
    dual: bool,
    values: IndexVec<NodeId, Option<Value>>,
    /// Nodes whose values stay to the end.
    keep: Vec<bool>,
}

/// A value of `n` equal elements, of the type of `like`.
fn literal_value(literal: Literal, like: &Value, n: usize) -> Value {
    like.filled(literal, n).expect("the verifier has compared literals with element types")
}

impl<'g> Machine<'g> {
    fn new(graph: &'g Graph, batch: i64, dual: bool) -> Result<Self, InterpretError> {
        if let Err(errors) = graph.verify() {
            let first = errors.into_iter().next().expect("a refused graph breaks a law");
            return Err(InterpretError::Invalid(first));
        }
        if batch < 1 {
            return Err(InterpretError::Batch(batch));
        }
        let mut keep = vec![false; graph.nodes.len()];
        for output in &graph.outputs {
            keep[crate::entity::EntityRef::index(output.value)] = true;
        }
        let values = graph.nodes.values().map(|_| None).collect();
        Ok(Machine { graph, batch, dual, values, keep })
    }

    fn site(&self, id: NodeId) -> Site {
        Site { node: id, name: self.graph.nodes[id].origin.name.clone() }
    }

    fn shape(&self, id: NodeId) -> Vec<i64> {
        self.graph.nodes[id].shape.iter().map(|dim| dim.at(self.batch)).collect()
    }

    fn value(&self, id: NodeId) -> &Value {
        self.values[id].as_ref().expect("a value lives until its last reader")
    }

    /// An empty value of an element type.
    fn sample(&self, id: NodeId, elem: ElemType) -> Result<Value, InterpretError> {
        Value::empty(elem, self.dual)
            .ok_or_else(|| InterpretError::Unsupported { site: self.site(id), elem })
    }

    fn no_value(&self, id: NodeId, why: NoValue) -> InterpretError {
        let site = self.site(id);
        match why {
            NoValue::Unsupported(elem) => InterpretError::Unsupported { site, elem },
            NoValue::DivisionByZero { element } => InterpretError::DivisionByZero { site, element },
            NoValue::BadConversion { element, value } => {
                InterpretError::BadConversion { site, element, value }
            }
        }
    }

    /// Runs all nodes in order and drops values after their last reader.
    fn run<'t>(
        &mut self,
        leaf: impl Fn(NodeId, &str) -> Option<Leaf<'t>>,
    ) -> Result<(), InterpretError> {
        use crate::entity::EntityRef;
        let graph = self.graph;
        let mut readers = graph.use_counts();
        for (id, node) in graph.nodes.iter() {
            let value = match &node.op {
                Op::Input { name, .. } => {
                    let missing = || InterpretError::MissingInput { name: name.clone() };
                    self.leaf(id, name, leaf(id, name).ok_or_else(missing)?)?
                }
                _ => self.node(id, node)?,
            };
            debug_assert_eq!(value.len() as i64, self.shape(id).iter().product::<i64>());
            self.values[id] = Some(value);
            for operand in node.op.operands() {
                readers[operand.index()] -= 1;
                if readers[operand.index()] == 0 && !self.keep[operand.index()] {
                    self.values[operand] = None;
                }
            }
        }
        Ok(())
    }

    fn leaf(&self, id: NodeId, name: &str, leaf: Leaf) -> Result<Value, InterpretError> {
        let node = &self.graph.nodes[id];
        let sample = self.sample(id, node.elem)?;
        for tensor in [Some(leaf.tensor), leaf.tangent].into_iter().flatten() {
            let elem = tensor.data.elem();
            if elem != node.elem || tensor.shape != self.shape(id) {
                return Err(InterpretError::InputType {
                    name: name.to_string(),
                    expected: format!(
                        "{}{} with batch {}",
                        elem_name(node.elem),
                        shape_text(&node.shape),
                        self.batch
                    ),
                    found: format!("{}{:?}", elem_name(elem), tensor.shape),
                });
            }
        }
        if !matches!(sample, Value::Dual(_)) {
            return Ok(Value::from_data(&leaf.tensor.data));
        }
        let values = leaf.tensor.to_f64();
        let duals = match leaf.tangent {
            None => values.into_iter().map(Dual::still).collect(),
            Some(tangent) => values
                .into_iter()
                .zip(tangent.to_f64())
                .map(|(value, derivative)| Dual { value, derivative })
                .collect(),
        };
        Ok(Value::Dual(duals))
    }

    fn node(&self, id: NodeId, node: &Node) -> Result<Value, InterpretError> {
        let shape = self.shape(id);
        let n: i64 = shape.iter().product();
        let sample = self.sample(id, node.elem)?;
        let site = || self.site(id);
        Ok(match &node.op {
            Op::Input { .. } => unreachable!("leaves have their own arm"),
            Op::Const(literal) => literal_value(*literal, &sample, n as usize),
            Op::Iota { axis } => reads::iota(*axis, &shape, &sample),
            Op::Extent(dim) => number(dim.at(self.batch), &sample),
            Op::Random { seed, step, draw } => {
                let scalar = |id| match self.value(id) {
                    Value::I32(value) => value[0],
                    _ => unreachable!("the verifier asks for i32"),
                };
                reads::random(scalar(*seed), scalar(*step), *draw, n, &sample)
            }
            Op::Unary(..)
            | Op::Binary(..)
            | Op::Compare(..)
            | Op::Select(..)
            | Op::Fma(..)
            | Op::Convert(_) => {
                elementwise::apply(&node.op, node.elem, self.dual, |id| self.value(id))
                    .expect("these are the element-wise operations")
                    .map_err(|why| self.no_value(id, why))?
            }
            Op::View { operand, subs, fill } => {
                let outside = match fill {
                    Fill::Value(literal) => Some(literal_value(*literal, &sample, 1)),
                    Fill::InRange | Fill::Skip => None,
                };
                let from = self.shape(*operand);
                reads::view(self.value(*operand), &from, subs, outside.as_ref(), &shape)
            }
            Op::Reshape(a) => self.value(*a).clone(),
            Op::Contract(contract) => {
                let setting = contract::Setting {
                    batch: self.batch,
                    shards: self.graph.shards,
                    class: self.graph.class,
                    shape,
                    shapes: contract.reads.iter().map(|read| self.shape(read.value)).collect(),
                    values: contract.reads.iter().map(|read| self.value(read.value)).collect(),
                };
                contract::contract(contract, &setting)?
            }
            Op::Gather(gather) => {
                let (from, places) = (self.shape(gather.operand), self.shape(gather.index));
                let operand = (self.value(gather.operand), from.as_slice());
                let index = (self.value(gather.index), places.as_slice());
                reads::gather(gather, operand, index, &shape, &site())?
            }
        })
    }

    fn outputs(&self, tensor: impl Fn(&Value, Vec<i64>) -> Tensor) -> Outputs {
        let mut outputs = Outputs::default();
        for output in &self.graph.outputs {
            let value = tensor(self.value(output.value), self.shape(output.value));
            match &output.kind {
                OutputKind::Result(name) => {
                    outputs.results.insert(name.clone(), value);
                }
                OutputKind::Assign(leaf) => {
                    let Op::Input { name, .. } = &self.graph.nodes[*leaf].op else {
                        unreachable!("the verifier asks for leaves")
                    };
                    outputs.assigns.insert(name.clone(), value);
                }
            }
        }
        outputs
    }
}

/// A count as a scalar of the type of `sample`.
fn number(count: i64, sample: &Value) -> Value {
    with_number!(sample, T => Element::wrap(vec![<T as Number>::of(count)]))
}

#[cfg(test)]
mod tests;
