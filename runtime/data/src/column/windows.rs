//! Windows of a long row of tokens: example i is the tokens from `i * stride` on.

use std::path::Path;
use std::sync::Arc;

use super::Bytes;

/// The tokens of one text.
#[derive(Debug)]
pub(crate) enum Tokens {
    /// A token is a byte of the file, looked up in a table.
    Bytes { bytes: Bytes, table: Arc<[u16; 256]> },
    /// Tokens in memory.
    Ids(Vec<u16>),
}

impl Tokens {
    pub fn len(&self) -> usize {
        match self {
            Tokens::Bytes { bytes, .. } => bytes.len(),
            Tokens::Ids(ids) => ids.len(),
        }
    }
}

/// Texts in which windows of the same length are laid out; none reaches from one text into the next.
#[derive(Debug)]
pub(crate) struct Texts {
    texts: Vec<(Arc<Path>, Tokens)>,
    /// For each text the number of its first window, and at the end the number of all.
    firsts: Vec<usize>,
    stride: usize,
}

impl Texts {
    /// Windows of `reach` tokens, as many as fit; texts that are too short have none.
    pub fn new(texts: Vec<(Arc<Path>, Tokens)>, reach: usize, stride: usize) -> Self {
        let mut firsts = vec![0];
        for (_, tokens) in &texts {
            let windows = tokens.len().checked_sub(reach).map_or(0, |rest| rest / stride + 1);
            firsts.push(firsts.last().copied().unwrap_or(0) + windows);
        }
        Texts { texts, firsts, stride }
    }

    pub fn n_windows(&self) -> usize {
        *self.firsts.last().expect("it begins with 0")
    }

    /// The bytes of the files that are read when they are touched.
    pub fn mapped_bytes(&self) -> u64 {
        super::mapped_bytes(self.texts.iter().filter_map(|(_, tokens)| match tokens {
            Tokens::Bytes { bytes, .. } => Some(bytes),
            Tokens::Ids(_) => None,
        }))
    }

    /// The text of a window and its first token there.
    fn find(&self, window: usize) -> (&Arc<Path>, &Tokens, usize) {
        let text = self.firsts.partition_point(|&first| first <= window) - 1;
        let (path, tokens) = &self.texts[text];
        (path, tokens, (window - self.firsts[text]) * self.stride)
    }

    /// The file of a window, and the byte where it begins, where tokens are bytes.
    pub fn place(&self, window: usize) -> Option<(Arc<Path>, u64)> {
        match self.find(window) {
            (path, Tokens::Bytes { .. }, at) => Some((Arc::clone(path), at as u64)),
            (_, Tokens::Ids(_), _) => None,
        }
    }

    /// The tokens of a window, moved by `offset`, of which the reach has been taken care.
    pub fn copy<T>(&self, window: usize, offset: usize, row: &mut [T], convert: impl Fn(u16) -> T) {
        let (_, tokens, at) = self.find(window);
        let own = at + offset..at + offset + row.len();
        match tokens {
            Tokens::Bytes { bytes, table } => {
                for (slot, &byte) in row.iter_mut().zip(&bytes[own]) {
                    *slot = convert(table[usize::from(byte)]);
                }
            }
            Tokens::Ids(ids) => {
                for (slot, &id) in row.iter_mut().zip(&ids[own]) {
                    *slot = convert(id);
                }
            }
        }
    }
}
