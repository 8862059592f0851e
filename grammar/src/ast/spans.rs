//! A walk over every span of a tree, for comparisons that ask whether two texts mean the same.
//!
//! Every struct is taken apart by name and every enum matched without `_`, so a field or a form that is added to the
//! tree does not compile until it is walked.
use super::*;

/// Calls `visit` on every span in a piece of the tree.
pub trait EachSpan {
    /// Calls `visit` on every span, in no particular order.
    fn each_span(&mut self, visit: &mut dyn FnMut(&mut Span));
}

/// Whether two pieces of the tree are equal but for where they stand.
pub fn eq_ignoring_spans<T: EachSpan + Clone + PartialEq>(a: &T, b: &T) -> bool {
    let erased = |tree: &T| {
        let mut tree = tree.clone();
        tree.each_span(&mut |span| *span = Span::default());
        tree
    };
    erased(a) == erased(b)
}

impl EachSpan for Span {
    fn each_span(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        visit(self);
    }
}

impl<T: EachSpan> EachSpan for Option<T> {
    fn each_span(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        if let Some(inner) = self {
            inner.each_span(visit);
        }
    }
}

impl<T: EachSpan> EachSpan for Vec<T> {
    fn each_span(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        for inner in self {
            inner.each_span(visit);
        }
    }
}

impl<T: EachSpan> EachSpan for Box<T> {
    fn each_span(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        (**self).each_span(visit);
    }
}

impl<A: EachSpan, B: EachSpan> EachSpan for (A, B) {
    fn each_span(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        self.0.each_span(visit);
        self.1.each_span(visit);
    }
}

/// Types that hold no span.
macro_rules! no_span {
    ($($name:ty),* $(,)?) => {
        $(impl EachSpan for $name {
            fn each_span(&mut self, _: &mut dyn FnMut(&mut Span)) {}
        })*
    };
}

no_span!(
    String,
    bool,
    u32,
    NumberValue,
    DeclKind,
    SettingKey,
    DefineOp,
    AssignOp,
    UnaryOp,
    BinaryOp,
    Reducer,
    Dtype,
    CompType,
);

/// Structs: the list of all fields.
macro_rules! fields {
    ($($name:ident { $($field:ident),* })*) => {
        $(impl EachSpan for $name {
            fn each_span(&mut self, visit: &mut dyn FnMut(&mut Span)) {
                let $name { $($field),* } = self;
                $($field.each_span(visit);)*
            }
        })*
    };
}

fields! {
    Ident { name, span }
    Path { parts, span }
    StrLit { text, span }
    Doc { text, span }
    Label { text, quoted, span }
    File { items, span }
    Item { docs, kind, span }
    Use { path, alias }
    Decl { kind, name, formals, results, wheres, body }
    Formal { docs, name, ty, default, span }
    ResultSpec { name, ty, span }
    Where { kind, span }
    Train { name, formals, body }
    TrainBlock { stmts, span }
    TrainStmt { docs, kind, span }
    Step { name, times, body }
    Setting { key, key_span, name, value, on }
    Parallel { name, body }
    ParallelBlock { stmts, span }
    ParallelStmt { docs, kind, span }
    Block { stmts, span }
    Stmt { docs, kind, span }
    Let { each, pattern, ty, value }
    Pattern { kind, span }
    Head { binders, span }
    Binder { kind, span }
    Index { name, pack, range, span }
    Range { kind, span }
    Each { indices, span }
    Call { path, args, label, span }
    Param { name, ty, init }
    State { name, ty, value }
    Shared { name, value }
    Total { each, name, head, ty, op, value }
    Penalty { name, value }
    Yield { name, head, value }
    Scan { index, range, carries, body }
    For { names, tuple, range, carries, body }
    Carry { name, ty, value, span }
    Assign { each, target, head, op, value }
    Expr { kind, span }
    Number { text, value }
    Elem { value, pack, span }
    Arg { name, value, pack, span }
    Sub { kind, span }
    If { arms, otherwise }
    IfArm { condition, body }
    With { bindings, body }
    Stage { path, args, field, label, span }
    Type { kind, span }
    Shape { dims, span }
    Dim { kind, span }
}

/// Enums: the list of all forms with names for what they hold.
macro_rules! forms {
    ($($name:ident {
        $($form:ident $(($($part:ident),*))? $({$($field:ident),*})?),* $(,)?
    })*) => {
        $(impl EachSpan for $name {
            fn each_span(&mut self, visit: &mut dyn FnMut(&mut Span)) {
                match self {
                    $($name::$form $(($($part),*))? $({$($field),*})? => {
                        $($($part.each_span(visit);)*)?
                        $($($field.each_span(visit);)*)?
                    })*
                }
            }
        })*
    };
}

forms! {
    ItemKind { Use(x), Decl(x), Train(x), Parallel(x), Bad(x) }
    Body { Block(x), Expr(x) }
    WhereKind { Define { target, value }, Require { condition, message } }
    WhereTarget { Name(x), Pack(x), Len(x) }
    TrainStmtKind { Step(x), Let(x), Setting(x), Bad }
    SettingValue { Expr(x), Call(x), Globs(x) }
    ParallelStmtKind {
        Data { count, body },
        Pipeline { count, at, body },
        Tensor { count, on },
        Option { name, value },
        Bad,
    }
    StmtKind {
        Let(x), Param(x), State(x), Shared(x), Total(x), Penalty(x), Yield(x), Scan(x), For(x),
        Assign(x), Expr(x), Bad,
    }
    LetValue { Define(op, x), Draw(x) }
    PatternKind { Name(x), Pack(x), Indexed(x, head), Tuple(x) }
    BinderKind { Dots, All, Index(x), Group(x), At { value, pack } }
    RangeKind { Over { value, pack }, Between { from, to } }
    ExprKind {
        Number(x), Str(x), Bool(x), None, Skip, Name(x), Paren(x), Tuple(x), List(x),
        Unary(op, x),
        Binary { op, op_span, lhs, rhs },
        Is(x, pattern),
        Reduce { op, op_span, indices, body },
        Call(x, args),
        Access { base, subs, fallback },
        Field(x, name),
        Labelled(x, label),
        If(x), With(x),
        Pipe(x, stages),
        Bad,
    }
    IsPattern { None(x), Type(x) }
    SubKind { Dots, Slice { from, to }, Group(x), At { value, pack } }
    Fallback { Value(x), Skip(x) }
    FieldName { Name(x), Index(x, span) }
    TypeKind { Tensor { dtype, shape }, Comp { comp, per }, Choice(x), Tuple(x) }
    DimKind { Dots, At { value, pack } }
}
