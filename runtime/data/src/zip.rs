//! Where the files of a zip archive lie, as far as `.npz` files need it: stored or deflated, with the sizes of zip64.
//!
//! The directory at the end counts; see APPNOTE.TXT of PKWARE, sections 4.3 to 4.5. Files that are stored as they are can
//! be used where they lie. Every size is compared with the archive's before it is used.

use std::io::Read;

use crate::error::ZipProblem;

/// What is wrong and at which byte of the archive.
pub(crate) type Fault = (u64, ZipProblem);

const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const ENTRY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;

const END_BYTES: usize = 22;
const LOCATOR64_BYTES: usize = 20;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// The comment at the end has at most so many bytes.
const MOST_COMMENT: usize = 0xFFFF;
/// Deflate codes at most 258 bytes in a little more than two bits, so no stream grows more than this.
pub(crate) const MAX_GROWTH: u64 = 1032;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Stored,
    Deflated,
}

/// A file of an archive; its packed bytes lie within the archive's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    pub method: Method,
    /// Offset of its packed bytes.
    pub start: usize,
    /// Length of its packed bytes.
    pub packed: usize,
    /// Length of its bytes, to be compared with what comes out.
    pub size: u64,
    crc: u32,
}

/// All files of an archive, in the order of its directory.
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let (count, start) = directory(bytes)?;
    let mut at = start;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (entry, next) = entry(bytes, at)?;
        entries.push(entry);
        at = next;
    }
    Ok(entries)
}

/// How many entries the directory has and where it begins.
fn directory(bytes: &[u8]) -> Result<(u64, usize), Fault> {
    let no_end = || (bytes.len() as u64, ZipProblem::NoEnd);
    let last = bytes.len().checked_sub(END_BYTES).ok_or_else(no_end)?;
    let first = last.saturating_sub(MOST_COMMENT);
    let end = (first..=last).rev().find(|&at| {
        let comment = u16_at(bytes, at + 20).map(usize::from);
        u32_at(bytes, at) == Some(END) && comment.is_some_and(|n| at + END_BYTES + n == bytes.len())
    });
    let end = end.ok_or_else(no_end)?;
    let count = u16_at(bytes, end + 10).map(u64::from).ok_or_else(no_end)?;
    let start = u32_at(bytes, end + 16).map(u64::from).ok_or_else(no_end)?;
    let (count, start) = if count == 0xFFFF || start == 0xFFFF_FFFF {
        directory64(bytes, end).unwrap_or((count, start))
    } else {
        (count, start)
    };
    match usize::try_from(start) {
        Ok(start) if start <= end => Ok((count, start)),
        _ => Err((end as u64 + 16, ZipProblem::Directory { start })),
    }
}

/// The same by the larger record that stands before the last one, if it is there.
fn directory64(bytes: &[u8], end: usize) -> Option<(u64, u64)> {
    let locator = end.checked_sub(LOCATOR64_BYTES)?;
    if u32_at(bytes, locator)? != LOCATOR64 {
        return None;
    }
    let at = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
    if u32_at(bytes, at)? != END64 {
        return None;
    }
    Some((u64_at(bytes, at.checked_add(32)?)?, u64_at(bytes, at.checked_add(48)?)?))
}

/// The entry of the directory at `at`, and where the next one begins.
fn entry(bytes: &[u8], at: usize) -> Result<(Entry, usize), Fault> {
    let damaged = || (at as u64, ZipProblem::Entry);
    let header = bytes.get(at..at.saturating_add(ENTRY_BYTES)).ok_or_else(damaged)?;
    if u32_at(header, 0) != Some(ENTRY) {
        return Err(damaged());
    }
    let short = |offset| u16_at(header, offset).map_or(0, usize::from);
    let long = |offset| u32_at(header, offset).map_or(0, u64::from);
    let (name_len, extra_len, comment_len) = (short(28), short(30), short(32));
    let name_at = at + ENTRY_BYTES;
    let extra_at = name_at + name_len;
    let next = extra_at + extra_len + comment_len;
    let name = bytes.get(name_at..extra_at).ok_or_else(damaged)?;
    let extra = bytes.get(extra_at..extra_at + extra_len).ok_or_else(damaged)?;
    let name = String::from_utf8_lossy(name).into_owned();
    let (mut size, mut packed, mut local) = (long(24), long(20), long(42));
    // The fields that were too small stand in the extra field, in this order.
    let mut wide = wide_fields(extra);
    for field in [&mut size, &mut packed, &mut local] {
        if *field == 0xFFFF_FFFF {
            *field = wide.next().ok_or_else(damaged)?;
        }
    }
    if short(8) & 1 != 0 {
        return Err((at as u64, ZipProblem::Encrypted { name }));
    }
    let method = match short(10) {
        0 => Method::Stored,
        8 => Method::Deflated,
        method => return Err((at as u64, ZipProblem::Method { name, method })),
    };
    let outside = || (at as u64, ZipProblem::Outside { name: name.clone() });
    let local = usize::try_from(local).map_err(|_| outside())?;
    let local_end = local.checked_add(LOCAL_BYTES).ok_or_else(outside)?;
    let local_header = bytes.get(local..local_end).ok_or_else(outside)?;
    if u32_at(local_header, 0) != Some(LOCAL) {
        return Err(outside());
    }
    let skip = |offset| u16_at(local_header, offset).map_or(0, usize::from);
    let start = local_end + skip(26) + skip(28);
    let packed = usize::try_from(packed).map_err(|_| outside())?;
    if start.checked_add(packed).is_none_or(|end| end > bytes.len()) {
        return Err(outside());
    }
    let possible = match method {
        Method::Stored => packed as u64,
        Method::Deflated => (packed as u64).saturating_mul(MAX_GROWTH),
    };
    if size > possible || (method == Method::Stored && size != possible) {
        return Err((at as u64, ZipProblem::Size { name, size, packed, possible }));
    }
    let crc = u32_at(header, 16).unwrap_or(0);
    Ok((Entry { name, method, start, packed, size, crc }, next))
}

/// The numbers of 64 bits in the extra field of zip64.
fn wide_fields(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut found: &[u8] = &[];
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(body) = extra.get(4..4 + usize::from(length)) else { break };
        if id == 1 {
            found = body;
            break;
        }
        extra = &extra[4 + usize::from(length)..];
    }
    found.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

impl Entry {
    /// Its bytes, unpacked and compared with their checksum.
    pub fn unpack(&self, archive: &[u8]) -> Result<Vec<u8>, Fault> {
        let packed = &archive[self.start..self.start + self.packed];
        let damaged = |bytes: &[u8]| {
            let name = self.name.clone();
            (self.start as u64, ZipProblem::Damaged { name, unpacked: bytes.len() as u64 })
        };
        let mut bytes = Vec::new();
        match self.method {
            Method::Stored => bytes.extend_from_slice(packed),
            Method::Deflated => {
                // The vector grows with what is really there; one byte more shows that the size is wrong.
                let mut decoder = flate2::bufread::DeflateDecoder::new(packed).take(self.size + 1);
                if decoder.read_to_end(&mut bytes).is_err() {
                    return Err(damaged(&bytes));
                }
            }
        }
        if bytes.len() as u64 != self.size || !self.matches(&bytes) {
            return Err(damaged(&bytes));
        }
        Ok(bytes)
    }

    /// Whether its bytes have the checksum of the directory.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum() == self.crc
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
