//! Entries around the state: `load` and `save` between it and a file of weights, and `strerror`.
//!
//! `load` looks through the header of a file twice, first to check it and then to copy, so that a file that is refused
//! changes nothing. `save` writes the header that was made when the model was compiled.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use cranelift_module::FuncId;
use cranelift_object::ObjectModule;

use super::glue::{self, Glue, signature};
use super::interface::{Interface, Status};
use super::safetensors::{outcome, record, scan};
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
        let source = checked_file(g, ids, interface, file, file_bytes);
        let all = g.word(interface.state_bytes);
        g.call(ids.zero, &[state, all]);
        source.each(g, ids, |g, record| {
            let begin = g.load(types::I64, source.scan, scan::BEGIN);
            let from = g.b.ins().iadd(source.data, begin);
            let offset = g.load(types::I64, record, record::STATE_OFFSET);
            let to = g.b.ins().iadd(state, offset);
            let bytes = g.load(types::I64, record, record::BYTES);
            g.call(ids.copy, &[to, from, bytes]);
        });
        first_values(g, ids, interface, state);
        let tag = g.word(interface.tag);
        g.store(tag, state, 0);
        g.leave(Status::Ok);
    })
}

/// A file of weights that was looked through.
struct Source {
    file: Value,
    /// Where the elements begin.
    data: Value,
    scan: Value,
    n_tensors: u64,
}

/// Fails unless a file holds every tensor of the model, with its shape and element type, and nothing else.
fn checked_file(
    g: &mut Glue<'_, '_>,
    ids: &Ids,
    interface: &Interface,
    file: Value,
    file_bytes: Value,
) -> Source {
    let n_tensors = interface.weights_file.tensors.len() as u64;
    let length_bytes = 8;
    let is_short = g.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, file_bytes, length_bytes);
    g.fail_if(is_short, Status::File);
    let header_bytes = g.load(types::I64, file, 0);
    let room = g.b.ins().iadd_imm_s(file_bytes, -length_bytes);
    let is_cut = g.b.ins().icmp(IntCC::UnsignedGreaterThan, header_bytes, room);
    g.fail_if(is_cut, Status::File);
    let header = g.plus(file, length_bytes as u64);
    let data = g.b.ins().iadd(header, header_bytes);
    let scan = g.stack(scan::BYTES);
    g.store(data, scan, scan::END);
    let data_bytes = g.b.ins().isub(room, header_bytes);
    g.store(data_bytes, scan, scan::DATA_BYTES);
    // No name is that long, so this goes through the whole header.
    let (nothing, no_name) = (g.word(0), g.word(u64::MAX));
    let end = g.value(ids.reader.find, &[scan, file, nothing, no_name]);
    let is_bad = g.b.ins().icmp_imm_s(IntCC::Equal, end, outcome::BAD);
    g.fail_if(is_bad, Status::File);
    let count = g.load(types::I64, scan, scan::COUNT);
    let source = Source { file, data, scan, n_tensors };
    source.each(g, ids, |g, record| check_tensor(g, ids, scan, record));
    // All tensors of the model are there, so what is more is none of them, or one of them a second time.
    let expected = g.word(n_tensors);
    g.fail_unless_equal(count, expected, Status::Weights);
    source
}

impl Source {
    /// Runs `body` for the record of each tensor of the model, while the scan stands behind its entry in the file.
    fn each(&self, g: &mut Glue<'_, '_>, ids: &Ids, body: impl FnOnce(&mut Glue<'_, '_>, Value)) {
        let table = g.data(ids.tensors);
        let (zero, end) = (g.word(0), g.word(self.n_tensors * record::SIZE));
        g.count((zero, end, record::SIZE as i64), zero, |g, at, carried| {
            let record = g.b.ins().iadd(table, at);
            let name = g.load(types::I64, record, record::NAME);
            let name = g.b.ins().iadd(table, name);
            let bytes = g.load(types::I64, record, record::NAME_BYTES);
            let found = g.value(ids.reader.find, &[self.scan, self.file, name, bytes]);
            let lacks = g.b.ins().icmp_imm_s(IntCC::NotEqual, found, outcome::FOUND);
            g.fail_if(lacks, Status::Missing);
            body(g, record);
            carried
        });
    }
}

/// Fails unless the entry that the scan stands behind is as the record says.
fn check_tensor(g: &mut Glue<'_, '_>, ids: &Ids, scan: Value, record: Value) {
    let table = g.data(ids.tensors);
    let field = |g: &mut Glue<'_, '_>, at: i32| g.load(types::I64, record, at);
    let wanted = field(g, record::DTYPE);
    let (wanted, wanted_bytes) = (g.b.ins().iadd(table, wanted), field(g, record::DTYPE_BYTES));
    let found = g.load(types::I64, scan, scan::DTYPE);
    let found_bytes = g.load(types::I64, scan, scan::DTYPE + 8);
    let same = g.value(ids.reader.equal, &[found, found_bytes, wanted, wanted_bytes]);
    let differs = g.b.ins().icmp_imm_s(IntCC::Equal, same, 0);
    g.fail_if(differs, Status::Type);
    let extents = field(g, record::SHAPE);
    let (extents, rank) = (g.b.ins().iadd(table, extents), field(g, record::RANK));
    let fits = g.value(ids.reader.fits, &[scan, extents, rank]);
    let differs = g.b.ins().icmp_imm_s(IntCC::Equal, fits, 0);
    g.fail_if(differs, Status::Shape);
    let (begin, to) = (g.load(types::I64, scan, scan::BEGIN), g.load(types::I64, scan, scan::TO));
    let (bytes, expected) = (g.b.ins().isub(to, begin), field(g, record::BYTES));
    g.fail_unless_equal(bytes, expected, Status::File);
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
