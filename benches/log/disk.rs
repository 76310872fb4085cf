//! The disk between two measurements: what one has left behind must not be paid by the next.

use std::path::Path;
use std::process::Command;

use crate::Result;

/// Waits until everything written and deleted so far has reached the disk: the journal of the file system, and the
/// blocks that deleted files give back.
pub(crate) fn settle(folder: &Path) -> Result<()> {
    let status = Command::new("sync").arg("--file-system").arg(folder).status()?;
    if status.success() { Ok(()) } else { Err(format!("sync: {status}").into()) }
}
