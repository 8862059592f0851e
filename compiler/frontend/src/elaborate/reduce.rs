//! Reducers: `sum[k] x[.., k] * w[k, u]` becomes one contraction.
//!
//! A sum over a product of two reads keeps both reads with their subscripts. Factors without a reduced index leave the sum, an index
//! that no factor uses becomes a factor, and any other term is computed over all of its axes and then reduced.

use super::Elaborator;
use super::tensor::{Kind, is_float, literal};
use crate::diagnostics;
use crate::value::{Cell, CellRead, Eval, Number, Reported, Term, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{BinaryOp, Expr, Index, Reducer};
use dlc_ir::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Combine, Contract, Fill, Read};
use std::sync::Arc;

/// A factor of a product, or of its divisor.
struct Factor {
    term: Arc<Term>,
    divides: bool,
}

impl Elaborator {
    /// A reducer with its indices and body.
    pub(crate) fn reduce(
        &mut self,
        op: Reducer,
        indices: &[Index],
        body: &Expr,
        span: Span,
    ) -> Eval<Value> {
        let (value, axes, all) = self.scoped(|this| {
            let mut sought = Vec::new();
            for index in indices {
                sought.push(this.seek(index, true)?);
            }
            let sought = this.infer(sought, None, body)?;
            let value = this.eval(body)?.first();
            let all: Vec<usize> =
                sought.iter().flat_map(|index| index.axes.clone().unwrap_or_default()).collect();
            let long = |&axis: &usize| this.axis_dim(axis) != Dim::fixed(1);
            let axes: Vec<usize> = all.iter().copied().filter(long).collect();
            Ok::<_, Reported>((value, axes, all.len()))
        })?;
        let chooses = matches!(op, Reducer::Max | Reducer::Min | Reducer::Argmax | Reducer::Argmin);
        if chooses && all > 0 && axes.is_empty() {
            self.span = span;
            self.warn(|at| diagnostics::of_one_element(op, at));
        }
        if matches!(value, Value::Skip) {
            return Err(self.report(diagnostics::skip_outside(span)));
        }
        let cell = self.as_cell(&value, op.word(), body.span)?;
        self.span = span;
        self.reduce_cell(op, cell, &axes, span)
    }

    /// Reduces a cell over axes.
    pub(crate) fn reduce_cell(
        &mut self,
        op: Reducer,
        cell: Cell,
        axes: &[usize],
        span: Span,
    ) -> Eval<Value> {
        let boolean = self.term_kind(&cell.term) == Kind::Elem(ElemType::Bool);
        let term = match op {
            Reducer::Sum => {
                let term = self.masked(cell, 0.0);
                self.sum(&term, axes, span)?
            }
            Reducer::Mean => return self.mean(cell, axes, span),
            Reducer::Max => self.extreme_over(Combine::Max, cell, axes),
            Reducer::Min => self.extreme_over(Combine::Min, cell, axes),
            Reducer::Argmax => self.place_over(Combine::ArgMax, cell, axes),
            Reducer::Argmin => self.place_over(Combine::ArgMin, cell, axes),
            Reducer::Any | Reducer::All if boolean => {
                let cell = self.explicit(cell);
                let term = if op == Reducer::All { self.negate(&cell.term) } else { cell.term };
                let term = self.masked(Cell { term, exists: cell.exists }, 0.0);
                let count = self.sum(&term, axes, span)?;
                let zero = Term::Number(Number::int(0));
                let compare = if op == Reducer::All { BinaryOp::Eq } else { BinaryOp::Lt };
                self.map_pair(compare, &zero, &count, ElemType::F32)
            }
            Reducer::Any | Reducer::All => {
                return Err(self.report(diagnostics::wrong_operand(op.word(), "a number", span)));
            }
            Reducer::Prod => {
                let term = self.masked(cell, 1.0);
                self.product_over(&term, axes, span)?
            }
        };
        Ok(self.cell_value(Cell::always(term)))
    }

    /// A term with a neutral value where it does not exist; reads that skip stay as they are when they are all there is.
    pub(crate) fn masked(&mut self, cell: Cell, neutral: f64) -> Term {
        let plain = matches!(&cell.term, Term::Read(_))
            || matches!(&cell.term, Term::Mul(a, b)
                if matches!((&**a, &**b), (Term::Read(_), Term::Read(_))));
        if cell.exists.is_none() && plain {
            return cell.term;
        }
        let cell = self.explicit(cell);
        match cell.exists {
            None => cell.term,
            Some(exists) => {
                let elem = self.term_elem(&cell.term);
                let neutral = match (neutral == f64::NEG_INFINITY, neutral == f64::INFINITY) {
                    (true, _) if !is_float(elem) => Number::int(i32::MIN.into()),
                    (_, true) if !is_float(elem) => Number::int(i32::MAX.into()),
                    _ => Number::Real(neutral),
                };
                self.cell_select(&exists, &cell.term, &Term::Number(neutral), elem)
            }
        }
    }

    /// The product of the extents of axes.
    fn extent_product(&mut self, axes: &[usize], span: Span) -> Eval<Dim> {
        let mut product = Value::int(1);
        for &axis in axes {
            let extent = Value::dim(self.axis_dim(axis));
            product = self.binary(BinaryOp::Mul, product, extent, span)?;
        }
        match product {
            Value::Number(Number::Int(dim)) => Ok(dim),
            _ => Err(self.report(diagnostics::batch_dependent(span, "the number of terms"))),
        }
    }

    /// The sum of a term over axes.
    fn sum(&mut self, term: &Term, axes: &[usize], span: Span) -> Eval<Term> {
        if self.term_kind(term) == Kind::Elem(ElemType::Bool) {
            return self.count(term, axes, span);
        }
        let mut factors = Vec::new();
        flatten(term, false, &mut factors);
        let (inside, outside): (Vec<Factor>, Vec<Factor>) =
            factors.into_iter().partition(|factor| {
                self.term_axes(&factor.term).iter().any(|axis| axes.contains(axis))
            });
        let used: Vec<usize> = axes
            .iter()
            .copied()
            .filter(|axis| inside.iter().any(|factor| self.term_axes(&factor.term).contains(axis)))
            .collect();
        let unused: Vec<usize> = axes.iter().copied().filter(|axis| !used.contains(axis)).collect();
        let elem = match self.term_kind(term) {
            // Bytes would wrap after a few terms.
            Kind::Elem(ElemType::U8) | Kind::Int => ElemType::I32,
            Kind::Elem(elem) => elem,
            Kind::Real => ElemType::F32,
        };
        let mut result =
            if inside.is_empty() { None } else { Some(self.sum_product(inside, &used, elem)) };
        let times = self.extent_product(&unused, span)?;
        if times != Dim::fixed(1) {
            let times = Term::Number(Number::Int(times));
            result = Some(match result {
                None => times,
                Some(sum) => Term::Mul(Arc::new(sum), Arc::new(times)),
            });
        }
        for factor in outside {
            result = Some(match (result, factor.divides) {
                (None, false) => (*factor.term).clone(),
                (None, true) => Term::Div(Arc::new(Term::Number(Number::int(1))), factor.term),
                (Some(sum), false) => self.times(sum, factor.term),
                (Some(sum), true) => Term::Div(Arc::new(sum), factor.term),
            });
        }
        Ok(result.unwrap_or(Term::Number(Number::int(0))))
    }

    /// A product, computed at once where both sides are numbers.
    fn times(&mut self, a: Term, b: Arc<Term>) -> Term {
        if let (Term::Number(Number::Int(x)), Term::Number(Number::Int(y))) = (&a, &*b)
            && let (Some(x), Some(y)) = (x.as_fixed(), y.as_fixed())
            && let Some(product) = x.checked_mul(y)
            && super::number::in_bounds(product)
        {
            return Term::Number(Number::int(product));
        }
        if let (Term::Number(x @ Number::Int(_)), Term::Number(Number::Int(y))) = (&a, &*b)
            && y.as_fixed() == Some(1)
        {
            return Term::Number(*x);
        }
        Term::Mul(Arc::new(a), b)
    }

    /// The sum of a product of factors that all depend on the axes.
    fn sum_product(&mut self, factors: Vec<Factor>, axes: &[usize], elem: ElemType) -> Term {
        let reads = self.factor_reads(factors, elem);
        self.contract(Combine::Sum, reads, axes)
    }

    /// The one or two reads whose product a term is.
    pub(crate) fn product_reads(&mut self, term: &Term, elem: ElemType) -> Vec<CellRead> {
        let mut factors = Vec::new();
        flatten(term, false, &mut factors);
        self.factor_reads(factors, elem)
    }

    fn factor_reads(&mut self, factors: Vec<Factor>, elem: ElemType) -> Vec<CellRead> {
        let simple = factors.len() <= 2 && factors.iter().all(|factor| !factor.divides);
        let terms: Vec<Term> = if simple {
            factors.iter().map(|factor| (*factor.term).clone()).collect()
        } else {
            // More than two factors: all but the last are multiplied first.
            let last_free = factors.last().is_some_and(|factor| !factor.divides);
            let cut = factors.len() - usize::from(last_free && factors.len() > 1);
            let mut product: Option<Term> = None;
            for factor in &factors[..cut] {
                product = Some(match (product, factor.divides) {
                    (None, false) => (*factor.term).clone(),
                    (None, true) => {
                        let one = Arc::new(Term::Number(Number::int(1)));
                        Term::Div(one, Arc::clone(&factor.term))
                    }
                    (Some(before), false) => Term::Mul(Arc::new(before), Arc::clone(&factor.term)),
                    (Some(before), true) => Term::Div(Arc::new(before), Arc::clone(&factor.term)),
                });
            }
            let rest = factors[cut..].iter().map(|factor| (*factor.term).clone());
            product.into_iter().chain(rest).collect()
        };
        terms.iter().map(|term| self.as_read(term, elem)).collect()
    }

    /// A term as a read of an element type, computed if it is none.
    fn as_read(&mut self, term: &Term, elem: ElemType) -> CellRead {
        if let Term::Read(_) = term
            && let Term::Read(read) = self.convert_term(term, elem)
        {
            return read;
        }
        let axes: Vec<usize> = self.term_axes(term).into_iter().collect();
        let node = self.compute_as(term, elem, &axes);
        let subs = axes.iter().map(|&axis| Affine::axis(axis)).collect();
        CellRead { node, subs, fill: Fill::InRange }
    }

    /// The contraction of reads over axes; the axes that are left become the result's, in the order of their introduction.
    fn contract(&mut self, combine: Combine, reads: Vec<CellRead>, axes: &[usize]) -> Term {
        let mut free = super::cell::AxisSet::new();
        for read in &reads {
            free.extend(self.term_axes(&Term::Read(read.clone())));
        }
        let reduced: Vec<usize> = axes.iter().copied().filter(|axis| free.contains(axis)).collect();
        let free: Vec<usize> = free.into_iter().filter(|axis| !axes.contains(axis)).collect();
        let space: Vec<usize> = free.iter().chain(&reduced).copied().collect();
        let reads = Self::reads_over(reads, &space);
        let dims = self.axis_dims(space.iter().copied());
        let node = self.build().contract(Contract::normal(combine, dims, free.len(), reads));
        self.dense(node, &free)
    }

    /// Reads in a contraction whose space has these axes, in this order.
    pub(super) fn reads_over(reads: Vec<CellRead>, space: &[usize]) -> Vec<Read> {
        let placed = |read: CellRead| Read {
            value: read.node,
            subs: Self::renumber(&read.subs, space),
            fill: read.fill,
        };
        reads.into_iter().map(placed).collect()
    }

    /// How many truth values hold: an integer, added up as floats, in which counts are exact up to 2^24.
    fn count(&mut self, term: &Term, axes: &[usize], span: Span) -> Eval<Term> {
        let float = self.convert_term(term, ElemType::F32);
        let counted = self.sum(&float, axes, span)?;
        let own: Vec<usize> = self.term_axes(&counted).into_iter().collect();
        let node = self.compute_as(&counted, ElemType::F32, &own);
        let integer = self.build().convert(node, ElemType::I32);
        self.counts.insert(integer, node);
        Ok(self.dense(integer, &own))
    }

    /// The sum over the number of terms that exist.
    fn mean(&mut self, cell: Cell, axes: &[usize], span: Span) -> Eval<Value> {
        let elem = super::tensor::float(self.term_elem(&cell.term));
        let (term, count) = match (&cell.term, &cell.exists) {
            (Term::Read(read), None) if read.fill == Fill::Skip => {
                let count = self.existing(read, axes, elem, span)?;
                (cell.term.clone(), count)
            }
            _ => {
                let cell = self.explicit(cell);
                match &cell.exists {
                    None => {
                        let count = self.extent_product(axes, span)?;
                        (cell.term, Term::Number(Number::Int(count)))
                    }
                    Some(exists) => {
                        let float = self.convert_term(exists, elem);
                        let count = self.sum(&float, axes, span)?;
                        let exists = Arc::clone(exists);
                        let zero = Term::Number(Number::Real(0.0));
                        (self.cell_select(&exists, &cell.term, &zero, elem), count)
                    }
                }
            }
        };
        let term = self.convert_term(&term, elem);
        let sum = match term {
            Term::Number(number) => return Ok(Value::Number(number)),
            term => self.sum(&term, axes, span)?,
        };
        let mean = Term::Div(Arc::new(sum), Arc::new(count));
        Ok(self.cell_value(Cell::always(mean)))
    }

    /// How many terms of a read that skips exist: a sum of ones over the axes that may be left. It depends on no element.
    fn existing(
        &mut self,
        read: &CellRead,
        axes: &[usize],
        elem: ElemType,
        span: Span,
    ) -> Eval<Term> {
        let shape = self.graph.nodes[read.node].shape.clone();
        let kept: Vec<usize> =
            (0..shape.len()).filter(|&at| !self.in_range(&read.subs[at], shape[at])).collect();
        let dims = kept.iter().map(|&at| shape[at]).collect();
        let ones = self.build().constant(literal(1.0, elem), elem, dims);
        let subs = kept.iter().map(|&at| read.subs[at].clone()).collect();
        let term = Term::Read(CellRead { node: ones, subs, fill: Fill::Skip });
        self.sum(&term, axes, span)
    }

    /// The largest or smallest over axes.
    fn extreme_over(&mut self, combine: Combine, cell: Cell, axes: &[usize]) -> Term {
        let neutral = if combine == Combine::Max { f64::NEG_INFINITY } else { f64::INFINITY };
        let term = self.masked(cell, neutral);
        if matches!(term, Term::Number(_))
            || !self.term_axes(&term).iter().any(|axis| axes.contains(axis))
        {
            return term;
        }
        let elem = match self.term_elem(&term) {
            ElemType::Bool | ElemType::U8 => ElemType::I32,
            elem => elem,
        };
        let read = self.as_read(&term, elem);
        self.contract(combine, vec![read], axes)
    }

    /// The product over axes: of halves, then of halves of that, so that it is as deep as the logarithm of the number of factors.
    /// Its gradient divides by nothing, so that factors may be zero.
    fn product_over(&mut self, term: &Term, axes: &[usize], span: Span) -> Eval<Term> {
        let free: Vec<usize> =
            self.term_axes(term).into_iter().filter(|axis| !axes.contains(axis)).collect();
        let count = self.extent_product(axes, span)?;
        let mut count = self.fixed(count, "the number of factors", span)?;
        let elem = match self.term_elem(term) {
            ElemType::Bool | ElemType::U8 => ElemType::I32,
            elem => elem,
        };
        let order: Vec<usize> = free.iter().chain(axes).copied().collect();
        let mut shape = self.axis_dims(free.iter().copied());
        let node = self.compute_as(term, elem, &order);
        shape.push(Dim::fixed(count));
        let last = shape.len() - 1;
        let mut build = self.build();
        let mut node = build.reshape(node, shape);
        while count > 1 {
            if count % 2 == 1 {
                let mut widths = vec![(0, 0); last + 1];
                widths[last] = (0, 1);
                node = build.pad(node, &widths, literal(1.0, elem));
                count += 1;
            }
            count /= 2;
            let half = Dim::fixed(count);
            let (low, high) =
                (build.slice(node, last, 0, half, 1), build.slice(node, last, count, half, 1));
            node = build.mul(low, high);
        }
        let node = build.select_index(node, last, 0);
        Ok(self.dense(node, &free))
    }

    /// The index of the first largest or smallest over axes.
    fn place_over(&mut self, combine: Combine, cell: Cell, axes: &[usize]) -> Term {
        let neutral = if combine == Combine::ArgMax { f64::NEG_INFINITY } else { f64::INFINITY };
        let term = self.masked(cell, neutral);
        if axes.is_empty() {
            return Term::Index(Affine::constant(0));
        }
        let elem = match self.term_elem(&term) {
            ElemType::Bool | ElemType::U8 => ElemType::I32,
            elem => elem,
        };
        // Every reduced index counts, also one that the term does not depend on.
        let own = self.term_axes(&term);
        let read = if axes.iter().all(|axis| own.contains(axis)) {
            self.as_read(&term, elem)
        } else {
            let all: Vec<usize> = own
                .into_iter()
                .chain(axes.iter().copied())
                .collect::<super::cell::AxisSet>()
                .into_iter()
                .collect();
            let node = self.compute_as(&term, elem, &all);
            let subs = all.iter().map(|&axis| Affine::axis(axis)).collect();
            CellRead { node, subs, fill: Fill::InRange }
        };
        self.contract(combine, vec![read], axes)
    }
}

/// The factors of a product in order.
fn flatten(term: &Term, divides: bool, factors: &mut Vec<Factor>) {
    match term {
        Term::Mul(a, b) => {
            flatten(a, divides, factors);
            flatten(b, divides, factors);
        }
        Term::Div(a, b) => {
            flatten(a, divides, factors);
            flatten(b, !divides, factors);
        }
        other => factors.push(Factor { term: Arc::new(other.clone()), divides }),
    }
}
