//! The table of derivative rules: one arm an operation, formula above. `y` is the node, `dy` its cotangent.
//!
//! Sources: Griewank and Walther, table 3.4, for scalar functions; adjoints of reads follow from `<dy, A dx> = <Aᵀ dy, dx>`.

use super::{cotangent_type, derivative_origin};
use dlc_abi::{Dim, ElemType};
use dlc_ir::affine::Affine;
use dlc_ir::graph::{
    BinaryOp, Combine, Compare, Contract, Fill, Gather, Graph, GraphBuilder, Guard, Literal,
    NodeId, Op, Read, Stage, UnaryOp, range,
};

/// A part of the cotangent of an operand.
type Part = (NodeId, NodeId);

/// The parts of operands' cotangents that node `y` with cotangent `dy` gives; only for operands that are `active`.
pub(super) fn pull(
    graph: &mut Graph,
    y: NodeId,
    dy: NodeId,
    active: &dyn Fn(NodeId) -> bool,
) -> Vec<Part> {
    let node = graph.nodes[y].clone();
    let mut g = graph.build(Stage::Backward, derivative_origin(&node.origin));
    let mut parts = Vec::new();
    let mut give = |operand: NodeId, part: &mut dyn FnMut() -> Option<NodeId>| {
        if active(operand)
            && let Some(part) = part()
        {
            parts.push((operand, part));
        }
    };
    match &node.op {
        // Leaves and constants end the chain; integers carry no cotangent, so comparisons and indices are never reached.
        Op::Input { .. }
        | Op::Const(_)
        | Op::Iota { .. }
        | Op::Extent(_)
        | Op::Random { .. }
        | Op::Compare(..) => {}
        Op::Unary(op, x) => give(*x, &mut || unary(&mut g, *op, *x, y, dy)),
        Op::Binary(op, a, b) => {
            let (da, db) = binary(&mut g, *op, *a, *b, y, dy);
            give(*a, &mut || da);
            give(*b, &mut || db);
        }
        // y = c ? a : b:  da = c ? dy : 0,  db = c ? 0 : dy
        Op::Select(c, a, b) => {
            give(*a, &mut || Some(keep_where(&mut g, *c, dy)));
            give(*b, &mut || Some(keep_unless(&mut g, *c, dy)));
        }
        // y = a b + c:  da = dy b,  db = dy a,  dc = dy
        Op::Fma(a, b, c) => {
            give(*a, &mut || Some(g.mul(dy, *b)));
            give(*b, &mut || Some(g.mul(dy, *a)));
            give(*c, &mut || Some(dy));
        }
        // y = x in another float type:  dx = dy in x's
        Op::Convert(x) => give(*x, &mut || {
            let elem = cotangent_type(g.elem(*x));
            Some(g.convert(dy, elem))
        }),
        // y[o] = x[A o]:  dx[A o] += dy[o]
        Op::View { operand, subs, fill } => {
            give(*operand, &mut || Some(view(&mut g, *operand, subs, *fill, dy)));
        }
        // y = x in another shape:  dx = dy in x's
        Op::Reshape(x) => give(*x, &mut || {
            let shape = g.shape(*x).to_vec();
            Some(g.reshape(dy, shape))
        }),
        Op::Contract(contract) => parts = contraction(&mut g, contract, y, dy, active),
        // y[0] = x, and y[t + 1] is what is carried, whose cotangent the recurrence in the other direction adds:  dx = dy[0]
        Op::Recur { init, reverse } => give(*init, &mut || {
            let steps = g.shape(dy)[0].as_fixed().expect("a recurrence has fixed steps");
            Some(g.select_index(dy, 0, if *reverse { steps - 1 } else { 0 }))
        }),
        // y[o] = x[.., n[o], ..]:  dx[.., k, ..] += n[o] = k ? dy[o] : 0
        Op::Gather(gather_) => give(gather_.operand, &mut || Some(gather(&mut g, gather_, dy))),
        // Parts of a batch come after gradients: what is differentiated is the whole step.
        Op::Exchange(_) => {}
    }
    parts
}

/// The cotangent of the operand of a function of one element; `None` where it is zero everywhere.
fn unary(
    g: &mut GraphBuilder<'_>,
    op: UnaryOp,
    x: NodeId,
    y: NodeId,
    dy: NodeId,
) -> Option<NodeId> {
    Some(match op {
        // y = -x:  dx = -dy
        UnaryOp::Neg => g.neg(dy),
        // y = |x|:  dx = dy sign(x), 0 at 0
        UnaryOp::Abs => {
            let zero = g.number_like(0.0, x);
            let (positive, negative) =
                (g.compare(Compare::Lt, zero, x), g.compare(Compare::Lt, x, zero));
            let minus = g.neg(dy);
            let below = keep_where(g, negative, minus);
            g.select(positive, dy, below)
        }
        // y = e^x:  dx = dy y
        UnaryOp::Exp => g.mul(dy, y),
        // y = ln x:  dx = dy / x
        UnaryOp::Log => g.div(dy, x),
        // y = ln(1 + x):  dx = dy / (1 + x)
        UnaryOp::Log1p => {
            let one = g.number_like(1.0, x);
            let sum = g.add(one, x);
            g.div(dy, sum)
        }
        // y = x^(1/2):  dx = (dy / 2) / y
        UnaryOp::Sqrt => {
            let half = scale(g, dy, 0.5);
            g.div(half, y)
        }
        // y = tanh x:  dx = dy (1 - y^2)
        UnaryOp::Tanh => {
            let square = g.mul(y, y);
            let slope = one_minus(g, square);
            g.mul(dy, slope)
        }
        // y = erf x:  dx = dy (2 / sqrt(pi)) e^(-x^2)
        UnaryOp::Erf => {
            let square = g.mul(x, x);
            let exponent = g.neg(square);
            let bell = g.unary(UnaryOp::Exp, exponent);
            let slope = scale(g, bell, std::f64::consts::FRAC_2_SQRT_PI);
            g.mul(dy, slope)
        }
        // y = 1 / (1 + e^-x):  dx = dy y (1 - y)
        UnaryOp::Sigmoid => {
            let rest = one_minus(g, y);
            let slope = g.mul(y, rest);
            g.mul(dy, slope)
        }
        // y = sin x:  dx = dy cos x
        UnaryOp::Sin => {
            let slope = g.unary(UnaryOp::Cos, x);
            g.mul(dy, slope)
        }
        // y = cos x:  dx = -dy sin x
        UnaryOp::Cos => {
            let sine = g.unary(UnaryOp::Sin, x);
            let slope = g.neg(sine);
            g.mul(dy, slope)
        }
        // Piecewise constant; truth values have no derivative.
        UnaryOp::Floor | UnaryOp::Not => return None,
    })
}

/// The cotangents of both operands; `None` where one is zero everywhere. What is not used is left for `simplify` to drop.
fn binary(
    g: &mut GraphBuilder<'_>,
    op: BinaryOp,
    a: NodeId,
    b: NodeId,
    y: NodeId,
    dy: NodeId,
) -> (Option<NodeId>, Option<NodeId>) {
    match op {
        // y = a + b:  da = dy,  db = dy
        BinaryOp::Add => (Some(dy), Some(dy)),
        // y = a - b:  da = dy,  db = -dy
        BinaryOp::Sub => (Some(dy), Some(g.neg(dy))),
        // y = a b:  da = dy b,  db = dy a
        BinaryOp::Mul => (Some(g.mul(dy, b)), Some(g.mul(dy, a))),
        // y = a / b:  da = dy / b,  db = -(da y)
        BinaryOp::Div => {
            let da = g.div(dy, b);
            let product = g.mul(da, y);
            (Some(da), Some(g.neg(product)))
        }
        // y = a > b ? a : b:  the operand that is taken gets dy, at a tie b
        BinaryOp::Max => {
            let first = g.compare(Compare::Lt, b, a);
            (Some(keep_where(g, first, dy)), Some(keep_unless(g, first, dy)))
        }
        // y = a < b ? a : b:  the operand that is taken gets dy, at a tie b
        BinaryOp::Min => {
            let first = g.compare(Compare::Lt, a, b);
            (Some(keep_where(g, first, dy)), Some(keep_unless(g, first, dy)))
        }
        // Of integers and truth values only.
        BinaryOp::Rem | BinaryOp::And | BinaryOp::Or => (None, None),
    }
}

/// `condition ? value : 0`
fn keep_where(g: &mut GraphBuilder<'_>, condition: NodeId, value: NodeId) -> NodeId {
    let zero = g.number_like(0.0, value);
    g.select(condition, value, zero)
}

/// `condition ? 0 : value`
fn keep_unless(g: &mut GraphBuilder<'_>, condition: NodeId, value: NodeId) -> NodeId {
    let zero = g.number_like(0.0, value);
    g.select(condition, zero, value)
}

fn scale(g: &mut GraphBuilder<'_>, value: NodeId, factor: f64) -> NodeId {
    let factor = g.number_like(factor, value);
    g.mul(value, factor)
}

fn one_minus(g: &mut GraphBuilder<'_>, value: NodeId) -> NodeId {
    let one = g.number_like(1.0, value);
    g.sub(one, value)
}

/// The guards that keep subscripts within a tensor, where the box and `known` guards do not prove it.
fn bounds(
    g: &GraphBuilder<'_>,
    space: &[Dim],
    known: &[Guard],
    value: NodeId,
    subs: &[Affine],
) -> Vec<Guard> {
    subs.iter()
        .zip(g.shape(value))
        .filter(|(sub, extent)| !range::in_range(space, known, sub, **extent))
        .map(|(sub, extent)| Guard { expr: sub.clone(), extent: *extent })
        .collect()
}

/// The adjoint of a view: `dx[A o] += dy[o]`, for `o` where `A o` is in range.
fn view(g: &mut GraphBuilder<'_>, x: NodeId, subs: &[Affine], fill: Fill, dy: NodeId) -> NodeId {
    let space = g.shape(dy).to_vec();
    let guards = match fill {
        Fill::InRange => Vec::new(),
        Fill::Value(_) | Fill::Skip => bounds(g, &space, &[], x, subs),
    };
    let reads = vec![Read::in_range(dy, Affine::identity(space.len()))];
    write(
        g,
        Contract { out: subs.to_vec(), guards, ..Contract::normal(Combine::Sum, space, 0, reads) },
        x,
    )
}

/// A sum into a tensor of the shape of `like`.
fn write(g: &mut GraphBuilder<'_>, contract: Contract, like: NodeId) -> NodeId {
    let shape = g.shape(like).to_vec();
    g.accumulate(contract, &shape)
}

/// The adjoint of a read by index. An index outside the axis adds to no row; the forward read has reported it.
fn gather(g: &mut GraphBuilder<'_>, gather: &Gather, dy: NodeId) -> NodeId {
    let shape = g.shape(dy).to_vec();
    let rows = g.shape(gather.operand)[gather.axis];
    let at = place_of_rows(gather, shape.len());
    let mut space = shape.clone();
    space.insert(at, rows);
    let to_space: Vec<Affine> =
        (0..shape.len()).map(|axis| Affine::axis(axis + usize::from(axis >= at))).collect();
    let moved = |subs: &[Affine]| -> Vec<Affine> {
        subs.iter().map(|sub| sub.substitute(&to_space)).collect()
    };
    let index = g.view(gather.index, moved(&gather.index_subs), Fill::InRange, space.clone());
    let row = g.iota(at, ElemType::I32, space.clone());
    let chosen = g.compare(Compare::Eq, index, row);
    let spread = g.view(dy, to_space.clone(), Fill::InRange, space.clone());
    let kept = keep_where(g, chosen, spread);
    let mut out = moved(&gather.subs);
    out[gather.axis] = Affine::axis(at);
    let reads = vec![Read::in_range(kept, Affine::identity(space.len()))];
    write(g, Contract { out, ..Contract::normal(Combine::Sum, space, 0, reads) }, gather.operand)
}

/// Where the axis of the rows stands among the places read: before the axes that walk what follows it in the operand, so that the sum has
/// the operand's order of axes; but last if the last axis of the places is summed over, for rows of a table are no lanes of a sum.
fn place_of_rows(gather: &Gather, rank: usize) -> usize {
    let mentions = |subs: &[Affine], axis: usize| subs.iter().any(|sub| sub.coefficient(axis) != 0);
    match rank.checked_sub(1) {
        Some(last) if mentions(&gather.subs, last) => {
            let behind = &gather.subs[gather.axis + 1..];
            (0..rank).find(|&axis| mentions(behind, axis)).unwrap_or(rank)
        }
        _ => rank,
    }
}

fn contraction(
    g: &mut GraphBuilder<'_>,
    contract: &Contract,
    y: NodeId,
    dy: NodeId,
    active: &dyn Fn(NodeId) -> bool,
) -> Vec<Part> {
    match contract.combine {
        // y[W i] += a[A i] b[B i]:  da[A i] += dy[W i] b[B i],  db[B i] += dy[W i] a[A i]
        Combine::Sum => {
            let cotangent = Read::in_range(dy, contract.out.clone());
            reads_of_sum(g, contract, &cotangent, active)
        }
        // y[o] = max over r of t(o, r), first wins:  dt(o, r) = r = argmax ? dy[o] : 0
        Combine::Max => {
            let term = materialised_term(g, contract, active);
            extreme(g, contract, term, Combine::ArgMax, y, dy, active)
        }
        Combine::Min => {
            let term = materialised_term(g, contract, active);
            extreme(g, contract, term, Combine::ArgMin, y, dy, active)
        }
        // The result is an integer.
        Combine::ArgMax | Combine::ArgMin => Vec::new(),
    }
}

/// Adjoints of the reads of a sum whose terms have the cotangent that `cotangent` reads.
///
/// Each is a sum over the same terms: guards, congruences and what the other read skips stay as they are.
fn reads_of_sum(
    g: &mut GraphBuilder<'_>,
    contract: &Contract,
    cotangent: &Read,
    active: &dyn Fn(NodeId) -> bool,
) -> Vec<Part> {
    let mut parts = Vec::new();
    for (at, read) in contract.reads.iter().enumerate() {
        if !active(read.value) {
            continue;
        }
        let mut reads = vec![cotangent.clone()];
        reads.extend(
            contract
                .reads
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .map(|(_, other)| other.clone()),
        );
        let mut guards = contract.guards.clone();
        // A term whose read lay outside has no element to write to: its value was the fill, or it did not exist.
        guards.extend(bounds(g, &contract.space, &guards, read.value, &read.subs));
        let adjoint = Contract {
            space: contract.space.clone(),
            out: read.subs.clone(),
            reads,
            combine: Combine::Sum,
            guards,
            congruences: contract.congruences.clone(),
            order: None,
        };
        parts.push((read.value, write(g, adjoint, read.value)));
    }
    parts
}

/// For two factors: their products as a tensor over all axes, so that the place of the extreme one can be found.
fn materialised_term(
    g: &mut GraphBuilder<'_>,
    contract: &Contract,
    active: &dyn Fn(NodeId) -> bool,
) -> Option<NodeId> {
    let two = contract.reads.len() > 1 && contract.reads.iter().any(|read| active(read.value));
    two.then(|| {
        let rank = contract.space.len();
        let product = Contract {
            combine: Combine::Sum,
            out: Affine::identity(rank),
            order: None,
            ..contract.clone()
        };
        g.contract(product)
    })
}

/// The adjoint of a maximum or minimum: `dy` goes to the first extreme term, and from there to its factors.
fn extreme(
    g: &mut GraphBuilder<'_>,
    contract: &Contract,
    term: Option<NodeId>,
    place: Combine,
    y: NodeId,
    dy: NodeId,
    active: &dyn Fn(NodeId) -> bool,
) -> Vec<Part> {
    let (space, n_out) = (contract.space.clone(), g.shape(y).len());
    let mut search = Contract { combine: place, order: None, ..contract.clone() };
    if let Some(term) = term {
        // Terms that a factor skips are not in the tensor of products: there they are zeros, so guards must exclude them.
        search.guards = range::effective_guards(&g.graph.nodes, contract);
        search.reads = vec![Read::in_range(term, Affine::identity(space.len()))];
    }
    let first = g.contract(search);
    let to_space = Affine::identity(n_out);
    let first = g.view(first, to_space.clone(), Fill::InRange, space.clone());
    let flat = flat_index(g, &space, n_out);
    let chosen = g.compare(Compare::Eq, flat, first);
    let spread = g.view(dy, to_space, Fill::InRange, space.clone());
    let kept = keep_where(g, chosen, spread);
    let cotangent = Read::in_range(kept, Affine::identity(space.len()));
    reads_of_sum(g, contract, &cotangent, active)
}

/// The row-major number of the point along the axes from `first` on, at every point of the space.
fn flat_index(g: &mut GraphBuilder<'_>, space: &[Dim], first: usize) -> NodeId {
    let mut flat = g.constant(Literal::Int(0), ElemType::I32, space.to_vec());
    for axis in first..space.len() {
        let index = g.iota(axis, ElemType::I32, space.to_vec());
        if axis == first {
            flat = index;
            continue;
        }
        let extent = g.extent(space[axis], ElemType::I32);
        let extent = g.broadcast_to(extent, space);
        let rows = g.mul(flat, extent);
        flat = g.add(rows, index);
    }
    flat
}
