//! Builds functions: a cursor into nested blocks that gives every value its type.

use super::data::*;
use crate::entity::IndexVec;

/// Builds one function, statement by statement.
#[derive(Debug)]
pub struct FunctionBuilder {
    function: Function,
    /// Open blocks, outermost first.
    blocks: Vec<Block>,
}

impl FunctionBuilder {
    /// Starts a function with `n_params` Int parameters.
    pub fn new(name: impl Into<String>, kind: FunctionKind, n_params: usize) -> Self {
        let mut types = IndexVec::new();
        let params = (0..n_params).map(|_| types.push(Type::Int)).collect();
        let function = Function { name: name.into(), kind, params, types, body: Block::default() };
        FunctionBuilder { function, blocks: vec![Block::default()] }
    }

    /// Parameter number `index`.
    pub fn param(&self, index: usize) -> Val {
        self.function.params[index]
    }

    /// The type of a value.
    pub fn ty(&self, val: Val) -> Type {
        self.function.types[val]
    }

    /// Ends the function.
    pub fn finish(mut self) -> Function {
        assert_eq!(self.blocks.len(), 1, "every loop and if is closed before the function ends");
        self.function.body = self.blocks.pop().expect("checked above");
        self.function
    }

    /// Appends an operation and returns its result.
    pub fn inst(&mut self, inst: Inst) -> Val {
        let ty = result_type(&inst, &self.function.types);
        let val = self.function.types.push(ty);
        self.push(Stmt::Let(val, inst));
        val
    }

    /// Appends a statement.
    pub fn push(&mut self, stmt: Stmt) {
        self.blocks.last_mut().expect("a block is open").stmts.push(stmt);
    }

    /// An integer constant.
    pub fn int(&mut self, value: i64) -> Val {
        self.inst(Inst::IntConst(value))
    }

    /// A scalar integer operation.
    pub fn int_op(&mut self, op: IntOp, a: Val, b: Val) -> Val {
        self.inst(Inst::Int(op, a, b))
    }

    /// `a + b`.
    pub fn iadd(&mut self, a: Val, b: Val) -> Val {
        self.int_op(IntOp::Add, a, b)
    }

    /// `a * factor`, or `a` itself for 1.
    pub fn imul_const(&mut self, a: Val, factor: i64) -> Val {
        if factor == 1 {
            return a;
        }
        let factor = self.int(factor);
        self.int_op(IntOp::Mul, a, factor)
    }

    /// `a + offset`, or `a` itself for 0.
    pub fn iadd_const(&mut self, a: Val, offset: i64) -> Val {
        if offset == 0 {
            return a;
        }
        let offset = self.int(offset);
        self.int_op(IntOp::Add, a, offset)
    }

    /// A float constant in every lane, rounded to the element type.
    pub fn float(&mut self, ty: Type, value: f64) -> Val {
        let bits = match ty {
            Type::Vec { elem: Elem::F32, .. } => u64::from((value as f32).to_bits()),
            Type::Vec { elem: Elem::F64, .. } => value.to_bits(),
            _ => panic!("a float constant needs a float vector type, not {ty:?}"),
        };
        self.inst(Inst::Const { ty, bits })
    }

    /// An integer constant in every lane.
    pub fn int_lanes(&mut self, ty: Type, value: i64) -> Val {
        let bits = match ty {
            Type::Vec { elem: Elem::I32, .. } => u64::from(value as i32 as u32),
            Type::Vec { elem: Elem::I64, .. } => value as u64,
            _ => panic!("an integer constant needs an integer vector type, not {ty:?}"),
        };
        self.inst(Inst::Const { ty, bits })
    }

    /// A lane-wise operation of two vectors.
    pub fn binary(&mut self, op: VecBinary, a: Val, b: Val) -> Val {
        self.inst(Inst::Binary(op, a, b))
    }

    /// A store of whole vectors.
    pub fn store(&mut self, storage: Storage, addr: Addr, value: Val, mask: Option<Val>) {
        self.push(Stmt::Store { storage, addr, value, mask });
    }

    /// A transposition of `n` vectors of `n` lanes.
    pub fn transpose(&mut self, inputs: Vec<Val>) -> Vec<Val> {
        let results: Vec<Val> = inputs
            .iter()
            .map(|&input| {
                let ty = self.ty(input);
                self.function.types.push(ty)
            })
            .collect();
        self.push(Stmt::Transpose { inputs, results: results.clone() });
        results
    }

    /// A loop of `trip` iterations. `body` receives the builder, the iteration number and the carried values, and returns
    /// the values for the next iteration. Returns the carried values after the loop.
    pub fn for_loop(
        &mut self,
        trip: Val,
        init: &[Val],
        body: impl FnOnce(&mut Self, Val, &[Val]) -> Vec<Val>,
    ) -> Vec<Val> {
        let open = self.open_loop(trip, init);
        let next = body(self, open.iv, &open.params);
        self.close_loop(open, next)
    }

    /// Opens a loop of `trip` iterations; statements go into its body until [`FunctionBuilder::close_loop`].
    pub fn open_loop(&mut self, trip: Val, init: &[Val]) -> OpenLoop {
        let iv = self.function.types.push(Type::Int);
        let params = init
            .iter()
            .map(|&val| {
                let ty = self.ty(val);
                self.function.types.push(ty)
            })
            .collect();
        self.blocks.push(Block::default());
        OpenLoop { iv, params, trip, init: init.to_vec() }
    }

    /// Closes the innermost open block, which must be that of `open`. `next` are the carried values for the next
    /// iteration. Returns the carried values after the loop.
    pub fn close_loop(&mut self, open: OpenLoop, next: Vec<Val>) -> Vec<Val> {
        let OpenLoop { iv, params, trip, init } = open;
        let body = self.blocks.pop().expect("the loop's block is open");
        assert_eq!(next.len(), init.len(), "one next value for each carried value");
        let carried: Vec<Carried> = (0..init.len())
            .map(|i| {
                let result = self.function.types.push(self.function.types[init[i]]);
                Carried { init: init[i], param: params[i], next: next[i], result }
            })
            .collect();
        let results = carried.iter().map(|carried| carried.result).collect();
        self.push(Stmt::Loop(Box::new(Loop { iv, trip, carried, body })));
        results
    }

    /// Statements that run only if `cond` is not zero.
    pub fn if_nonzero(&mut self, cond: Val, then: impl FnOnce(&mut Self)) {
        self.open_if();
        then(self);
        self.close_if(cond);
    }

    /// Opens the block of a conditional; statements go into it until [`FunctionBuilder::close_if`].
    pub fn open_if(&mut self) {
        self.blocks.push(Block::default());
    }

    /// Closes the innermost open block as one that runs only if `cond`, defined before it, is not zero.
    pub fn close_if(&mut self, cond: Val) {
        let then = self.blocks.pop().expect("the conditional's block is open");
        self.push(Stmt::If { cond, then });
    }
}

/// A loop whose body is being built.
#[derive(Debug)]
pub struct OpenLoop {
    /// The iteration number.
    pub iv: Val,
    /// The carried values inside the body.
    pub params: Vec<Val>,
    trip: Val,
    init: Vec<Val>,
}

/// The type of an operation's result. Operands of wrong types are found by the verifier, not here.
pub(super) fn result_type(inst: &Inst, types: &IndexVec<Val, Type>) -> Type {
    let lanes_of = |val: &Val| match types[*val] {
        Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => lanes,
        Type::Int => 1,
    };
    let elem_of = |val: &Val| match types[*val] {
        Type::Vec { elem, .. } => elem,
        Type::Mask { .. } | Type::Int => Elem::I64,
    };
    match inst {
        Inst::IntConst(_)
        | Inst::Int(..)
        | Inst::IntTrailingZeros(_)
        | Inst::IntLoad(..)
        | Inst::IntFromLane(_)
        | Inst::MaskBits(_) => Type::Int,
        Inst::Const { ty, .. }
        | Inst::Iota { ty }
        | Inst::Splat { ty, .. }
        | Inst::SplatLane { ty, .. }
        | Inst::Load { ty, .. }
        | Inst::Broadcast { ty, .. }
        | Inst::Gather { ty, .. }
        | Inst::MaskFirst { ty, .. }
        | Inst::MaskResize { ty, .. } => *ty,
        Inst::Unary(_, a)
        | Inst::Binary(_, a, _)
        | Inst::Shift(_, a, _)
        | Inst::Fma { a, .. }
        | Inst::Mask(_, a, _)
        | Inst::MaskNot(a)
        | Inst::Select { a, .. }
        | Inst::ScalePow2 { p: a, .. } => types[*a],
        Inst::Compare(_, a, _) => Type::Mask { bits: elem_of(a).bits(), lanes: lanes_of(a) },
        Inst::Convert(elem, a) | Inst::Bitcast(elem, a) => {
            Type::Vec { elem: *elem, lanes: lanes_of(a) }
        }
        Inst::Fold(_, a) | Inst::Lane(a, _) => Type::Vec { elem: elem_of(a), lanes: 1 },
    }
}
