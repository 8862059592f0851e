//! The laws of vector IR, checked all at once.
//!
//! * Every value is defined once and used only where its definition is visible.
//! * Types of operands and results agree as [`Inst`] says; lanes are 1, 2, 4, 8 or 16.
//! * Masks have the lanes of what they select and the width of its elements.
//! * Loads, stores and gathers meet lanes of the storage's element type.
//! * Kernels call nothing. Phases and segments are scalar: all their values are Int. Phases call kernels, segments
//!   call phases and kernels; a callee stands before its caller. Barriers stand in segments and under no condition; loops round them
//!   have the same trips in all parts.
//! * Names are unique and hold no white space, parentheses, commas or quotes.

use std::fmt;

use super::build::result_type;
use super::data::*;
use super::ops::Named;
use super::print::statement_text;
use crate::entity::EntityRef;

/// A broken law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyError {
    /// Name of the function.
    pub function: String,
    /// The statement's first line; empty for laws of the whole function.
    pub statement: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.function, self.message)?;
        if !self.statement.is_empty() {
            write!(f, " in `{}`", self.statement)?;
        }
        Ok(())
    }
}

impl std::error::Error for VerifyError {}

/// Checks a module.
///
/// # Errors
/// Every broken law.
pub fn verify(module: &Module) -> Result<(), Vec<VerifyError>> {
    let mut errors = Vec::new();
    for (id, function) in module.functions.iter() {
        let mut verifier = Verifier {
            module,
            id,
            function,
            state: vec![State::Undefined; function.types.len()],
            statement: None,
            errors: &mut errors,
        };
        verifier.function();
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Undefined,
    Visible,
    /// Its block has ended.
    OutOfScope,
}

struct Verifier<'a> {
    module: &'a Module,
    id: FuncId,
    function: &'a Function,
    state: Vec<State>,
    statement: Option<&'a Stmt>,
    errors: &'a mut Vec<VerifyError>,
}

impl<'a> Verifier<'a> {
    fn error(&mut self, message: impl Into<String>) {
        let statement = self.statement.map(|stmt| statement_text(self.module, self.function, stmt));
        self.errors.push(VerifyError {
            function: self.function.name.clone(),
            statement: statement.unwrap_or_default(),
            message: message.into(),
        });
    }

    fn require(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.error(message());
        }
    }

    fn function(&mut self) {
        let function = self.function;
        let name = &function.name;
        let bad = |c: char| c.is_whitespace() || "(){},\"'`".contains(c);
        self.require(!name.is_empty() && !name.contains(bad), || format!("{name:?} is not a name"));
        let twins = self.module.functions.iter().filter(|entry| entry.1.name == *name);
        let first = twins.map(|entry| entry.0).next();
        self.require(first == Some(self.id), || format!("the name {name} is taken"));
        if function.kind == FunctionKind::Segment {
            let n = function.params.len();
            self.require(n == 3, || format!("a segment has 3 parameters, not {n}"));
        }
        for (val, ty) in function.types.iter() {
            let lanes = match *ty {
                Type::Int => None,
                Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => Some(lanes),
            };
            let legal = lanes.is_none_or(|lanes| matches!(lanes, 1 | 2 | 4 | 8 | 16));
            let width = !matches!(ty, Type::Mask { bits, .. } if !matches!(bits, 32 | 64));
            self.require(legal && width, || format!("{val} has the impossible type {ty}"));
            let scalar = function.kind == FunctionKind::Kernel || *ty == Type::Int;
            self.require(scalar, || {
                format!("{val} has type {ty}, but a {} is scalar", function.kind.name())
            });
        }
        for &param in &function.params {
            self.define(param, Type::Int);
        }
        self.block(&function.body, 0);
        self.statement = None;
        for index in 0..self.state.len() {
            let defined = self.state[index] != State::Undefined;
            self.require(defined, || format!("v{index} has a type but no definition"));
        }
    }

    fn ty(&self, val: Val) -> Option<Type> {
        self.function.types.get(val).copied()
    }

    fn define(&mut self, val: Val, expected: Type) {
        let Some(ty) = self.ty(val) else {
            return self.error(format!("{val} has no type"));
        };
        let state = self.state[val.index()];
        self.require(state == State::Undefined, || format!("{val} is defined twice"));
        self.state[val.index()] = State::Visible;
        self.require(ty == expected, || format!("{val} has type {ty}, its definition {expected}"));
    }

    /// Whether the value may be used here.
    fn visible(&mut self, val: Val) -> bool {
        let state = self.state.get(val.index()).copied().unwrap_or(State::Undefined);
        match state {
            State::Visible => true,
            State::Undefined => {
                self.error(format!("{val} is used before its definition"));
                false
            }
            State::OutOfScope => {
                self.error(format!("{val} is used after the end of its block"));
                false
            }
        }
    }

    fn typed(&mut self, val: Val, expected: Type) {
        if self.visible(val) {
            let ty = self.function.types[val];
            self.require(ty == expected, || format!("{val} has type {ty}, not {expected}"));
        }
    }

    fn int(&mut self, val: Val) {
        self.typed(val, Type::Int);
    }

    /// A vector whose element type satisfies `allowed`.
    fn vector(&mut self, val: Val, what: &str, allowed: fn(Elem) -> bool) -> Option<(Elem, u8)> {
        if !self.visible(val) {
            return None;
        }
        match self.function.types[val] {
            Type::Vec { elem, lanes } if allowed(elem) => Some((elem, lanes)),
            ty => {
                self.error(format!("{val} has type {ty}, not {what}"));
                None
            }
        }
    }

    fn mask(&mut self, val: Val) -> Option<Type> {
        if !self.visible(val) {
            return None;
        }
        match self.function.types[val] {
            ty @ Type::Mask { .. } => Some(ty),
            ty => {
                self.error(format!("{val} has type {ty}, not a mask"));
                None
            }
        }
    }

    fn addr(&mut self, addr: &Addr) {
        self.int(addr.base);
        if let Some((index, scale)) = addr.index {
            self.int(index);
            self.require(matches!(scale, 1 | 2 | 4 | 8), || {
                format!("scale {scale} is not 1, 2, 4 or 8")
            });
        }
    }

    /// The mask of a memory access of `ty`.
    fn access_mask(&mut self, mask: Option<Val>, ty: Type) {
        if let (Some(mask), Type::Vec { elem, lanes }) = (mask, ty) {
            self.typed(mask, Type::Mask { bits: elem.bits(), lanes });
        }
    }

    /// A loaded vector's type against its storage.
    fn access(&mut self, ty: Type, storage: Storage) {
        let fits = matches!(ty, Type::Vec { elem, .. } if elem == storage.elem());
        self.require(fits, || {
            format!(
                "{} in memory meets lanes of {}, not {ty}",
                storage.name(),
                storage.elem().name()
            )
        });
    }

    fn block(&mut self, block: &'a Block, conditions: usize) -> Vec<Val> {
        let mut defined = Vec::new();
        for stmt in &block.stmts {
            self.statement = Some(stmt);
            self.stmt(stmt, conditions, &mut defined);
        }
        defined
    }

    /// Ends the scope of values.
    fn close(&mut self, vals: &[Val]) {
        for val in vals {
            if let Some(state) = self.state.get_mut(val.index()) {
                *state = State::OutOfScope;
            }
        }
    }

    fn stmt(&mut self, stmt: &'a Stmt, conditions: usize, defined: &mut Vec<Val>) {
        match stmt {
            Stmt::Let(val, inst) => {
                let n_errors = self.errors.len();
                self.inst(inst);
                // The result's type means something only if the operands are right.
                let expected = if self.errors.len() == n_errors {
                    Some(result_type(inst, &self.function.types))
                } else {
                    self.ty(*val)
                };
                self.define(*val, expected.unwrap_or(Type::Int));
                defined.push(*val);
            }
            Stmt::Store { storage, addr, value, mask } => {
                self.addr(addr);
                if let Some((elem, lanes)) = self.vector(*value, "a vector", |_| true) {
                    let ty = Type::Vec { elem, lanes };
                    self.access(ty, *storage);
                    self.access_mask(*mask, ty);
                }
            }
            Stmt::IntStore { addr, value, .. } => {
                self.addr(addr);
                self.int(*value);
            }
            Stmt::Transpose { inputs, results } => self.transpose(inputs, results, defined),
            Stmt::Loop(stmt) => self.loop_stmt(stmt, conditions, defined),
            Stmt::If { cond, then } => {
                self.int(*cond);
                let inner = self.block(then, conditions + 1);
                self.close(&inner);
            }
            Stmt::Call { func, args } => self.call(*func, args),
            Stmt::Barrier => {
                let allowed = self.function.kind == FunctionKind::Segment && conditions == 0;
                self.require(allowed, || {
                    "a barrier stands in a segment, under no condition".to_owned()
                });
            }
        }
    }

    fn transpose(&mut self, inputs: &[Val], results: &[Val], defined: &mut Vec<Val>) {
        let first = inputs.first().and_then(|&first| self.vector(first, "a vector", |_| true));
        let (n, m) = (inputs.len(), results.len());
        let ty = first.map(|(elem, lanes)| Type::Vec { elem, lanes });
        let square = first.is_none_or(|(_, lanes)| usize::from(lanes) == n && n == m && n >= 2);
        self.require(square, || format!("a transposition of {n} vectors into {m} is not square"));
        self.require(!inputs.is_empty(), || "a transposition of nothing".to_owned());
        for &input in inputs.iter().skip(1) {
            if let Some(ty) = ty {
                self.typed(input, ty);
            }
        }
        for &result in results {
            let ty = ty.or(self.ty(result)).unwrap_or(Type::Int);
            self.define(result, ty);
            defined.push(result);
        }
    }

    fn loop_stmt(&mut self, stmt: &'a Loop, conditions: usize, defined: &mut Vec<Val>) {
        self.int(stmt.trip);
        let head = self.statement;
        for carried in &stmt.carried {
            self.visible(carried.init);
        }
        self.define(stmt.iv, Type::Int);
        let ty_of =
            |verifier: &Self, carried: &Carried| verifier.ty(carried.init).unwrap_or(Type::Int);
        for carried in &stmt.carried {
            let ty = ty_of(self, carried);
            self.define(carried.param, ty);
        }
        let inner = self.block(&stmt.body, conditions);
        self.statement = head;
        for carried in &stmt.carried {
            let ty = ty_of(self, carried);
            self.typed(carried.next, ty);
        }
        self.close(&inner);
        self.close(&[stmt.iv]);
        for carried in &stmt.carried {
            self.close(&[carried.param]);
        }
        for carried in &stmt.carried {
            let ty = ty_of(self, carried);
            self.define(carried.result, ty);
            defined.push(carried.result);
        }
    }

    fn call(&mut self, func: FuncId, args: &[Val]) {
        for &arg in args {
            self.int(arg);
        }
        let Some(callee) = self.module.functions.get(func) else {
            return self.error(format!("{func} is not in the module"));
        };
        let before = func.index() < self.id.index();
        self.require(before, || format!("{} does not stand before its caller", callee.name));
        let (n, m) = (callee.params.len(), args.len());
        self.require(n == m, || format!("{} has {n} parameters, not {m}", callee.name));
        let (caller, callee_kind) = (self.function.kind, callee.kind);
        let allowed = match caller {
            FunctionKind::Kernel => false,
            FunctionKind::Phase => callee_kind == FunctionKind::Kernel,
            FunctionKind::Segment => callee_kind != FunctionKind::Segment,
        };
        self.require(allowed, || {
            format!("a {} does not call the {} {}", caller.name(), callee_kind.name(), callee.name)
        });
    }

    fn inst(&mut self, inst: &Inst) {
        match *inst {
            Inst::IntConst(_) => {}
            Inst::Int(_, a, b) => {
                self.int(a);
                self.int(b);
            }
            Inst::IntTrailingZeros(a) => self.int(a),
            Inst::IntLoad(_, ref addr) => self.addr(addr),
            Inst::IntFromLane(a) => {
                let lane = self.vector(a, "integer lanes", |elem| !elem.is_float());
                self.require(lane.is_none_or(|lane| lane.1 == 1), || {
                    format!("{a} has several lanes")
                });
            }
            Inst::Const { ty, bits } => {
                let fits =
                    matches!(ty, Type::Vec { elem, .. } if elem.bits() == 64 || bits >> 32 == 0);
                self.require(fits, || format!("{bits:#x} is not an element of {ty}"));
            }
            Inst::Iota { ty } => self.integer_type(ty),
            Inst::Splat { ty, value } => {
                self.integer_type(ty);
                self.int(value);
            }
            Inst::SplatLane { ty, value } => match ty {
                Type::Vec { elem, .. } => self.typed(value, Type::Vec { elem, lanes: 1 }),
                Type::Int | Type::Mask { .. } => self.error(format!("{ty} is not a vector")),
            },
            Inst::Load { ty, storage, ref addr, mask } => {
                self.addr(addr);
                self.access(ty, storage);
                self.access_mask(mask, ty);
            }
            Inst::Broadcast { ty, storage, ref addr } => {
                self.addr(addr);
                self.access(ty, storage);
            }
            Inst::Gather { ty, storage, ref addr, index, mask } => {
                self.addr(addr);
                self.access(ty, storage);
                if let Type::Vec { lanes, .. } = ty {
                    self.typed(index, Type::Vec { elem: Elem::I32, lanes });
                }
                self.access_mask(mask, ty);
            }
            Inst::Unary(..)
            | Inst::Binary(..)
            | Inst::Shift(..)
            | Inst::Fma { .. }
            | Inst::Compare(..)
            | Inst::Convert(..)
            | Inst::Bitcast(..)
            | Inst::ScalePow2 { .. }
            | Inst::Fold(..)
            | Inst::Lane(..) => self.lanes(inst),
            Inst::Mask(_, a, b) => {
                if let Some(ty) = self.mask(a) {
                    self.typed(b, ty);
                }
            }
            Inst::MaskNot(a) | Inst::MaskBits(a) => {
                self.mask(a);
            }
            Inst::MaskFirst { ty, count } => {
                self.int(count);
                let is_mask = matches!(ty, Type::Mask { .. });
                self.require(is_mask, || format!("{ty} is not a mask"));
            }
            Inst::MaskResize { ty, mask } => {
                let lanes = |ty| if let Type::Mask { lanes, .. } = ty { Some(lanes) } else { None };
                if let Some(from) = self.mask(mask) {
                    self.require(lanes(ty) == lanes(from), || {
                        format!("{from} does not become {ty}")
                    });
                }
            }
            Inst::Select { mask, a, b } => {
                if let Some((elem, lanes)) = self.vector(a, "a vector", |_| true) {
                    self.typed(b, Type::Vec { elem, lanes });
                    self.typed(mask, Type::Mask { bits: elem.bits(), lanes });
                }
            }
        }
    }

    fn integer_type(&mut self, ty: Type) {
        let integer = matches!(ty, Type::Vec { elem, .. } if !elem.is_float());
        self.require(integer, || format!("{ty} is not a vector of integers"));
    }

    /// Operations of lanes that take and give vectors.
    fn lanes(&mut self, inst: &Inst) {
        match *inst {
            Inst::Unary(op, a) => match op {
                VecUnary::Neg | VecUnary::Abs => {
                    self.vector(a, "a vector", |_| true);
                }
                VecUnary::Sqrt | VecUnary::Round | VecUnary::Floor => {
                    self.vector(a, "float lanes", Elem::is_float);
                }
            },
            Inst::Binary(op, a, b) => {
                let ty = match op {
                    VecBinary::Add
                    | VecBinary::Sub
                    | VecBinary::Mul
                    | VecBinary::Min
                    | VecBinary::Max => self.vector(a, "a vector", |_| true),
                    VecBinary::Div => self.vector(a, "float lanes", Elem::is_float),
                    VecBinary::And | VecBinary::Or | VecBinary::Xor => {
                        self.vector(a, "integer lanes", |elem| !elem.is_float())
                    }
                    VecBinary::MulHighUnsigned => {
                        self.vector(a, "i32 lanes", |elem| elem == Elem::I32)
                    }
                };
                if let Some((elem, lanes)) = ty {
                    self.typed(b, Type::Vec { elem, lanes });
                }
            }
            Inst::Shift(_, a, by) => {
                if let Some((elem, _)) = self.vector(a, "integer lanes", |elem| !elem.is_float()) {
                    self.require(by < elem.bits(), || {
                        format!("{by} bits are all of {}", elem.name())
                    });
                }
            }
            Inst::Fma { a, b, c, negate: _ } => {
                if let Some((elem, lanes)) = self.vector(a, "float lanes", Elem::is_float) {
                    self.typed(b, Type::Vec { elem, lanes });
                    self.typed(c, Type::Vec { elem, lanes });
                }
            }
            Inst::Compare(_, a, b) => {
                if let Some((elem, lanes)) = self.vector(a, "a vector", |_| true) {
                    self.typed(b, Type::Vec { elem, lanes });
                }
            }
            Inst::Convert(_, a) => {
                self.vector(a, "a vector", |_| true);
            }
            Inst::Bitcast(to, a) => {
                if let Some((from, _)) = self.vector(a, "a vector", |_| true) {
                    self.require(from.bits() == to.bits(), || {
                        format!("{} and {} differ in width", from.name(), to.name())
                    });
                }
            }
            Inst::ScalePow2 { p, n } => {
                if let Some((elem, lanes)) = self.vector(p, "float lanes", Elem::is_float) {
                    let elem = if elem == Elem::F32 { Elem::I32 } else { Elem::I64 };
                    self.typed(n, Type::Vec { elem, lanes });
                }
            }
            Inst::Fold(_, a) => {
                let ty = self.vector(a, "a vector", |_| true);
                self.require(ty.is_none_or(|ty| ty.1 >= 2), || format!("{a} has one lane only"));
            }
            Inst::Lane(a, lane) => {
                let ty = self.vector(a, "a vector", |_| true);
                self.require(ty.is_none_or(|ty| lane < ty.1), || format!("{a} has no lane {lane}"));
            }
            Inst::IntConst(_)
            | Inst::Int(..)
            | Inst::IntTrailingZeros(_)
            | Inst::IntLoad(..)
            | Inst::IntFromLane(_)
            | Inst::Const { .. }
            | Inst::Iota { .. }
            | Inst::Splat { .. }
            | Inst::SplatLane { .. }
            | Inst::Load { .. }
            | Inst::Broadcast { .. }
            | Inst::Gather { .. }
            | Inst::Mask(..)
            | Inst::MaskNot(_)
            | Inst::MaskFirst { .. }
            | Inst::MaskBits(_)
            | Inst::MaskResize { .. }
            | Inst::Select { .. } => unreachable!("checked by the caller"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// The messages for a kernel with this body; `v0` and `v1` are its parameters.
    fn messages(body: &str) -> Vec<String> {
        let text = format!("kernel k(v0, v1) {{\n{body}\n}}\n");
        let module = parse(&text).expect("the text is well-formed");
        let errors = verify(&module).err().unwrap_or_default();
        errors.into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn broken_laws_are_named() {
        let cases = [
            ("v3: int = iadd v0, v2\nv2: int = iconst 1", "v2 is used before its definition"),
            (
                "if v0 {\nv2: int = iconst 1\n}\nv3: int = iadd v2, v0",
                "v2 is used after the end of its block",
            ),
            ("v2: f32x4 = iota", "f32x4 is not a vector of integers"),
            ("v2: f32x3 = const 1.0", "v2 has the impossible type f32x3"),
            ("v2: f32x4 = load.f64 [v0]", "f64 in memory meets lanes of f64, not f32x4"),
            ("v2: f32x4 = load.f32 [v0 + v1*3]", "scale 3 is not 1, 2, 4 or 8"),
            (
                "v2: m32x8 = mask_first v1\nv3: f32x4 = load.f32 [v0] mask v2",
                "v2 has type m32x8, not m32x4",
            ),
            (
                "v2: m64x4 = mask_first v1\nv3: f32x4 = load.f32 [v0] mask v2",
                "v2 has type m64x4, not m32x4",
            ),
            ("v2: i32x4 = iota\nv3: i32x4 = sqrt v2", "v2 has type i32x4, not float lanes"),
            ("v2: i32x4 = iota\nv3: i64x4 = bitcast v2", "i32 and i64 differ in width"),
            ("v2: i32x4 = iota\nv3: i32x4 = shl v2, 32", "32 bits are all of i32"),
            ("v2: i32x4 = iota\nv3: f32x4 = add v2, v2", "v3 has type f32x4, its definition i32x4"),
            ("v2: i32x4 = iota\nv3: i32x1 = lane v2, 4", "v2 has no lane 4"),
            ("v2: i32x4 = iota\nv3: int = int_from_lane v2", "v2 has several lanes"),
            (
                "v2: i32x2 = iota\nv3: i32x2 = transpose v2",
                "a transposition of 1 vectors into 1 is not square",
            ),
            (
                "v2: i32x4 = iota\nloop v3 in 0..v1 carry v4: i32x4 = v2 -> v5 {\nnext v3\n}",
                "v3 has type int, not i32x4",
            ),
            ("barrier", "a barrier stands in a segment, under no condition"),
        ];
        for (body, message) in cases {
            assert_eq!(messages(body), [message], "{body}");
        }
    }

    #[test]
    fn laws_of_kinds() {
        let text = "kernel a() {\n}\nkernel b() {\ncall a()\n}\nphase p() {\ncall a()\nv0: f32x1 = const 1.0\n}\n\
                    phase q() {\ncall p()\n}\nsegment s(v0) {\nif v0 {\nbarrier\n}\n}\nkernel a() {\n}\n";
        let errors =
            verify(&parse(text).expect("well-formed")).expect_err("every function is wrong");
        let texts: Vec<String> = errors.iter().map(VerifyError::to_string).collect();
        assert_eq!(
            texts,
            [
                "b: a kernel does not call the kernel a in `call a()`",
                "p: v0 has type f32x1, but a phase is scalar",
                "q: a phase does not call the phase p in `call p()`",
                "s: a segment has 3 parameters, not 1",
                "s: a barrier stands in a segment, under no condition in `barrier`",
                "a: the name a is taken",
            ]
        );
    }
}
