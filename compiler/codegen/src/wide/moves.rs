//! Puts a parallel move into order.
//!
//! A destination that nobody still reads is written first; what remains is cycles. A cycle of registers is turned by
//! swaps; one that touches a slot is opened by saving a value in the scratch slot.
//! Source: the usual parallel-copy algorithm, as in Boissinot et al. 2009.

use super::allocate::Place;

/// One simple action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// `to := from`.
    Copy {
        /// Register or slot.
        to: Place,
        /// Register or slot.
        from: Place,
    },
    /// Exchanges two registers.
    Swap(u8, u8),
}

/// Orders moves between places of one register class. `scratch` is a slot that holds nothing.
pub(super) fn sequence(mut pairs: Vec<(Place, Place)>, scratch: impl Fn() -> Place) -> Vec<Action> {
    pairs.retain(|&(to, from)| to != from && to != Place::Nowhere);
    let mut actions = Vec::new();
    while !pairs.is_empty() {
        let free = pairs.iter().position(|&(to, _)| !pairs.iter().any(|&(_, from)| from == to));
        if let Some(index) = free {
            let (to, from) = pairs.remove(index);
            actions.push(Action::Copy { to, from });
            continue;
        }
        // Every destination is still read: only cycles are left.
        let (to, from) = pairs[0];
        match (to, from) {
            (Place::Reg(a), Place::Reg(b)) => {
                actions.push(Action::Swap(a, b));
                pairs.remove(0);
                for pair in &mut pairs {
                    if pair.1 == to {
                        pair.1 = from;
                    } else if pair.1 == from {
                        pair.1 = to;
                    }
                }
                pairs.retain(|&(to, from)| to != from);
            }
            _ => {
                let saved = scratch();
                actions.push(Action::Copy { to: saved, from: to });
                for pair in &mut pairs {
                    if pair.1 == to {
                        pair.1 = saved;
                    }
                }
            }
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs moves on numbered places: registers 0..8 and slots 8..16, slot 15 being scratch.
    fn check(pairs: &[(usize, usize)]) {
        let place = |index: usize| {
            if index < 8 { Place::Reg(index as u8) } else { Place::Slot(index as u32 - 8) }
        };
        let index = |place: Place| match place {
            Place::Reg(reg) => reg as usize,
            Place::Slot(slot) => slot as usize + 8,
            Place::Nowhere => panic!("no place"),
        };
        let mut state: Vec<usize> = (0..16).collect();
        let mut expected = state.clone();
        for &(to, from) in pairs {
            expected[to] = from;
        }
        let list = pairs.iter().map(|&(to, from)| (place(to), place(from))).collect();
        for action in sequence(list, || Place::Slot(7)) {
            match action {
                Action::Copy { to, from } => state[index(to)] = state[index(from)],
                Action::Swap(a, b) => state.swap(a as usize, b as usize),
            }
        }
        assert_eq!(state[..15], expected[..15], "{pairs:?}");
    }

    #[test]
    fn chains_cycles_and_fans_keep_every_value() {
        check(&[(0, 1), (1, 2), (2, 3)]);
        check(&[(0, 1), (1, 0)]);
        check(&[(0, 1), (1, 2), (2, 0), (3, 0), (4, 4)]);
        check(&[(8, 9), (9, 8)]);
        check(&[(0, 8), (8, 1), (1, 0)]);
        check(&[(0, 1), (1, 0), (2, 3), (3, 2), (9, 10), (10, 0), (4, 9)]);
    }

    #[test]
    fn random_moves_keep_every_value() {
        let mut state = 1u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % n) as usize
        };
        for _ in 0..5000 {
            let mut pairs = Vec::new();
            for to in 0..15 {
                if random(2) == 0 {
                    pairs.push((to, random(15)));
                }
            }
            check(&pairs);
        }
    }
}
