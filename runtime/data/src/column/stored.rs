//! Numbers as they lie in files: how wide they are, where an example begins, and how its values are found.

use std::path::Path;
use std::sync::Arc;

use super::Bytes;
use crate::error::DataError;

/// The type of a number in a file. More than a byte is little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stored {
    /// 8 bits without sign; truth values are stored so.
    U8,
    /// 8 bits with sign.
    I8,
    /// 16 bits without sign.
    U16,
    /// 16 bits with sign.
    I16,
    /// 32 bits without sign.
    U32,
    /// 32 bits with sign.
    I32,
    /// 64 bits without sign.
    U64,
    /// 64 bits with sign.
    I64,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Stored {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Stored::U8 | Stored::I8 => 1,
            Stored::U16 | Stored::I16 => 2,
            Stored::U32 | Stored::I32 | Stored::F32 => 4,
            Stored::U64 | Stored::I64 | Stored::F64 => 8,
        }
    }

    /// Whether it is one of the floating-point types.
    pub fn is_float(self) -> bool {
        matches!(self, Stored::F32 | Stored::F64)
    }
}

/// A run of examples in the bytes of one file.
#[derive(Debug, Clone)]
pub struct Shard {
    /// The file, for messages; `None` for bytes that were never in one.
    pub path: Option<Arc<Path>>,
    /// Its bytes.
    pub bytes: Arc<Bytes>,
    /// Where the first value of the first example lies.
    pub start: usize,
    /// How many examples there are.
    pub examples: usize,
    /// Bytes from the beginning of one example to that of the next.
    pub pitch: usize,
    /// Bytes between neighbours along each axis of an example; `None` where the values of an example are row-major without gaps.
    pub strides: Option<Arc<[usize]>>,
}

impl Shard {
    /// The byte after the last value, where that can be said in 64 bits.
    fn end(&self, shape: &[usize], size: usize) -> Option<usize> {
        let within = match &self.strides {
            None => shape.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent))?,
            Some(strides) => {
                let steps = shape.iter().zip(strides.iter());
                steps
                    .map(|(&extent, &stride)| extent.checked_sub(1)?.checked_mul(stride))
                    .try_fold(size, |end, step| end.checked_add(step?))?
            }
        };
        let last = self.examples.checked_sub(1)?.checked_mul(self.pitch)?;
        self.start.checked_add(last)?.checked_add(within)
    }
}

/// Examples in one or more shards, all of the same type and shape.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(super) stored: Stored,
    /// What real numbers are divided by.
    pub(super) divisor: f32,
    shape: Vec<usize>,
    shards: Vec<Shard>,
    /// For each shard the number of its first example, and at the end the number of all.
    firsts: Vec<usize>,
}

impl Numbers {
    /// Numbers of which every example lies within the bytes of its shard.
    pub fn new(
        name: &str,
        shape: &[usize],
        stored: Stored,
        divisor: f32,
        shards: Vec<Shard>,
    ) -> Result<Self, DataError> {
        let mut firsts = vec![0];
        for shard in &shards {
            let rank_fits =
                shard.strides.as_ref().is_none_or(|strides| strides.len() == shape.len());
            let fits = shard.end(shape, stored.size()).is_some_and(|end| end <= shard.bytes.len());
            let total = firsts.last().and_then(|sum: &usize| sum.checked_add(shard.examples));
            match total.filter(|_| rank_fits && fits && !shape.contains(&0)) {
                Some(total) => firsts.push(total),
                None => {
                    return Err(DataError::Shard {
                        column: name.to_owned(),
                        path: shard.path.as_deref().map(Path::to_owned),
                        bytes: shard.bytes.len(),
                        examples: shard.examples,
                        shape: shape.to_vec(),
                    });
                }
            }
        }
        Ok(Numbers { stored, divisor, shape: shape.to_vec(), shards, firsts })
    }

    pub fn n_examples(&self) -> usize {
        *self.firsts.last().expect("it begins with 0")
    }

    /// Whether neighbouring examples lie so close that looking at all of them is cheap.
    pub fn is_dense(&self) -> bool {
        const CLOSE: usize = 64;
        self.shape.iter().all(|&extent| extent == 1)
            && self.shards.iter().all(|shard| shard.pitch <= CLOSE)
    }

    /// The bytes of the files that are read when they are touched.
    pub fn mapped_bytes(&self) -> u64 {
        super::mapped_bytes(self.shards.iter().map(|shard| &*shard.bytes))
    }

    /// The shard of an example and the byte where it begins.
    fn find(&self, example: usize) -> (&Shard, usize) {
        let shard = match &self.shards[..] {
            [_] => 0,
            _ => self.firsts.partition_point(|&first| first <= example) - 1,
        };
        let (first, shard) = (self.firsts[shard], &self.shards[shard]);
        (shard, shard.start + (example - first) * shard.pitch)
    }

    /// The file of an example and where in it its first value lies.
    pub fn place(&self, example: usize) -> Option<(Arc<Path>, u64)> {
        let (shard, at) = self.find(example);
        shard.path.clone().map(|path| (path, at as u64))
    }

    /// Real numbers of an example, each rounded at most twice: to the type's precision and after the division.
    pub fn copy_f32(&self, example: usize, row: &mut [f32]) {
        let (shard, at) = self.find(example);
        let by = self.divisor;
        let wide = f64::from(by);
        let place = Place { shard, at, shape: &self.shape };
        match self.stored {
            Stored::U8 => place.copy(row, |[byte]: [u8; 1]| f32::from(byte) / by),
            Stored::I8 => place.copy(row, |bytes| f32::from(i8::from_le_bytes(bytes)) / by),
            Stored::U16 => place.copy(row, |bytes| f32::from(u16::from_le_bytes(bytes)) / by),
            Stored::I16 => place.copy(row, |bytes| f32::from(i16::from_le_bytes(bytes)) / by),
            Stored::U32 => {
                place.copy(row, |bytes| (f64::from(u32::from_le_bytes(bytes)) / wide) as f32)
            }
            Stored::I32 => {
                place.copy(row, |bytes| (f64::from(i32::from_le_bytes(bytes)) / wide) as f32)
            }
            Stored::U64 => {
                place.copy(row, |bytes| (u64::from_le_bytes(bytes) as f64 / wide) as f32)
            }
            Stored::I64 => {
                place.copy(row, |bytes| (i64::from_le_bytes(bytes) as f64 / wide) as f32)
            }
            Stored::F32 => place.copy(row, |bytes| f32::from_le_bytes(bytes) / by),
            Stored::F64 => place.copy(row, |bytes| (f64::from_le_bytes(bytes) / wide) as f32),
        }
    }

    /// Integers of an example; floats are never asked for. The error is the first value that 32 bits do not hold.
    pub fn copy_i32(&self, example: usize, row: &mut [i32]) -> Result<(), i128> {
        let (shard, at) = self.find(example);
        let place = Place { shard, at, shape: &self.shape };
        let mut wrong = None;
        // What does not fit is remembered, so that the copying itself has one form.
        let mut narrow = |value: i128| {
            i32::try_from(value).unwrap_or_else(|_| {
                wrong.get_or_insert(value);
                0
            })
        };
        match self.stored {
            Stored::U8 => place.copy(row, |[byte]: [u8; 1]| i32::from(byte)),
            Stored::I8 => place.copy(row, |bytes| i32::from(i8::from_le_bytes(bytes))),
            Stored::U16 => place.copy(row, |bytes| i32::from(u16::from_le_bytes(bytes))),
            Stored::I16 => place.copy(row, |bytes| i32::from(i16::from_le_bytes(bytes))),
            Stored::I32 => place.copy(row, i32::from_le_bytes),
            Stored::U32 => place.copy(row, |bytes| narrow(u32::from_le_bytes(bytes).into())),
            Stored::U64 => place.copy(row, |bytes| narrow(u64::from_le_bytes(bytes).into())),
            Stored::I64 => place.copy(row, |bytes| narrow(i64::from_le_bytes(bytes).into())),
            Stored::F32 | Stored::F64 => {
                unreachable!("`Column::serves` has refused integers of a column of floats")
            }
        }
        wrong.map_or(Ok(()), Err)
    }
}

/// Where the values of one example lie.
struct Place<'a> {
    shard: &'a Shard,
    at: usize,
    shape: &'a [usize],
}

impl Place<'_> {
    /// Writes the values in row-major order. `Numbers::new` has checked that all of them lie within the bytes.
    fn copy<const N: usize, T>(&self, row: &mut [T], mut convert: impl FnMut([u8; N]) -> T) {
        let bytes = &self.shard.bytes[..];
        match &self.shard.strides {
            None => {
                let (values, _) = bytes[self.at..self.at + row.len() * N].as_chunks::<N>();
                for (slot, value) in row.iter_mut().zip(values) {
                    *slot = convert(*value);
                }
            }
            Some(strides) => {
                let mut slots = row.iter_mut();
                walk(self.shape, strides, self.at, &mut |at| {
                    let value = bytes[at..].first_chunk::<N>();
                    if let (Some(slot), Some(value)) = (slots.next(), value) {
                        *slot = convert(*value);
                    }
                });
            }
        }
    }
}

/// Visits the offsets of all values in row-major order.
fn walk(shape: &[usize], strides: &[usize], at: usize, visit: &mut impl FnMut(usize)) {
    match (shape, strides) {
        ([extent], [stride]) => (0..*extent).for_each(|i| visit(at + i * stride)),
        ([extent, shape @ ..], [stride, strides @ ..]) => {
            (0..*extent).for_each(|i| walk(shape, strides, at + i * stride, visit));
        }
        _ => visit(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(bytes: Vec<u8>, examples: usize, pitch: usize, strides: Option<&[usize]>) -> Shard {
        Shard {
            path: None,
            bytes: Arc::new(Bytes::Owned(bytes)),
            start: 0,
            examples,
            pitch,
            strides: strides.map(Into::into),
        }
    }

    #[test]
    fn every_type_is_read_and_every_width_is_narrowed() {
        let cases: [(Stored, Vec<u8>, f32, Result<i32, i128>); 10] = [
            (Stored::U8, vec![200], 200.0, Ok(200)),
            (Stored::I8, vec![200], -56.0, Ok(-56)),
            (Stored::U16, 60_000_u16.to_le_bytes().into(), 60_000.0, Ok(60_000)),
            (Stored::I16, (-300_i16).to_le_bytes().into(), -300.0, Ok(-300)),
            (Stored::U32, u32::MAX.to_le_bytes().into(), 4_294_967_300.0, Err(4_294_967_295)),
            (Stored::I32, i32::MIN.to_le_bytes().into(), -2_147_483_600.0, Ok(i32::MIN)),
            (Stored::U64, u64::MAX.to_le_bytes().into(), 1.844_674_4e19, Err(u64::MAX.into())),
            (Stored::I64, (-7_i64).to_le_bytes().into(), -7.0, Ok(-7)),
            (Stored::F32, 0.1_f32.to_le_bytes().into(), 0.1, Ok(0)),
            (Stored::F64, 0.1_f64.to_le_bytes().into(), 0.1, Ok(0)),
        ];
        for (stored, bytes, real, integer) in cases {
            let size = bytes.len();
            let numbers = Numbers::new("x", &[], stored, 1.0, vec![shard(bytes, 1, size, None)])
                .expect("it lies within its bytes");
            let (mut reals, mut integers) = ([0.0], [0]);
            numbers.copy_f32(0, &mut reals);
            assert_eq!(reals, [real], "{stored:?}");
            if !stored.is_float() {
                let copied = numbers.copy_i32(0, &mut integers).map(|()| integers[0]);
                assert_eq!(copied, integer, "{stored:?}");
            }
        }
    }

    #[test]
    fn strides_turn_planes_into_channels() {
        // Two images of 2x2 with three channels, stored channel by channel behind a byte of label.
        let image = |first: u8| (0..12).map(move |i| first + i);
        let bytes = [vec![9], image(0).collect(), vec![9], image(100).collect()].concat();
        let mut shard = shard(bytes, 2, 13, Some(&[2, 1, 4]));
        shard.start = 1;
        let numbers = Numbers::new("x", &[2, 2, 3], Stored::U8, 1.0, vec![shard]).expect("it fits");
        let mut row = [0; 12];
        numbers.copy_i32(1, &mut row).expect("bytes fit");
        assert_eq!(row, [100, 104, 108, 101, 105, 109, 102, 106, 110, 103, 107, 111]);
    }

    #[test]
    fn examples_are_found_in_their_shards() {
        let shards = [vec![0, 1, 2], vec![3], vec![4, 5]]
            .map(|bytes| shard(bytes.clone(), bytes.len(), 1, None));
        let numbers = Numbers::new("x", &[], Stored::U8, 1.0, shards.into()).expect("they fit");
        assert_eq!(numbers.n_examples(), 6);
        for example in 0..6 {
            let mut row = [0];
            numbers.copy_i32(example, &mut row).expect("bytes fit");
            assert_eq!(row, [example as i32]);
        }
    }

    #[test]
    fn what_does_not_lie_within_its_bytes_is_refused() {
        let sound = |shard: Shard, shape: &[usize]| {
            Numbers::new("x", shape, Stored::U16, 1.0, vec![shard]).is_ok()
        };
        let bytes = || vec![0; 12];
        assert!(sound(shard(bytes(), 2, 6, None), &[3]));
        assert!(!sound(shard(bytes(), 3, 6, None), &[3]));
        assert!(!sound(shard(bytes(), 2, 6, None), &[4]));
        assert!(!sound(shard(bytes(), 2, usize::MAX, None), &[3]));
        assert!(!sound(shard(bytes(), 0, 6, None), &[3]));
        assert!(!sound(shard(bytes(), 2, 6, None), &[usize::MAX, 2]));
        assert!(!sound(shard(bytes(), 2, 6, None), &[0]));
        assert!(sound(shard(bytes(), 2, 2, Some(&[4])), &[3]));
        assert!(!sound(shard(bytes(), 3, 2, Some(&[4])), &[3]));
        assert!(!sound(shard(bytes(), 2, 2, Some(&[4, 1])), &[3]));
    }
}
