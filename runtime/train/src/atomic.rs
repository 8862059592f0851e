//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces a file by new contents so that a reader, or the next start after a crash, sees the old file or the new one and
/// nothing between: the bytes go to a temporary file in the same folder, reach the disk, and then take the name.
///
/// # Errors
/// Those of writing; the old file is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let result = write_through(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        return result;
    }
    sync_folder(path)
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name beside the file that no other process uses.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

/// The new name is in the folder's own data, which must reach the disk as well.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = std::env::temp_dir().join(format!("dlc-atomic-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let path = folder.join("weights");
        write_atomically(&path, b"old and longer").expect("writable");
        write_atomically(&path, b"new").expect("writable");
        assert_eq!(fs::read(&path).expect("written"), b"new");
        assert!(write_atomically(&folder.join("missing").join("weights"), b"x").is_err());
        let names: Vec<_> = fs::read_dir(&folder)
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        assert_eq!(names, ["weights"]);
        // A folder cannot be replaced by a file: the temporary file must go all the same.
        fs::create_dir(folder.join("taken")).expect("writable");
        assert!(write_atomically(&folder.join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(&folder).expect("readable").count(), 2);
        fs::remove_dir_all(&folder).expect("ours");
    }
}
