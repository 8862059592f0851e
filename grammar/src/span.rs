//! Where text comes from: byte ranges in numbered files, and the table of those files.
//!
//! A [`Span`] is twelve bytes and `Copy`, so every node of the syntax tree and every operation of the later stages can
//! carry one. Lines and columns are computed from [`Sources`] only when something is shown to a person.
use serde::{Deserialize, Serialize};

/// The number of a file in a [`Sources`] table.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct FileId(pub u32);

/// A range of bytes in one file: `start` is the first byte, `end` the first byte after it.
///
/// Spans order by file, then start, then end, which is the order in which diagnostics are shown.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset of the first byte after the range.
    pub end: u32,
}

impl Span {
    /// The range `start..end` of `file`. An `end` before `start` is taken as an empty range at `start`.
    pub fn new(file: FileId, start: usize, end: usize) -> Span {
        let start = offset(start);
        Span { file, start, end: offset(end).max(start) }
    }

    /// The empty range at `at`.
    pub fn point(file: FileId, at: usize) -> Span {
        Span::new(file, at, at)
    }

    /// The smallest range that holds both. A span of another file is left out: a node never straddles two files.
    pub fn to(self, other: Span) -> Span {
        if self.file != other.file {
            return self;
        }
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The bytes of the range, for slicing the text of its file.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the range has no bytes, as at a place where something is missing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `other` lies within this range of the same file.
    pub fn contains(self, other: Span) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }
}

/// Offsets fit in 32 bits because the parser refuses larger files; anything beyond is clamped rather than wrapped.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A line and a column, both counted from 1; the column counts characters, not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: u32,
    /// Character within the line, from 1.
    pub column: u32,
}

/// One file: how it is called in messages, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as the user gave it, or `std/<name>.dl` for a file of the standard library.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Whether the file belongs to the standard library.
    pub std: bool,
    line_starts: Vec<u32>,
}

impl SourceFile {
    fn new(name: String, text: String, std: bool) -> SourceFile {
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| offset(at + 1)));
        SourceFile { name, text, std, line_starts }
    }

    /// Line and column of a byte offset. An offset past the end is taken as the end, one inside a character as its start.
    pub fn line_column(&self, at: u32) -> LineColumn {
        let mut at = (at as usize).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.line_starts.partition_point(|&start| start as usize <= at);
        let start = self.line_starts[line - 1] as usize;
        LineColumn { line: offset(line), column: offset(self.text[start..at].chars().count() + 1) }
    }
}

/// All files of one compilation, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// An empty table.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Adds a file of the user and returns its number.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        self.push(SourceFile::new(name.into(), text.into(), false))
    }

    /// Adds all files of the standard library and returns their numbers, in the order of [`crate::std_files`].
    pub fn add_std(&mut self) -> Vec<FileId> {
        crate::std_files()
            .iter()
            .map(|(name, text)| {
                self.push(SourceFile::new(format!("std/{name}"), (*text).to_string(), true))
            })
            .collect()
    }

    fn push(&mut self, file: SourceFile) -> FileId {
        self.files.push(file);
        FileId(offset(self.files.len() - 1))
    }

    /// The file of that number, if there is one.
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// All files with their numbers, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(i, file)| (FileId(offset(i)), file))
    }

    /// The text of a span; empty if the span does not fit its file.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.file).and_then(|file| file.text.get(span.range())).unwrap_or("")
    }

    /// Line and column where a span begins; 1:1 if its file is unknown.
    pub fn line_column(&self, span: Span) -> LineColumn {
        match self.get(span.file) {
            Some(file) => file.line_column(span.start),
            None => LineColumn { line: 1, column: 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let mut sources = Sources::new();
        let id = sources.add("a.dl", "ab\né·x\n");
        let at = |start| sources.line_column(Span::point(id, start));
        assert_eq!(at(0), LineColumn { line: 1, column: 1 });
        assert_eq!(at(2), LineColumn { line: 1, column: 3 });
        assert_eq!(at(3), LineColumn { line: 2, column: 1 });
        assert_eq!(at(7), LineColumn { line: 2, column: 3 }, "two bytes each");
        assert_eq!(at(4), LineColumn { line: 2, column: 1 }, "inside a character");
        assert_eq!(at(99), LineColumn { line: 3, column: 1 }, "past the end");
    }

    #[test]
    fn joining_spans_covers_both_and_never_leaves_the_file() {
        let (a, b) = (FileId(0), FileId(1));
        assert_eq!(Span::new(a, 4, 6).to(Span::new(a, 1, 2)), Span::new(a, 1, 6));
        assert_eq!(Span::new(a, 4, 6).to(Span::new(b, 1, 2)), Span::new(a, 4, 6));
        assert!(Span::new(a, 7, 3).is_empty());
    }

    #[test]
    fn the_text_of_a_span_is_its_slice() {
        let mut sources = Sources::new();
        let id = sources.add("a.dl", "layer dense");
        assert_eq!(sources.text(Span::new(id, 6, 11)), "dense");
        assert_eq!(sources.text(Span::new(id, 6, 40)), "");
        assert_eq!(sources.text(Span::new(FileId(9), 0, 1)), "");
    }
}
