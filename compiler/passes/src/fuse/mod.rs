//! Cuts a frozen graph into phases over buffers: each phase is one anchor (a contraction or reduction) with the element-wise work
//! round it, or a group of element-wise work alone.
//! Input law:  the graph is frozen: every contraction is in normal form with an order; nothing here may change a bit.
//! Output law: every load reads a leaf or a buffer that an earlier phase, or the same phase at the same point, has written;
//!             temporaries have no place in the arena yet and phases no schedule.
//! Why: an epilogue needs no extra pass over memory: for `relu(x·w + b)` with n outputs, traffic on them falls from 5n to n.
//! Cost: O(nodes + edges), but for values that are cheap enough to compute again.
//!
//! ```text
//! before:  %3 = contract x, w    %4 = add %3, b    %5 = max 0, %4
//! after:   phase { reduce x*w; add b; max 0; store }
//! ```

mod assign;
mod build;
mod carry;
pub(crate) mod merge;
mod places;
mod roots;

use crate::pass::PassError;
use dlc_ir::graph::Graph;
use dlc_ir::graph::loops::Loops;
use dlc_ir::tile::Program;

/// Cuts `graph` into phases. `max_batch` is the largest batch that the program will be given.
pub fn run(graph: &Graph, max_batch: i64) -> Result<Program, PassError> {
    if !graph.frozen {
        return Err(PassError::bug("fuse", "the graph is not frozen"));
    }
    let detached;
    let graph = if carry::is_needed(graph) {
        detached = carry::detach(graph.clone())?;
        &detached
    } else {
        graph
    };
    let loops = Loops::of(graph);
    let roots = roots::choose(graph, &loops);
    let mut program = build::phases(graph, &roots, &loops)?;
    merge::run(&mut program);
    assign::in_place(&mut program);
    merge::drop_unread_stores(&mut program);
    Ok(program.into_program(graph, max_batch))
}
