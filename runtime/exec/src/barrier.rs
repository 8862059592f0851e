//! The barrier between phases of a step: one cache line a part, spin then sleep.
//!
//! Part 0 gathers: it waits for every other part's arrival, each on a line of its own, and then releases all of them
//! through one line. Rounds are numbered, so the "sense" never has to be reversed: a part that is late by a round cannot
//! take an old release for a new one. A part that will arrive no more *leaves*; whoever waits for it then gets an error
//! instead of waiting for ever. `README.md` beside this file argues the protocol.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use dlc_abi::{BARRIER_OK, STATUS_CANCELLED, StepContext};

use crate::event::EventWord;

/// Set in a part's word, or in the release word, once that part has left.
const LEFT: u32 = 1 << 30;
/// The number of the round a word speaks of.
const ROUND: u32 = LEFT - 1;

/// Two cache lines: the adjacent-line prefetcher of x86 processors fetches lines in pairs, so one line apart still
/// makes neighbours share.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// A barrier for the parts of one running step.
pub struct Barrier {
    /// How many parts meet; changed only between runs.
    parts: AtomicUsize,
    spin: Duration,
    /// Written by part 0, awaited by the others.
    release: Padded<EventWord>,
    /// One for each part that may ever take part.
    slots: Box<[Padded<Slot>]>,
}

struct Slot {
    /// The round in which this part has arrived; written by it, awaited by part 0.
    arrived: EventWord,
    /// Rounds this part has begun; only this part touches it.
    round: AtomicU32,
}

impl Barrier {
    /// A barrier that up to `max_parts` parts can meet at. A waiting part spins for `spin` before it sleeps.
    pub(crate) fn new(max_parts: usize, spin: Duration) -> Self {
        Barrier {
            parts: AtomicUsize::new(max_parts),
            spin,
            release: Padded(EventWord::new(0)),
            slots: (0..max_parts)
                .map(|_| Padded(Slot { arrived: EventWord::new(0), round: AtomicU32::new(0) }))
                .collect(),
        }
    }

    /// Makes the barrier ready for a run of `parts` parts. Nobody may be waiting or about to; the caller publishes the
    /// new state when it hands out the work.
    pub(crate) fn reset(&self, parts: usize) {
        debug_assert!(parts <= self.slots.len());
        self.parts.store(parts, Ordering::Relaxed);
        self.release.0.reset(0);
        for slot in &self.slots[..parts] {
            slot.0.arrived.reset(0);
            slot.0.round.store(0, Ordering::Relaxed);
        }
    }

    /// Waits until all parts have arrived. Everything a part wrote before is visible to every part afterwards.
    ///
    /// Returns [`BARRIER_OK`], or [`STATUS_CANCELLED`] when some part has left and the step must end.
    pub fn wait(&self, part: usize) -> i32 {
        let parts = self.parts.load(Ordering::Relaxed);
        if parts == 1 {
            return BARRIER_OK;
        }
        let Some(Padded(slot)) = self.slots[..parts].get(part) else {
            return STATUS_CANCELLED;
        };
        let round = slot.round.load(Ordering::Relaxed).wrapping_add(1) & ROUND;
        slot.round.store(round, Ordering::Relaxed);
        if part == 0 {
            for Padded(other) in &self.slots[1..parts] {
                let word = await_round(&other.arrived, self.spin, round);
                if word & ROUND != round {
                    self.release.0.mark(LEFT);
                    return STATUS_CANCELLED;
                }
            }
            self.release.0.publish(round);
            BARRIER_OK
        } else {
            slot.arrived.publish(round);
            let word = await_round(&self.release.0, self.spin, round);
            // Part 0 may have released this round and left already: the round alone decides.
            if word & ROUND == round { BARRIER_OK } else { STATUS_CANCELLED }
        }
    }

    /// Says that this part will arrive no more in this run, because it is done or because it failed. Whoever waits for
    /// it is let go with an error.
    pub fn leave(&self, part: usize) {
        if part == 0 {
            self.release.0.mark(LEFT);
        } else if let Some(Padded(slot)) = self.slots.get(part) {
            slot.arrived.mark(LEFT);
        }
    }
}

fn await_round(word: &EventWord, spin: Duration, round: u32) -> u32 {
    word.wait_until(spin, |word| word & ROUND == round || word & LEFT != 0)
}

/// The barrier as compiled code calls it, a [`dlc_abi::BarrierFn`]. [`StepContext::barrier_data`] is null when one part
/// runs alone, and the call is then free; otherwise it points to a [`Barrier`].
///
/// # Safety
/// `context` points to a live context whose `barrier_data` is null or points to a live [`Barrier`].
pub unsafe extern "C" fn barrier_entry(context: *const StepContext, part: i64) -> i32 {
    // SAFETY: the caller passes a live context. `step.rs` is the only place that makes contexts; it keeps them and the
    // gang's barrier alive until every part has returned. Checked by `compiled_code_meets_at_the_barrier`.
    let barrier = unsafe { (*context).barrier_data.cast::<Barrier>().as_ref() };
    let Some(barrier) = barrier else {
        return BARRIER_OK;
    };
    let Ok(part) = usize::try_from(part) else {
        return STATUS_CANCELLED;
    };
    // Nothing may unwind into compiled code, which has no unwind tables.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| barrier.wait(part)))
        .unwrap_or(STATUS_CANCELLED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Every part adds to a sum in one phase and reads it in the next, so a part that is let through early, or a write
    /// that is not visible, changes what it reads.
    fn phases_see_each_other(parts: usize, spin: Duration, phases: u64) {
        let barrier = Barrier::new(parts, spin);
        let cells: Vec<AtomicU64> = (0..parts).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for part in 0..parts {
                let (barrier, cells) = (&barrier, &cells);
                scope.spawn(move || {
                    for phase in 1..=phases {
                        cells[part].store(phase * (part as u64 + 1), Ordering::Relaxed);
                        assert_eq!(barrier.wait(part), BARRIER_OK);
                        for (other, cell) in cells.iter().enumerate() {
                            let seen = cell.load(Ordering::Relaxed);
                            assert_eq!(seen, phase * (other as u64 + 1));
                        }
                        assert_eq!(barrier.wait(part), BARRIER_OK);
                    }
                });
            }
        });
    }

    #[test]
    fn every_number_of_parts_meets_in_every_phase() {
        for parts in 1..=8 {
            phases_see_each_other(parts, Duration::ZERO, 500);
            phases_see_each_other(parts, Duration::from_micros(2), 500);
        }
    }

    #[test]
    fn a_part_that_leaves_lets_everybody_out() {
        for leaver in 0..4 {
            let barrier = Barrier::new(4, Duration::ZERO);
            std::thread::scope(|scope| {
                for part in 0..4 {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        assert_eq!(barrier.wait(part), BARRIER_OK);
                        if part != leaver {
                            assert_eq!(barrier.wait(part), STATUS_CANCELLED);
                            // Code that ignores the status still cannot get stuck.
                            assert_eq!(barrier.wait(part), STATUS_CANCELLED);
                        }
                        barrier.leave(part);
                    });
                }
            });
        }
    }

    #[test]
    fn a_barrier_is_as_good_as_new_after_a_reset() {
        let barrier = Barrier::new(2, Duration::ZERO);
        barrier.leave(1);
        assert_eq!(barrier.wait(0), STATUS_CANCELLED);
        barrier.reset(2);
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(barrier.wait(1), BARRIER_OK));
            assert_eq!(barrier.wait(0), BARRIER_OK);
        });
    }

    #[test]
    fn one_part_does_not_wait_and_a_foreign_part_is_refused() {
        assert_eq!(Barrier::new(1, Duration::ZERO).wait(0), BARRIER_OK);
        assert_eq!(Barrier::new(2, Duration::ZERO).wait(2), STATUS_CANCELLED);
    }
}
