//! What printer, parser, verifier and passes need to know of each operation: its name and its operands.

use super::data::*;
use crate::entity::EntityRef;

/// A set of named operations of one shape.
pub trait Named: Copy + PartialEq + 'static {
    /// Every operation with its name in texts.
    const TABLE: &'static [(Self, &'static str)];

    /// Its name in texts.
    fn name(self) -> &'static str {
        let entry = Self::TABLE.iter().find(|entry| entry.0 == self);
        entry.expect("the table holds every operation").1
    }

    /// The operation of that name.
    fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }
}

impl Named for Elem {
    const TABLE: &'static [(Self, &'static str)] =
        &[(Elem::F32, "f32"), (Elem::F64, "f64"), (Elem::I32, "i32"), (Elem::I64, "i64")];
}

impl Named for Storage {
    const TABLE: &'static [(Self, &'static str)] = &[
        (Storage::F32, "f32"),
        (Storage::F64, "f64"),
        (Storage::I32, "i32"),
        (Storage::I64, "i64"),
        (Storage::U8, "u8"),
        (Storage::I8, "i8"),
        (Storage::Bf16, "bf16"),
        (Storage::F16, "f16"),
    ];
}

impl Named for IntWidth {
    const TABLE: &'static [(Self, &'static str)] =
        &[(IntWidth::I32, "i32"), (IntWidth::I64, "i64")];
}

impl Named for IntOp {
    const TABLE: &'static [(Self, &'static str)] = &[
        (IntOp::Add, "iadd"),
        (IntOp::Sub, "isub"),
        (IntOp::Mul, "imul"),
        (IntOp::Div, "idiv"),
        (IntOp::Rem, "irem"),
        (IntOp::Min, "imin"),
        (IntOp::Max, "imax"),
        (IntOp::And, "iand"),
        (IntOp::Shl, "ishl"),
        (IntOp::Shr, "ishr"),
        (IntOp::Less, "iless"),
        (IntOp::Equal, "iequal"),
    ];
}

impl Named for VecUnary {
    const TABLE: &'static [(Self, &'static str)] = &[
        (VecUnary::Neg, "neg"),
        (VecUnary::Abs, "abs"),
        (VecUnary::Sqrt, "sqrt"),
        (VecUnary::Round, "round"),
        (VecUnary::Floor, "floor"),
    ];
}

impl Named for VecBinary {
    const TABLE: &'static [(Self, &'static str)] = &[
        (VecBinary::Add, "add"),
        (VecBinary::Sub, "sub"),
        (VecBinary::Mul, "mul"),
        (VecBinary::Div, "div"),
        (VecBinary::Min, "min"),
        (VecBinary::Max, "max"),
        (VecBinary::And, "and"),
        (VecBinary::Or, "or"),
        (VecBinary::Xor, "xor"),
        (VecBinary::MulHighUnsigned, "mul_high_u"),
    ];
}

impl Named for ShiftOp {
    const TABLE: &'static [(Self, &'static str)] = &[
        (ShiftOp::Left, "shl"),
        (ShiftOp::RightLogical, "shr_u"),
        (ShiftOp::RightArithmetic, "shr_s"),
    ];
}

impl Named for Compare {
    const TABLE: &'static [(Self, &'static str)] =
        &[(Compare::Eq, "eq"), (Compare::Ne, "ne"), (Compare::Lt, "lt"), (Compare::Le, "le")];
}

impl Named for MaskOp {
    const TABLE: &'static [(Self, &'static str)] = &[
        (MaskOp::And, "and"),
        (MaskOp::Or, "or"),
        (MaskOp::Xor, "xor"),
        (MaskOp::AndNot, "and_not"),
    ];
}

impl Named for FoldOp {
    const TABLE: &'static [(Self, &'static str)] =
        &[(FoldOp::Add, "add"), (FoldOp::Max, "max"), (FoldOp::Min, "min")];
}

impl Named for FunctionKind {
    const TABLE: &'static [(Self, &'static str)] = &[
        (FunctionKind::Kernel, "kernel"),
        (FunctionKind::Phase, "phase"),
        (FunctionKind::Segment, "segment"),
    ];
}

impl Addr {
    /// Replaces its values.
    pub fn map_operands(&mut self, f: &mut impl FnMut(&mut Val)) {
        f(&mut self.base);
        if let Some((index, _)) = &mut self.index {
            f(index);
        }
    }
}

impl Inst {
    /// Calls `f` with every operand, in the order of the text.
    pub fn map_operands(&mut self, f: &mut impl FnMut(&mut Val)) {
        match self {
            Inst::IntConst(_) | Inst::Const { .. } | Inst::Iota { .. } => {}
            Inst::Int(_, a, b)
            | Inst::Binary(_, a, b)
            | Inst::Compare(_, a, b)
            | Inst::Mask(_, a, b)
            | Inst::ScalePow2 { p: a, n: b } => {
                f(a);
                f(b);
            }
            Inst::IntTrailingZeros(a)
            | Inst::IntFromLane(a)
            | Inst::Splat { value: a, .. }
            | Inst::SplatLane { value: a, .. }
            | Inst::Unary(_, a)
            | Inst::Shift(_, a, _)
            | Inst::MaskNot(a)
            | Inst::MaskFirst { count: a, .. }
            | Inst::MaskBits(a)
            | Inst::MaskResize { mask: a, .. }
            | Inst::Convert(_, a)
            | Inst::Bitcast(_, a)
            | Inst::Fold(_, a)
            | Inst::Lane(a, _) => f(a),
            Inst::IntLoad(_, addr) | Inst::Broadcast { addr, .. } => addr.map_operands(f),
            Inst::Load { addr, mask, .. } => {
                addr.map_operands(f);
                mask.iter_mut().for_each(f);
            }
            Inst::Gather { addr, index, mask, .. } => {
                addr.map_operands(f);
                f(index);
                mask.iter_mut().for_each(f);
            }
            Inst::Fma { a, b, c, .. } => {
                f(a);
                f(b);
                f(c);
            }
            Inst::Select { mask, a, b } => {
                f(mask);
                f(a);
                f(b);
            }
        }
    }

    /// Its operands, in the order of the text.
    pub fn operands(&self) -> Vec<Val> {
        let mut operands = Vec::new();
        self.clone().map_operands(&mut |val| operands.push(*val));
        operands
    }
}

impl Function {
    /// The same function with values numbered densely in the order of their definitions, as they are printed.
    /// Values that are used without a definition, which the verifier refuses, are numbered after all others.
    pub fn renumbered(&self) -> Function {
        let mut numbering = Numbering { new: vec![None; self.types.len()], next: 0 };
        let mut function = self.clone();
        function.params.iter_mut().for_each(|val| numbering.define(val));
        numbering.block(&mut function.body);
        let mut old_of_new: Vec<(Val, Val)> = Vec::new();
        for (old, new) in self.types.keys().zip(&numbering.new) {
            if let Some(new) = new {
                old_of_new.push((*new, old));
            }
        }
        old_of_new.sort_unstable();
        function.types = old_of_new.into_iter().map(|(_, old)| self.types[old]).collect();
        function
    }
}

struct Numbering {
    new: Vec<Option<Val>>,
    next: usize,
}

impl Numbering {
    fn define(&mut self, val: &mut Val) {
        let index = val.index();
        if index >= self.new.len() {
            self.new.resize(index + 1, None);
        }
        if self.new[index].is_none() {
            self.new[index] = Some(Val::from_index(self.next));
            self.next += 1;
        }
        *val = self.new[index].expect("set above");
    }

    fn block(&mut self, block: &mut Block) {
        // A use before its definition would be numbered at the use; the verifier refuses it anyway.
        for stmt in &mut block.stmts {
            match stmt {
                Stmt::Let(val, inst) => {
                    inst.map_operands(&mut |val| self.define(val));
                    self.define(val);
                }
                Stmt::Store { addr, value, mask, .. } => {
                    addr.map_operands(&mut |val| self.define(val));
                    self.define(value);
                    mask.iter_mut().for_each(|val| self.define(val));
                }
                Stmt::IntStore { addr, value, .. } => {
                    addr.map_operands(&mut |val| self.define(val));
                    self.define(value);
                }
                Stmt::Transpose { inputs, results } => {
                    inputs.iter_mut().chain(results).for_each(|val| self.define(val));
                }
                Stmt::Loop(stmt) => {
                    self.define(&mut stmt.trip);
                    stmt.carried.iter_mut().for_each(|carried| self.define(&mut carried.init));
                    self.define(&mut stmt.iv);
                    stmt.carried.iter_mut().for_each(|carried| self.define(&mut carried.param));
                    self.block(&mut stmt.body);
                    for carried in &mut stmt.carried {
                        self.define(&mut carried.next);
                    }
                    for carried in &mut stmt.carried {
                        self.define(&mut carried.result);
                    }
                }
                Stmt::If { cond, then } => {
                    self.define(cond);
                    self.block(then);
                }
                Stmt::Call { args, .. } => args.iter_mut().for_each(|val| self.define(val)),
                Stmt::Barrier => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_are_unique<T: Named + std::fmt::Debug>() {
        for &(op, name) in T::TABLE {
            assert_eq!(T::from_name(name), Some(op), "{name} stands once in the table");
        }
    }

    #[test]
    fn every_name_reads_back() {
        names_are_unique::<Elem>();
        names_are_unique::<Storage>();
        names_are_unique::<IntWidth>();
        names_are_unique::<IntOp>();
        names_are_unique::<VecUnary>();
        names_are_unique::<VecBinary>();
        names_are_unique::<ShiftOp>();
        names_are_unique::<Compare>();
        names_are_unique::<MaskOp>();
        names_are_unique::<FoldOp>();
        names_are_unique::<FunctionKind>();
    }
}
