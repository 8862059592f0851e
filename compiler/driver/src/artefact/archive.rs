//! Static libraries of one member.

use crate::error::DriverError;
use ar_archive_writer::{
    ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream,
};
use std::io::Cursor;

/// A static library with an index of symbols. It depends on its contents alone: times and owners are zero.
pub(super) fn archive(member: &str, object: &[u8]) -> Result<Vec<u8>, DriverError> {
    let members = [NewArchiveMember::new(object, &DEFAULT_OBJECT_READER, member.to_owned())];
    let mut bytes = Cursor::new(Vec::new());
    write_archive_to_stream(&mut bytes, &members, ArchiveKind::Gnu, false, None)
        .map_err(|error| DriverError::Archive { what: error.to_string() })?;
    Ok(bytes.into_inner())
}
