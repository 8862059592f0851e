//! Ways to break a kernel, each of which the verifier must see.

use dlc_ir::entity::EntityRef;
use dlc_ir::vector::{Block, Elem, FuncId, Function, Inst, Stmt, Storage, Type, Val};

use crate::rng::Rng;

/// A way to break a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A value gets another type.
    Type,
    /// An operation uses its own result.
    SelfUse,
    /// A definition stands twice.
    Twice,
    /// A definition is missing.
    Missing,
    /// A barrier stands in a kernel.
    Barrier,
    /// A kernel calls itself.
    Call,
    /// A store meets memory of another element type.
    Storage,
    /// A shift, a lane or a scale is out of range.
    Range,
}

impl Mutation {
    /// All ways.
    pub const ALL: [Mutation; 8] = [
        Mutation::Type,
        Mutation::SelfUse,
        Mutation::Twice,
        Mutation::Missing,
        Mutation::Barrier,
        Mutation::Call,
        Mutation::Storage,
        Mutation::Range,
    ];
}

/// Breaks a function that obeys the laws. Returns false, with the function as it was, if it holds nothing to break in
/// this way.
pub fn break_function(function: &mut Function, mutation: Mutation, rng: &mut Rng) -> bool {
    if mutation == Mutation::Type {
        let val = Val::from_index(rng.below(function.types.len()));
        let old = function.types[val];
        let others = [
            Type::Int,
            Type::Vec { elem: Elem::F32, lanes: 4 },
            Type::Vec { elem: Elem::I64, lanes: 16 },
            Type::Vec { elem: Elem::F64, lanes: 3 },
            Type::Mask { bits: 32, lanes: 8 },
            Type::Mask { bits: 16, lanes: 8 },
        ];
        let others: Vec<Type> = others.into_iter().filter(|&ty| ty != old).collect();
        function.types[val] = rng.pick(&others);
        return true;
    }
    let n = count(&function.body);
    // A few draws find a statement of the kind wanted, if there are any to speak of.
    (0..400).any(|_| {
        let mut number = rng.below(n);
        let (block, index) = find(&mut function.body, &mut number).expect("counted above");
        break_statement(block, index, mutation, rng)
    })
}

fn break_statement(block: &mut Block, index: usize, mutation: Mutation, rng: &mut Rng) -> bool {
    match mutation {
        Mutation::Type => unreachable!("types are not statements"),
        Mutation::SelfUse => {
            let Stmt::Let(val, inst) = &mut block.stmts[index] else { return false };
            let n_operands = inst.operands().len();
            if n_operands == 0 {
                return false;
            }
            let (val, mut countdown) = (*val, rng.below(n_operands));
            inst.map_operands(&mut |operand| {
                if countdown == 0 {
                    *operand = val;
                }
                countdown = countdown.wrapping_sub(1);
            });
        }
        Mutation::Twice | Mutation::Missing => {
            let stmt = block.stmts[index].clone();
            if !matches!(stmt, Stmt::Let(..) | Stmt::Transpose { .. } | Stmt::Loop(..)) {
                return false;
            }
            if mutation == Mutation::Twice {
                block.stmts.insert(index, stmt);
            } else {
                block.stmts.remove(index);
            }
        }
        Mutation::Barrier => block.stmts.insert(index, Stmt::Barrier),
        Mutation::Call => {
            let call = Stmt::Call { func: FuncId::from_index(0), args: Vec::new() };
            block.stmts.insert(index, call);
        }
        Mutation::Storage => {
            let Stmt::Store { storage, .. } = &mut block.stmts[index] else { return false };
            *storage = if storage.elem() == Elem::F32 { Storage::U8 } else { Storage::Bf16 };
        }
        Mutation::Range => match &mut block.stmts[index] {
            Stmt::Let(_, Inst::Shift(_, _, by)) => *by = 64,
            Stmt::Let(_, Inst::Lane(_, lane)) => *lane = 16,
            Stmt::Let(_, Inst::Load { addr, .. }) | Stmt::Store { addr, .. } => {
                match &mut addr.index {
                    Some((_, scale)) => *scale = 3,
                    None => return false,
                }
            }
            _ => return false,
        },
    }
    true
}

fn inner(stmt: &mut Stmt) -> Option<&mut Block> {
    match stmt {
        Stmt::Loop(stmt) => Some(&mut stmt.body),
        Stmt::If { then, .. } => Some(then),
        Stmt::Let(..)
        | Stmt::Store { .. }
        | Stmt::IntStore { .. }
        | Stmt::Transpose { .. }
        | Stmt::Call { .. }
        | Stmt::Barrier => None,
    }
}

fn count(block: &Block) -> usize {
    let inner = |stmt: &Stmt| match stmt {
        Stmt::Loop(stmt) => count(&stmt.body),
        Stmt::If { then, .. } => count(then),
        Stmt::Let(..)
        | Stmt::Store { .. }
        | Stmt::IntStore { .. }
        | Stmt::Transpose { .. }
        | Stmt::Call { .. }
        | Stmt::Barrier => 0,
    };
    block.stmts.iter().map(|stmt| 1 + inner(stmt)).sum()
}

/// The block and position of statement `number`, counted in the order of the text.
fn find<'b>(block: &'b mut Block, number: &mut usize) -> Option<(&'b mut Block, usize)> {
    for index in 0..block.stmts.len() {
        if *number == 0 {
            return Some((block, index));
        }
        *number -= 1;
        let nested = inner(&mut block.stmts[index]).map_or(0, |block| count(block));
        if *number < nested {
            let block = inner(&mut block.stmts[index]).expect("it holds statements");
            return find(block, number);
        }
        *number -= nested;
    }
    None
}
