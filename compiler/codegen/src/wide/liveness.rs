//! Live ranges of virtual registers, exact for structured code.
//!
//! Step `i` reads at position `2i` and writes at `2i + 1`, so a result may take the register of an operand that ends
//! there. A range is a list of half-open segments. Loops make one extra rule: what is read in a body before it is
//! written there (*exposed*) lives from its last write in the body, or from the head, to the loop's end. Branches make
//! another: what is live at a label and written on the way there is live at the branch too (the value of a carried
//! register if the loop does not run). Every label has one branch,
//! and labels are placed in the reverse order of their branches.
//! Cost: O(steps + reads * loop depth).

use super::machine::{Callee, Code, Step, VReg};

/// Half-open intervals of positions for each register, ascending, disjoint and not touching; in one array, since most
/// registers have a single one.
#[derive(Debug, Default)]
pub(super) struct Segments {
    all: Vec<(u32, u32)>,
    /// Start and number by register.
    spans: Vec<(u32, u32)>,
}

impl Segments {
    /// Those of one register; none if it is never written.
    pub(super) fn of(&self, index: usize) -> &[(u32, u32)] {
        let (start, len) = self.spans[index];
        &self.all[start as usize..(start + len) as usize]
    }

    /// Whether a register has none.
    pub(super) fn is_empty(&self, index: usize) -> bool {
        self.spans[index].1 == 0
    }

    /// Takes all from a register.
    pub(super) fn clear(&mut self, index: usize) {
        self.spans[index].1 = 0;
    }

    /// Gives register `a` the union of both and `b` none.
    pub(super) fn unite(&mut self, a: usize, b: usize) {
        let start = self.all.len();
        let (mut i, mut j) = (self.spans[a].0 as usize, self.spans[b].0 as usize);
        let (end_i, end_j) = (i + self.spans[a].1 as usize, j + self.spans[b].1 as usize);
        while i < end_i || j < end_j {
            let next = if j == end_j || (i < end_i && self.all[i].0 <= self.all[j].0) {
                i += 1;
                self.all[i - 1]
            } else {
                j += 1;
                self.all[j - 1]
            };
            self.push_joined(start, next);
        }
        self.spans[a] = (start as u32, (self.all.len() - start) as u32);
        self.clear(b);
    }

    /// Appends to a list that starts at `start`; joins what touches.
    fn push_joined(&mut self, start: usize, next: (u32, u32)) {
        match self.all[start..].last_mut() {
            Some(last) if next.0 <= last.1 => last.1 = last.1.max(next.1),
            _ => self.all.push(next),
        }
    }
}

/// Live ranges by register.
pub(super) struct Ranges {
    /// Where each register is alive.
    pub segments: Segments,
    /// Reads and writes, each counted ten times for every loop around it.
    pub weights: Vec<f32>,
    /// Pairs of all [`Step::Move`] and [`Step::Moves`] with their loop depth.
    pub moves: Vec<(u32, VReg, VReg)>,
}

/// Position of the read of a step.
pub(super) fn read_at(step: usize) -> u32 {
    2 * step as u32
}

/// Where calls take registers: from when their operands were read until the next step.
pub(super) fn calls(code: &Code) -> Vec<(u32, u32)> {
    let is_call = |(index, step): (usize, &Step)| matches!(step, Step::Call(_)).then_some(index);
    let at = |index: usize| (read_at(index) + 1, read_at(index) + 2);
    code.steps.iter().enumerate().filter_map(is_call).map(at).collect()
}

/// Calls `f` for each register a step reads.
fn for_each_read(step: &Step, mut f: impl FnMut(VReg)) {
    match step {
        Step::Inst(inst) => inst.for_each_use(f),
        Step::Moves(pairs) => pairs.iter().for_each(|&(_, src)| f(src)),
        Step::Divide { a, b, .. } => {
            f(*a);
            f(*b);
        }
        Step::Call(Callee::Address(address, args)) => {
            f(*address);
            args.iter().copied().for_each(f);
        }
        Step::Return(reg) => f(*reg),
        Step::Arguments(_)
        | Step::Call(Callee::Function(_))
        | Step::Returned(_)
        | Step::Branch(..)
        | Step::Place(_)
        | Step::LoopHead(_)
        | Step::LoopEnd(..) => {}
    }
}

/// Calls `f` for each register a step writes.
fn for_each_write(step: &Step, mut f: impl FnMut(VReg)) {
    match step {
        Step::Inst(inst) => inst.dst.into_iter().for_each(f),
        Step::Moves(pairs) => pairs.iter().for_each(|&(dst, _)| f(dst)),
        Step::Arguments(regs) => regs.iter().copied().for_each(f),
        Step::Divide { dst, .. } | Step::Returned(dst) => f(*dst),
        Step::Call(_)
        | Step::Return(_)
        | Step::Branch(..)
        | Step::Place(_)
        | Step::LoopHead(_)
        | Step::LoopEnd(..) => {}
    }
}

/// Computes the ranges of all registers.
pub(super) fn ranges(code: &Code) -> Ranges {
    let n = code.regs.len();
    let (exposed, weights, moves) = forward(code);
    // Segments found, each with the place of the next one of its register plus one; and the first of each register.
    let mut found: Vec<(u32, u32, u32)> = Vec::with_capacity(2 * n);
    let mut first = vec![0u32; n];
    // End of the segment being built backwards, or 0 for a dead register.
    let mut live_end = vec![0u32; n];
    // Branches around what the walk is in: where they lead, and what is live there but written on the way.
    let mut skipped: Vec<(u32, Vec<VReg>)> = Vec::new();
    for (index, step) in code.steps.iter().enumerate().rev() {
        let read = read_at(index);
        if let Step::LoopEnd(id, _) = step {
            for reg in &exposed[id.0 as usize] {
                let end = &mut live_end[reg.index()];
                if *end == 0 {
                    *end = read + 1;
                }
            }
        }
        match step {
            Step::Place(_) => skipped.push((read, Vec::new())),
            Step::Branch(..) => {
                let (_, written) = skipped.pop().expect("a label lies behind its branch");
                for reg in written {
                    let end = &mut live_end[reg.index()];
                    if *end == 0 {
                        *end = read + 1;
                    }
                }
            }
            Step::Inst(_)
            | Step::Arguments(_)
            | Step::Call(_)
            | Step::Returned(_)
            | Step::Return(_)
            | Step::Moves(_)
            | Step::LoopHead(_)
            | Step::LoopEnd(..)
            | Step::Divide { .. } => {}
        }
        for_each_write(step, |reg| {
            let end = std::mem::take(&mut live_end[reg.index()]);
            for (label, written) in &mut skipped {
                if end > *label {
                    written.push(reg);
                }
            }
            found.push((read + 1, end.max(read + 2), first[reg.index()]));
            first[reg.index()] = found.len() as u32;
        });
        for_each_read(step, |reg| {
            let end = &mut live_end[reg.index()];
            if *end == 0 {
                *end = read + 1;
            }
        });
    }
    let mut segments =
        Segments { all: Vec::with_capacity(found.len()), spans: Vec::with_capacity(n) };
    for mut next in first {
        let start = segments.all.len();
        while next != 0 {
            let (from, to, following) = found[next as usize - 1];
            segments.push_joined(start, (from, to));
            next = following;
        }
        segments.spans.push((start as u32, (segments.all.len() - start) as u32));
    }
    Ranges { segments, weights, moves }
}

/// Finds what each loop's body reads before it writes it, the weights and the moves.
#[allow(clippy::type_complexity, reason = "three tables of one walk")]
fn forward(code: &Code) -> (Vec<Vec<VReg>>, Vec<f32>, Vec<(u32, VReg, VReg)>) {
    let mut exposed: Vec<Vec<VReg>> = vec![Vec::new(); code.n_loops as usize];
    let mut weights = vec![0f32; code.regs.len()];
    let mut moves = Vec::new();
    // Step of the last write, plus one.
    let mut written = vec![0usize; code.regs.len()];
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (index, step) in code.steps.iter().enumerate() {
        let weight = 10f32.powi(open.len().min(6) as i32);
        for_each_read(step, |reg| {
            weights[reg.index()] += weight;
            for &(id, head) in open.iter().rev() {
                if written[reg.index()] > head {
                    break;
                }
                if exposed[id].last() != Some(&reg) {
                    exposed[id].push(reg);
                }
            }
        });
        for_each_write(step, |reg| {
            weights[reg.index()] += weight;
            written[reg.index()] = index + 1;
        });
        match step {
            Step::LoopHead(id) => open.push((id.0 as usize, index)),
            Step::LoopEnd(..) => {
                open.pop();
            }
            Step::Moves(pairs) => {
                moves.extend(pairs.iter().map(|&(dst, src)| (open.len() as u32, dst, src)));
            }
            Step::Inst(_)
            | Step::Arguments(_)
            | Step::Call(_)
            | Step::Returned(_)
            | Step::Return(_)
            | Step::Branch(..)
            | Step::Place(_)
            | Step::Divide { .. } => {}
        }
    }
    (exposed, weights, moves)
}

/// Whether two ranges meet.
pub(super) fn overlap(a: &[(u32, u32)], b: &[(u32, u32)]) -> bool {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i].1 <= b[j].0 {
            i += 1;
        } else if b[j].1 <= a[i].0 {
            j += 1;
        } else {
            return true;
        }
    }
    false
}
