//! The ranges of indices, found from where they stand.
//!
//! An index that stands alone at an axis runs over that axis, and at all such places the axes must agree. Within a group
//! `(g, v)` one range follows from the axis and the other ranges. A range may be stated (`u in size`), and an index that no
//! access tells about takes the size of the same name. Packs first need their number of axes, which follows from the rank of a
//! tensor when one pack of a subscript is open.

use super::access::DOTS;
use super::walk::Inference;
use super::{AxisInfo, Elaborator};
use crate::diagnostics;
use crate::value::{Cell, Eval, Extent, Number, Reported, Term, Value};
use dlc_grammar::Span;
use dlc_grammar::ast::{Expr, Head, Index, Range, RangeKind};
use dlc_ir::Dim as Size;
use dlc_ir::affine::Affine;

/// An index whose range is sought.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    /// Its name; [`DOTS`] for the axes without one.
    pub name: String,
    /// Whether it stands for several axes.
    pub pack: bool,
    /// Where it is introduced.
    pub span: Span,
    /// Its axes; `None` while their number is not known.
    pub axes: Option<Vec<usize>>,
    /// The extent of each of its axes, where that is stated but not their number.
    pub each: Option<Extent>,
    /// The first value of its range.
    pub start: i64,
    /// Whether it is a member of a group or summed over, so that an extent of 1 makes it a constant.
    pub droppable: bool,
}

impl Elaborator {
    /// A new axis.
    pub(crate) fn new_axis(&mut self, name: &str, extent: Option<Extent>) -> usize {
        let stated = extent.is_some();
        self.axes.push(AxisInfo { name: name.to_string(), extent, stated });
        self.axes.len() - 1
    }

    /// An index of a head or a reducer, with the range that the text states.
    pub(crate) fn seek(&mut self, index: &Index, droppable: bool) -> Eval<Sought> {
        let mut sought = Sought {
            name: index.name.name.clone(),
            pack: index.pack,
            span: index.span,
            axes: None,
            each: None,
            start: 0,
            droppable,
        };
        let extents = match &index.range {
            None => {
                if !index.pack {
                    sought.axes = Some(vec![self.new_axis(&index.name.name, None)]);
                }
                return Ok(sought);
            }
            Some(range) => self.stated_range(index, range, &mut sought)?,
        };
        let Some(extents) = extents else { return Ok(sought) };
        for extent in &extents {
            self.check_size(&[*extent], index.span)?;
        }
        let axes = extents
            .into_iter()
            .map(|extent| self.new_axis(&index.name.name, Some(extent)))
            .collect();
        sought.axes = Some(axes);
        Ok(sought)
    }

    /// The extents that a range states; `None` where it states one extent for a pack of an unknown number of axes.
    fn stated_range(
        &mut self,
        index: &Index,
        range: &Range,
        sought: &mut Sought,
    ) -> Eval<Option<Vec<Extent>>> {
        match &range.kind {
            RangeKind::Over { value, pack: true } => {
                let values = self.eval_pack(value)?;
                let mut extents = Vec::new();
                for part in values {
                    extents.push(self.extent_of(&part, value)?);
                }
                if !index.pack {
                    return Err(self.report(diagnostics::pack_range(range.span)));
                }
                Ok(Some(extents))
            }
            RangeKind::Over { value, pack: false } => {
                let part = self.eval(value)?.first();
                if let Value::Pack(parts) = &part
                    && index.pack
                {
                    let parts = parts.clone();
                    let extents: Eval<Vec<Extent>> =
                        parts.iter().map(|part| self.extent_of(part, value)).collect();
                    return extents.map(Some);
                }
                let extent = self.extent_of(&part, value)?;
                // `e.. in 2`: every axis of the pack has this extent; how many there are, other places tell.
                if index.pack {
                    self.check_size(&[extent], index.span)?;
                    sought.each = Some(extent);
                    return Ok(None);
                }
                Ok(Some(vec![extent]))
            }
            RangeKind::Between { from, to } => {
                let (a, b) = (self.eval(from)?, self.eval(to)?);
                let a = self.int_value(&a, "the start of a range", from.span)?;
                let b = self.int_value(&b, "the end of a range", to.span)?;
                sought.start = a;
                Ok(Some(vec![Extent {
                    dim: Size::fixed(b.saturating_sub(a)),
                    from: Some(range.span),
                }]))
            }
        }
    }

    /// A value as an extent.
    pub(crate) fn extent_of(&mut self, value: &Value, text: &Expr) -> Eval<Extent> {
        match value {
            Value::Number(Number::Int(dim)) => {
                Ok(Extent { dim: *dim, from: self.origin_of(text).or(Some(text.span)) })
            }
            Value::Bad => Err(Reported::already()),
            other => Err(self.report(diagnostics::needs_constant(
                "a size",
                "an integer",
                other.noun(),
                text.span,
            ))),
        }
    }

    /// Finds the ranges of indices from `body` and from `known`, the extents of a head's places where they are declared.
    /// On success all of them are bound in the innermost scope.
    pub(crate) fn infer(
        &mut self,
        sought: Vec<Sought>,
        head: Option<(&Head, &[Option<Extent>])>,
        body: &Expr,
    ) -> Eval<Vec<Sought>> {
        for (at, index) in sought.iter().enumerate().filter(|(_, index)| index.name != DOTS) {
            if let Some(first) = sought[..at].iter().find(|first| first.name == index.name) {
                let twice = diagnostics::index_twice(&index.name, index.span, first.span);
                return Err(self.report(twice));
            }
        }
        let (mut sought, conflicts) = Inference::new(self, sought).run(head, body);
        let mut failed = None;
        for conflict in conflicts {
            let axis = self.axes[conflict.axis].clone();
            if let Some(known) = axis.extent {
                failed = Some(self.report(diagnostics::index_range_conflict(
                    &axis.name,
                    conflict.span,
                    known,
                    conflict.found,
                )));
            }
        }
        for index in &sought {
            let unknown = match &index.axes {
                None => true,
                Some(axes) => axes.iter().any(|&axis| self.axes[axis].extent.is_none()),
            };
            if !unknown {
                // A declared result may have no elements, such as that of a window larger than its image.
                for extent in self.axis_extents(index.axes.as_deref().unwrap_or_default()) {
                    if let Err(reported) = self.check_size(&[extent], index.span) {
                        failed = Some(reported);
                    }
                }
            } else {
                failed =
                    Some(self.report(diagnostics::index_range_unknown(&index.name, index.span)));
            }
        }
        match failed {
            Some(reported) => Err(reported),
            None => {
                for index in &mut sought {
                    self.renumber_axes(index);
                    self.bind_index(index);
                }
                Ok(sought)
            }
        }
    }

    /// Gives an index new axes. Packs learn their number of axes late; numbers must follow the order of the text, because results
    /// are laid out in the order of numbers.
    fn renumber_axes(&mut self, index: &mut Sought) {
        for axis in index.axes.iter_mut().flatten() {
            let info = self.axes[*axis].clone();
            self.axes.push(info);
            *axis = self.axes.len() - 1;
        }
    }

    /// Gives the name of an index its meaning.
    fn bind_index(&mut self, index: &Sought) {
        let axes = index.axes.clone().unwrap_or_default();
        let mut values = Vec::new();
        for axis in axes {
            let one = self.axis_dim(axis) == Size::fixed(1);
            let sub = if one && index.droppable {
                Affine::constant(index.start)
            } else {
                Affine::new([(axis, 1)], index.start)
            };
            values.push(Value::Cell(Cell::always(Term::Index(sub))));
        }
        let value = if index.pack {
            Value::Pack(values)
        } else {
            values.into_iter().next().unwrap_or(Value::Bad)
        };
        self.bind(&index.name, value, Some(index.span));
    }
}
