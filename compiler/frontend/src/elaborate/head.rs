//! Left sides with indices: `y[n, i.., (g in groups, f)] = ..`.

use super::Elaborator;
use super::access::DOTS;
use super::infer::Sought;
use crate::diagnostics;
use crate::value::{Eval, Extent, Number, Reported, Tensor, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{BinaryOp, Binder, BinderKind, Expr, Head};
use dlc_ir::Dim;

impl Elaborator {
    /// The tensor whose elements are given by index. `declared` are the extents of its axes as far as they are known.
    pub(crate) fn indexed(
        &mut self,
        head: &Head,
        declared: &[Option<Extent>],
        elem: Option<ElemType>,
        body: &Expr,
    ) -> Eval<Tensor> {
        self.scoped(|this| {
            let mut sought = Vec::new();
            for binder in &head.binders {
                this.seek_binder(binder, false, &mut sought)?;
            }
            let sought = this.infer(sought, Some((head, declared)), body)?;
            let value = this.eval(body)?.first();
            this.lay_out(head, &sought, &value, elem, body.span)
        })
    }

    fn seek_binder(
        &mut self,
        binder: &Binder,
        grouped: bool,
        sought: &mut Vec<Sought>,
    ) -> Eval<()> {
        match &binder.kind {
            BinderKind::Dots => sought.push(Sought {
                name: DOTS.to_string(),
                pack: true,
                span: binder.span,
                axes: None,
                each: None,
                start: 0,
                droppable: false,
            }),
            BinderKind::Index(index) => {
                let index = self.seek(index, grouped)?;
                if index.start != 0 {
                    return Err(self.report(diagnostics::not_supported(
                        "a left side that does not begin at 0",
                        binder.span,
                    )));
                }
                sought.push(index);
            }
            BinderKind::Group(members) => {
                for member in members {
                    self.seek_binder(member, true, sought)?;
                }
            }
            BinderKind::All | BinderKind::At { .. } => {
                return Err(self.report(diagnostics::not_supported(
                    "a left side that writes at a computed place",
                    binder.span,
                )));
            }
        }
        Ok(())
    }

    /// Computes the value over the head's axes and joins those of groups.
    fn lay_out(
        &mut self,
        head: &Head,
        sought: &[Sought],
        value: &Value,
        elem: Option<ElemType>,
        span: Span,
    ) -> Eval<Tensor> {
        if matches!(value, Value::Skip) {
            return Err(self.report(diagnostics::skip_outside(span)));
        }
        let cell = self.as_cell(value, "the right side", span)?;
        if cell.exists.is_some() || super::cell::skips(&cell.term) {
            return Err(self.report(diagnostics::skip_outside(span)));
        }
        let mut axes = Vec::new();
        for index in sought {
            for &axis in index.axes.iter().flatten() {
                if !(index.droppable && self.axis_dim(axis) == Dim::fixed(1)) {
                    axes.push(axis);
                }
            }
        }
        if let Some(&stray) = self.term_axes(&cell.term).iter().find(|axis| !axes.contains(axis)) {
            let name = self.axes[stray].name.clone();
            return Err(self.report(diagnostics::stray_index(&name, span)));
        }
        let elem = elem.unwrap_or_else(|| self.term_elem(&cell.term));
        self.check_size(&self.axis_extents(&axes), head.span)?;
        let node = self.compute_as(&cell.term, elem, &axes);
        let mut shape = Vec::new();
        let mut at = 0;
        for binder in &head.binders {
            self.head_extents(binder, sought, &mut at, &mut shape)?;
        }
        let dims: Vec<Dim> = shape.iter().map(|extent| extent.dim).collect();
        let node = if dims == self.graph.nodes[node].shape {
            node
        } else {
            self.build().reshape(node, dims)
        };
        Ok(Tensor { node, shape })
    }

    /// The extents that a binder gives the result; `at` is the next index sought.
    fn head_extents(
        &mut self,
        binder: &Binder,
        sought: &[Sought],
        at: &mut usize,
        shape: &mut Vec<Extent>,
    ) -> Eval<()> {
        match &binder.kind {
            BinderKind::Group(members) => {
                let mut parts = Vec::new();
                for member in members {
                    self.head_extents(member, sought, at, &mut parts)?;
                }
                let mut product = Value::int(1);
                for part in &parts {
                    product =
                        self.binary(BinaryOp::Mul, product, Value::dim(part.dim), binder.span)?;
                }
                let from = if let [only] = parts[..] { only.from } else { Some(binder.span) };
                match product {
                    Value::Number(Number::Int(dim)) => shape.push(Extent { dim, from }),
                    _ => return Err(Reported::already()),
                }
            }
            BinderKind::Dots | BinderKind::Index(_) | BinderKind::All | BinderKind::At { .. } => {
                if let Some(index) = sought.get(*at) {
                    let axes = index.axes.clone().unwrap_or_default();
                    shape.extend(self.axis_extents(&axes));
                }
                *at += 1;
            }
        }
        Ok(())
    }
}
