//! Register allocation: linear scan over ranges with holes, after joining registers that moves connect.
//!
//! Joining makes loop-carried values stay in place: the register of a value inside a loop, of its next value and of its
//! result are one if their ranges do not meet, and so are the destination and the tied operand of a two-address
//! instruction. When registers run out, the cheapest values (accesses weighted by loop depth, per position occupied)
//! go to slots of the frame, their accesses become short-lived registers, and the scan starts again.
//! Registers that a call does not leave alone are taken for the moment of the call, so that what lives across it stays in others.
//! Cost: O(ranges * registers) a round; most kernels need one round.
//! Source: Poletto and Sarkar 1999, with lifetime holes after Wimmer and Moessenboeck 2005.

use super::liveness::{self, Segments};
use super::machine::{Class, Code, RegInfo, VReg};
use super::spill;

/// Where a virtual register lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is never written.
    Nowhere,
    /// A physical register of its class, by number.
    Reg(u8),
    /// A slot of the frame; such registers occur in moves only.
    Slot(u32),
}

/// Physical registers that may be used, in order of preference.
pub(super) struct Files {
    /// General registers.
    pub gpr: Vec<u8>,
    /// Vector registers.
    pub vec: Vec<u8>,
    /// Mask registers; k0 cannot be a writemask.
    pub mask: Vec<u8>,
    /// General registers that a callee restores; it restores none of the others.
    pub restored: &'static [u8],
}

impl Files {
    fn of(&self, class: Class) -> &[u8] {
        match class {
            Class::Gpr => &self.gpr,
            Class::Vec => &self.vec,
            Class::Mask => &self.mask,
        }
    }
}

/// Rounds of spilling before giving up: each makes the longest ranges short, so a handful is the most ever seen.
const MAX_ROUNDS: usize = 32;

/// Gives every virtual register a place, adding spill code as needed.
pub(super) fn allocate(code: &mut Code, files: &Files) -> Result<Vec<Place>, String> {
    let mut slots: Vec<Option<u32>> = Vec::new();
    for _ in 0..MAX_ROUNDS {
        slots.resize(code.regs.len(), None);
        let round = Round::new(code, &slots).scan(files)?;
        if round.spilled.is_empty() {
            return Ok(round.places(&slots));
        }
        let mut slot_of: Vec<Option<u32>> = vec![None; code.regs.len()];
        for &class in &round.spilled {
            slot_of[class] = Some(code.slot());
        }
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot = slot.or(slot_of[round.find(index)]);
        }
        spill::rewrite(code, &mut slots);
    }
    Err("registers run out in every round of spilling".to_owned())
}

/// One scan over all ranges.
struct Round {
    /// Union-find over registers; classes are named by their smallest member's root.
    parent: Vec<u32>,
    regs: Vec<RegInfo>,
    segments: Segments,
    weights: Vec<f32>,
    assigned: Vec<Option<u8>>,
    spilled: Vec<usize>,
    /// Moments of calls, when they have taken all registers that they do not leave alone.
    calls: Vec<(u32, u32)>,
}

/// Who holds a register during a call.
const CALL: u32 = u32::MAX;

impl Round {
    fn new(code: &Code, slots: &[Option<u32>]) -> Self {
        let mut ranges = liveness::ranges(code);
        for (index, slot) in slots.iter().enumerate() {
            if slot.is_some() {
                ranges.segments.clear(index);
            }
        }
        let mut round = Round {
            parent: (0..code.regs.len() as u32).collect(),
            regs: code.regs.clone(),
            segments: ranges.segments,
            weights: ranges.weights,
            assigned: vec![None; code.regs.len()],
            spilled: Vec::new(),
            calls: liveness::calls(code),
        };
        // Moves in the innermost loops matter most.
        ranges.moves.sort_by_key(|&(depth, _, _)| std::cmp::Reverse(depth));
        for (_, dst, src) in ranges.moves {
            if slots[dst.index()].is_none() && slots[src.index()].is_none() {
                round.try_join(dst, src);
            }
        }
        round
    }

    fn find(&self, mut index: usize) -> usize {
        while self.parent[index] as usize != index {
            index = self.parent[index] as usize;
        }
        index
    }

    /// Makes two registers one if they are never alive together.
    fn try_join(&mut self, dst: VReg, src: VReg) {
        let (a, b) = (self.find(dst.index()), self.find(src.index()));
        if a == b
            || self.regs[a].class != self.regs[b].class
            || liveness::overlap(self.segments.of(a), self.segments.of(b))
        {
            return;
        }
        let (root, other) = (a.min(b), a.max(b));
        self.segments.unite(root, other);
        self.weights[root] = self.weights[a] + self.weights[b];
        self.regs[root].width = self.regs[a].width.max(self.regs[b].width);
        // A joined class holds a value that can be spilled as a whole.
        self.regs[root].unspillable = self.regs[a].unspillable && self.regs[b].unspillable;
        self.parent[other] = root as u32;
    }

    /// What it costs to keep a class in memory, per position that it would occupy a register.
    fn cost(&self, class: usize) -> f32 {
        if class == CALL as usize {
            return f32::INFINITY;
        }
        if self.regs[class].unspillable {
            return f32::INFINITY;
        }
        let length: u32 = self.segments.of(class).iter().map(|&(start, end)| end - start).sum();
        self.weights[class] / length.max(1) as f32
    }

    fn scan(mut self, files: &Files) -> Result<Self, String> {
        let mut order: Vec<usize> =
            (0..self.regs.len()).filter(|&index| !self.segments.is_empty(index)).collect();
        order.sort_by_key(|&class| (self.segments.of(class)[0].0, class));
        // Segments taken of each physical register, ascending, with the class that holds them.
        let calls: Vec<(u32, u32, u32)> =
            self.calls.iter().map(|&(start, end)| (start, end, CALL)).collect();
        let mut taken: [Vec<Vec<(u32, u32, u32)>>; 3] =
            [vec![calls.clone(); 32], vec![calls.clone(); 32], vec![calls; 8]];
        for &reg in files.restored {
            taken[Class::Gpr as usize][usize::from(reg)].clear();
        }
        for class in order {
            let file = &mut taken[self.regs[class].class as usize];
            let candidates = files.of(self.regs[class].class);
            let free = candidates
                .iter()
                .copied()
                .find(|&reg| !meets(&file[reg as usize], self.segments.of(class)));
            if let Some(reg) = free {
                insert(&mut file[reg as usize], self.segments.of(class), class);
                self.assigned[class] = Some(reg);
                continue;
            }
            let own = self.cost(class);
            let cheapest = candidates
                .iter()
                .map(|&reg| {
                    let holders = holders(&file[reg as usize], self.segments.of(class));
                    let cost = holders.iter().map(|&holder| self.cost(holder)).sum::<f32>();
                    (cost, reg, holders)
                })
                .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            match cheapest {
                Some((cost, reg, holders)) if cost < own => {
                    let list = &mut file[reg as usize];
                    list.retain(|&(_, _, holder)| !holders.contains(&(holder as usize)));
                    insert(list, self.segments.of(class), class);
                    self.assigned[class] = Some(reg);
                    for holder in holders {
                        self.assigned[holder] = None;
                        self.spilled.push(holder);
                    }
                }
                _ if own.is_finite() => self.spilled.push(class),
                _ => {
                    return Err(format!(
                        "no register for a reload at {:?}",
                        self.segments.of(class)
                    ));
                }
            }
        }
        Ok(self)
    }

    fn places(&self, slots: &[Option<u32>]) -> Vec<Place> {
        (0..self.regs.len())
            .map(|index| match (slots[index], self.assigned[self.find(index)]) {
                (Some(slot), _) => Place::Slot(slot),
                (None, Some(reg)) => Place::Reg(reg),
                (None, None) => Place::Nowhere,
            })
            .collect()
    }
}

/// Whether a physical register is taken somewhere in a range.
fn meets(taken: &[(u32, u32, u32)], segments: &[(u32, u32)]) -> bool {
    // Ranges come in the order of their starts, so that most lie behind everything taken.
    let behind = taken.last().is_none_or(|&(_, taken_end, _)| taken_end <= segments[0].0);
    !behind
        && segments.iter().any(|&(start, end)| {
            let first = taken.partition_point(|&(_, taken_end, _)| taken_end <= start);
            taken.get(first).is_some_and(|&(taken_start, _, _)| taken_start < end)
        })
}

/// The classes that hold a physical register somewhere in a range.
fn holders(taken: &[(u32, u32, u32)], segments: &[(u32, u32)]) -> Vec<usize> {
    let mut found = Vec::new();
    for &(start, end) in segments {
        let first = taken.partition_point(|&(_, taken_end, _)| taken_end <= start);
        for &(taken_start, _, holder) in &taken[first..] {
            if taken_start >= end {
                break;
            }
            if !found.contains(&(holder as usize)) {
                found.push(holder as usize);
            }
        }
    }
    found
}

fn insert(taken: &mut Vec<(u32, u32, u32)>, segments: &[(u32, u32)], class: usize) {
    for &(start, end) in segments {
        if taken.last().is_none_or(|&(taken_start, _, _)| taken_start < start) {
            taken.push((start, end, class as u32));
            continue;
        }
        let at = taken.partition_point(|&(taken_start, _, _)| taken_start < start);
        taken.insert(at, (start, end, class as u32));
    }
}
