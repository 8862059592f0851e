//! Facts about a function that selection needs before it walks: uses, dead values, aliases, sums in addresses.

use dlc_ir::entity::{EntityRef, IndexVec};
use dlc_ir::vector::{Addr, Block, Function, FunctionKind, Inst, IntOp, Stmt, Val};

/// Facts by value.
pub(super) struct Facts {
    /// Uses by live operations; aliases count for the value they name.
    pub uses: IndexVec<Val, u32>,
    /// Uses that are not yet emitted.
    pub uses_left: IndexVec<Val, u32>,
    /// The value that this one is the same register as.
    pub alias: Vec<Option<Val>>,
    /// `(base, disp)` of a sum that is only ever part of an address.
    pub sum: Vec<Option<(Val, i32)>>,
    /// A sum of a carried value that is its next value and nothing else: emitted at the end of the body.
    pub deferred: Vec<bool>,
    /// A comparison whose only use is a branch.
    pub feeds_branch: Vec<bool>,
    /// The loop in which a value was defined, filled in by the walk.
    pub loop_of: IndexVec<Val, u32>,
}

/// Counts uses backwards.
pub(super) fn analyse(function: &Function, evex: bool) -> Facts {
    let n = function.types.len();
    let zeros = || (0..n).map(|_| 0).collect();
    let mut walk = Walk {
        function,
        evex,
        facts: Facts {
            uses: zeros(),
            uses_left: IndexVec::new(),
            alias: vec![None; n],
            sum: vec![None; n],
            deferred: vec![false; n],
            feeds_branch: vec![false; n],
            loop_of: zeros(),
        },
        addr_uses: vec![0; n],
        branch_uses: vec![0; n],
        next_uses: vec![0; n],
        ints: vec![None; n],
    };
    if function.kind == FunctionKind::Segment {
        // Its status is found through the context.
        walk.count(function.params[0]);
    }
    walk.constants(&function.body);
    walk.block(&function.body);
    let mut facts = walk.facts;
    facts.uses_left = facts.uses.clone();
    facts
}

struct Walk<'a> {
    function: &'a Function,
    evex: bool,
    facts: Facts,
    addr_uses: Vec<u32>,
    branch_uses: Vec<u32>,
    /// Uses as the next value of the carried value whose parameter is given.
    next_uses: Vec<u32>,
    ints: Vec<Option<i64>>,
}

impl Walk<'_> {
    fn constants(&mut self, block: &Block) {
        for stmt in &block.stmts {
            match stmt {
                Stmt::Let(val, Inst::IntConst(value)) => self.ints[val.index()] = Some(*value),
                Stmt::Loop(body) => self.constants(&body.body),
                Stmt::If { then, .. } => self.constants(then),
                Stmt::Let(..)
                | Stmt::Store { .. }
                | Stmt::IntStore { .. }
                | Stmt::Transpose { .. }
                | Stmt::Call { .. }
                | Stmt::Barrier => {}
            }
        }
    }

    fn count(&mut self, val: Val) {
        self.facts.uses[val] += 1;
    }

    fn addr(&mut self, addr: &Addr) {
        self.count(addr.base);
        self.addr_uses[addr.base.index()] += 1;
        if let Some((index, _)) = addr.index {
            self.count(index);
        }
    }

    fn block(&mut self, block: &Block) {
        for stmt in block.stmts.iter().rev() {
            match stmt {
                Stmt::Let(val, inst) => self.inst(*val, inst),
                Stmt::Store { addr, value, mask, .. } => {
                    self.addr(addr);
                    self.count(*value);
                    mask.iter().for_each(|&mask| self.count(mask));
                }
                Stmt::IntStore { addr, value, .. } => {
                    self.addr(addr);
                    self.count(*value);
                }
                Stmt::Transpose { inputs, .. } => {
                    inputs.iter().for_each(|&input| self.count(input))
                }
                Stmt::Loop(body) => {
                    for carried in &body.carried {
                        self.count(carried.next);
                        self.next_uses[carried.next.index()] += 1;
                    }
                    self.block(&body.body);
                    self.defer(body);
                    self.count(body.trip);
                    body.carried.iter().for_each(|carried| self.count(carried.init));
                }
                Stmt::If { cond, then } => {
                    self.block(then);
                    self.count(*cond);
                    self.branch_uses[cond.index()] += 1;
                }
                Stmt::Call { args, .. } => args.iter().for_each(|&arg| self.count(arg)),
                // A barrier is told the context and the part.
                Stmt::Barrier => {
                    let function = self.function;
                    function.params.iter().take(2).for_each(|&param| self.count(param));
                }
            }
        }
    }

    /// Marks next values of the form `param + constant` or `param + value from outside` that have no other use.
    fn defer(&mut self, body: &dlc_ir::vector::Loop) {
        for stmt in &body.body.stmts {
            let Stmt::Let(val, Inst::Int(IntOp::Add, a, b)) = stmt else { continue };
            let is_next_only = self.facts.uses[*val] == 1 && self.next_uses[val.index()] == 1;
            let in_place = body.carried.iter().any(|carried| {
                carried.next == *val && (carried.param == *a || carried.param == *b)
            });
            let step = if body.carried.iter().any(|carried| carried.param == *a) { *b } else { *a };
            if is_next_only && in_place && self.ints[step.index()].is_some() {
                self.facts.deferred[val.index()] = true;
            }
        }
    }

    fn inst(&mut self, val: Val, inst: &Inst) {
        let uses = self.facts.uses[val];
        if uses == 0 {
            return;
        }
        if let Some(root) = self.alias_of(val, inst) {
            self.facts.alias[val.index()] = Some(root);
            self.facts.uses[root] += uses;
            return;
        }
        if let Inst::Int(IntOp::Add, a, b) = inst
            && self.addr_uses[val.index()] == uses
        {
            let parts = match (self.ints[a.index()], self.ints[b.index()]) {
                (None, Some(disp)) => Some((*a, disp)),
                (Some(disp), None) => Some((*b, disp)),
                _ => None,
            };
            if let Some((base, disp)) = parts
                && let Ok(disp) = i32::try_from(disp)
                && disp.unsigned_abs() < 1 << 28
            {
                self.facts.sum[val.index()] = Some((base, disp));
                self.facts.uses[base] += uses;
                self.addr_uses[base.index()] += uses;
                return;
            }
        }
        if let Inst::Int(IntOp::Less | IntOp::Equal, ..) = inst {
            self.facts.feeds_branch[val.index()] = uses == 1 && self.branch_uses[val.index()] == 1;
        }
        self.operands(inst);
    }

    fn alias_of(&self, val: Val, inst: &Inst) -> Option<Val> {
        let types = &self.function.types;
        match inst {
            Inst::Bitcast(_, a) | Inst::Lane(a, 0) => Some(*a),
            Inst::Convert(_, a) if types[val] == types[*a] => Some(*a),
            Inst::MaskResize { mask, .. } if self.evex || types[val] == types[*mask] => Some(*mask),
            Inst::SplatLane { value, .. } if types[val] == types[*value] => Some(*value),
            _ => None,
        }
    }

    fn operands(&mut self, inst: &Inst) {
        match inst {
            Inst::IntConst(_) | Inst::Const { .. } | Inst::Iota { .. } => {}
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
            | Inst::Lane(a, _) => self.count(*a),
            Inst::Int(_, a, b)
            | Inst::Binary(_, a, b)
            | Inst::Compare(_, a, b)
            | Inst::Mask(_, a, b)
            | Inst::ScalePow2 { p: a, n: b } => {
                self.count(*a);
                self.count(*b);
            }
            Inst::Fma { a, b, c, .. } | Inst::Select { mask: a, a: b, b: c } => {
                self.count(*a);
                self.count(*b);
                self.count(*c);
            }
            Inst::IntLoad(_, addr) | Inst::Broadcast { addr, .. } => self.addr(addr),
            Inst::Load { addr, mask, .. } => {
                self.addr(addr);
                mask.iter().for_each(|&mask| self.count(mask));
            }
            Inst::Gather { addr, index, mask, .. } => {
                self.addr(addr);
                self.count(*index);
                mask.iter().for_each(|&mask| self.count(mask));
            }
        }
    }
}
