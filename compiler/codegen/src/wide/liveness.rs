//! Live ranges of virtual registers, exact for structured code.
//!
//! Step `i` reads at position `2i` and writes at `2i + 1`, so a result may take the register of an operand that ends
//! there. A range is a list of half-open segments. Loops make one extra rule: what is read in a body before it is
//! written there (*exposed*) lives from its last write in the body, or from the head, to the loop's end. Branches make
//! another: what is live at a label and written on the way there is live at the branch too (the value of a carried
//! register if the loop does not run). Every label has one branch,
//! and labels are placed in the reverse order of their branches.
//! Cost: O(steps + reads * loop depth).

use super::machine::{Code, Step, VReg};

/// Half-open intervals of positions, ascending and disjoint.
pub(super) type Segments = Vec<(u32, u32)>;

/// Live ranges by register.
pub(super) struct Ranges {
    /// Segments of each register; none for one that is never written.
    pub segments: Vec<Segments>,
    /// Reads and writes, each counted ten times for every loop around it.
    pub weights: Vec<f32>,
    /// Pairs of all [`Step::Moves`] with their loop depth.
    pub moves: Vec<(u32, VReg, VReg)>,
}

/// Position of the read of a step.
pub(super) fn read_at(step: usize) -> u32 {
    2 * step as u32
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
        Step::Arguments(_)
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
        Step::Divide { dst, .. } | Step::Arguments(dst) => f(*dst),
        Step::Branch(..) | Step::Place(_) | Step::LoopHead(_) | Step::LoopEnd(..) => {}
    }
}

/// Computes the ranges of all registers.
pub(super) fn ranges(code: &Code) -> Ranges {
    let n = code.regs.len();
    let (exposed, weights, moves) = forward(code);
    let mut segments: Vec<Segments> = vec![Vec::new(); n];
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
            segments[reg.index()].push((read + 1, end.max(read + 2)));
        });
        for_each_read(step, |reg| {
            let end = &mut live_end[reg.index()];
            if *end == 0 {
                *end = read + 1;
            }
        });
    }
    for list in &mut segments {
        list.reverse();
        join(list);
    }
    Ranges { segments, weights, moves }
}

/// Joins segments that touch.
fn join(list: &mut Segments) {
    list.dedup_by(|next, kept| {
        let touch = next.0 <= kept.1;
        if touch {
            kept.1 = kept.1.max(next.1);
        }
        touch
    });
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

/// The union of two ranges.
pub(super) fn union(a: &[(u32, u32)], b: &[(u32, u32)]) -> Segments {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if j == b.len() || (i < a.len() && a[i].0 <= b[j].0) {
            all.push(a[i]);
            i += 1;
        } else {
            all.push(b[j]);
            j += 1;
        }
    }
    join(&mut all);
    all
}
