//! Cells: elements of tensor expressions by index, computed as late as possible and over as few axes as possible.
//!
//! An index of extent 1 that is summed over or joined with others is no axis but the constant 0 wherever it is used. So the
//! groups of a convolution with one group leave no trace in the graph.

use super::Elaborator;
use super::tensor::{Kind, common, float, is_float, literal};
use crate::diagnostics;
use crate::value::{Cell, CellRead, Eval, Extent, Number, Tensor, Term, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::BinaryOp;
use dlc_ir::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Fill, Literal, NodeId, Op, UnaryOp, range};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Index axes by number, ascending: the order in which they were introduced.
pub(crate) type AxisSet = BTreeSet<usize>;

impl Elaborator {
    /// The extents of index axes, which are known once expressions over them are evaluated.
    pub(crate) fn axis_dims(&self, axes: impl IntoIterator<Item = usize>) -> Vec<Dim> {
        axes.into_iter().map(|axis| self.axis_dim(axis)).collect()
    }

    /// The extent of an index axis.
    pub(crate) fn axis_dim(&self, axis: usize) -> Dim {
        self.axes[axis].extent.map_or(Dim::fixed(1), |extent| extent.dim)
    }

    /// The axes that a term depends on.
    pub(crate) fn term_axes(&self, term: &Term) -> AxisSet {
        let of = |sub: &Affine| sub.terms().iter().map(|term| term.0).collect::<Vec<_>>();
        match term {
            Term::Number(_) => AxisSet::new(),
            Term::Index(sub) => of(sub).into_iter().collect(),
            Term::Read(read) => read.subs.iter().flat_map(of).collect(),
            Term::Mul(a, b) | Term::Div(a, b) => {
                let mut axes = self.term_axes(a);
                axes.extend(self.term_axes(b));
                axes
            }
        }
    }

    /// What a term contributes to the element type of a result.
    pub(crate) fn term_kind(&self, term: &Term) -> Kind {
        match term {
            Term::Number(Number::Int(_)) => Kind::Int,
            Term::Number(Number::Real(_)) => Kind::Real,
            Term::Index(_) => Kind::Elem(ElemType::I32),
            Term::Read(read) => Kind::Elem(self.elem(read.node)),
            Term::Mul(a, b) => match (self.term_kind(a), self.term_kind(b)) {
                (Kind::Int, Kind::Int) => Kind::Int,
                (a, b) => Kind::Elem(common(a, b)),
            },
            Term::Div(a, b) => Kind::Elem(float(common(self.term_kind(a), self.term_kind(b)))),
        }
    }

    /// The element type a term has when it is computed on its own.
    pub(crate) fn term_elem(&self, term: &Term) -> ElemType {
        match self.term_kind(term) {
            Kind::Elem(elem) => elem,
            Kind::Int => ElemType::I32,
            Kind::Real => ElemType::F32,
        }
    }

    /// A value as a cell, for an operation within index notation.
    pub(crate) fn as_cell(&mut self, value: &Value, what: &str, span: Span) -> Eval<Cell> {
        match value {
            Value::Cell(cell) => Ok(cell.clone()),
            Value::Number(number) => Ok(Cell::always(Term::Number(*number))),
            Value::Bool(value) => {
                let node = self.build().constant(Literal::Bool(*value), ElemType::Bool, Vec::new());
                Ok(Cell::always(self.dense(node, &[])))
            }
            Value::Tensor(tensor) if tensor.rank() == 0 => {
                Ok(Cell::always(self.dense(tensor.node, &[])))
            }
            Value::Tensor(tensor) => {
                let shape = tensor.shape.clone();
                Err(self.report(diagnostics::needs_index(&shape, span)))
            }
            Value::Bad => Err(crate::value::Reported::already()),
            other => Err(self.report(diagnostics::wrong_operand(what, other.noun(), span))),
        }
    }

    /// A term as a value; without axes it is a scalar tensor or a number.
    pub(crate) fn cell_value(&mut self, cell: Cell) -> Value {
        if cell.exists.is_some() {
            return Value::Cell(cell);
        }
        match &cell.term {
            Term::Number(number) => return Value::Number(*number),
            Term::Index(sub) => {
                if let Some(value) = sub.as_constant() {
                    return Value::int(value);
                }
            }
            term if skips(term) => {}
            term => {
                if self.term_axes(term).is_empty() {
                    let node = self.compute(term, &[]);
                    return Value::Tensor(Tensor { node, shape: Vec::new() });
                }
            }
        }
        Value::Cell(cell)
    }

    /// A computed tensor over axes, as a term.
    pub(crate) fn dense(&self, node: NodeId, axes: &[usize]) -> Term {
        let subs = axes.iter().map(|&axis| Affine::axis(axis)).collect();
        Term::Read(CellRead { node, subs, fill: Fill::InRange })
    }

    /// Subscripts over the elaborator's axes, renumbered to places in `axes`.
    pub(crate) fn renumber(subs: &[Affine], axes: &[usize]) -> Vec<Affine> {
        let place = |axis: usize| {
            axes.iter().position(|&at| at == axis).expect("a term is computed over all of its axes")
        };
        subs.iter().map(|sub| sub.renumber(place)).collect()
    }

    /// Computes a term over axes that include its own; in the order given, which becomes the order of the result's axes.
    pub(crate) fn compute(&mut self, term: &Term, axes: &[usize]) -> NodeId {
        let elem = self.term_elem(term);
        self.compute_as(term, elem, axes)
    }

    /// Computes a term in an element type.
    pub(crate) fn compute_as(&mut self, term: &Term, elem: ElemType, axes: &[usize]) -> NodeId {
        let dims = self.axis_dims(axes.iter().copied());
        match term {
            Term::Number(number) => self.number_node(*number, elem, &dims),
            Term::Index(sub) => self.index_node(sub, elem, axes),
            Term::Read(read) => {
                let read = self.convert_read(read, elem);
                self.read_node(&read, axes)
            }
            Term::Mul(a, b) => self.compute_pair(BinaryOp::Mul, a, b, elem, axes),
            Term::Div(a, b) => self.compute_pair(BinaryOp::Div, a, b, elem, axes),
        }
    }

    /// A product or quotient is computed over its own axes first and then repeated along the others.
    fn compute_pair(
        &mut self,
        op: BinaryOp,
        a: &Term,
        b: &Term,
        elem: ElemType,
        axes: &[usize],
    ) -> NodeId {
        let mut own = self.term_axes(a);
        own.extend(self.term_axes(b));
        let own: Vec<usize> = axes.iter().copied().filter(|axis| own.contains(axis)).collect();
        // Integer operands of a quotient are floats before they are divided, and so is everything else of a float result.
        let inner =
            if is_float(elem) { elem } else { common(self.term_kind(a), self.term_kind(b)) };
        let na = self.compute_as(a, inner, &own);
        let nb = self.compute_as(b, inner, &own);
        let node = self.binary_node(op, na, nb);
        let node = self.convert(node, elem);
        match self.dense(node, &own) {
            Term::Read(read) => self.read_node(&read, axes),
            _ => unreachable!("a computed tensor is read"),
        }
    }

    /// A read laid out over axes: the tensor itself where the subscripts are its axes in order.
    fn read_node(&mut self, read: &CellRead, axes: &[usize]) -> NodeId {
        let dims = self.axis_dims(axes.iter().copied());
        let identity = read.subs.len() == axes.len()
            && read.subs.iter().zip(axes).all(|(sub, &axis)| sub.as_axis() == Some(axis))
            && self.graph.nodes[read.node].shape == dims;
        if identity {
            return read.node;
        }
        let fill = match read.fill {
            // What does not exist is masked by the caller; any value will do.
            Fill::Skip => Fill::Value(literal(0.0, self.elem(read.node))),
            fill => fill,
        };
        let subs = Self::renumber(&read.subs, axes);
        self.build().view(read.node, subs, fill, dims)
    }

    /// An integer by index, over axes.
    fn index_node(&mut self, sub: &Affine, elem: ElemType, axes: &[usize]) -> NodeId {
        let dims = self.axis_dims(axes.iter().copied());
        let computed = if is_float(elem) { elem } else { ElemType::I32 };
        let mut sum = None;
        for &(axis, coefficient) in sub.terms() {
            let at = axes
                .iter()
                .position(|&at| at == axis)
                .expect("a term is computed over all of its axes");
            let mut part = self.build().iota(at, computed, dims.clone());
            if coefficient != 1 {
                let factor = self.number_node(Number::int(coefficient), computed, &dims);
                part = self.build().mul(part, factor);
            }
            sum = Some(match sum {
                None => part,
                Some(before) => self.build().add(before, part),
            });
        }
        let node = match (sum, sub.offset()) {
            (Some(sum), 0) => sum,
            (Some(sum), offset) => {
                let offset = self.number_node(Number::int(offset), computed, &dims);
                self.build().add(sum, offset)
            }
            (None, offset) => self.number_node(Number::int(offset), computed, &dims),
        };
        self.convert(node, elem)
    }

    /// The same read of converted elements.
    fn convert_read(&mut self, read: &CellRead, elem: ElemType) -> CellRead {
        if self.elem(read.node) == elem {
            return read.clone();
        }
        let fill = match read.fill {
            Fill::Value(Literal::Int(value)) => Fill::Value(literal(value as f64, elem)),
            Fill::Value(Literal::Float(value)) => Fill::Value(literal(value, elem)),
            Fill::Value(Literal::Bool(value)) => {
                Fill::Value(literal(f64::from(u8::from(value)), elem))
            }
            other => other,
        };
        CellRead { node: self.convert(read.node, elem), subs: read.subs.clone(), fill }
    }

    /// A term in an element type, computed if it must be.
    pub(crate) fn convert_term(&mut self, term: &Term, elem: ElemType) -> Term {
        match term {
            Term::Number(_) => term.clone(),
            Term::Read(read) => Term::Read(self.convert_read(read, elem)),
            Term::Mul(a, b) if is_float(elem) => {
                let (a, b) = (self.convert_term(a, elem), self.convert_term(b, elem));
                Term::Mul(Arc::new(a), Arc::new(b))
            }
            _ if self.term_kind(term) == Kind::Elem(elem) => term.clone(),
            _ => {
                let axes: Vec<usize> = self.term_axes(term).into_iter().collect();
                let node = self.compute_as(term, elem, &axes);
                self.dense(node, &axes)
            }
        }
    }

    /// A term computed over its own axes, so that several uses share the work.
    pub(crate) fn settle(&mut self, term: &Term) -> Term {
        match term {
            Term::Mul(..) | Term::Div(..) => {
                let axes: Vec<usize> = self.term_axes(term).into_iter().collect();
                let node = self.compute(term, &axes);
                self.dense(node, &axes)
            }
            other => other.clone(),
        }
    }

    /// Makes the conditions of reads that skip explicit, so that the value can be calculated with.
    pub(crate) fn explicit(&mut self, cell: Cell) -> Cell {
        let mut exists = cell.exists;
        let term = self.explicit_term(cell.term, &mut exists);
        Cell { term, exists }
    }

    fn explicit_term(&mut self, term: Term, exists: &mut Option<Arc<Term>>) -> Term {
        match term {
            Term::Read(CellRead { node, subs, fill: Fill::Skip }) => {
                let inside = self.inside(node, &subs).map(Arc::new);
                *exists = self.both(exists.take(), inside);
                let fill = Fill::Value(literal(0.0, self.elem(node)));
                Term::Read(CellRead { node, subs, fill })
            }
            Term::Mul(a, b) if skips(&a) || skips(&b) => {
                let a = self.explicit_term((*a).clone(), exists);
                let b = self.explicit_term((*b).clone(), exists);
                Term::Mul(Arc::new(a), Arc::new(b))
            }
            Term::Div(a, b) if skips(&a) || skips(&b) => {
                let a = self.explicit_term((*a).clone(), exists);
                let b = self.explicit_term((*b).clone(), exists);
                Term::Div(Arc::new(a), Arc::new(b))
            }
            other => other,
        }
    }

    /// The conjunction of two conditions.
    pub(crate) fn both(&mut self, a: Option<Arc<Term>>, b: Option<Arc<Term>>) -> Option<Arc<Term>> {
        match (a, b) {
            (Some(a), Some(b)) => {
                Some(Arc::new(self.map_pair(BinaryOp::And, &a, &b, ElemType::Bool)))
            }
            (one, None) | (None, one) => one,
        }
    }

    /// Whether subscripts lie within a tensor, as a truth value; `None` where they always do.
    pub(crate) fn inside(&mut self, node: NodeId, subs: &[Affine]) -> Option<Term> {
        let extents = self.graph.nodes[node].shape.clone();
        let mut all: Option<Term> = None;
        for (sub, extent) in subs.iter().zip(extents) {
            if self.in_range(sub, extent) {
                continue;
            }
            let place = Term::Index(sub.clone());
            let zero = Term::Number(Number::int(0));
            let end = Term::Number(Number::Int(extent));
            let low = self.map_pair(BinaryOp::Le, &zero, &place, ElemType::I32);
            let high = self.map_pair(BinaryOp::Lt, &place, &end, ElemType::I32);
            let both = self.map_pair(BinaryOp::And, &low, &high, ElemType::Bool);
            all = Some(match all {
                None => both,
                Some(before) => self.map_pair(BinaryOp::And, &before, &both, ElemType::Bool),
            });
        }
        all
    }

    /// Whether a subscript never leaves an axis, for every batch.
    pub(crate) fn in_range(&self, sub: &Affine, extent: Dim) -> bool {
        let axes: Vec<usize> = sub.terms().iter().map(|term| term.0).collect();
        let space = self.axis_dims(axes.iter().copied());
        let local = Self::renumber(std::slice::from_ref(sub), &axes);
        range::in_range(&space, &[], &local[0], extent)
    }

    /// An operation on two terms over the union of their axes, computed; operands are converted to `elem`.
    pub(crate) fn map_pair(&mut self, op: BinaryOp, a: &Term, b: &Term, elem: ElemType) -> Term {
        let mut axes = self.term_axes(a);
        axes.extend(self.term_axes(b));
        let axes: Vec<usize> = axes.into_iter().collect();
        let na = self.compute_as(a, elem, &axes);
        let nb = self.compute_as(b, elem, &axes);
        let node = self.binary_node(op, na, nb);
        self.dense(node, &axes)
    }

    /// An operation within index notation.
    pub(crate) fn cell_binary(
        &mut self,
        op: BinaryOp,
        a: &Value,
        b: &Value,
        span: Span,
    ) -> Eval<Value> {
        let elem = self.operand_elem(op, a, b, span)?;
        let what = op.text();
        let (a, b) = (self.as_cell(a, what, span)?, self.as_cell(b, what, span)?);
        if let Some(sub) = self.affine_op(op, &a.term, &b.term, span)? {
            return Ok(self.cell_value(Cell::always(Term::Index(sub))));
        }
        // A product leaves reads that skip as they are: the sum over it needs no mask.
        let product = op == BinaryOp::Mul && a.exists.is_none() && b.exists.is_none();
        let (a, b) = if product { (a, b) } else { (self.explicit(a), self.explicit(b)) };
        let exists = self.both(a.exists, b.exists);
        let term = match op {
            BinaryOp::Mul => {
                let a = self.convert_term(&a.term, elem);
                let b = self.convert_term(&b.term, elem);
                Term::Mul(Arc::new(a), Arc::new(b))
            }
            BinaryOp::Div => {
                let a = self.convert_term(&a.term, elem);
                let b = self.convert_term(&b.term, elem);
                Term::Div(Arc::new(a), Arc::new(b))
            }
            _ => self.map_pair(op, &a.term, &b.term, elem),
        };
        Ok(self.cell_value(Cell { term, exists }))
    }

    /// Sums and multiples of indices stay affine.
    fn affine_op(&mut self, op: BinaryOp, a: &Term, b: &Term, span: Span) -> Eval<Option<Affine>> {
        let (Some(a), Some(b)) = (Self::affine(a), Self::affine(b)) else {
            return Ok(None);
        };
        let result = match op {
            BinaryOp::Add => Some(a.plus(&b)),
            BinaryOp::Sub => Some(a.minus(&b)),
            BinaryOp::Mul => match (a.as_constant(), b.as_constant()) {
                (Some(factor), _) => scaled(&b, factor),
                (_, Some(factor)) => scaled(&a, factor),
                (None, None) => return Ok(None),
            },
            _ => return Ok(None),
        };
        let bounded = |sub: &Affine| {
            let in_bounds = super::number::in_bounds;
            in_bounds(sub.offset()) && sub.terms().iter().all(|term| in_bounds(term.1))
        };
        match result {
            Some(sub) if bounded(&sub) => Ok(Some(sub)),
            _ => Err(self.report(diagnostics::overflow(span))),
        }
    }

    /// A term as an affine function of the axes.
    pub(crate) fn affine(term: &Term) -> Option<Affine> {
        match term {
            Term::Index(sub) => Some(sub.clone()),
            Term::Number(Number::Int(dim)) => dim.as_fixed().map(Affine::constant),
            _ => None,
        }
    }

    /// A function of one element within index notation. It is applied to the tensor before the read where that is no more work.
    pub(crate) fn cell_unary(&mut self, op: UnaryOp, cell: &Cell, elem: ElemType) -> Value {
        let cell = self.explicit(cell.clone());
        if let Term::Read(read) = &cell.term
            && read.fill == Fill::InRange
            && self.reads_all(read)
        {
            let read = self.convert_read(read, elem);
            let node = self.build().unary(op, read.node);
            let term = Term::Read(CellRead { node, ..read });
            return self.cell_value(Cell { term, exists: cell.exists });
        }
        let axes: Vec<usize> = self.term_axes(&cell.term).into_iter().collect();
        let node = self.compute_as(&cell.term, elem, &axes);
        let node = self.build().unary(op, node);
        let term = self.dense(node, &axes);
        self.cell_value(Cell { term, exists: cell.exists })
    }

    /// Whether a read uses at least as many elements as its tensor has: every subscript is an axis of its own, or the
    /// tensor is a scalar.
    fn reads_all(&self, read: &CellRead) -> bool {
        let mut seen = AxisSet::new();
        read.subs.iter().zip(&self.graph.nodes[read.node].shape).all(|(sub, extent)| {
            sub.as_axis().is_some_and(|axis| seen.insert(axis) && self.axis_dim(axis) == *extent)
        })
    }

    /// `condition ? a : b` over the union of the axes.
    pub(crate) fn cell_select(
        &mut self,
        condition: &Term,
        a: &Term,
        b: &Term,
        elem: ElemType,
    ) -> Term {
        let mut axes = self.term_axes(condition);
        axes.extend(self.term_axes(a));
        axes.extend(self.term_axes(b));
        let axes: Vec<usize> = axes.into_iter().collect();
        let nc = self.compute_as(condition, ElemType::Bool, &axes);
        let na = self.compute_as(a, elem, &axes);
        let nb = self.compute_as(b, elem, &axes);
        let node = self.build().select(nc, na, nb);
        self.dense(node, &axes)
    }

    /// The negation of a truth value.
    pub(crate) fn negate(&mut self, term: &Term) -> Term {
        let axes: Vec<usize> = self.term_axes(term).into_iter().collect();
        let node = self.compute_as(term, ElemType::Bool, &axes);
        // Twice negated is the value itself; conditions of `else` branches make such pairs.
        if let Op::Unary(UnaryOp::Not, inner) = self.graph.nodes[node].op {
            return self.dense(inner, &axes);
        }
        let node = self.build().unary(UnaryOp::Not, node);
        self.dense(node, &axes)
    }

    /// Extents of axes with their origins.
    pub(crate) fn axis_extents(&self, axes: &[usize]) -> Vec<Extent> {
        axes.iter()
            .map(|&axis| self.axes[axis].extent.unwrap_or(Extent::of(Dim::fixed(1))))
            .collect()
    }
}

/// Whether a term has a read that skips.
pub(crate) fn skips(term: &Term) -> bool {
    match term {
        Term::Number(_) | Term::Index(_) => false,
        Term::Read(read) => read.fill == Fill::Skip,
        Term::Mul(a, b) | Term::Div(a, b) => skips(a) || skips(b),
    }
}

/// A multiple, unless it overflows.
fn scaled(sub: &Affine, factor: i64) -> Option<Affine> {
    let fits = |value: i64| value.checked_mul(factor).is_some();
    let all = fits(sub.offset()) && sub.terms().iter().all(|term| fits(term.1));
    all.then(|| sub.times(factor))
}
