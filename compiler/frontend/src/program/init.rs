//! The graph that gives every parameter and state its first value.

use super::ModelProgram;
use crate::declarations::Declarations;
use crate::elaborate::{Elaborator, FirstValue, Frame};
use crate::value::Number;
use dlc_grammar::Diagnostic;
use dlc_ir::graph::{Graph, InputRole};
use indexmap::IndexMap;
use std::sync::Arc;

/// Draws parameters and fills state.
pub(super) fn graph(
    decls: &Arc<Declarations>,
    program: &ModelProgram,
) -> Result<Graph, Vec<Diagnostic>> {
    let mut elaborator =
        Elaborator::new(Arc::clone(decls), format!("{}.init", program.name), false);
    elaborator.before_first_step = true;
    let mut drawn = IndexMap::new();
    for (param, (name, leaf)) in program.params.iter().zip(&program.leaves) {
        let target = elaborator.leaf(name, InputRole::Param, param.elem, &param.shape);
        elaborator.frames.push(Frame::new(None, leaf.span));
        elaborator.draw_name.clone_from(name);
        elaborator.origin = Arc::from(name.as_str());
        let first = elaborator.draw(&leaf.init, param.elem, &leaf.tensor.shape, leaf.span);
        elaborator.frames.pop();
        if let Ok(first) = first {
            elaborator.graph.assign(target, first.node);
            drawn.insert(name.clone(), first.node);
        }
    }
    for state in &program.states {
        let target = elaborator.leaf(&state.name, InputRole::State, state.elem, &state.shape);
        elaborator.origin = Arc::from(state.name.as_str());
        let first = match program.state_firsts.get(&state.name) {
            Some(FirstValue::Param(param)) => drawn.get(param).copied(),
            Some(FirstValue::Number(number)) => {
                Some(elaborator.number_node(Number::Real(*number), state.elem, &state.shape))
            }
            None => None,
        };
        if let Some(first) = first {
            elaborator.graph.assign(target, first);
        }
    }
    if elaborator.failed() {
        return Err(elaborator.diagnostics);
    }
    elaborator.graph.prune();
    Ok(elaborator.graph)
}
