//! The walk over an expression that learns the ranges of indices from the accesses in it.

use super::Elaborator;
use super::access::{DOTS, is_index};
use super::infer::Sought;
use crate::value::{Cell, Extent, Number, Term, Value};
use dlc_grammar::Span;
use dlc_grammar::ast::*;
use dlc_ir::Dim as Size;
use indexmap::IndexMap;

/// What stands at one place of an access, as far as ranges are concerned.
enum Spot {
    /// One index alone.
    Axis(usize),
    /// Several indices joined; `None` for a member that tells nothing.
    Joined(Vec<Option<usize>>),
    /// Something else.
    Other,
}

/// A disagreement about a range.
pub(super) struct Conflict {
    pub axis: usize,
    pub found: Extent,
    pub span: Span,
}

/// The search.
pub(super) struct Inference<'e> {
    elaborator: &'e mut Elaborator,
    /// Indices in scope, innermost last.
    sought: Vec<Sought>,
    /// Indices of reducers met on the way, by the span of their text: a second walk must find the same axes.
    inner: IndexMap<Span, Sought>,
    /// How many of `sought` are those asked for.
    asked: usize,
    /// Whether the walk learnt something.
    changed: bool,
    /// Disagreements, gathered in the last walk only: before it ranges may still be unknown.
    conflicts: Option<Vec<Conflict>>,
    /// Names bound by `let` inside the walked text, which hide others.
    hidden: Vec<String>,
}

impl<'e> Inference<'e> {
    /// A search for the ranges of `sought`.
    pub(super) fn new(elaborator: &'e mut Elaborator, sought: Vec<Sought>) -> Self {
        let asked = sought.len();
        Inference {
            elaborator,
            sought,
            inner: IndexMap::new(),
            asked,
            changed: false,
            conflicts: None,
            hidden: Vec::new(),
        }
    }

    /// Learns what can be learnt from `body` and from the declared extents of a head; the indices as far as they are known then,
    /// and the places that disagree.
    pub(super) fn run(
        mut self,
        head: Option<(&Head, &[Option<Extent>])>,
        body: &Expr,
    ) -> (Vec<Sought>, Vec<Conflict>) {
        self.fixpoint(head, body);
        self.sizes_of_same_name();
        self.fixpoint(head, body);
        self.conflicts = Some(Vec::new());
        self.walk_all(head, body);
        let conflicts = self.conflicts.take().unwrap_or_default();
        self.sought.truncate(self.asked);
        (self.sought, conflicts)
    }

    /// Walks until nothing new is learnt. Each walk fixes at least one range or pack, so their number bounds the walks.
    fn fixpoint(&mut self, head: Option<(&Head, &[Option<Extent>])>, body: &Expr) {
        loop {
            self.changed = false;
            self.walk_all(head, body);
            if !self.changed {
                return;
            }
        }
    }

    fn walk_all(&mut self, head: Option<(&Head, &[Option<Extent>])>, body: &Expr) {
        if let Some((head, extents)) = head {
            self.head(head, extents);
        }
        self.expr(body);
    }

    /// Indices that nothing tells about take the sizes of the same name.
    fn sizes_of_same_name(&mut self) {
        for at in 0..self.asked {
            let index = self.sought[at].clone();
            let Some(binding) = self.elaborator.frame().size(&index.name).cloned() else {
                continue;
            };
            match (&index.axes, &binding.value) {
                (Some(axes), Value::Number(Number::Int(dim))) if !index.pack => {
                    let extent = Extent { dim: *dim, from: binding.from };
                    self.learn(axes[0], extent, index.span);
                }
                (None, Value::Pack(parts)) => {
                    self.size_pack(at, parts.len());
                    let axes = self.sought[at].axes.clone().unwrap_or_default();
                    for (axis, part) in axes.into_iter().zip(parts) {
                        if let Value::Number(Number::Int(dim)) = part {
                            self.learn(axis, Extent { dim: *dim, from: binding.from }, index.span);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The innermost index of a name, if an inner name does not hide it.
    fn find(&self, name: &str) -> Option<usize> {
        if self.hidden.iter().any(|hidden| hidden == name) {
            return None;
        }
        self.sought.iter().rposition(|index| index.name == name)
    }

    /// Fixes the number of axes of a pack.
    fn size_pack(&mut self, at: usize, count: usize) {
        let Sought { name, each, .. } = self.sought[at].clone();
        let axes = (0..count).map(|_| self.elaborator.new_axis(&name, each)).collect();
        self.sought[at].axes = Some(axes);
        self.changed = true;
    }

    /// An index stands alone at an axis of this extent.
    fn learn(&mut self, axis: usize, extent: Extent, span: Span) {
        let info = &mut self.elaborator.axes[axis];
        match info.extent {
            None => {
                info.extent = Some(extent);
                self.changed = true;
            }
            Some(known) => {
                if known.dim != extent.dim
                    && !info.stated
                    && let Some(conflicts) = &mut self.conflicts
                {
                    let asked = self.sought[..self.asked].iter();
                    let ours = asked.filter_map(|index| index.axes.as_ref());
                    if ours.flatten().any(|&own| own == axis) {
                        conflicts.push(Conflict { axis, found: extent, span });
                    }
                }
            }
        }
    }

    /// Several indices joined stand at an axis.
    fn learn_joined(&mut self, members: &[Option<usize>], extent: Extent, span: Span) {
        let Some(members) = members.iter().copied().collect::<Option<Vec<usize>>>() else { return };
        let unknown: Vec<usize> = members
            .iter()
            .copied()
            .filter(|&axis| self.elaborator.axes[axis].extent.is_none())
            .collect();
        let [open] = unknown[..] else { return };
        let mut rest = extent.dim;
        for &axis in members.iter().filter(|&&axis| axis != open) {
            let known = self.elaborator.axis_dim(axis);
            rest = match divide(rest, known) {
                Some(quotient) => quotient,
                None => return,
            };
        }
        self.learn(open, Extent { dim: rest, from: extent.from }, span);
    }

    fn head(&mut self, head: &Head, extents: &[Option<Extent>]) {
        // The head's places are known by name only, so packs take what the declared shape leaves them.
        let width: usize = head.binders.iter().map(|binder| self.width(binder).unwrap_or(0)).sum();
        let open: Vec<usize> =
            head.binders.iter().filter_map(|binder| self.open_binder(binder)).collect();
        // Without extents the head has no declared shape, which says nothing about packs.
        if let [at] = open[..]
            && !extents.is_empty()
            && extents.len() >= width
        {
            self.size_pack(at, extents.len() - width);
        }
        let mut at = 0;
        for binder in &head.binders {
            let Some(width) = self.width(binder) else { return };
            let here = extents.get(at..at + width).unwrap_or_default();
            at += width;
            match &binder.kind {
                BinderKind::Dots => self.learn_pack(DOTS, here, binder.span),
                BinderKind::Index(index) if index.pack => {
                    self.learn_pack(&index.name.name, here, binder.span);
                }
                BinderKind::Index(index) => {
                    if let (Some(axis), Some(Some(extent))) =
                        (self.single(&index.name.name), here.first())
                    {
                        self.learn(axis, *extent, binder.span);
                    }
                }
                BinderKind::Group(members) => {
                    let axes = self.group_of_binders(members);
                    if let (Some(axes), Some(Some(extent))) = (axes, here.first()) {
                        self.learn_joined(&axes, *extent, binder.span);
                    }
                }
                BinderKind::At { value, pack } => self.element(value, *pack),
                BinderKind::All => {}
            }
        }
    }

    /// The pack of a binder whose number of axes is not known.
    fn open_binder(&self, binder: &Binder) -> Option<usize> {
        let name = match &binder.kind {
            BinderKind::Dots => DOTS,
            BinderKind::Index(index) if index.pack => &index.name.name,
            _ => return None,
        };
        self.find(name).filter(|&at| self.sought[at].axes.is_none())
    }

    /// How many axes of the head's tensor a binder takes.
    fn width(&self, binder: &Binder) -> Option<usize> {
        let name = match &binder.kind {
            BinderKind::Dots => DOTS,
            BinderKind::Index(index) if index.pack => &index.name.name,
            BinderKind::At { value, pack: true } => {
                return pack_names(value).iter().find_map(|name| self.pack_len(name));
            }
            _ => return Some(1),
        };
        self.find(name).and_then(|at| self.sought[at].axes.as_ref()).map(Vec::len)
    }

    fn group_of_binders(&self, members: &[Binder]) -> Option<Vec<Option<usize>>> {
        let mut axes = Vec::new();
        for member in members {
            match &member.kind {
                BinderKind::Index(index) => {
                    let at = self.find(&index.name.name)?;
                    axes.extend(self.sought[at].axes.as_ref()?.iter().copied().map(Some));
                }
                _ => axes.push(None),
            }
        }
        Some(axes)
    }

    fn learn_pack(&mut self, name: &str, extents: &[Option<Extent>], span: Span) {
        let Some(axes) = self.find(name).and_then(|at| self.sought[at].axes.clone()) else {
            return;
        };
        for (axis, extent) in axes.into_iter().zip(extents) {
            if let Some(extent) = extent {
                self.learn(axis, *extent, span);
            }
        }
    }

    fn single(&self, name: &str) -> Option<usize> {
        let index = &self.sought[self.find(name)?];
        if index.pack { None } else { index.axes.as_ref()?.first().copied() }
    }

    /// Learns from all accesses in an expression.
    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(_)
            | ExprKind::Str(_)
            | ExprKind::Bool(_)
            | ExprKind::None
            | ExprKind::Skip
            | ExprKind::Name(_)
            | ExprKind::Bad => {}
            ExprKind::Paren(inner)
            | ExprKind::Unary(_, inner)
            | ExprKind::Field(inner, _)
            | ExprKind::Labelled(inner, _)
            | ExprKind::Is(inner, _) => self.expr(inner),
            ExprKind::Tuple(elems) => {
                for elem in elems {
                    self.element(&elem.value, elem.pack);
                }
            }
            ExprKind::List(items) => items.iter().for_each(|item| self.expr(item)),
            ExprKind::Binary { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
            }
            ExprKind::Reduce { indices, body, .. } => self.reducer(indices, body),
            ExprKind::Call(callee, args) => {
                self.expr(callee);
                for arg in args {
                    self.element(&arg.value, arg.pack);
                }
            }
            ExprKind::Access { base, subs, fallback } => {
                self.access(base, subs);
                if let Some(Fallback::Value(value)) = fallback {
                    self.expr(value);
                }
            }
            ExprKind::If(choice) => self.choice(choice),
            ExprKind::With(with) => self.block(&with.body),
            ExprKind::Pipe(first, stages) => {
                self.expr(first);
                for arg in stages.iter().flat_map(|stage| stage.args.iter().flatten()) {
                    self.element(&arg.value, arg.pack);
                }
            }
        }
    }

    /// An element of a list or argument; packs that are repeated together have equally many axes.
    fn element(&mut self, expr: &Expr, pack: bool) {
        if pack {
            self.repeated(expr);
        }
        self.expr(expr);
    }

    fn choice(&mut self, choice: &If) {
        for arm in &choice.arms {
            // Text that is not taken says nothing.
            match self.known_condition(&arm.condition) {
                Some(true) => return self.block(&arm.body),
                Some(false) => continue,
                None => {}
            }
            self.expr(&arm.condition);
            self.block(&arm.body);
        }
        if let Some(block) = &choice.otherwise {
            self.block(block);
        }
    }

    /// Whether a condition holds, where values known when the program is compiled decide it.
    fn known_condition(&mut self, condition: &Expr) -> Option<bool> {
        if !self.is_constant(condition) {
            return None;
        }
        let quiet = self.elaborator.diagnostics.len();
        let value = self.elaborator.eval(condition);
        self.elaborator.diagnostics.truncate(quiet);
        match value {
            Ok(Value::Bool(holds)) => Some(holds),
            _ => None,
        }
    }

    /// Whether an expression is made of numbers, words and names that stand for neither indices nor tensors.
    fn is_constant(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Bool(_) | ExprKind::None => true,
            ExprKind::Name(name) => {
                self.find(&name.name).is_none()
                    && !self.hidden.contains(&name.name)
                    && match self.elaborator.frame().get(&name.name).map(|binding| &binding.value) {
                        Some(value) => matches!(
                            value,
                            Value::Number(_) | Value::Bool(_) | Value::None | Value::Choice(_)
                        ),
                        // A word of a choice, or `training`.
                        None => true,
                    }
            }
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => self.is_constant(inner),
            ExprKind::Is(inner, IsPattern::None(_)) => {
                self.is_constant(inner)
                    || inner.as_name().is_some_and(|name| self.find(&name.name).is_none())
            }
            ExprKind::Binary { lhs, rhs, .. } => self.is_constant(lhs) && self.is_constant(rhs),
            _ => false,
        }
    }

    fn block(&mut self, block: &Block) {
        let before = self.hidden.len();
        for stmt in &block.stmts {
            match &stmt.kind {
                StmtKind::Expr(expr) => self.expr(expr),
                StmtKind::Let(Let { pattern, value: LetValue::Define(_, value), .. }) => {
                    self.expr(value);
                    match &pattern.kind {
                        PatternKind::Name(name)
                        | PatternKind::Pack(name)
                        | PatternKind::Indexed(name, _) => {
                            self.hidden.push(name.name.clone());
                        }
                        PatternKind::Tuple(names) => {
                            self.hidden.extend(names.iter().map(|name| name.name.clone()));
                        }
                    }
                }
                _ => {}
            }
        }
        self.hidden.truncate(before);
    }

    /// A reducer inside: its indices hide others of their names, and may tell about them.
    fn reducer(&mut self, indices: &[Index], body: &Expr) {
        let before = self.sought.len();
        for index in indices {
            let sought = match self.inner.get(&index.span) {
                Some(sought) => sought.clone(),
                None => {
                    // Faults in stated ranges are reported when the reducer itself is evaluated.
                    let quiet = self.elaborator.diagnostics.len();
                    let sought = self.elaborator.seek(index, true);
                    self.elaborator.diagnostics.truncate(quiet);
                    match sought {
                        Ok(sought) => sought,
                        Err(_) => continue,
                    }
                }
            };
            self.sought.push(sought);
        }
        self.expr(body);
        for sought in self.sought.drain(before..) {
            self.inner.insert(sought.span, sought);
        }
    }

    /// One access: its base's axes against its subscripts.
    fn access(&mut self, base: &Expr, subs: &[Sub]) {
        for sub in subs {
            self.subscript(sub);
        }
        let Some(shape) = self.shape_of(base) else {
            self.expr(base);
            return;
        };
        let widths: Vec<Option<usize>> = subs.iter().map(|sub| self.sub_width(sub)).collect();
        let known: usize = widths.iter().flatten().sum();
        let open: Vec<usize> = (0..subs.len()).filter(|&at| widths[at].is_none()).collect();
        if let [at] = open[..]
            && shape.len() >= known
        {
            if let Some(pack) = self.open_sub(&subs[at]) {
                self.size_pack(pack, shape.len() - known);
            }
            return;
        }
        if !open.is_empty() || known != shape.len() {
            return;
        }
        let mut at = 0;
        for (sub, width) in subs.iter().zip(widths) {
            let spots = self.spots(sub, width.unwrap_or(0));
            for spot in spots {
                let extent = shape[at];
                at += 1;
                match spot {
                    Spot::Axis(axis) => self.learn(axis, extent, sub.span),
                    Spot::Joined(members) => self.learn_joined(&members, extent, sub.span),
                    Spot::Other => {}
                }
            }
        }
    }

    /// What is inside a subscript.
    fn subscript(&mut self, sub: &Sub) {
        match &sub.kind {
            SubKind::Dots => {}
            SubKind::Slice { from, to } => from.iter().chain(to).for_each(|expr| self.expr(expr)),
            SubKind::Group(members) => members.iter().for_each(|member| self.subscript(member)),
            SubKind::At { value, pack } => self.element(value, *pack),
        }
    }

    /// The shape of what is read, where that needs no evaluation.
    fn shape_of(&mut self, base: &Expr) -> Option<Vec<Extent>> {
        let value = match &base.unparen().kind {
            ExprKind::Name(name) => self.elaborator.frame().get(&name.name)?.value.clone(),
            ExprKind::Field(inner, FieldName::Name(field)) => {
                let name = inner.as_name()?;
                let value = self.elaborator.frame().get(&name.name)?.value.clone();
                self.elaborator.quiet_field(&value, &field.name)?
            }
            _ => return None,
        };
        match value.first() {
            Value::Tensor(tensor) => Some(tensor.shape),
            _ => None,
        }
    }

    /// How many axes a subscript takes.
    fn sub_width(&self, sub: &Sub) -> Option<usize> {
        match &sub.kind {
            SubKind::Dots => match self.find(DOTS) {
                Some(at) => self.sought[at].axes.as_ref().map(Vec::len),
                None => match self.elaborator.frame().get(DOTS).map(|binding| &binding.value) {
                    Some(Value::Pack(parts)) if parts.iter().all(is_index) => Some(parts.len()),
                    _ => None,
                },
            },
            SubKind::Slice { .. } | SubKind::Group(_) | SubKind::At { pack: false, .. } => Some(1),
            SubKind::At { value, pack: true } => {
                pack_names(value).iter().find_map(|name| self.pack_len(name))
            }
        }
    }

    /// The number of axes of a pack.
    fn pack_len(&self, name: &str) -> Option<usize> {
        if let Some(at) = self.find(name) {
            return self.sought[at].axes.as_ref().filter(|_| self.sought[at].pack).map(Vec::len);
        }
        match &self.elaborator.frame().get(name)?.value {
            Value::Pack(parts) => Some(parts.len()),
            _ => None,
        }
    }

    /// The pack of a subscript whose number of axes is not known.
    fn open_sub(&self, sub: &Sub) -> Option<usize> {
        let open = |name: &str| self.find(name).filter(|&at| self.sought[at].axes.is_none());
        match &sub.kind {
            SubKind::Dots => open(DOTS),
            SubKind::At { value, pack: true } => {
                pack_names(value).iter().find_map(|name| open(name))
            }
            _ => None,
        }
    }

    /// Packs repeated together have equally many axes.
    fn repeated(&mut self, expr: &Expr) {
        let names = pack_names(expr);
        let Some(count) = names.iter().find_map(|name| self.pack_len(name)) else { return };
        for name in names {
            if let Some(at) = self.find(&name)
                && self.sought[at].pack
                && self.sought[at].axes.is_none()
            {
                self.size_pack(at, count);
            }
        }
    }

    fn spots(&self, sub: &Sub, width: usize) -> Vec<Spot> {
        let others = || (0..width).map(|_| Spot::Other).collect();
        match &sub.kind {
            SubKind::Dots => self.pack_spots(DOTS).unwrap_or_else(others),
            SubKind::At { value, pack } => match value.as_name() {
                Some(name) if *pack => self.pack_spots(&name.name).unwrap_or_else(others),
                Some(name) => vec![self.single(&name.name).map_or(Spot::Other, Spot::Axis)],
                None => others(),
            },
            SubKind::Group(members) => vec![Spot::Joined(self.group(members))],
            SubKind::Slice { .. } => others(),
        }
    }

    fn pack_spots(&self, name: &str) -> Option<Vec<Spot>> {
        let index = &self.sought[self.find(name)?];
        Some(index.axes.as_ref()?.iter().map(|&axis| Spot::Axis(axis)).collect())
    }

    fn group(&self, members: &[Sub]) -> Vec<Option<usize>> {
        let mut axes = Vec::new();
        for member in members {
            match &member.kind {
                SubKind::At { value, pack } => {
                    let name = value.as_name().map(|name| name.name.as_str());
                    axes.extend(name.map_or(vec![None], |name| self.member(name, *pack)));
                }
                SubKind::Group(inner) => axes.extend(self.group(inner)),
                SubKind::Dots | SubKind::Slice { .. } => axes.push(None),
            }
        }
        axes
    }

    /// The axes of a member of a group: sought here, or an index from outside.
    fn member(&self, name: &str, pack: bool) -> Vec<Option<usize>> {
        if let Some(at) = self.find(name) {
            return match &self.sought[at].axes {
                Some(axes) if self.sought[at].pack == pack => {
                    axes.iter().copied().map(Some).collect()
                }
                _ => vec![None],
            };
        }
        let index_axis = |value: &Value| match value {
            Value::Cell(Cell { term: Term::Index(sub), .. }) => Some(sub.as_axis()),
            _ => None,
        };
        match self.elaborator.frame().get(name).map(|binding| &binding.value) {
            Some(Value::Pack(parts)) if pack => {
                parts.iter().flat_map(|part| index_member(index_axis(part))).collect()
            }
            Some(value) if !pack => index_member(index_axis(value)),
            _ => vec![None],
        }
    }
}

/// An index from outside as members of a group: none where it has extent 1.
fn index_member(axis: Option<Option<usize>>) -> Vec<Option<usize>> {
    match axis {
        Some(Some(axis)) => vec![Some(axis)],
        Some(None) => Vec::new(),
        None => vec![None],
    }
}

/// The quotient of two sizes, if it is whole.
fn divide(a: Size, b: Size) -> Option<Size> {
    if a == b {
        return Some(Size::fixed(1));
    }
    if let Some(b) = b.as_fixed() {
        let whole = b > 0 && a.batch_factor % b == 0 && a.constant % b == 0;
        return whole.then(|| Size { batch_factor: a.batch_factor / b, constant: a.constant / b });
    }
    // A multiple of the batch over the batch.
    let factor = a.batch_factor / b.batch_factor;
    let whole = a.batch_factor == factor * b.batch_factor && a.constant == factor * b.constant;
    whole.then(|| Size::fixed(factor))
}

/// The names in an expression that a `..` after it repeats, in order; names inside brackets with a `..` of their own are not.
pub(crate) fn pack_names(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    collect_names(expr, &mut names);
    names
}

fn collect_names(expr: &Expr, names: &mut Vec<String>) {
    match &expr.kind {
        ExprKind::Name(name) => names.push(name.name.clone()),
        ExprKind::Paren(inner)
        | ExprKind::Unary(_, inner)
        | ExprKind::Field(inner, _)
        | ExprKind::Labelled(inner, _)
        | ExprKind::Is(inner, _) => collect_names(inner, names),
        ExprKind::Binary { lhs, rhs, .. } => {
            collect_names(lhs, names);
            collect_names(rhs, names);
        }
        ExprKind::Tuple(elems) => {
            for elem in elems.iter().filter(|elem| !elem.pack) {
                collect_names(&elem.value, names);
            }
        }
        ExprKind::List(items) => items.iter().for_each(|item| collect_names(item, names)),
        ExprKind::Reduce { body, .. } => collect_names(body, names),
        ExprKind::Call(_, args) => {
            for arg in args.iter().filter(|arg| !arg.pack) {
                collect_names(&arg.value, names);
            }
        }
        ExprKind::Access { base, subs, .. } => {
            collect_names(base, names);
            for sub in subs {
                if let SubKind::At { value, pack: false } = &sub.kind {
                    collect_names(value, names);
                }
            }
        }
        ExprKind::If(choice) => {
            for arm in &choice.arms {
                collect_names(&arm.condition, names);
                arm.body.value().into_iter().for_each(|value| collect_names(value, names));
            }
            let otherwise = choice.otherwise.as_ref().and_then(Block::value);
            otherwise.into_iter().for_each(|value| collect_names(value, names));
        }
        ExprKind::Pipe(first, stages) => {
            collect_names(first, names);
            for arg in stages.iter().flat_map(|stage| stage.args.iter().flatten()) {
                if !arg.pack {
                    collect_names(&arg.value, names);
                }
            }
        }
        ExprKind::With(_)
        | ExprKind::Number(_)
        | ExprKind::Str(_)
        | ExprKind::Bool(_)
        | ExprKind::None
        | ExprKind::Skip
        | ExprKind::Bad => {}
    }
}
