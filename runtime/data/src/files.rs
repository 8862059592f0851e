//! The files that a text names: a list of paths, in which `*` stands for any part of a name.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::DataError;

/// Paths separated by commas, as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Files(Vec<PathBuf>);

impl Files {
    /// The paths of a text; `None` where one is empty.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let paths: Vec<_> = text.split(',').map(PathBuf::from).collect();
        paths.iter().all(|path| !path.as_os_str().is_empty()).then_some(Files(paths))
    }

    /// The paths as they were written, each of which may stand for several files.
    pub(crate) fn patterns(&self) -> &[PathBuf] {
        &self.0
    }

    /// The files, at least one: in the order of the text, those of one pattern in the order of their names.
    pub(crate) fn resolve(&self) -> Result<Vec<PathBuf>, DataError> {
        let mut files = Vec::new();
        for pattern in &self.0 {
            files.extend(matches(pattern)?);
        }
        Ok(files)
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index > 0 { "," } else { "" }, path.display())?;
        }
        Ok(())
    }
}

/// The files of one pattern, in the order of their names: `part-2` before `part-10`.
pub(crate) fn matches(pattern: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !pattern.to_string_lossy().contains('*') {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        match component {
            Component::Normal(name) if name.to_string_lossy().contains('*') => {
                let mut deeper = Vec::new();
                for folder in &found {
                    deeper.extend(entries(folder, name)?);
                }
                found = deeper;
            }
            _ => found.iter_mut().for_each(|path| path.push(component)),
        }
    }
    found.retain(|path| path.exists());
    if found.is_empty() {
        return Err(DataError::NoMatch { pattern: pattern.to_owned() });
    }
    found.sort_by_cached_key(|path| (natural_key(&path.to_string_lossy()), path.clone()));
    Ok(found)
}

/// What a folder holds of names of that form. A folder that does not exist holds nothing.
fn entries(folder: &Path, pattern: &OsStr) -> Result<Vec<PathBuf>, DataError> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !here.is_dir() {
        return Ok(Vec::new());
    }
    let io = |source| DataError::Io { path: here.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(here).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if fits(&pattern.to_string_lossy(), &name.to_string_lossy()) {
            found.push(folder.join(name));
        }
    }
    Ok(found)
}

/// Whether a name has the form of a pattern. Hidden files are named by patterns that begin with a dot.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let (Some(first), Some(last)) = (parts.next(), parts.next_back()) else {
        return pattern == name;
    };
    let middle = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let Some(mut rest) = middle else { return false };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// A key by which names with numbers are sorted as they are counted.
pub(crate) fn natural_key(text: &str) -> Vec<(String, u128)> {
    let mut key = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (letters, after) = rest.split_at(word);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        key.push((letters.to_owned(), number.parse().unwrap_or(u128::from(!number.is_empty()))));
        rest = after;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_part_of_a_name() {
        for (pattern, name, expected) in [
            ("*", "a.npz", true),
            ("*.npz", "a.npz", true),
            ("*.npz", ".npz", false),
            ("*.npz", "a.npy", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("aa*aa", "aaa", false),
            ("plain", "plain", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn numbers_are_sorted_as_they_are_counted() {
        let mut names = ["part-10", "part-2", "part-1.a", "a9", "part-1"];
        names.sort_by_cached_key(|name| natural_key(name));
        assert_eq!(names, ["a9", "part-1", "part-1.a", "part-2", "part-10"]);
    }
}
