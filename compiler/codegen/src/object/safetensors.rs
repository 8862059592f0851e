//! A reader of safetensors headers in machine code, for `load`.
//!
//! A header is a JSON object of tensors, `"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}`, and perhaps
//! an object `"__metadata__"` of strings. The order of tensors and of their fields, white space and metadata are free.
//! Anything else is no header: other fields, numbers with signs, fractions or exponents, nested metadata.
//!
//! Nothing is stored but one entry: each tensor that is wanted is looked for from the start. That is quadratic in the number of
//! tensors, but a hundred of them take less than a millisecond, and the library needs no memory for a table.
//!
//! Names are compared byte by byte, so a name that is written with escapes is not found; names of the language need none.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use cranelift_module::{DataId, FuncId};
use cranelift_object::ObjectModule;

use super::glue::{self, Glue, signature};
use super::interface::FileTensor;
use crate::backend::CodegenError;

/// Byte offsets in the memory of a scan: where it is, then what the last entry said. Places are addresses.
pub(super) mod scan {
    /// The next byte.
    pub const AT: i32 = 0;
    /// The first byte after the header.
    pub const END: i32 = 8;
    /// Bytes after the header.
    pub const DATA_BYTES: i32 = 16;
    /// Tensors passed so far.
    pub const COUNT: i32 = 24;
    /// Start and bytes of a string: of the entry's name.
    pub const NAME: i32 = 32;
    /// Of a field's name, or of anything that is passed over.
    pub const FIELD: i32 = 48;
    /// Of the element type.
    pub const DTYPE: i32 = 64;
    /// The first number of the shape.
    pub const SHAPE: i32 = 80;
    /// Where the elements begin, counted from the end of the header.
    pub const BEGIN: i32 = 88;
    /// Where they end.
    pub const TO: i32 = 96;
    /// A bit for each field that was there.
    pub const FIELDS: i32 = 104;
    /// A number that is passed over.
    pub const NUMBER: i32 = 112;
    /// Bytes of all.
    pub const BYTES: u64 = 120;
}

/// Byte offsets in the record of a tensor that the model has. Places are offsets in the table.
pub(super) mod record {
    /// The name.
    pub const NAME: i32 = 0;
    pub const NAME_BYTES: i32 = 8;
    /// The element type as files name it.
    pub const DTYPE: i32 = 16;
    pub const DTYPE_BYTES: i32 = 24;
    /// Extents, eight bytes each.
    pub const SHAPE: i32 = 32;
    pub const RANK: i32 = 40;
    /// Bytes of the elements.
    pub const BYTES: i32 = 48;
    /// Where they go.
    pub const STATE_OFFSET: i32 = 56;
    /// Bytes of a record.
    pub const SIZE: u64 = 64;
}

/// The records of all tensors, then what they refer to.
pub(super) fn table(tensors: &[FileTensor]) -> Vec<u8> {
    let mut records = Vec::new();
    let mut rest: Vec<u8> = Vec::new();
    let base = tensors.len() as u64 * record::SIZE;
    for tensor in tensors {
        let mut place = |bytes: &[u8]| {
            let at = base + rest.len() as u64;
            rest.extend_from_slice(bytes);
            at
        };
        let shape: Vec<u8> = tensor.shape.iter().flat_map(|extent| extent.to_le_bytes()).collect();
        let words = [
            place(tensor.name.as_bytes()),
            tensor.name.len() as u64,
            place(tensor.dtype.as_bytes()),
            tensor.dtype.len() as u64,
            place(&shape),
            tensor.shape.len() as u64,
            tensor.bytes,
            tensor.state_offset,
        ];
        records.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }
    records.extend(rest);
    records
}

/// Names that mean something in a header; `.words` holds them one after the other.
const WORDS: [&str; 4] = ["__metadata__", "dtype", "shape", "data_offsets"];
const METADATA: usize = 0;
const DTYPE: usize = 1;
const SHAPE: usize = 2;
const DATA_OFFSETS: usize = 3;

/// The contents of `.words`.
pub(super) fn words() -> Vec<u8> {
    WORDS.concat().into_bytes()
}

/// What [`Reader::find`] and [`Reader::entry`] return.
pub(super) mod outcome {
    /// No header.
    pub const BAD: i64 = 0;
    /// A tensor; of `find`, the one that was wanted.
    pub const FOUND: i64 = 1;
    /// Metadata; of `find`, the end of a header without the tensor that was wanted.
    pub const OTHER: i64 = 2;
}

/// The functions of the reader. All take the address of a scan first and return 0 where the header is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    next: FuncId,
    take: FuncId,
    string: FuncId,
    number: FuncId,
    numbers: FuncId,
    strings: FuncId,
    fields: FuncId,
    entry: FuncId,
    /// `(scan, file, name, name_bytes)`: goes from the start to the tensor of that name, or to the end.
    pub find: FuncId,
    /// `(scan, extents, rank)`: whether the shape of the last entry is this one.
    pub fits: FuncId,
    /// `(a, a_bytes, b, b_bytes)`: whether two strings are equal.
    pub equal: FuncId,
    /// [`words`].
    pub words: DataId,
}

const WORD: Type = types::I64;

impl Reader {
    /// Declares all functions through `declare(name, parameters)`.
    pub fn declare(
        words: DataId,
        mut declare: impl FnMut(&str, &[Type]) -> Result<FuncId, CodegenError>,
    ) -> Result<Self, CodegenError> {
        Ok(Reader {
            next: declare(".next", &[WORD])?,
            take: declare(".take", &[WORD, types::I32])?,
            string: declare(".string", &[WORD, WORD])?,
            number: declare(".number", &[WORD, WORD])?,
            numbers: declare(".numbers", &[WORD])?,
            strings: declare(".strings", &[WORD])?,
            fields: declare(".fields", &[WORD])?,
            entry: declare(".entry", &[WORD])?,
            find: declare(".find", &[WORD; 4])?,
            fits: declare(".fits", &[WORD; 3])?,
            equal: declare(".equal", &[WORD; 4])?,
            words,
        })
    }

    /// Defines all functions.
    pub fn define(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        self.define_next(module)?;
        self.define_take(module)?;
        self.define_string(module)?;
        self.define_number(module)?;
        self.define_numbers(module)?;
        self.define_strings(module)?;
        self.define_fields(module)?;
        self.define_entry(module)?;
        self.define_find(module)?;
        self.define_fits(module)?;
        self.define_equal(module)
    }

    /// The next byte that is no white space, without taking it; -1 at the end.
    fn define_next(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.next, &[WORD], |g, params| {
            let scan = params[0];
            let end = g.load(WORD, scan, scan::END);
            g.forever(|g| {
                let at = g.load(WORD, scan, scan::AT);
                let over = g.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, at, end);
                g.leave_if(over, -1);
                let byte = g.load(types::I8, at, 0);
                let byte = g.b.ins().uextend(types::I32, byte);
                let mut space = g.b.ins().icmp_imm_s(IntCC::Equal, byte, i64::from(b' '));
                for other in [b'\n', b'\r', b'\t'] {
                    let is_other = g.b.ins().icmp_imm_s(IntCC::Equal, byte, i64::from(other));
                    space = g.b.ins().bor(space, is_other);
                }
                let ink = g.b.ins().icmp_imm_s(IntCC::Equal, space, 0);
                g.leave_with_if(ink, byte);
                let at = g.plus(at, 1);
                g.store(at, scan, scan::AT);
            });
        })
    }

    /// Takes a byte after white space, if it is this one.
    fn define_take(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.take, &[WORD, types::I32], |g, params| {
            let (scan, wanted) = (params[0], params[1]);
            let byte = g.value(self.next, &[scan]);
            let other = g.b.ins().icmp(IntCC::NotEqual, byte, wanted);
            g.leave_if(other, outcome::BAD);
            let at = g.load(WORD, scan, scan::AT);
            let at = g.plus(at, 1);
            g.store(at, scan, scan::AT);
            g.leave_number(1);
        })
    }

    /// Takes a string, and notes where it is. A quote after a backslash belongs to it.
    fn define_string(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.string, &[WORD, WORD], |g, params| {
            let (scan, into) = (params[0], params[1]);
            self.must_take(g, scan, b'"');
            let (start, end) = (g.load(WORD, scan, scan::AT), g.load(WORD, scan, scan::END));
            g.store(start, into, 0);
            g.forever(|g| {
                let at = g.load(WORD, scan, scan::AT);
                let over = g.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, at, end);
                g.leave_if(over, outcome::BAD);
                let byte = g.load(types::I8, at, 0);
                let escapes = g.b.ins().icmp_imm_s(IntCC::Equal, byte, i64::from(b'\\'));
                // An escaped byte may lie beyond the end; then the next round finds that.
                let (one, two) = (g.plus(at, 1), g.plus(at, 2));
                let next = g.b.ins().select(escapes, two, one);
                g.store(next, scan, scan::AT);
                let closes = g.b.ins().icmp_imm_s(IntCC::Equal, byte, i64::from(b'"'));
                g.when(closes, |g| {
                    let bytes = g.b.ins().isub(at, start);
                    g.store(bytes, into, 8);
                });
                g.leave_if(closes, 1);
            });
        })
    }

    /// Takes a number of at most 18 digits, which fits a word.
    fn define_number(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        const DIGITS: i64 = 18;
        function(module, self.number, &[WORD, WORD], |g, params| {
            let (scan, into) = (params[0], params[1]);
            // White space; what the byte is comes below.
            g.value(self.next, &[scan]);
            let (start, end) = (g.load(WORD, scan, scan::AT), g.load(WORD, scan, scan::END));
            let zero = g.word(0);
            g.store(zero, into, 0);
            g.forever(|g| {
                let at = g.load(WORD, scan, scan::AT);
                let digits = g.b.ins().isub(at, start);
                let is_over = g.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, at, end);
                g.leave_if(is_over, outcome::BAD);
                let byte = g.load(types::I8, at, 0);
                let byte = g.b.ins().uextend(WORD, byte);
                let digit = g.b.ins().iadd_imm_s(byte, -i64::from(b'0'));
                let is_other = g.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, digit, 9);
                let some = g.b.ins().icmp_imm_s(IntCC::NotEqual, digits, 0);
                let some = g.b.ins().uextend(types::I32, some);
                g.leave_with_if(is_other, some);
                let too_many =
                    g.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThanOrEqual, digits, DIGITS);
                g.leave_if(too_many, outcome::BAD);
                let value = g.load(WORD, into, 0);
                let value = g.b.ins().imul_imm_s(value, 10);
                let value = g.b.ins().iadd(value, digit);
                g.store(value, into, 0);
                let at = g.plus(at, 1);
                g.store(at, scan, scan::AT);
            });
        })
    }

    /// Passes over the rest of an array of numbers.
    fn define_numbers(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.numbers, &[WORD], |g, params| {
            let scan = params[0];
            let empty = self.take(g, scan, b']');
            g.leave_if(empty, 1);
            g.forever(|g| {
                self.must_number(g, scan, scan::NUMBER);
                self.or_end(g, scan, b']');
            });
        })
    }

    /// Passes over an object of strings.
    fn define_strings(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.strings, &[WORD], |g, params| {
            let scan = params[0];
            self.must_take(g, scan, b'{');
            let empty = self.take(g, scan, b'}');
            g.leave_if(empty, 1);
            g.forever(|g| {
                self.must_string(g, scan, scan::FIELD);
                self.must_take(g, scan, b':');
                self.must_string(g, scan, scan::FIELD);
                self.or_end(g, scan, b'}');
            });
        })
    }

    /// Takes the object of a tensor: its three fields, once each, in any order.
    fn define_fields(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.fields, &[WORD], |g, params| {
            let scan = params[0];
            self.must_take(g, scan, b'{');
            let none = g.word(0);
            g.store(none, scan, scan::FIELDS);
            g.forever(|g| {
                self.must_string(g, scan, scan::FIELD);
                self.must_take(g, scan, b':');
                let bit = g.b.declare_var(WORD);
                g.b.def_var(bit, none);
                for word in [DTYPE, SHAPE, DATA_OFFSETS] {
                    let is_this = self.is_word(g, scan, scan::FIELD, word);
                    g.when(is_this, |g| {
                        let this = g.word(1 << word);
                        g.b.def_var(bit, this);
                        self.value_of(g, scan, word);
                    });
                }
                // No bit for a field that nobody knows; the same bit again for one that was there.
                let (bit, fields) = (g.b.use_var(bit), g.load(WORD, scan, scan::FIELDS));
                let now = g.b.ins().bor(fields, bit);
                let unchanged = g.b.ins().icmp(IntCC::Equal, now, fields);
                g.leave_if(unchanged, outcome::BAD);
                g.store(now, scan, scan::FIELDS);
                let done = self.take(g, scan, b'}');
                g.when(done, |g| self.judge_fields(g, scan, now));
                self.must_take(g, scan, b',');
            });
        })
    }

    fn value_of(&self, g: &mut Glue<'_, '_>, scan: Value, word: usize) {
        match word {
            DTYPE => self.must_string(g, scan, scan::DTYPE),
            SHAPE => {
                self.must_take(g, scan, b'[');
                let at = g.load(WORD, scan, scan::AT);
                g.store(at, scan, scan::SHAPE);
                let fine = g.value(self.numbers, &[scan]);
                g.need(fine);
            }
            _ => {
                self.must_take(g, scan, b'[');
                self.must_number(g, scan, scan::BEGIN);
                self.must_take(g, scan, b',');
                self.must_number(g, scan, scan::TO);
                self.must_take(g, scan, b']');
            }
        }
    }

    /// Ends the function: whether all fields are there, and the elements inside the file.
    fn judge_fields(&self, g: &mut Glue<'_, '_>, scan: Value, fields: Value) {
        let all = 1 << DTYPE | 1 << SHAPE | 1 << DATA_OFFSETS;
        let lacks = g.b.ins().icmp_imm_s(IntCC::NotEqual, fields, all);
        g.leave_if(lacks, outcome::BAD);
        let (begin, to) = (g.load(WORD, scan, scan::BEGIN), g.load(WORD, scan, scan::TO));
        let all = g.load(WORD, scan, scan::DATA_BYTES);
        let backwards = g.b.ins().icmp(IntCC::UnsignedGreaterThan, begin, to);
        let beyond = g.b.ins().icmp(IntCC::UnsignedGreaterThan, to, all);
        let outside = g.b.ins().bor(backwards, beyond);
        g.leave_if(outside, outcome::BAD);
        let yes = g.int(types::I8, 1);
        g.leave_if(yes, 1);
    }

    /// Takes one entry of a header.
    fn define_entry(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.entry, &[WORD], |g, params| {
            let scan = params[0];
            self.must_string(g, scan, scan::NAME);
            self.must_take(g, scan, b':');
            let is_metadata = self.is_word(g, scan, scan::NAME, METADATA);
            g.when(is_metadata, |g| {
                let fine = g.value(self.strings, &[scan]);
                g.need(fine);
            });
            g.leave_if(is_metadata, outcome::OTHER);
            let count = g.load(WORD, scan, scan::COUNT);
            let count = g.plus(count, 1);
            g.store(count, scan, scan::COUNT);
            let fine = g.value(self.fields, &[scan]);
            g.leave_with(fine);
        })
    }

    fn define_find(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.find, &[WORD; 4], |g, params| {
            let [scan, file, name, name_bytes] = *params else {
                unreachable!("as the signature says")
            };
            let (start, none) = (g.plus(file, 8), g.word(0));
            g.store(start, scan, scan::AT);
            g.store(none, scan, scan::COUNT);
            self.must_take(g, scan, b'{');
            let empty = self.take(g, scan, b'}');
            g.when(empty, |g| self.must_end(g, scan));
            g.leave_if(empty, outcome::OTHER);
            g.forever(|g| {
                let kind = g.value(self.entry, &[scan]);
                g.need(kind);
                let is_tensor = g.b.ins().icmp_imm_s(IntCC::Equal, kind, outcome::FOUND);
                g.when(is_tensor, |g| {
                    let found = g.load(WORD, scan, scan::NAME);
                    let found_bytes = g.load(WORD, scan, scan::NAME + 8);
                    let same = g.value(self.equal, &[found, found_bytes, name, name_bytes]);
                    g.leave_if(same, outcome::FOUND);
                });
                let done = self.take(g, scan, b'}');
                g.when(done, |g| self.must_end(g, scan));
                g.leave_if(done, outcome::OTHER);
                self.must_take(g, scan, b',');
            });
        })
    }

    fn define_fits(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.fits, &[WORD; 3], |g, params| {
            let [scan, extents, rank] = *params else { unreachable!("as the signature says") };
            let at = g.load(WORD, scan, scan::SHAPE);
            g.store(at, scan, scan::AT);
            let zero = g.word(0);
            g.count((zero, rank, 1), zero, |g, axis, carried| {
                let later = g.b.ins().icmp_imm_s(IntCC::NotEqual, axis, 0);
                g.when(later, |g| self.must_take(g, scan, b','));
                self.must_number(g, scan, scan::NUMBER);
                let found = g.load(WORD, scan, scan::NUMBER);
                let offset = g.b.ins().imul_imm_s(axis, 8);
                let wanted = g.b.ins().iadd(extents, offset);
                let wanted = g.load(WORD, wanted, 0);
                let differs = g.b.ins().icmp(IntCC::NotEqual, found, wanted);
                g.leave_if(differs, 0);
                carried
            });
            let ends = self.take(g, scan, b']');
            g.leave_with(ends);
        })
    }

    fn define_equal(&self, module: &mut ObjectModule) -> Result<(), CodegenError> {
        function(module, self.equal, &[WORD; 4], |g, params| {
            let [a, a_bytes, b, b_bytes] = *params else { unreachable!("as the signature says") };
            let other = g.b.ins().icmp(IntCC::NotEqual, a_bytes, b_bytes);
            g.leave_if(other, 0);
            let zero = g.word(0);
            g.count((zero, a_bytes, 1), zero, |g, at, carried| {
                let (a, b) = (g.b.ins().iadd(a, at), g.b.ins().iadd(b, at));
                let (a, b) = (g.load(types::I8, a, 0), g.load(types::I8, b, 0));
                let differs = g.b.ins().icmp(IntCC::NotEqual, a, b);
                g.leave_if(differs, 0);
                carried
            });
            g.leave_number(1);
        })
    }

    /// Whether the next byte was this one, which is taken then.
    fn take(&self, g: &mut Glue<'_, '_>, scan: Value, byte: u8) -> Value {
        let byte = g.int(types::I32, i64::from(byte));
        g.value(self.take, &[scan, byte])
    }

    fn must_take(&self, g: &mut Glue<'_, '_>, scan: Value, byte: u8) {
        let taken = self.take(g, scan, byte);
        g.need(taken);
    }

    fn must_string(&self, g: &mut Glue<'_, '_>, scan: Value, into: i32) {
        let into = g.plus(scan, into as u64);
        let fine = g.value(self.string, &[scan, into]);
        g.need(fine);
    }

    fn must_number(&self, g: &mut Glue<'_, '_>, scan: Value, into: i32) {
        let into = g.plus(scan, into as u64);
        let fine = g.value(self.number, &[scan, into]);
        g.need(fine);
    }

    /// Nothing but white space up to the end.
    fn must_end(&self, g: &mut Glue<'_, '_>, scan: Value) {
        let byte = g.value(self.next, &[scan]);
        let more = g.b.ins().icmp_imm_s(IntCC::NotEqual, byte, -1);
        g.leave_if(more, outcome::BAD);
    }

    /// Ends the function well after `end`, goes on after a comma, and ends it badly after anything else.
    fn or_end(&self, g: &mut Glue<'_, '_>, scan: Value, end: u8) {
        let ended = self.take(g, scan, end);
        g.leave_if(ended, 1);
        self.must_take(g, scan, b',');
    }

    /// Whether a string that was taken is one of [`WORDS`].
    fn is_word(&self, g: &mut Glue<'_, '_>, scan: Value, string: i32, word: usize) -> Value {
        let (start, bytes) = (g.load(WORD, scan, string), g.load(WORD, scan, string + 8));
        let at: usize = WORDS[..word].iter().map(|word| word.len()).sum();
        let words = g.data(self.words);
        let (wanted, wanted_bytes) = (g.plus(words, at as u64), g.word(WORDS[word].len() as u64));
        g.value(self.equal, &[start, bytes, wanted, wanted_bytes])
    }
}

/// Defines a function of words that returns a number.
fn function(
    module: &mut ObjectModule,
    id: FuncId,
    params: &[Type],
    build: impl FnOnce(&mut Glue<'_, '_>, &[Value]),
) -> Result<(), CodegenError> {
    let signature = signature(module, params, &[types::I32]);
    glue::define(module, id, signature, build)
}
