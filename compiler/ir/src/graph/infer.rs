//! Element type, shape and laws of every operation, in one place for the builder, the parser and the verifier.

use super::data::{
    Combine, Contract, Fill, Gather, Guard, Literal, Node, NodeId, Op, Order, OrderKind,
};
use super::ops::{OpInfo, TypeClass, elem_name};
use super::range;
use crate::affine::Affine;
use crate::entity::IndexVec;
use dlc_abi::{Among, Dim, ElemType, ExchangeKind};

type Nodes = IndexVec<NodeId, Node>;

/// A broken law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The law in a few words.
    pub law: &'static str,
    /// What breaks it.
    pub detail: String,
}

/// What an operation and its operands fix about the result; `None` where the node itself decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// Element type of the result.
    pub elem: Option<ElemType>,
    /// Shape of the result.
    pub shape: Option<Vec<Dim>>,
}

/// Element type and shape of the result as far as operation and operands decide them. Operands must exist; nothing is checked.
pub fn signature(nodes: &Nodes, op: &Op) -> Signature {
    let like =
        |id: NodeId| Signature { elem: Some(nodes[id].elem), shape: Some(nodes[id].shape.clone()) };
    match op {
        Op::Input { .. } | Op::Const(_) | Op::Iota { .. } | Op::Random { .. } => {
            Signature::default()
        }
        Op::Extent(_) => Signature { elem: None, shape: Some(Vec::new()) },
        Op::Unary(_, a) | Op::Binary(_, a, _) | Op::Fma(a, _, _) => like(*a),
        Op::Select(_, a, _) => like(*a),
        Op::Compare(_, a, _) => Signature { elem: Some(ElemType::Bool), ..like(*a) },
        Op::Convert(a) => Signature { elem: None, ..like(*a) },
        Op::View { operand, .. } => Signature { shape: None, ..like(*operand) },
        Op::Recur { init, .. } => Signature { shape: None, ..like(*init) },
        Op::Reshape(a) => Signature { shape: None, ..like(*a) },
        Op::Gather(gather) => Signature { shape: None, ..like(gather.operand) },
        Op::Exchange(exchange) => {
            let mut like = like(exchange.operand);
            if exchange.kind == ExchangeKind::AllGather
                && let Some(shape) = &mut like.shape
            {
                shape.insert(0, Dim::fixed(i64::from(exchange.parts)));
            }
            like
        }
        Op::Contract(contract) => Signature {
            elem: if contract.combine.is_arg() {
                Some(ElemType::I32)
            } else {
                contract.reads.first().map(|read| nodes[read.value].elem)
            },
            shape: contract
                .normal_form()
                .filter(|&rank| rank <= contract.space.len())
                .map(|rank| contract.space[..rank].to_vec()),
        },
    }
}

/// All laws of one node that its operation, element type and shape decide. Operands must exist.
pub fn check(nodes: &Nodes, op: &Op, elem: ElemType, shape: &[Dim]) -> Vec<Problem> {
    let mut checker = Checker { nodes, elem, shape, problems: Vec::new() };
    checker.result(&signature(nodes, op));
    checker.op(op);
    checker.problems
}

/// Whether a literal can stand for an element of a type.
pub fn literal_fits(literal: Literal, elem: ElemType) -> bool {
    match literal {
        Literal::Float(_) => {
            matches!(elem, ElemType::F32 | ElemType::F64 | ElemType::Bf16 | ElemType::F16)
        }
        Literal::Int(_) => {
            matches!(elem, ElemType::I32 | ElemType::I64 | ElemType::U8 | ElemType::I8)
        }
        Literal::Bool(_) => elem == ElemType::Bool,
    }
}

/// An extent as text: `batch`, `2*batch + 3`, `10`.
pub fn dim_text(dim: Dim) -> String {
    let batch = match dim.batch_factor {
        0 => return dim.constant.to_string(),
        1 => "batch".to_string(),
        -1 => "-batch".to_string(),
        factor => format!("{factor}*batch"),
    };
    match dim.constant {
        0 => batch,
        constant if constant < 0 => format!("{batch} - {}", constant.unsigned_abs()),
        constant => format!("{batch} + {constant}"),
    }
}

/// A shape as text: `[batch, 10]`.
pub fn shape_text(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(|&dim| dim_text(dim)).collect();
    format!("[{}]", dims.join(", "))
}

struct Checker<'a> {
    nodes: &'a Nodes,
    elem: ElemType,
    shape: &'a [Dim],
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn fail(&mut self, law: &'static str, detail: String) {
        self.problems.push(Problem { law, detail });
    }

    fn require(&mut self, holds: bool, law: &'static str, detail: impl FnOnce() -> String) {
        if !holds {
            self.fail(law, detail());
        }
    }

    fn result(&mut self, signature: &Signature) {
        if let Some(elem) = signature.elem {
            let (has, wants) = (elem_name(self.elem), elem_name(elem));
            self.require(self.elem == elem, "element type of the result", || {
                format!("it is {has}, the operation gives {wants}")
            });
        }
        if let Some(shape) = &signature.shape {
            let has = self.shape;
            self.require(has == shape, "shape of the result", || {
                format!("it is {}, the operation gives {}", shape_text(has), shape_text(shape))
            });
        }
        for &dim in self.shape {
            self.extent(dim);
        }
    }

    fn extent(&mut self, dim: Dim) {
        self.require(range::at_least(dim, 1), "extents are at least 1 for every batch", || {
            dim_text(dim)
        });
    }

    fn type_of(&mut self, info: OpInfo, class: TypeClass, elem: ElemType) {
        self.require(class.holds(elem), "element types of operands", || {
            format!("{} takes {}, not {}", info.name, class.words(), elem_name(elem))
        });
    }

    fn op(&mut self, op: &Op) {
        let info = op.info();
        match op {
            Op::Input { .. } => {}
            Op::Const(literal) => self.literal(*literal, self.elem),
            Op::Iota { axis } => {
                self.type_of(info, info.types, self.elem);
                let rank = self.shape.len();
                self.require(*axis < rank, "axes exist", || format!("axis {axis} of rank {rank}"));
            }
            Op::Extent(_) => self.type_of(info, info.types, self.elem),
            Op::Random { seed, step, first, .. } => {
                self.type_of(info, TypeClass::Float, self.elem);
                for id in [Some(*seed), Some(*step), *first].into_iter().flatten() {
                    let node = &self.nodes[id];
                    let fits = node.elem == ElemType::I32 && node.shape.is_empty();
                    self.require(fits, "seed, step and first are i32 scalars", || id.to_string());
                }
            }
            Op::Unary(_, a) => self.elementwise(info, &[*a]),
            Op::Binary(_, a, b) | Op::Compare(_, a, b) => self.elementwise(info, &[*a, *b]),
            Op::Fma(a, b, c) => self.elementwise(info, &[*a, *b, *c]),
            Op::Select(condition, a, b) => {
                self.same_shape(*condition);
                let elem = self.nodes[*condition].elem;
                self.require(elem == ElemType::Bool, "conditions are truth values", || {
                    format!("{condition} is {}", elem_name(elem))
                });
                self.elementwise(info, &[*a, *b]);
            }
            Op::Convert(_) => {}
            Op::View { operand, subs, fill } => self.view(*operand, subs, *fill),
            Op::Reshape(a) => {
                let from = &self.nodes[*a].shape;
                let (had, has) = (range::element_count(from), range::element_count(self.shape));
                let text = format!("{} to {}", shape_text(from), shape_text(self.shape));
                self.require(
                    had.is_some() && had == has,
                    "a reshape keeps the number of elements",
                    || text,
                );
            }
            Op::Contract(contract) => self.contract(info, contract),
            Op::Gather(gather) => self.gather(gather),
            Op::Exchange(exchange) => {
                // Slices alone work on the same examples.
                let fixed = self.shape.iter().all(|dim| dim.batch_factor == 0);
                let same = fixed || exchange.among == Among::Slices;
                self.require(
                    same,
                    "who has other examples exchanges values of a fixed shape",
                    || shape_text(self.shape),
                );
                let rows = self.shape.first().and_then(|dim| dim.as_fixed());
                let has_rows = rows == Some(i64::from(exchange.parts));
                let fits =
                    exchange.parts > 0 && (has_rows || exchange.kind == ExchangeKind::AllReduce);
                self.require(fits, "an exchange has a row for each part", || {
                    format!("{} for {} parts", shape_text(self.shape), exchange.parts)
                });
            }
            Op::Recur { init, .. } => self.recur(*init),
        }
    }

    /// Operands have the result's shape and one element type of the operation's class.
    fn elementwise(&mut self, info: OpInfo, operands: &[NodeId]) {
        let first = self.nodes[operands[0]].elem;
        self.type_of(info, info.types, first);
        for &id in operands {
            self.same_shape(id);
            let elem = self.nodes[id].elem;
            self.require(elem == first, "operands have one element type", || {
                format!("{id} is {}, the first is {}", elem_name(elem), elem_name(first))
            });
        }
    }

    fn same_shape(&mut self, id: NodeId) {
        let (nodes, shape) = (self.nodes, self.shape);
        let has = &nodes[id].shape;
        self.require(has == shape, "operands have the result's shape", || {
            format!("{id} is {}, the result {}", shape_text(has), shape_text(shape))
        });
    }

    fn literal(&mut self, literal: Literal, elem: ElemType) {
        self.require(literal_fits(literal, elem), "literals fit their element type", || {
            format!("{literal:?} for {}", elem_name(elem))
        });
    }

    /// One subscript for each axis, over axes that exist; whether that holds.
    fn subscripts(&mut self, subs: &[Affine], rank: usize, n_axes: usize) -> bool {
        let count = subs.len();
        self.require(count == rank, "one subscript for each axis", || {
            format!("{count} subscripts for rank {rank}")
        });
        let over = subs.iter().flat_map(Affine::terms).find(|term| term.0 >= n_axes);
        if let Some(&(axis, _)) = over {
            self.fail("axes exist", format!("i{axis} of {n_axes} axes"));
        }
        count == rank && over.is_none()
    }

    fn view(&mut self, operand: NodeId, subs: &[Affine], fill: Fill) {
        let nodes = self.nodes;
        let from = &nodes[operand].shape;
        if !self.subscripts(subs, from.len(), self.shape.len()) {
            return;
        }
        match fill {
            Fill::InRange => self.all_in_range(operand, self.shape, &[], subs),
            Fill::Value(literal) => self.literal(literal, nodes[operand].elem),
            Fill::Skip => self.fail("views cannot skip", format!("the read of {operand}")),
        }
    }

    fn all_in_range(&mut self, operand: NodeId, space: &[Dim], guards: &[Guard], subs: &[Affine]) {
        let nodes = self.nodes;
        for (sub, &extent) in subs.iter().zip(&nodes[operand].shape) {
            self.require(
                range::in_range(space, guards, sub, extent),
                "subscripts stay in range",
                || format!("{sub} of {operand} is not proven to be in 0..{}", dim_text(extent)),
            );
        }
    }

    fn recur(&mut self, init: NodeId) {
        let (nodes, shape) = (self.nodes, self.shape);
        let steps = shape.first().and_then(|dim| dim.as_fixed());
        // One step would be no recurrence, and rules for axes of one element would hide which axis is that of the steps.
        self.require(steps.is_some_and(|steps| steps >= 2), "a recurrence has fixed steps", || {
            shape_text(shape)
        });
        let slice = shape.get(1..).unwrap_or_default();
        let first = &nodes[init].shape;
        self.require(first == slice, "a recurrence begins with a slice of itself", || {
            format!("{init} is {}, the result {}", shape_text(first), shape_text(shape))
        });
    }

    fn gather(&mut self, gather: &Gather) {
        let nodes = self.nodes;
        let (from, index) = (&nodes[gather.operand].shape, &nodes[gather.index]);
        self.require(index.elem == ElemType::I32, "indices are i32", || {
            format!("{} is {}", gather.index, elem_name(index.elem))
        });
        let rank = self.shape.len();
        if gather.axis >= from.len() {
            let detail = format!("axis {} of rank {}", gather.axis, from.len());
            return self.fail("axes exist", detail);
        }
        if self.subscripts(&gather.subs, from.len(), rank) {
            let ignored = gather.subs[gather.axis].as_constant() == Some(0);
            self.require(ignored, "the gathered axis has subscript 0", || {
                gather.subs[gather.axis].to_string()
            });
            self.all_in_range(gather.operand, self.shape, &[], &gather.subs);
        }
        if self.subscripts(&gather.index_subs, index.shape.len(), rank) {
            self.all_in_range(gather.index, self.shape, &[], &gather.index_subs);
        }
    }

    fn contract(&mut self, info: OpInfo, contract: &Contract) {
        let nodes = self.nodes;
        let n_axes = contract.space.len();
        for &dim in &contract.space {
            self.extent(dim);
        }
        let (least, most) = (1, if contract.combine.is_arg() { 1 } else { 2 });
        let n_reads = contract.reads.len();
        self.require((least..=most).contains(&n_reads), "one or two reads", || {
            format!("{n_reads} reads under {}", contract.combine.name())
        });
        let Some(first) = contract.reads.first() else { return };
        let elem = nodes[first.value].elem;
        self.type_of(info, info.types, elem);
        let mut sound = true;
        for read in &contract.reads {
            let has = nodes[read.value].elem;
            self.require(has == elem, "operands have one element type", || {
                format!("{} is {}, the first is {}", read.value, elem_name(has), elem_name(elem))
            });
            sound &= self.subscripts(&read.subs, nodes[read.value].shape.len(), n_axes);
        }
        for expr in contract
            .guards
            .iter()
            .map(|g| &g.expr)
            .chain(contract.congruences.iter().map(|c| &c.expr))
        {
            sound &= self.subscripts(std::slice::from_ref(expr), 1, n_axes);
        }
        sound &= self.subscripts(&contract.out, self.shape.len(), n_axes);
        for congruence in &contract.congruences {
            self.require(congruence.modulus > 1, "moduli are greater than one", || {
                congruence.modulus.to_string()
            });
        }
        if !sound || contract.space.iter().any(|&dim| !range::at_least(dim, 1)) {
            return;
        }
        self.contract_ranges(contract);
        if contract.normal_form().is_none() {
            self.require(
                contract.combine == Combine::Sum,
                "affine left sides are under sum",
                || contract.combine.name().to_string(),
            );
        }
        if let Some(order) = &contract.order {
            self.order(contract, order);
        }
    }

    fn contract_ranges(&mut self, contract: &Contract) {
        let guards = range::effective_guards(self.nodes, contract);
        for read in &contract.reads {
            match read.fill {
                Fill::InRange => {
                    self.all_in_range(read.value, &contract.space, &guards, &read.subs);
                }
                Fill::Value(literal) => self.literal(literal, self.nodes[read.value].elem),
                Fill::Skip => {}
            }
        }
        for (sub, &extent) in contract.out.iter().zip(self.shape) {
            self.require(
                range::in_range(&contract.space, &guards, sub, extent),
                "the left side stays in range",
                || format!("{sub} is not proven to be in 0..{}", dim_text(extent)),
            );
        }
    }

    fn order(&mut self, contract: &Contract, order: &Order) {
        let Some(n_out) = contract.normal_form() else {
            return self.fail("orders need normal form", String::new());
        };
        let n_axes = contract.space.len();
        let inner = (n_out < n_axes).then(|| contract.space[n_axes - 1]);
        self.require(
            order.run_cut >= 1 && order.runs_per_chunk >= 1,
            "chunks hold at least one term",
            || format!("run {}, runs {}", order.run_cut, order.runs_per_chunk),
        );
        if let Some(axis) = order.shard_axis {
            let fits = (n_out..n_axes).contains(&axis) && contract.space[axis].batch_factor > 0;
            self.require(fits, "shards cut a reduction axis with the batch", || format!("i{axis}"));
        }
        let lanes = match order.kind {
            OrderKind::Chain => 1,
            OrderKind::Lanes => 16,
        };
        self.require(
            order.kind == OrderKind::Chain || inner.is_some(),
            "lanes need a reduction axis",
            String::new,
        );
        if let Some(inner) = inner
            && order.runs_per_chunk > 1
        {
            let whole =
                inner.as_fixed().is_some_and(|run| (run + lanes - 1) / lanes <= order.run_cut);
            self.require(whole, "chunks of several runs hold whole runs", || {
                format!("run of {} cut at {}", dim_text(inner), order.run_cut)
            });
        }
    }
}
