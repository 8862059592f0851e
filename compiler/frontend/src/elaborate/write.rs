//! Writes by index: `each[n, i.., u.., f] y[n, (i*stride + u - p).., f] += sum[v] x[n, i.., v] * w[u.., f, v]`.
//!
//! All points of the indices add their term to the element that the left side names; a place outside the tensor is left out. With
//! affine places this is a contraction with an affine left side. A place that is only known when the program runs becomes an axis
//! of its own, of which each term takes part where the two are equal: every element has one owner, which adds its terms in order.

use super::Elaborator;
use super::access::Place;
use crate::diagnostics;
use crate::value::{Cell, Eval, Extent, Number, Reported, Tensor, Term};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{
    BinaryOp, Binder, BinderKind, Each, Expr, ExprKind, Head, Index, Reducer, Sub, SubKind,
};
use dlc_ir::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{Combine, Contract, Guard, NodeId};

impl Elaborator {
    /// The tensor of these extents to which all points of `each` have added their terms, from zero.
    pub(crate) fn written(
        &mut self,
        each: &Each,
        head: &Head,
        declared: &[Option<Extent>],
        elem: Option<ElemType>,
        body: &Expr,
    ) -> Eval<Tensor> {
        let Some(shape) = declared.iter().copied().collect::<Option<Vec<Extent>>>() else {
            return Err(self.report(diagnostics::needs_tensor_type(head.span)));
        };
        // A sum of sums is one sum over all indices: nothing of the extent of both is ever laid out.
        let mut indices: Vec<&Index> = each.indices.iter().collect();
        let mut term = body;
        while let ExprKind::Reduce { op: Reducer::Sum, indices: inner, body, .. } =
            &term.unparen().kind
        {
            indices.extend(inner);
            term = body;
        }
        self.scoped(|this| {
            let mut sought = Vec::new();
            for index in indices {
                sought.push(this.seek(index, true)?);
            }
            let sought = this.infer(sought, Some((head, declared)), term)?;
            let axes: Vec<usize> = sought
                .iter()
                .flat_map(|index| index.axes.iter().flatten().map(|&axis| (axis, index.droppable)))
                .filter(|&(axis, droppable)| !(droppable && this.axis_dim(axis) == Dim::fixed(1)))
                .map(|(axis, _)| axis)
                .collect();
            let value = this.eval(term)?.first();
            let cell = this.as_cell(&value, "the right side", term.span)?;
            // Only the extents of the target matter to its places.
            let target = Tensor { node: NodeId::from_index(0), shape };
            let places = this.write_places(head, &target)?;
            this.add_up(&target.shape, places, cell, axes, elem, term.span)
        })
    }

    /// The places on the left side, one for each axis of the target.
    fn write_places(&mut self, head: &Head, target: &Tensor) -> Eval<Vec<(Term, Span)>> {
        let mut subs = Vec::new();
        for binder in &head.binders {
            subs.push(self.binder_as_sub(binder)?);
        }
        let places = self.places(target, &subs, head.span)?;
        if places.len() != target.rank() {
            let (given, shape) = (places.len(), target.shape.clone());
            let count = diagnostics::subscript_count(head.span, target.rank(), given, &shape);
            return Err(self.report(count));
        }
        let mut terms = Vec::new();
        for place in places {
            match place {
                Place::At(term, span) => terms.push((term, span)),
                Place::Part(_, _, span) => {
                    return Err(self.report(diagnostics::not_supported(
                        "a part of an axis on the left of `+=`",
                        span,
                    )));
                }
            }
        }
        Ok(terms)
    }

    /// A place of a left side, read as a subscript: its indices are those of `each`.
    fn binder_as_sub(&mut self, binder: &Binder) -> Eval<Sub> {
        let kind = match &binder.kind {
            BinderKind::Dots => SubKind::Dots,
            BinderKind::All => SubKind::Slice { from: None, to: None },
            BinderKind::Index(index) => {
                if let Some(range) = &index.range {
                    return Err(self.report(diagnostics::not_supported(
                        "a range on the left of `+=` beside `each`",
                        range.span,
                    )));
                }
                let kind = ExprKind::Name(index.name.clone());
                SubKind::At { value: Expr { kind, span: index.name.span }, pack: index.pack }
            }
            BinderKind::Group(members) => {
                let members: Eval<Vec<Sub>> =
                    members.iter().map(|member| self.binder_as_sub(member)).collect();
                SubKind::Group(members?)
            }
            BinderKind::At { value, pack } => SubKind::At { value: value.clone(), pack: *pack },
        };
        Ok(Sub { kind, span: binder.span })
    }

    /// The sum of a term over axes into a tensor, at places.
    fn add_up(
        &mut self,
        shape: &[Extent],
        places: Vec<(Term, Span)>,
        cell: Cell,
        mut axes: Vec<usize>,
        elem: Option<ElemType>,
        span: Span,
    ) -> Eval<Tensor> {
        let mut cell = cell;
        let mut out = Vec::new();
        let mut bounds = Vec::new();
        for ((place, _), extent) in places.into_iter().zip(shape) {
            if let Some(sub) = Self::affine(&place) {
                if !self.in_range(&sub, extent.dim) {
                    bounds.push((sub.clone(), extent.dim));
                }
                out.push(sub);
                continue;
            }
            let axis = self.new_axis("an element of the left side", Some(*extent));
            axes.push(axis);
            let own = Term::Index(Affine::axis(axis));
            let here = self.map_pair(BinaryOp::Eq, &place, &own, ElemType::I32);
            cell.exists = self.both(cell.exists, Some(std::sync::Arc::new(here)));
            out.push(Affine::axis(axis));
        }
        let natural = match &cell.term {
            Term::Number(Number::Int(_)) => ElemType::F32,
            term => super::tensor::float(self.term_elem(term)),
        };
        let elem = elem.unwrap_or(natural);
        let term = self.masked(cell, 0.0);
        if let Some(&stray) = self.term_axes(&term).iter().find(|axis| !axes.contains(axis)) {
            let name = self.axes[stray].name.clone();
            return Err(self.report(diagnostics::stray_index(&name, span)));
        }
        self.check_size(shape, span)?;
        let reads = self.product_reads(&term, elem);
        let reads = Self::reads_over(reads, &axes);
        let place = |sub: &Affine| Self::renumber(std::slice::from_ref(sub), &axes).remove(0);
        let contract = Contract {
            out: out.iter().map(place).collect(),
            guards: bounds
                .iter()
                .map(|(sub, extent)| Guard { expr: place(sub), extent: *extent })
                .collect(),
            ..Contract::normal(Combine::Sum, self.axis_dims(axes.iter().copied()), 0, reads)
        };
        let dims: Vec<Dim> = shape.iter().map(|extent| extent.dim).collect();
        let node = self.build().accumulate(contract, &dims);
        Ok(Tensor { node, shape: shape.to_vec() })
    }

    /// What an `each` statement without its declaration's help is.
    pub(crate) fn each_needs_add(&mut self, each: &Each) -> Reported {
        self.report(diagnostics::each_adds(each.span))
    }
}
