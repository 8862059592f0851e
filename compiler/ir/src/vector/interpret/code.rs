//! Functions in the flat form that the interpreter runs.
//!
//! Values get slots in four files (integers, 32-bit lanes, 64-bit lanes, masks); operations keep their shape, with
//! slots in place of values. Blocks are laid end to end with jumps by position.

use crate::entity::{EntityRef, IndexVec};
use crate::vector::data::*;

/// Registers of one running function. A slot is never shared, so loops and barriers keep all values.
#[derive(Debug, Default, Clone)]
pub(super) struct Frame {
    pub(super) ints: Vec<i64>,
    pub(super) lanes32: Vec<[u32; 16]>,
    pub(super) lanes64: Vec<[u64; 16]>,
    pub(super) masks: Vec<u16>,
}

/// A file of a [`Frame`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Ints,
    Lanes32,
    Lanes64,
    Masks,
}

impl File {
    pub(super) fn of(ty: Type) -> File {
        match ty {
            Type::Int => File::Ints,
            Type::Vec { elem, .. } if elem.bits() == 32 => File::Lanes32,
            Type::Vec { .. } => File::Lanes64,
            Type::Mask { .. } => File::Masks,
        }
    }
}

/// A copy within a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) file: File,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// One step. All [`Val`]s are slots.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// An operation, with the types of its result and of its first vector operand.
    Let {
        to: usize,
        ty: Type,
        arg: Type,
        inst: Inst,
    },
    Store {
        storage: Storage,
        addr: Addr,
        lanes: usize,
        value: usize,
        mask: Option<usize>,
    },
    IntStore {
        width: IntWidth,
        addr: Addr,
        value: usize,
    },
    Transpose {
        file: File,
        inputs: Box<[usize]>,
        results: Box<[usize]>,
    },
    /// Enters a loop, or for no iterations goes on at `exit`.
    Enter {
        iv: usize,
        trip: usize,
        moves: Box<[Move]>,
        skip: Box<[Move]>,
        exit: usize,
    },
    /// Goes on with the next iteration at `body`, or leaves the loop.
    Repeat {
        iv: usize,
        trip: usize,
        next: Box<[Move]>,
        crossing: bool,
        leave: Box<[Move]>,
        body: usize,
    },
    /// Goes on at `exit` if the integer is zero.
    Unless {
        cond: usize,
        exit: usize,
    },
    Call {
        func: FuncId,
        args: Box<[usize]>,
    },
    Barrier,
}

/// A function.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) steps: Vec<Step>,
    /// The statement of each step, counted in the order of the text.
    pub(super) statements: Vec<u32>,
    pub(super) params: Vec<usize>,
    /// Registers of the right number, all zero.
    pub(super) frame: Frame,
}

/// Flattens a verified function.
pub(super) fn flatten(function: &Function) -> Code {
    let mut frame = Frame::default();
    let slots = function.types.values().map(|&ty| match File::of(ty) {
        File::Ints => push(&mut frame.ints),
        File::Lanes32 => push(&mut frame.lanes32),
        File::Lanes64 => push(&mut frame.lanes64),
        File::Masks => push(&mut frame.masks),
    });
    let slots: IndexVec<Val, usize> = slots.collect();
    let params = function.params.iter().map(|&param| slots[param]).collect();
    let mut flattener =
        Flattener { function, slots, steps: Vec::new(), statements: Vec::new(), n_statements: 0 };
    flattener.block(&function.body);
    let Flattener { steps, statements, .. } = flattener;
    Code { steps, statements, params, frame }
}

fn push<T: Default>(file: &mut Vec<T>) -> usize {
    file.push(T::default());
    file.len() - 1
}

/// The statement that [`Code::statements`] counts as `number`.
pub(super) fn nth_statement(block: &Block, number: &mut u32) -> Option<Stmt> {
    for stmt in &block.stmts {
        if *number == 0 {
            return Some(stmt.clone());
        }
        *number -= 1;
        let inner = match stmt {
            Stmt::Loop(stmt) => nth_statement(&stmt.body, number),
            Stmt::If { then, .. } => nth_statement(then, number),
            Stmt::Let(..)
            | Stmt::Store { .. }
            | Stmt::IntStore { .. }
            | Stmt::Transpose { .. }
            | Stmt::Call { .. }
            | Stmt::Barrier => None,
        };
        if inner.is_some() {
            return inner;
        }
    }
    None
}

struct Flattener<'a> {
    function: &'a Function,
    slots: IndexVec<Val, usize>,
    steps: Vec<Step>,
    statements: Vec<u32>,
    n_statements: u32,
}

impl Flattener<'_> {
    fn slot(&self, val: Val) -> usize {
        self.slots[val]
    }

    fn slots_of(&self, vals: &[Val]) -> Box<[usize]> {
        vals.iter().map(|&val| self.slot(val)).collect()
    }

    fn addr(&self, addr: &Addr) -> Addr {
        let mut addr = *addr;
        addr.map_operands(&mut |val| *val = Val::from_index(self.slots[*val]));
        addr
    }

    fn moves(&self, pairs: impl Iterator<Item = (Val, Val)>) -> Box<[Move]> {
        let moves = pairs.map(|(from, to)| {
            let file = File::of(self.function.types[to]);
            Move { file, from: self.slot(from), to: self.slot(to) }
        });
        moves.collect()
    }

    fn push(&mut self, statement: u32, step: Step) {
        self.steps.push(step);
        self.statements.push(statement);
    }

    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        let number = self.n_statements;
        self.n_statements += 1;
        let step = match stmt {
            Stmt::Let(val, inst) => {
                let types = &self.function.types;
                let operands = inst.operands();
                let vectors = operands.iter().map(|&val| types[val]);
                let arg = vectors.into_iter().find(|ty| *ty != Type::Int).unwrap_or(Type::Int);
                let mut inst = inst.clone();
                inst.map_operands(&mut |val| *val = Val::from_index(self.slots[*val]));
                Step::Let { to: self.slot(*val), ty: types[*val], arg, inst }
            }
            Stmt::Store { storage, addr, value, mask } => Step::Store {
                storage: *storage,
                addr: self.addr(addr),
                lanes: lanes(self.function.types[*value]),
                value: self.slot(*value),
                mask: mask.map(|mask| self.slot(mask)),
            },
            Stmt::IntStore { width, addr, value } => {
                Step::IntStore { width: *width, addr: self.addr(addr), value: self.slot(*value) }
            }
            Stmt::Transpose { inputs, results } => Step::Transpose {
                file: File::of(self.function.types[inputs[0]]),
                inputs: self.slots_of(inputs),
                results: self.slots_of(results),
            },
            Stmt::Loop(stmt) => return self.loop_stmt(number, stmt),
            Stmt::If { cond, then } => {
                let at = self.steps.len();
                self.push(number, Step::Unless { cond: self.slot(*cond), exit: 0 });
                self.block(then);
                let end = self.steps.len();
                if let Step::Unless { exit, .. } = &mut self.steps[at] {
                    *exit = end;
                }
                return;
            }
            Stmt::Call { func, args } => Step::Call { func: *func, args: self.slots_of(args) },
            Stmt::Barrier => Step::Barrier,
        };
        self.push(number, step);
    }

    fn loop_stmt(&mut self, number: u32, stmt: &Loop) {
        let (iv, trip) = (self.slot(stmt.iv), self.slot(stmt.trip));
        let moves = self.moves(stmt.carried.iter().map(|c| (c.init, c.param)));
        let skip = self.moves(stmt.carried.iter().map(|c| (c.init, c.result)));
        let next = self.moves(stmt.carried.iter().map(|c| (c.next, c.param)));
        let leave = self.moves(stmt.carried.iter().map(|c| (c.next, c.result)));
        let params: Vec<Val> = stmt.carried.iter().map(|c| c.param).collect();
        let crossing = stmt.carried.iter().any(|c| c.next != c.param && params.contains(&c.next));
        let enter = self.steps.len();
        self.push(number, Step::Enter { iv, trip, moves, skip, exit: 0 });
        let body = self.steps.len();
        self.block(&stmt.body);
        self.push(number, Step::Repeat { iv, trip, next, crossing, leave, body });
        let end = self.steps.len();
        if let Step::Enter { exit, .. } = &mut self.steps[enter] {
            *exit = end;
        }
    }
}

/// Number of lanes; 1 for an integer.
pub(super) fn lanes(ty: Type) -> usize {
    match ty {
        Type::Int => 1,
        Type::Vec { lanes, .. } | Type::Mask { lanes, .. } => usize::from(lanes),
    }
}
