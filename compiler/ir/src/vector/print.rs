//! The text of vector IR.
//!
//! One statement a line, indented by nesting; values are numbered in the order of their definitions, so unrelated
//! changes leave the rest of a text alone. [`super::parse`] reads it back.
//!
//! ```text
//! kernel scale(v0, v1) {
//!   v2: f32x16 = const 0.5
//!   v3: int = iconst 64
//!   loop v4 in 0..v1 carry v5: int = v0 -> v9 {
//!     v6: f32x16 = load.f32 [v5]
//!     v7: f32x16 = mul v6, v2
//!     store.f32 [v5], v7
//!     v8: int = iadd v5, v3
//!     next v8
//!   }
//! }
//! ```
//! Float constants are the shortest decimals that read back as the same value, or bits (`0x7fc00000`) where they
//! are not finite.

use std::fmt;
use std::fmt::Write as _;

use super::data::*;
use super::ops::Named;

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Int => f.write_str("int"),
            Type::Vec { elem, lanes } => write!(f, "{}x{lanes}", elem.name()),
            Type::Mask { bits, lanes } => write!(f, "m{bits}x{lanes}"),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.base)?;
        if let Some((index, scale)) = self.index {
            write!(f, " + {index}*{scale}")?;
        }
        match self.disp {
            0 => {}
            disp if disp < 0 => write!(f, " - {}", disp.unsigned_abs())?,
            disp => write!(f, " + {disp}")?,
        }
        f.write_str("]")
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, function) in self.functions.values().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&print_function(self, function))?;
        }
        Ok(())
    }
}

/// The text of one function of a module, whose callees it names.
pub fn print_function(module: &Module, function: &Function) -> String {
    let function = function.renumbered();
    let mut printer = Printer { module, function: &function, out: String::new() };
    let params: Vec<String> = function.params.iter().map(Val::to_string).collect();
    let _ = writeln!(
        printer.out,
        "{} {}({}) {{",
        function.kind.name(),
        function.name,
        params.join(", ")
    );
    printer.block(&function.body, 1);
    printer.out.push_str("}\n");
    printer.out
}

/// The first line of a statement, with values as they are numbered in the function.
pub(super) fn statement_text(module: &Module, function: &Function, stmt: &Stmt) -> String {
    let mut printer = Printer { module, function, out: String::new() };
    printer.head(stmt);
    printer.out
}

struct Printer<'a> {
    module: &'a Module,
    function: &'a Function,
    out: String,
}

fn list(vals: &[Val]) -> String {
    vals.iter().map(Val::to_string).collect::<Vec<_>>().join(", ")
}

impl Printer<'_> {
    fn typed(&self, val: Val) -> String {
        match self.function.types.get(val) {
            Some(ty) => format!("{val}: {ty}"),
            None => format!("{val}: ?"),
        }
    }

    fn block(&mut self, block: &Block, depth: usize) {
        let indent = "  ".repeat(depth);
        for stmt in &block.stmts {
            self.out.push_str(&indent);
            self.head(stmt);
            self.out.push('\n');
            match stmt {
                Stmt::Loop(stmt) => {
                    self.block(&stmt.body, depth + 1);
                    if !stmt.carried.is_empty() {
                        let next: Vec<Val> =
                            stmt.carried.iter().map(|carried| carried.next).collect();
                        let _ = writeln!(self.out, "{indent}  next {}", list(&next));
                    }
                    let _ = writeln!(self.out, "{indent}}}");
                }
                Stmt::If { then, .. } => {
                    self.block(then, depth + 1);
                    let _ = writeln!(self.out, "{indent}}}");
                }
                Stmt::Let(..)
                | Stmt::Store { .. }
                | Stmt::IntStore { .. }
                | Stmt::Transpose { .. }
                | Stmt::Call { .. }
                | Stmt::Barrier => {}
            }
        }
    }

    /// The statement's line without indentation; of nested ones the opening line.
    fn head(&mut self, stmt: &Stmt) {
        let text = match stmt {
            Stmt::Let(val, inst) => format!("{} = {}", self.typed(*val), inst_text(inst)),
            Stmt::Store { storage, addr, value, mask } => {
                format!("store.{} {addr}, {value}{}", storage.name(), mask_text(*mask))
            }
            Stmt::IntStore { width, addr, value } => {
                format!("istore.{} {addr}, {value}", width.name())
            }
            Stmt::Transpose { inputs, results } => {
                let results: Vec<String> = results.iter().map(|&val| self.typed(val)).collect();
                format!("{} = transpose {}", results.join(", "), list(inputs))
            }
            Stmt::Loop(stmt) => {
                let carried: Vec<String> = stmt
                    .carried
                    .iter()
                    .map(|c| format!("{} = {} -> {}", self.typed(c.param), c.init, c.result))
                    .collect();
                let carry = if carried.is_empty() { "" } else { " carry " };
                format!("loop {} in 0..{}{carry}{} {{", stmt.iv, stmt.trip, carried.join(", "))
            }
            Stmt::If { cond, .. } => format!("if {cond} {{"),
            Stmt::Call { func, args } => {
                let name = self.module.functions.get(*func).map(|callee| callee.name.as_str());
                format!("call {}({})", name.unwrap_or("?"), list(args))
            }
            Stmt::Barrier => "barrier".to_owned(),
        };
        self.out.push_str(&text);
    }
}

fn mask_text(mask: Option<Val>) -> String {
    mask.map(|mask| format!(" mask {mask}")).unwrap_or_default()
}

fn inst_text(inst: &Inst) -> String {
    match inst {
        Inst::IntConst(value) => format!("iconst {value}"),
        Inst::Int(op, a, b) => format!("{} {a}, {b}", op.name()),
        Inst::IntTrailingZeros(a) => format!("ictz {a}"),
        Inst::IntLoad(width, addr) => format!("iload.{} {addr}", width.name()),
        Inst::IntFromLane(a) => format!("int_from_lane {a}"),
        Inst::Const { ty, bits } => format!("const {}", constant_text(*ty, *bits)),
        Inst::Iota { .. } => "iota".to_owned(),
        Inst::Splat { value, .. } => format!("splat {value}"),
        Inst::SplatLane { value, .. } => format!("splat_lane {value}"),
        Inst::Load { storage, addr, mask, .. } => {
            format!("load.{} {addr}{}", storage.name(), mask_text(*mask))
        }
        Inst::Broadcast { storage, addr, .. } => format!("broadcast.{} {addr}", storage.name()),
        Inst::Gather { storage, addr, index, mask, .. } => {
            format!("gather.{} {addr}, {index}{}", storage.name(), mask_text(*mask))
        }
        Inst::Unary(op, a) => format!("{} {a}", op.name()),
        Inst::Binary(op, a, b) => format!("{} {a}, {b}", op.name()),
        Inst::Shift(op, a, by) => format!("{} {a}, {by}", op.name()),
        Inst::Fma { a, b, c, negate } => {
            format!("{} {a}, {b}, {c}", if *negate { "fnma" } else { "fma" })
        }
        Inst::Compare(op, a, b) => format!("compare.{} {a}, {b}", op.name()),
        Inst::Mask(op, a, b) => format!("mask.{} {a}, {b}", op.name()),
        Inst::MaskNot(a) => format!("mask_not {a}"),
        Inst::MaskFirst { count, .. } => format!("mask_first {count}"),
        Inst::MaskBits(a) => format!("mask_bits {a}"),
        Inst::MaskResize { mask, .. } => format!("mask_resize {mask}"),
        Inst::Select { mask, a, b } => format!("select {mask}, {a}, {b}"),
        Inst::Convert(_, a) => format!("convert {a}"),
        Inst::Bitcast(_, a) => format!("bitcast {a}"),
        Inst::ScalePow2 { p, n } => format!("scale_pow2 {p}, {n}"),
        Inst::Fold(op, a) => format!("fold.{} {a}", op.name()),
        Inst::Lane(a, lane) => format!("lane {a}, {lane}"),
    }
}

fn constant_text(ty: Type, bits: u64) -> String {
    match ty {
        Type::Vec { elem: Elem::F32, .. } if bits >> 32 == 0 => {
            let value = f32::from_bits(bits as u32);
            if value.is_finite() { format!("{value:?}") } else { format!("{bits:#x}") }
        }
        Type::Vec { elem: Elem::F64, .. } => {
            let value = f64::from_bits(bits);
            if value.is_finite() { format!("{value:?}") } else { format!("{bits:#x}") }
        }
        Type::Vec { elem: Elem::I32, .. } if bits >> 32 == 0 => (bits as u32 as i32).to_string(),
        Type::Vec { elem: Elem::I64, .. } => (bits as i64).to_string(),
        Type::Vec { .. } | Type::Int | Type::Mask { .. } => format!("{bits:#x}"),
    }
}
