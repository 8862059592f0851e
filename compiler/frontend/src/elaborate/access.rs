//! Accesses: `x[n, (i*stride + u - p).., c else 0]`, `label[b]`, `zx[:, t, :]`.

use super::Elaborator;
use super::cell::AxisSet;
use super::tensor::literal;
use crate::diagnostics;
use crate::program::IndexUse;
use crate::value::{Cell, CellRead, Eval, Extent, Number, Reported, Tensor, Term, Value};
use dlc_abi::ElemType;
use dlc_grammar::Span;
use dlc_grammar::ast::{BinaryOp, Expr, Fallback, Sub, SubKind};
use dlc_ir::Dim;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{Fill, Gather, InputRole, NodeId, Op};
use std::sync::Arc;

/// The scope name of the axes that `..` stands for; no name of the language looks like it.
pub(crate) const DOTS: &str = "..";

/// What stands at one axis of the tensor that is read.
#[derive(Clone)]
pub(super) enum Place {
    /// One place: an affine function of the axes, or an integer that is only known when the program runs.
    At(Term, Span),
    /// A part of the axis, which stays: first and one past the last.
    Part(Option<i64>, Option<i64>, Span),
}

impl Elaborator {
    /// An access.
    pub(crate) fn access(
        &mut self,
        base: &Expr,
        subs: &[Sub],
        fallback: Option<&Fallback>,
        span: Span,
    ) -> Eval<Value> {
        let value = self.eval(base)?.first();
        match &value {
            Value::Tensor(tensor) => {
                let tensor = tensor.clone();
                self.read_tensor(&tensor, subs, fallback, span)
            }
            Value::Tuple(parts) | Value::List(parts) | Value::Pack(parts) => {
                self.element(parts, subs, span)
            }
            other => Err(self.report(diagnostics::not_a_tensor(other.noun(), base.span))),
        }
    }

    /// An element of a list by a number known when the program is compiled.
    fn element(&mut self, parts: &[Value], subs: &[Sub], span: Span) -> Eval<Value> {
        let [Sub { kind: SubKind::At { value, pack: false }, .. }] = subs else {
            return Err(self.report(diagnostics::subscript_count(span, 1, subs.len(), &[])));
        };
        let at = self.eval(value)?;
        let at = self.int_value(&at, "the place in a list", value.span)?;
        match usize::try_from(at).ok().and_then(|at| parts.get(at)) {
            Some(part) => Ok(part.clone()),
            None => Err(self.report(diagnostics::no_such_element(value.span, at, parts.len()))),
        }
    }

    fn read_tensor(
        &mut self,
        tensor: &Tensor,
        subs: &[Sub],
        fallback: Option<&Fallback>,
        span: Span,
    ) -> Eval<Value> {
        let places = self.places(tensor, subs, span)?;
        if places.len() != tensor.rank() {
            let (given, shape) = (places.len(), tensor.shape.clone());
            return Err(self.report(diagnostics::subscript_count(
                span,
                tensor.rank(),
                given,
                &shape,
            )));
        }
        if places.iter().any(|place| matches!(place, Place::Part(..))) {
            if let Some(fallback) = fallback {
                let span = match fallback {
                    Fallback::Value(value) => value.span,
                    Fallback::Skip(span) => *span,
                };
                return Err(
                    self.report(diagnostics::not_supported("`else` with parts of axes", span))
                );
            }
            return self.slice(tensor, &places);
        }
        let places = places
            .into_iter()
            .map(|place| match place {
                Place::At(term, span) => (term, span),
                Place::Part(_, _, span) => (Term::Number(Number::int(0)), span),
            })
            .collect();
        self.read_places(tensor, places, fallback, span)
    }

    /// The subscripts, one for each axis.
    pub(super) fn places(&mut self, tensor: &Tensor, subs: &[Sub], span: Span) -> Eval<Vec<Place>> {
        let mut places = Vec::new();
        let mut open = None;
        for sub in subs {
            match &sub.kind {
                SubKind::Dots => {
                    match self.frame().get(DOTS).map(|binding| binding.value.clone()) {
                        Some(Value::Pack(indices)) if indices.iter().all(is_index) => {
                            for index in indices {
                                places.push(self.place(index, sub.span)?);
                            }
                        }
                        _ if open.is_some() => {
                            return Err(self.report(diagnostics::two_open_packs(sub.span)));
                        }
                        _ => open = Some((places.len(), sub.span)),
                    }
                }
                SubKind::Slice { from, to } => {
                    let from = self.bound(from.as_ref())?;
                    let to = self.bound(to.as_ref())?;
                    places.push(Place::Part(from, to, sub.span));
                }
                SubKind::Group(members) => {
                    let joined = self.joined(members)?;
                    places.push(Place::At(Term::Index(joined), sub.span));
                }
                SubKind::At { value, pack: false } => {
                    let index = self.eval(value)?;
                    places.push(self.place(index.first(), value.span)?);
                }
                SubKind::At { value, pack: true } => {
                    for index in self.eval_pack(value)? {
                        places.push(self.place(index, value.span)?);
                    }
                }
            }
        }
        if let Some((at, dots)) = open {
            if places.len() > tensor.rank() {
                let shape = tensor.shape.clone();
                let count = diagnostics::subscript_count(span, tensor.rank(), places.len(), &shape);
                return Err(self.report(count));
            }
            let missing = tensor.rank() - places.len();
            places.splice(at..at, (0..missing).map(|_| Place::Part(None, None, dots)));
        }
        Ok(places)
    }

    fn bound(&mut self, expr: Option<&Expr>) -> Eval<Option<i64>> {
        let Some(expr) = expr else { return Ok(None) };
        let value = self.eval(expr)?;
        self.int_value(&value, "a bound of a part", expr.span).map(Some)
    }

    /// A value as the place on one axis.
    fn place(&mut self, value: Value, span: Span) -> Eval<Place> {
        match &value {
            Value::Number(Number::Int(dim)) => {
                let at = self.fixed(*dim, "a subscript", span)?;
                Ok(Place::At(Term::Index(Affine::constant(at)), span))
            }
            Value::Cell(_) | Value::Tensor(_) => {
                let cell = self.as_cell(&value, "a subscript", span)?;
                let elem = self.term_elem(&cell.term);
                let whole = matches!(elem, ElemType::I32 | ElemType::I64 | ElemType::U8);
                if !whole || cell.exists.is_some() {
                    let name = dlc_ir::graph::ops::elem_name(elem);
                    return Err(self.report(diagnostics::subscript_type(name, span)));
                }
                Ok(Place::At(cell.term, span))
            }
            Value::Bad => Err(Reported::already()),
            other => Err(self.report(diagnostics::subscript_type(other.noun(), span))),
        }
    }

    /// `(g, v)`: one axis by several indices, the last running fastest.
    fn joined(&mut self, members: &[Sub]) -> Eval<Affine> {
        let mut indices = Vec::new();
        for member in members {
            match &member.kind {
                SubKind::At { value, pack: false } => {
                    indices.push((self.eval(value)?, member.span))
                }
                SubKind::At { value, pack: true } => {
                    let values = self.eval_pack(value)?;
                    indices.extend(values.into_iter().map(|value| (value, member.span)));
                }
                SubKind::Group(inner) => {
                    let joined = self.joined(inner)?;
                    indices.push((Value::Cell(Cell::always(Term::Index(joined))), member.span));
                }
                SubKind::Dots | SubKind::Slice { .. } => {
                    return Err(self.report(diagnostics::group_member(member.span)));
                }
            }
        }
        let mut sum = Affine::constant(0);
        for (place, (value, span)) in indices.into_iter().enumerate() {
            let sub = match &value {
                Value::Cell(Cell { term: Term::Index(sub), exists: None }) => sub.clone(),
                Value::Number(Number::Int(dim)) if place == 0 => {
                    Affine::constant(self.fixed(*dim, "a subscript", span)?)
                }
                _ => return Err(self.report(diagnostics::group_member(span))),
            };
            let extent = match (sub.as_axis(), sub.as_constant()) {
                (Some(axis), _) => self.axis_dim(axis),
                // An index of extent 1 is the constant 0.
                (None, Some(_)) => Dim::fixed(1),
                (None, None) if place == 0 => Dim::fixed(1),
                (None, None) => return Err(self.report(diagnostics::group_member(span))),
            };
            if place > 0 {
                let extent = self.fixed(
                    extent,
                    "the extent of an index that is not the first of its group",
                    span,
                )?;
                if !super::number::in_bounds(extent.saturating_mul(sum.offset().max(1))) {
                    return Err(self.report(diagnostics::overflow(span)));
                }
                sum = sum.times(extent);
            }
            sum = sum.plus(&sub);
        }
        Ok(sum)
    }

    /// Parts of axes, of a whole tensor; scalars that are only known when the program runs select first.
    fn slice(&mut self, tensor: &Tensor, places: &[Place]) -> Eval<Value> {
        let by_scalar = |this: &Self, place: &Place| match place {
            Place::At(term, _) => Self::affine(term).is_none() && this.term_axes(term).is_empty(),
            Place::Part(..) => false,
        };
        if let Some(at) = places.iter().position(|place| by_scalar(self, place))
            && let Place::At(term, _) = &places[at]
        {
            let selected = self.selected(tensor, at, term);
            let rest: Vec<Place> = (0..places.len())
                .filter(|&other| other != at)
                .map(|at| places[at].clone())
                .collect();
            return self.slice(&selected, &rest);
        }
        let mut shape = Vec::new();
        let mut subs = Vec::new();
        for (place, extent) in places.iter().zip(&tensor.shape) {
            match place {
                Place::At(term, span) => match Self::affine(term).and_then(|sub| sub.as_constant())
                {
                    Some(at) => {
                        if at < 0 || extent.dim.as_fixed().is_none_or(|extent| at >= extent) {
                            let sub = Affine::constant(at);
                            return Err(self.out_of_range(&sub, *extent, *span));
                        }
                        subs.push(Affine::constant(at));
                    }
                    None => {
                        return Err(self.report(diagnostics::not_supported(
                            "an index beside parts of axes",
                            *span,
                        )));
                    }
                },
                Place::Part(from, to, span) => {
                    let part = self.part(*from, *to, *extent, *span)?;
                    subs.push(Affine::new([(shape.len(), 1)], from.unwrap_or(0)));
                    shape.push(part);
                }
            }
        }
        let dims = shape.iter().map(|extent: &Extent| extent.dim).collect();
        let node = self.build().view(tensor.node, subs, Fill::InRange, dims);
        Ok(Value::Tensor(Tensor { node, shape }))
    }

    /// The slice of a tensor at a place along an axis that is only known when the program runs.
    fn selected(&mut self, tensor: &Tensor, axis: usize, place: &Term) -> Tensor {
        let index = self.compute_as(place, ElemType::I32, &[]);
        let mut shape = tensor.shape.clone();
        shape.remove(axis);
        let mut subs = Affine::identity(shape.len());
        subs.insert(axis, Affine::constant(0));
        let dims = shape.iter().map(|extent: &Extent| extent.dim).collect();
        let gather = Gather { operand: tensor.node, subs, axis, index, index_subs: Vec::new() };
        Tensor { node: self.build().gather(gather, dims), shape }
    }

    /// The extent of `from:to`.
    fn part(
        &mut self,
        from: Option<i64>,
        to: Option<i64>,
        whole: Extent,
        span: Span,
    ) -> Eval<Extent> {
        if from.is_none() && to.is_none() {
            return Ok(whole);
        }
        let extent = self.fixed(whole.dim, "a part of an axis", span)?;
        let (from, to) = (from.unwrap_or(0), to.unwrap_or(extent));
        if from < 0 || from >= to || to > extent {
            return Err(self.report(diagnostics::part_out_of_range(span, from, to, whole)));
        }
        Ok(Extent { dim: Dim::fixed(to - from), from: Some(span) })
    }

    /// An element by index: an affine read, after gathers for subscripts that are only known when the program runs.
    fn read_places(
        &mut self,
        tensor: &Tensor,
        mut places: Vec<(Term, Span)>,
        fallback: Option<&Fallback>,
        span: Span,
    ) -> Eval<Value> {
        let mut node = tensor.node;
        let mut shape = tensor.shape.clone();
        let mut valid: Option<Arc<Term>> = None;
        while let Some(at) = places.iter().position(|(term, _)| Self::affine(term).is_none()) {
            self.note_index(&places[at].0, shape[at]);
            if fallback.is_some() {
                let (term, inside) = self.clamped(&places[at].0, shape[at]);
                places[at].0 = term;
                valid = self.both(valid, Some(inside));
            }
            (node, shape, places) = self.gather(node, &shape, places, at);
        }
        let subs: Vec<(Affine, Span)> = places
            .into_iter()
            .map(|(term, span)| (Self::affine(&term).unwrap_or_default(), span))
            .collect();
        let outside: Vec<usize> =
            (0..subs.len()).filter(|&at| !self.in_range(&subs[at].0, shape[at].dim)).collect();
        let just_subs: Vec<Affine> = subs.iter().map(|(sub, _)| sub.clone()).collect();
        let read = |fill| Term::Read(CellRead { node, subs: just_subs.clone(), fill });
        let Some(fallback) = fallback else {
            if let Some(&at) = outside.first() {
                return Err(self.out_of_range(&subs[at].0, shape[at], subs[at].1));
            }
            return Ok(self.cell_value(Cell::always(read(Fill::InRange))));
        };
        match fallback {
            Fallback::Skip(_) => {
                let fill = if outside.is_empty() { Fill::InRange } else { Fill::Skip };
                Ok(self.cell_value(Cell { term: read(fill), exists: valid }))
            }
            Fallback::Value(value) => {
                let text = value.span;
                let value = self.eval(value)?.first();
                self.with_fallback(
                    read(Fill::InRange),
                    !outside.is_empty(),
                    valid,
                    value,
                    text,
                    span,
                )
            }
        }
    }

    /// A read with a value for places outside: part of the read where the value is a number, otherwise chosen by element.
    fn with_fallback(
        &mut self,
        read: Term,
        leaves: bool,
        valid: Option<Arc<Term>>,
        value: Value,
        text: Span,
        span: Span,
    ) -> Eval<Value> {
        let Term::Read(CellRead { node, subs, .. }) = read else {
            return Err(Reported::already());
        };
        let elem = self.elem(node);
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            _ => None,
        };
        let fractional =
            number.is_some_and(|number| number != number.trunc() || number.is_infinite());
        if fractional && !super::tensor::is_float(elem) {
            let name = dlc_ir::graph::ops::elem_name(elem);
            return Err(self.report(diagnostics::fallback_type(name, text)));
        }
        if valid.is_none()
            && let Some(number) = number
        {
            let fill = if leaves { Fill::Value(literal(number, elem)) } else { Fill::InRange };
            let term = Term::Read(CellRead { node, subs, fill });
            return Ok(self.cell_value(Cell::always(term)));
        }
        let inside = self.inside(node, &subs).map(Arc::new);
        let fill = if leaves { Fill::Value(literal(0.0, elem)) } else { Fill::InRange };
        let term = Term::Read(CellRead { node, subs, fill });
        let Some(condition) = self.both(valid, inside) else {
            return Ok(self.cell_value(Cell::always(term)));
        };
        let condition = Value::Cell(Cell { term: (*condition).clone(), exists: None });
        let inner = Value::Cell(Cell::always(term));
        self.select(condition, inner, value, span)
    }

    /// An index brought into range, and whether it was.
    fn clamped(&mut self, index: &Term, extent: Extent) -> (Term, Arc<Term>) {
        let zero = Term::Number(Number::int(0));
        let end = Term::Number(Number::Int(extent.dim));
        let low = self.map_pair(BinaryOp::Le, &zero, index, ElemType::I32);
        let high = self.map_pair(BinaryOp::Lt, index, &end, ElemType::I32);
        let inside = self.map_pair(BinaryOp::And, &low, &high, ElemType::Bool);
        let term = self.cell_select(&inside, index, &zero, ElemType::I32);
        (term, Arc::new(inside))
    }

    /// Remembers the range of a data leaf that is used as an index, such as the number of classes of a label.
    fn note_index(&mut self, index: &Term, extent: Extent) {
        if let Term::Read(read) = index
            && let Op::Input { name, role: InputRole::Data } = &self.graph.nodes[read.node].op
            && let Some(extent) = extent.dim.as_fixed()
        {
            let new = IndexUse { extent, span: self.users_span() };
            let known = self.index_uses.entry(name.clone()).or_insert(new);
            if extent < known.extent {
                *known = new;
            }
        }
    }

    /// Reads along axis `at` by the integers of a tensor. Affine subscripts that stay in range take part; other axes go through
    /// whole and keep their subscripts for later.
    fn gather(
        &mut self,
        node: NodeId,
        shape: &[Extent],
        places: Vec<(Term, Span)>,
        at: usize,
    ) -> (NodeId, Vec<Extent>, Vec<(Term, Span)>) {
        let index_axes: Vec<usize> = self.term_axes(&places[at].0).into_iter().collect();
        let index = self.compute_as(&places[at].0, ElemType::I32, &index_axes);
        let direct = |this: &Self, axis: usize| -> Option<Affine> {
            Self::affine(&places[axis].0).filter(|sub| this.in_range(sub, shape[axis].dim))
        };
        let mut axes: AxisSet = index_axes.iter().copied().collect();
        for axis in (0..places.len()).filter(|&axis| axis != at) {
            if let Some(sub) = direct(self, axis) {
                axes.extend(sub.terms().iter().map(|term| term.0));
            }
        }
        let axes: Vec<usize> = axes.into_iter().collect();
        let mut out = self.axis_extents(&axes);
        let mut rest: Vec<(Term, Span)> =
            axes.iter().map(|&axis| (Term::Index(Affine::axis(axis)), places[at].1)).collect();
        let mut subs = Vec::new();
        for axis in 0..places.len() {
            if axis == at {
                subs.push(Affine::constant(0));
            } else if let Some(sub) = direct(self, axis) {
                subs.extend(Self::renumber(&[sub], &axes));
            } else {
                subs.push(Affine::axis(out.len()));
                out.push(shape[axis]);
                rest.push(places[axis].clone());
            }
        }
        let own = index_axes.iter().map(|&axis| Affine::axis(axis)).collect::<Vec<_>>();
        let index_subs = Self::renumber(&own, &axes);
        let dims = out.iter().map(|extent| extent.dim).collect();
        let gather = Gather { operand: node, subs, axis: at, index, index_subs };
        let node = self.build().gather(gather, dims);
        (node, out, rest)
    }

    /// Reports a subscript that leaves its axis.
    pub(crate) fn out_of_range(&mut self, sub: &Affine, extent: Extent, span: Span) -> Reported {
        let axes: Vec<usize> = sub.terms().iter().map(|term| term.0).collect();
        let fixed: Option<Vec<i64>> =
            self.axis_dims(axes.iter().copied()).into_iter().map(Dim::as_fixed).collect();
        let range = fixed.map(|extents| {
            let local = Self::renumber(std::slice::from_ref(sub), &axes);
            local[0].range(&extents)
        });
        let ranges: Vec<(String, Option<Extent>)> = axes
            .iter()
            .map(|&axis| (self.axes[axis].name.clone(), self.axes[axis].extent))
            .collect();
        self.report(diagnostics::index_out_of_range(span, range, extent, &ranges))
    }
}

/// Whether a value is an index.
pub(crate) fn is_index(value: &Value) -> bool {
    matches!(value, Value::Cell(Cell { term: Term::Index(_), .. }))
}
