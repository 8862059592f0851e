//! The interpreter of graph IR: slow, obvious, and of a frozen graph the bitwise oracle of everything below it.
//!
//! Values are logical tensors; layouts are ignored. Of a graph that is not frozen, sums take an order of the interpreter's choice.

mod contract;
mod forward;
mod reads;
mod recur;
mod walk;

pub use forward::{Forward, jvp};

use super::data::{Exchange, Fill, Graph, Literal, Node, NodeId, Op, OutputKind};
use super::elementwise::{self, Dual, Element, NoValue, Number, Value, with_number};
use super::infer::shape_text;
use super::loops::{Loops, Unit};
use super::ops::elem_name;
use super::tensor::Tensor;
use super::verify::VerifyError;
use crate::entity::IndexVec;
use dlc_abi::{ElemType, WINDOW_INPUT};
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
    /// A part of a batch was run without the others, or they did not answer.
    #[error("{site}: there is nobody to exchange values with")]
    Alone {
        /// Where.
        site: Site,
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
    interpret_part(graph, inputs, batch, &mut |_, _| None)
}

/// Runs the graph of a part of a batch. `exchange` is called for each exchange in order, with what this part gives, and returns the
/// result; it waits for the other parts.
///
/// # Errors
/// As [`interpret`], and [`InterpretError::Alone`] when `exchange` has no answer.
pub fn interpret_part(
    graph: &Graph,
    inputs: &IndexMap<String, Tensor>,
    batch: i64,
    exchange: &mut dyn FnMut(&Exchange, Tensor) -> Option<Tensor>,
) -> Result<Outputs, InterpretError> {
    let mut machine = Machine::new(graph, batch, false)?;
    let leaf = |_, name: &str| inputs.get(name).map(|tensor| Leaf { tensor, tangent: None });
    machine.run(leaf, exchange)?;
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
    let leaf = |_, name: &str| inputs.get(name).map(|tensor| Leaf { tensor, tangent: None });
    machine.run(leaf, &mut |_, _| None)?;
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
    /// Where shards are cut, in examples.
    cuts: Vec<i64>,
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
        // A part of a small batch may have no examples.
        if batch < i64::from(graph.window_of.is_none()) {
            return Err(InterpretError::Batch(batch));
        }
        let mut keep = vec![false; graph.nodes.len()];
        for output in &graph.outputs {
            keep[crate::entity::EntityRef::index(output.value)] = true;
        }
        let values = graph.nodes.values().map(|_| None).collect();
        let cut = |shard| batch * i64::from(shard) / i64::from(graph.shards);
        let cuts = (0..=graph.shards).map(cut).collect();
        Ok(Machine { graph, batch, dual, cuts, values, keep })
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
        exchange: &mut dyn FnMut(&Exchange, Tensor) -> Option<Tensor>,
    ) -> Result<(), InterpretError> {
        use crate::entity::EntityRef;
        let graph = self.graph;
        let mut readers = graph.use_counts();
        let loops = Loops::of(graph);
        if !loops.loops.is_empty() {
            // What a step reads is not counted node by node.
            self.keep.fill(true);
        }
        for unit in &loops.order {
            let id = match *unit {
                Unit::Node(id) => id,
                Unit::Loop(number) => {
                    self.run_loop(&loops, number)?;
                    continue;
                }
            };
            let node = &graph.nodes[id];
            let value = match &node.op {
                Op::Input { name, .. } => {
                    let missing = || InterpretError::MissingInput { name: name.clone() };
                    let value = self.leaf(id, name, leaf(id, name).ok_or_else(missing)?)?;
                    if let (Some(whole), WINDOW_INPUT, Value::I32(place)) =
                        (graph.window_of, name.as_str(), &value)
                    {
                        self.cuts = cuts_of_part(place, graph.shards, whole);
                    }
                    value
                }
                Op::Exchange(exchanged) => {
                    let operand = exchanged.operand;
                    let given = self.value(operand).to_tensor(self.shape(operand));
                    let taken = exchange(exchanged, given)
                        .ok_or_else(|| InterpretError::Alone { site: self.site(id) })?;
                    self.leaf(id, "", Leaf { tensor: &taken, tangent: None })?
                }
                Op::Recur { init, reverse } => {
                    let next = loops.next_of(id).expect("the verifier asks for it");
                    self.shifted(*init, next, *reverse)
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
            Op::Input { .. } | Op::Exchange(_) | Op::Recur { .. } => {
                unreachable!("they have arms of their own")
            }
            Op::Const(literal) => literal_value(*literal, &sample, n as usize),
            Op::Iota { axis } => reads::iota(*axis, &shape, &sample),
            Op::Extent(dim) => number(dim.at(self.batch), &sample),
            Op::Random { seed, step, draw, first } => {
                let scalar = |id| match self.value(id) {
                    Value::I32(value) => value[0],
                    _ => unreachable!("the verifier asks for i32"),
                };
                let first = first.map_or(0, |first| i64::from(scalar(first)));
                reads::random((scalar(*seed), scalar(*step), *draw), first, n, &sample)
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
                    cuts: &self.cuts,
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
                OutputKind::Carry(_) => {}
            }
        }
        outputs
    }
}

/// Where a part's shards are cut, from its place: the examples of the whole batch, those before the part, and the shards before it.
fn cuts_of_part(place: &[i32], shards: u32, whole_shards: u32) -> Vec<i64> {
    let [whole, before, shards_before] = [place[0], place[1], place[2]].map(i64::from);
    let cut = |shard| whole * (shards_before + i64::from(shard)) / i64::from(whole_shards) - before;
    (0..=shards).map(cut).collect()
}

/// A count as a scalar of the type of `sample`.
fn number(count: i64, sample: &Value) -> Value {
    with_number!(sample, T => Element::wrap(vec![<T as Number>::of(count)]))
}

#[cfg(test)]
mod tests;
