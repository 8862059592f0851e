//! The IDX format of the MNIST family: a big-endian header, then bytes in row-major order.
//!
//! Header: the magic number (two zero bytes, the element type, the number of dimensions), then each extent as 32 bits.
//! Plain files are mapped; compressed ones, known by their first two bytes whatever their name, are decoded to memory. No
//! extent is believed before the file was found to be exactly as long as it says.

use std::io::Read;
use std::path::Path;

use crate::column::Bytes;
use crate::error::{DataError, IdxProblem};
use crate::zip::MAX_GROWTH;

/// Bytes in three dimensions: images, rows, columns.
pub(crate) const MAGIC_IMAGES: u32 = 0x0000_0803;
/// Bytes in one dimension.
pub(crate) const MAGIC_LABELS: u32 = 0x0000_0801;

/// What a file is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Images,
    Labels,
}

impl Content {
    fn magic(self) -> u32 {
        match self {
            Content::Images => MAGIC_IMAGES,
            Content::Labels => MAGIC_LABELS,
        }
    }

    /// What each extent counts.
    fn axes(self) -> &'static [&'static str] {
        match self {
            Content::Images => &["number of images", "number of rows", "number of columns"],
            Content::Labels => &["number of labels"],
        }
    }

    fn header_bytes(self) -> usize {
        4 + 4 * self.axes().len()
    }
}

/// A file that has been checked: from `start` on, `bytes` hold exactly the product of the extents.
#[derive(Debug)]
pub(crate) struct Idx {
    pub(crate) bytes: Bytes,
    pub(crate) start: usize,
    /// As many as the content has axes.
    pub(crate) extents: Vec<usize>,
}

/// Reads a file of the given content.
pub(crate) fn read(path: &Path, content: Content) -> Result<Idx, DataError> {
    let file = Bytes::map(path)?;
    let bytes = if file.starts_with(&[0x1F, 0x8B]) {
        Bytes::Owned(decompress(path, &file, content)?)
    } else {
        file
    };
    let header = Header::parse(&bytes, content).map_err(|fault| fault.in_file(path))?;
    let total = header.total_bytes();
    let found = bytes.len() as u64;
    if found != total {
        let fault = if found < total {
            Fault { offset: found, problem: IdxProblem::Truncated { expected: total } }
        } else {
            Fault { offset: total, problem: IdxProblem::Trailing }
        };
        return Err(fault.in_file(path));
    }
    Ok(Idx { bytes, start: content.header_bytes(), extents: header.extents })
}

/// A problem and where it is, before the file is named.
struct Fault {
    offset: u64,
    problem: IdxProblem,
}

impl Fault {
    fn in_file(self, path: &Path) -> DataError {
        DataError::Idx { path: path.to_owned(), offset: self.offset, problem: self.problem }
    }
}

#[derive(Debug)]
struct Header {
    extents: Vec<usize>,
    header_bytes: usize,
    /// The product of the extents: at most 96 bits.
    data_bytes: u128,
}

impl Header {
    /// Parses the header at the front of `bytes`.
    fn parse(bytes: &[u8], content: Content) -> Result<Self, Fault> {
        let header_bytes = content.header_bytes();
        let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(Fault {
                offset: bytes.len() as u64,
                problem: IdxProblem::Header { expected: header_bytes },
            });
        };
        let magic = u32::from_be_bytes(*magic);
        if magic != content.magic() {
            return Err(Fault {
                offset: 0,
                problem: IdxProblem::Magic { expected: content.magic(), found: magic },
            });
        }
        let mut extents = Vec::with_capacity(content.axes().len());
        let mut rest = rest;
        for (index, axis) in content.axes().iter().enumerate() {
            let Some((extent, after)) = rest.split_first_chunk::<4>() else {
                return Err(Fault {
                    offset: bytes.len() as u64,
                    problem: IdxProblem::Header { expected: header_bytes },
                });
            };
            let extent = u32::from_be_bytes(*extent);
            if extent == 0 {
                return Err(Fault {
                    offset: 4 + 4 * index as u64,
                    problem: IdxProblem::Empty { axis },
                });
            }
            extents.push(extent as usize);
            rest = after;
        }
        let data_bytes = extents.iter().map(|&extent| extent as u128).product();
        Ok(Header { extents, header_bytes, data_bytes })
    }

    /// Header and data, or the largest number where that does not fit, which no file reaches either.
    fn total_bytes(&self) -> u64 {
        u64::try_from(self.data_bytes + self.header_bytes as u128).unwrap_or(u64::MAX)
    }
}

/// Decompresses a gzip file, but never more than its own header asks for and than a file of its size can hold.
fn decompress(path: &Path, file: &[u8], content: Content) -> Result<Vec<u8>, DataError> {
    let damaged = |decoded: &[u8], source| DataError::Gzip {
        path: path.to_owned(),
        decoded: decoded.len() as u64,
        source,
    };
    let mut decoder = flate2::bufread::GzDecoder::new(file);
    let mut bytes = Vec::new();
    if let Err(error) = decoder.by_ref().take(content.header_bytes() as u64).read_to_end(&mut bytes)
    {
        return Err(damaged(&bytes, error));
    }
    let header = Header::parse(&bytes, content).map_err(|fault| fault.in_file(path))?;
    let file_bytes = file.len() as u64;
    let possible = file_bytes.saturating_mul(MAX_GROWTH);
    if header.data_bytes > u128::from(possible) {
        let problem = IdxProblem::TooLarge { promised: header.data_bytes, file_bytes, possible };
        return Err(Fault { offset: 4, problem }.in_file(path));
    }
    // One byte more than promised shows whether anything follows; at the end of the stream its checksum is verified. The
    // vector grows with what is really there.
    let limit = header.data_bytes as u64 + 1;
    if let Err(error) = decoder.by_ref().take(limit).read_to_end(&mut bytes) {
        return Err(damaged(&bytes, error));
    }
    let rest = decoder.into_inner().len() as u64;
    if bytes.len() as u64 <= header.total_bytes() && rest > 0 {
        return Err(DataError::GzipTrailing { path: path.to_owned(), bytes: rest });
    }
    Ok(bytes)
}
