//! Entries around the state: `load` and `save` between it and a file of weights, and `strerror`.
//!
//! The header of a model's file of weights is known when the model is compiled, so a file is checked by comparing bytes
//! and read by copying; there is nothing to parse.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use cranelift_module::FuncId;
use cranelift_object::ObjectModule;

use super::glue::{self, Glue, signature};
use super::interface::{Interface, Status};
use super::{Ids, step};
use crate::backend::CodegenError;

/// Defines `copy(to, from, bytes)` and `zero(to, bytes)`: plain loops, so that nothing is needed from a C library.
pub(super) fn memory(module: &mut ObjectModule, ids: &Ids) -> Result<(), CodegenError> {
    let copy = signature(module, &[types::I64; 3], &[]);
    glue::define(module, ids.copy, copy, |g, params| {
        let [to, from, bytes] = *params else { unreachable!("as the signature says") };
        each_piece(g, bytes, |g, ty, at| {
            let (source, target) = (g.b.ins().iadd(from, at), g.b.ins().iadd(to, at));
            let value = g.load(ty, source, 0);
            g.store(value, target, 0);
        });
        g.leave_silently();
    })?;
    let zero = signature(module, &[types::I64; 2], &[]);
    glue::define(module, ids.zero, zero, |g, params| {
        let [to, bytes] = *params else { unreachable!("as the signature says") };
        each_piece(g, bytes, |g, ty, at| {
            let target = g.b.ins().iadd(to, at);
            let value = g.int(ty, 0);
            g.store(value, target, 0);
        });
        g.leave_silently();
    })
}

/// Runs `body` for each word of `bytes` bytes and then for each byte that is left.
fn each_piece(
    g: &mut Glue<'_, '_>,
    bytes: Value,
    mut body: impl FnMut(&mut Glue<'_, '_>, Type, Value),
) {
    let (zero, words) = (g.word(0), g.b.ins().band_imm_s(bytes, -8));
    for (start, end, ty) in [(zero, words, types::I64), (words, bytes, types::I8)] {
        g.count((start, end, i64::from(ty.bytes())), zero, |g, at, carried| {
            body(g, ty, at);
            carried
        });
    }
}

/// The state that `load` fills or `save` reads.
fn checked_state(g: &mut Glue<'_, '_>, interface: &Interface, state: Value, bytes: Value) {
    g.fail_unless_buffer(state);
    let needed = g.word(interface.state_bytes);
    g.fail_if_small(bytes, needed);
}

fn copy_part(g: &mut Glue<'_, '_>, ids: &Ids, to: (Value, u64), from: (Value, u64), bytes: u64) {
    let (to, from, bytes) = (g.plus(to.0, to.1), g.plus(from.0, from.1), g.word(bytes));
    g.call(ids.copy, &[to, from, bytes]);
}

/// Defines `load(state, state_bytes, file, file_bytes) -> status`.
pub(super) fn load(
    module: &mut ObjectModule,
    ids: &Ids,
    interface: &Interface,
    id: FuncId,
) -> Result<(), CodegenError> {
    let signature = signature(module, &[types::I64; 4], &[types::I32]);
    glue::define(module, id, signature, |g, params| {
        let [state, state_bytes, file, file_bytes] = *params else {
            unreachable!("as the signature says")
        };
        step::checked_processor(g, ids);
        checked_state(g, interface, state, state_bytes);
        let weights = &interface.weights_file;
        match (ids.embedded, &interface.embedded) {
            (Some(embedded), Some(image)) => {
                let (given, none) = (g.b.create_block(), g.b.create_block());
                g.b.ins().brif(file, given, &[], none, &[]);
                g.b.switch_to_block(none);
                let all = g.word(interface.state_bytes);
                g.call(ids.zero, &[state, all]);
                let image_at = g.data(embedded);
                copy_part(g, ids, (state, 0), (image_at, 0), image.len() as u64);
                first_values(g, ids, interface, state);
                g.leave(Status::Ok);
                g.b.switch_to_block(given);
            }
            _ => g.fail_if_null(file),
        }
        let expected = g.word(weights.bytes);
        g.fail_unless_equal(file_bytes, expected, Status::Weights);
        let header = g.data(ids.header);
        let (zero, end) = (g.word(0), g.word(weights.header.len() as u64));
        let same = g.word(0);
        // Differences are gathered, so that the loop has one way out.
        let (_, differences) = g.count((zero, end, 1), same, |g, at, differences| {
            let (ours, theirs) = (g.b.ins().iadd(header, at), g.b.ins().iadd(file, at));
            let (ours, theirs) = (g.load(types::I8, ours, 0), g.load(types::I8, theirs, 0));
            let difference = g.b.ins().bxor(ours, theirs);
            let difference = g.b.ins().uextend(types::I64, difference);
            g.b.ins().bor(differences, difference)
        });
        let differ = g.b.ins().icmp_imm_s(IntCC::NotEqual, differences, 0);
        g.fail_if(differ, Status::Weights);
        let all = g.word(interface.state_bytes);
        g.call(ids.zero, &[state, all]);
        for tensor in &weights.tensors {
            let (to, from) = ((state, tensor.state_offset), (file, tensor.file_offset));
            copy_part(g, ids, to, from, tensor.bytes);
        }
        first_values(g, ids, interface, state);
        let tag = g.word(interface.tag);
        g.store(tag, state, 0);
        g.leave(Status::Ok);
    })
}

/// Writes what is neither a weight nor zero.
fn first_values(g: &mut Glue<'_, '_>, ids: &Ids, interface: &Interface, state: Value) {
    for (value, &data) in interface.first_values.iter().zip(&ids.first_values) {
        let from = g.data(data);
        copy_part(g, ids, (state, value.state_offset), (from, 0), value.bytes.len() as u64);
    }
}

/// Defines `save(state, state_bytes, file, file_bytes) -> status`.
pub(super) fn save(
    module: &mut ObjectModule,
    ids: &Ids,
    interface: &Interface,
    weights_bytes: u64,
    id: FuncId,
) -> Result<(), CodegenError> {
    let signature = signature(module, &[types::I64; 4], &[types::I32]);
    glue::define(module, id, signature, |g, params| {
        let [state, state_bytes, file, file_bytes] = *params else {
            unreachable!("as the signature says")
        };
        g.fail_unless_buffer(state);
        let needed = g.word(weights_bytes);
        g.fail_if_small(state_bytes, needed);
        let (found, tag) = (g.load(types::I64, state, 0), g.word(interface.tag));
        g.fail_unless_equal(found, tag, Status::Weights);
        g.fail_if_null(file);
        let weights = &interface.weights_file;
        let needed = g.word(weights.bytes);
        g.fail_if_small(file_bytes, needed);
        let header = g.data(ids.header);
        copy_part(g, ids, (file, 0), (header, 0), weights.header.len() as u64);
        for tensor in &weights.tensors {
            let (to, from) = ((file, tensor.file_offset), (state, tensor.state_offset));
            copy_part(g, ids, to, from, tensor.bytes);
        }
        g.leave(Status::Ok);
    })
}

/// What `strerror` says of a number that is no status.
const UNKNOWN: &str = "no such status";

/// The messages of all statuses, one after the other, each with a zero at its end; last the one for unknown numbers.
pub(super) fn messages() -> Vec<u8> {
    let all = Status::ALL.map(Status::message).into_iter().chain([UNKNOWN]);
    all.flat_map(|message| message.bytes().chain([0])).collect()
}

/// Defines `strerror(status) -> message`.
pub(super) fn strerror(
    module: &mut ObjectModule,
    ids: &Ids,
    id: FuncId,
) -> Result<(), CodegenError> {
    let signature = signature(module, &[types::I32], &[types::I64]);
    glue::define_value(module, id, signature, |g, params| {
        let base = g.data(ids.messages);
        let mut offset = 0;
        let mut offsets = Vec::new();
        for status in Status::ALL {
            offsets.push((i64::from(status.code()), offset));
            offset += status.message().len() as u64 + 1;
        }
        let mut message = g.plus(base, offset);
        for (code, offset) in offsets {
            let is_this = g.b.ins().icmp_imm_s(IntCC::Equal, params[0], code);
            let text = g.plus(base, offset);
            message = g.b.ins().select(is_this, text, message);
        }
        message
    })
}
