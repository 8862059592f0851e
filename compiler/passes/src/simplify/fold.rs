//! Arithmetic of constants, done by the graph interpreter: the same functions, so the same bits.

use super::{Becomes, Rule, Site, When};
use dlc_ir::graph::{Data, Graph, Literal, NodeId, Op, interpret};
use indexmap::IndexMap;

pub(super) const RULES: &[Rule] = &[
    // An element-wise operation on constants is a constant.
    Rule { name: "fold_const", when: When::Always, apply: fold_const },
];

fn fold_const(site: &mut Site<'_>) -> Option<Becomes> {
    match site.node.op {
        Op::Unary(..)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Select(..)
        | Op::Fma(..)
        | Op::Convert(_) => {}
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::View { .. }
        | Op::Reshape(_)
        | Op::Contract(_)
        | Op::Gather(_) => return None,
    }
    let operands = site.node.op.operands();
    let literals: Vec<Literal> =
        operands.iter().map(|&id| site.constant(id)).collect::<Option<_>>()?;
    let mut graph = Graph::new("constant");
    graph.class = site.graph.class;
    let mut scalars: Vec<NodeId> = Vec::new();
    for (&id, literal) in operands.iter().zip(literals) {
        let elem = site.elem(id);
        let (stage, origin) = (site.node.stage, site.node.origin.clone());
        scalars.push(graph.push(Op::Const(literal), elem, Vec::new(), stage, origin));
    }
    let mut next = scalars.into_iter();
    let op = site.node.op.map_operands(|_| next.next().expect("one scalar for each operand"));
    let (stage, origin) = (site.node.stage, site.node.origin.clone());
    let value = graph.push(op, site.node.elem, Vec::new(), stage, origin);
    graph.result("value", value);
    // What has no value (a division of integers by zero) stays as it is, for the step to report.
    let outputs = interpret(&graph, &IndexMap::new(), 1).ok()?;
    let literal = match &outputs.results["value"].data {
        Data::F32(value) => Literal::Float(f64::from(value[0])),
        Data::F64(value) => Literal::Float(value[0]),
        Data::I32(value) => Literal::Int(i64::from(value[0])),
        Data::I64(value) => Literal::Int(value[0]),
        Data::U8(value) => Literal::Int(i64::from(value[0])),
        Data::Bool(value) => Literal::Bool(value[0]),
    };
    Some(Becomes::Op(Op::Const(literal)))
}
