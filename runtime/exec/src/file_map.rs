//! Read-only maps of files.

use std::fs::File;
use std::io;
use std::path::Path;

/// The bytes of a file, mapped read-only: pages are read when they are first touched and shared with other processes.
///
/// The map is a promise that nobody shortens or rewrites the file while it is open; a file that another process
/// truncates ends this one with a bus error. Data sets are files that nobody writes while they are read.
#[derive(Debug)]
pub struct FileMap {
    /// `None` for an empty file, which the operating system refuses to map.
    map: Option<memmap2::Mmap>,
}

impl FileMap {
    /// Maps a whole file.
    ///
    /// # Errors
    /// Those of opening and mapping it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if metadata.len() == 0 {
            return Ok(FileMap { map: None });
        }
        Ok(FileMap { map: Some(map_file(&file)?) })
    }
}

impl std::ops::Deref for FileMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }
}

#[expect(unsafe_code, reason = "a file map is only as stable as the file beneath it")]
fn map_file(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: the map is private and read-only, so this process cannot change the bytes through it. That no other process
    // changes the file is the documented condition of `FileMap`; it cannot be enforced by any means the system offers.
    // The behaviour under that condition is checked by `a_map_holds_the_bytes_of_the_file`.
    unsafe { memmap2::Mmap::map(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_holds_the_bytes_of_the_file() {
        let directory = std::env::temp_dir().join(format!("dlc-file-map-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary folder is writable");
        let path = directory.join("bytes");
        let bytes: Vec<u8> = (0..10_000).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).expect("the file is writable");
        assert_eq!(&*FileMap::open(&path).expect("the file exists"), &bytes[..]);
        std::fs::write(&path, b"").expect("the file is writable");
        assert!(FileMap::open(&path).expect("the file exists").is_empty());
        assert_eq!(
            FileMap::open(&directory).expect_err("a folder").kind(),
            io::ErrorKind::IsADirectory
        );
        std::fs::remove_dir_all(&directory).expect("the folder is ours");
    }
}
