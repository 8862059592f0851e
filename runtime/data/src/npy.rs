//! The `.npy` format of NumPy: a header that is the text of a Python dictionary, then the values.
//!
//! `\x93NUMPY`, two bytes of version, the length of the header (2 bytes in version 1, else 4), the header, the values in
//! row-major or column-major order. The first axis counts the examples. See the page "NEP 1" of NumPy's documentation. No
//! extent is believed before the bytes were found to hold as many values.

use std::path::Path;
use std::sync::Arc;

use crate::column::{Bytes, Shard, Stored};
use crate::error::NpyProblem;

const MAGIC: &[u8] = b"\x93NUMPY";
/// As many axes as NumPy allows.
const MOST_AXES: usize = 64;

/// What is wrong and at which byte of the array's own bytes.
pub(crate) type Fault = (u64, NpyProblem);

/// An array whose values all lie in its bytes: from `data` on, exactly the product of the extents.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub stored: Stored,
    /// Whether the first axis runs fastest.
    pub column_major: bool,
    /// The first extent counts the examples; none is 0.
    pub shape: Vec<usize>,
    /// Offset of the first value.
    pub data: usize,
}

impl Array {
    /// Reads the header of an array that takes up all of `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let (text_at, data) = prologue(bytes)?;
        let mut reader = Literal { bytes: &bytes[..data], at: text_at };
        let Fields { stored, column_major, shape } = reader.dictionary()?;
        let shape_fault = |problem| Err((text_at as u64, problem));
        if shape.is_empty() {
            return shape_fault(NpyProblem::NoAxis);
        }
        if let Some(axis) = shape.iter().position(|&extent| extent == 0) {
            return shape_fault(NpyProblem::Empty { axis, shape });
        }
        let size = stored.size() as u128;
        let expected = shape.iter().try_fold(size, |n, &extent| n.checked_mul(extent.into()));
        let found = (bytes.len() - data) as u128;
        if expected != Some(found) {
            let problem = NpyProblem::Length { shape, stored, found };
            let at = expected.map_or(found, |expected| expected.min(found));
            return Err((data as u64 + at as u64, problem));
        }
        // Every extent is at most the number of bytes.
        let shape = shape.into_iter().map(|extent| extent as usize).collect();
        Ok(Array { stored, column_major, shape, data })
    }

    /// The array as examples of shape `self.shape[1..]`; its own bytes begin at `start` of `bytes`.
    pub fn shard(&self, path: &Arc<Path>, bytes: &Arc<Bytes>, start: usize) -> Shard {
        let size = self.stored.size();
        let (pitch, strides) = if self.column_major && self.shape.len() > 1 {
            let mut stride = size;
            let strides = self.shape.windows(2).map(|axes| {
                stride *= axes[0];
                stride
            });
            (size, Some(strides.collect()))
        } else {
            (self.shape[1..].iter().product::<usize>() * size, None)
        };
        Shard {
            path: Some(Arc::clone(path)),
            bytes: Arc::clone(bytes),
            start: start + self.data,
            examples: self.shape[0],
            pitch,
            strides,
        }
    }
}

/// Where the header's text and where the values begin.
fn prologue(bytes: &[u8]) -> Result<(usize, usize), Fault> {
    let short = || (bytes.len() as u64, NpyProblem::Short);
    let found = &bytes[..bytes.len().min(MAGIC.len())];
    if found != &MAGIC[..found.len()] {
        return Err((0, NpyProblem::Magic));
    }
    let (&[major, minor], rest) =
        bytes.get(MAGIC.len()..).and_then(|rest| rest.split_first_chunk()).ok_or_else(short)?;
    let (length, text_at) = match (major, minor) {
        (1, 0) => {
            let length = rest.first_chunk().ok_or_else(short)?;
            (usize::from(u16::from_le_bytes(*length)), MAGIC.len() + 4)
        }
        (2 | 3, 0) => {
            let length = rest.first_chunk().ok_or_else(short)?;
            (u32::from_le_bytes(*length) as usize, MAGIC.len() + 6)
        }
        _ => return Err((MAGIC.len() as u64, NpyProblem::Version { major, minor })),
    };
    let data = text_at.checked_add(length).filter(|&data| data <= bytes.len());
    data.map(|data| (text_at, data)).ok_or_else(short)
}

/// What the dictionary says.
struct Fields {
    stored: Stored,
    column_major: bool,
    shape: Vec<u64>,
}

/// Reads the few forms of Python's literals that a header has.
struct Literal<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Literal<'a> {
    fn dictionary(&mut self) -> Result<Fields, Fault> {
        let (mut stored, mut column_major, mut shape) = (None, None, None);
        let start = self.at;
        self.expect(b'{', "`{`")?;
        while !self.take(b'}') {
            let at = self.peek_at();
            let key = self.string()?;
            self.expect(b':', "`:`")?;
            match key {
                b"descr" if stored.is_none() => stored = Some(self.descr()?),
                b"fortran_order" if column_major.is_none() => column_major = Some(self.boolean()?),
                b"shape" if shape.is_none() => shape = Some(self.tuple()?),
                _ => {
                    return Err((at, NpyProblem::Key { key: String::from_utf8_lossy(key).into() }));
                }
            }
            if !self.take(b',') {
                self.expect(b'}', "`,` or `}`")?;
                break;
            }
        }
        let missing = |key| (start as u64, NpyProblem::Missing { key });
        Ok(Fields {
            stored: stored.ok_or_else(|| missing("descr"))?,
            column_major: column_major.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    /// The element type: a string such as `<f4`. The descriptions of records are lists.
    fn descr(&mut self) -> Result<Stored, Fault> {
        let at = self.peek_at();
        if self.next() == Some(b'[') {
            return Err((at, NpyProblem::Records));
        }
        let text = self.string()?;
        let stored = match text {
            b"|u1" | b"<u1" | b"|b1" | b"<b1" => Stored::U8,
            b"|i1" | b"<i1" => Stored::I8,
            b"<u2" => Stored::U16,
            b"<i2" => Stored::I16,
            b"<u4" => Stored::U32,
            b"<i4" => Stored::I32,
            b"<u8" => Stored::U64,
            b"<i8" => Stored::I64,
            b"<f4" => Stored::F32,
            b"<f8" => Stored::F64,
            _ => {
                let descr = String::from_utf8_lossy(text).into_owned();
                return Err((at, NpyProblem::Type { descr }));
            }
        };
        Ok(stored)
    }

    fn boolean(&mut self) -> Result<bool, Fault> {
        let at = self.peek_at() as usize;
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.bytes[at..].starts_with(word) {
                self.at = at + word.len();
                return Ok(value);
            }
        }
        Err((at as u64, NpyProblem::Expected { what: "`True` or `False`" }))
    }

    /// Integers in parentheses; one alone has a comma behind it. Python 2 wrote an `L` behind long ones.
    fn tuple(&mut self) -> Result<Vec<u64>, Fault> {
        let mut extents = Vec::new();
        self.expect(b'(', "`(`")?;
        while !self.take(b')') {
            let at = self.peek_at();
            if extents.len() == MOST_AXES {
                return Err((at, NpyProblem::Axes { most: MOST_AXES }));
            }
            let rest = &self.bytes[at as usize..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number =
                std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
            extents.push(number.ok_or((at, NpyProblem::Expected { what: "an extent" }))?);
            self.at = at as usize + digits;
            if rest.get(digits) == Some(&b'L') {
                self.at += 1;
            }
            if !self.take(b',') {
                self.expect(b')', "`,` or `)`")?;
                break;
            }
        }
        Ok(extents)
    }

    fn string(&mut self) -> Result<&'a [u8], Fault> {
        let at = self.peek_at() as usize;
        let quote = self.bytes.get(at).copied().filter(|byte| matches!(byte, b'\'' | b'"'));
        let quote = quote.ok_or((at as u64, NpyProblem::Expected { what: "a string" }))?;
        let text = &self.bytes[at + 1..];
        let length = text.iter().position(|&byte| byte == quote);
        let length = length.ok_or((at as u64, NpyProblem::Expected { what: "a string" }))?;
        self.at = at + length + 2;
        Ok(&self.bytes[at + 1..at + 1 + length])
    }

    /// Goes over white space; the offset of what comes next.
    fn peek_at(&mut self) -> u64 {
        let blank = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_whitespace());
        self.at += blank.count();
        self.at as u64
    }

    fn next(&mut self) -> Option<u8> {
        self.peek_at();
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.next() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.take(byte) { Ok(()) } else { Err((self.at as u64, NpyProblem::Expected { what })) }
    }
}
