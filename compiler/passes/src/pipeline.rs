//! The passes from an elaborated graph to a frozen one, one a line, with the laws that start to hold.

use crate::pass::{Pass, PassCx};
use crate::{freeze, gatherise, simplify};
use dlc_ir::graph::Graph;

/// Passes that decide bits. They see shapes and the program's text, never the target.
pub const TO_FROZEN: &[Pass<Graph, PassCx>] = &[
    // From here no two nodes compute the same, and views are read through.
    Pass { name: "simplify", idempotent: true, run: simplify::run },
    // From here every contraction is in normal form: each output element gathers its terms; no congruences.
    Pass { name: "gatherise", idempotent: true, run: gatherise::run },
    // From here reductions have no axes of one element, and nothing but leaves and residues is only moved.
    Pass { name: "simplify_gathered", idempotent: true, run: simplify::run },
    // From here every bit of every result is decided: orders of sums, fused products.
    Pass { name: "freeze", idempotent: true, run: freeze::run },
    // Changes no bit: what fusing products left over.
    Pass { name: "simplify_frozen", idempotent: true, run: simplify::run },
];
